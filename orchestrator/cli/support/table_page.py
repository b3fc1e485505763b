"""A table of runs as one page of HTML that needs nothing beside it: letters, figures, curves and links."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

from orchestrator.cli.support.table_style import STYLE
from orchestrator.experiment.cell_table import Table
from orchestrator.experiment.cells import Cell, CellResult, Outcome, Turn

C = TypeVar("C", bound=Cell)
WORDS = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.UNSUPPORTED: "not supported (127)",
    Outcome.MISSING: "this machine lacks something (3)",
    Outcome.ERROR: "could not be tried",
    Outcome.NOT_RUN: "not run",
}
_WIDTH, _HEIGHT = 96, 22


@dataclass(frozen=True, slots=True)
class Page(Generic[C]):
    """What differs between the pages."""

    title: str
    #: What a row's cells show, a sentence; may be empty.
    about: Callable[[C], str]
    #: What stands beside the letter.
    figure: Callable[[CellResult], str]
    #: What figures and curves are, a sentence.
    legend: str


def table_page(table: Table[C], page: Page[C], *, place: Path) -> str:
    """Return the page.

    Args:
        table: what it shows.
        page: what kind of table it is.
        place: the directory that it will be in: links to runs start there.
    """
    found = dict(zip([(c.row, c.column) for c in table.cells], table.results(), strict=True))
    columns = list(dict.fromkeys(cell.column for cell in table.cells))
    abouts = {cell.row: page.about(cell) for cell in table.cells}
    body = "".join(
        f'<tr><th scope="row">{escape(row)}{_small(about)}</th>'
        + "".join(_cell(found.get((row, column)), page, place) for column in columns)
        + "</tr>\n"
        for row, about in abouts.items()
    )
    head = "".join(
        f'<th scope="col">{escape(column)}'
        f"{_small(counts([result for (_, where), result in found.items() if where == column]))}</th>"
        for column in columns
    )
    key = "".join(
        f'<span class="{_css(each)}">{_letter(each)} {words}</span>' for each, words in WORDS.items()
    )
    title = f"{page.title}: {table.verdict.value}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f"<body>\n<h1>{escape(title)}</h1>\n"
        f"<p>{counts(list(found.values()))}. {escape(page.legend)}</p>\n"
        f'<p class="key">{key}</p>\n'
        f'<div class="wide" role="region" aria-label="{escape(page.title, quote=True)}" tabindex="0">'
        f"<table><thead><tr><th></th>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody></table></div>\n</body></html>\n"
    )


def counts(results: Sequence[CellResult]) -> str:
    """Return how many cells ended in each way: their sum is that of all cells."""
    told: list[str] = []
    for outcome, words in WORDS.items():
        number = sum(result.outcome is outcome for result in results)
        if number or outcome is Outcome.PASSED:
            told.append(f"{number} {words}" if told else f"{number} of {len(results)} {words}")
    return ", ".join(told)


def _cell(result: CellResult | None, page: Page[C], place: Path) -> str:
    if result is None:
        return "<td></td>"
    figure = page.figure(result)
    figures = f"<b>{_letter(result.outcome)}</b>{f' <span>{escape(figure)}</span>' if figure else ''}"
    if result.goodput is not None and len(result.turns) > 1:
        _, low, high, _ = result.goodput
        figures += (
            f"<small>{max(0.0, low) / 1e6:.3g} to {high / 1e6:.3g} Mbit/s in {len(result.turns)} runs</small>"
        )
    links = "".join(_link(number, turn, place) for number, turn in enumerate(result.turns, start=1))
    runs = f'<div class="runs">{links}</div>' if links else ""
    return (
        f'<td class="{_css(result.outcome)}">{figures}{_curves(result.turns)}'
        f"{_listed('why', result.reasons, opened=True)}{_listed('what was judged', _judged(result))}"
        f"{_listed('notes', result.notes)}{runs}</td>"
    )


def _judged(result: CellResult) -> list[str]:
    """Return what held and what did not, each once: of the first of several runs."""
    first = {(found.text, found.flow): found for found in reversed(result.expectations)}
    return [
        f"{'held' if found.passed else 'missed'}: {found.name}, {found.shown}"
        for found in reversed(first.values())
    ]


def _listed(title: str, sentences: Sequence[str], *, opened: bool = False) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<details{' open' if opened else ''}><summary>{title}</summary><ul>{items}</ul></details>"


def _curves(turns: Sequence[Turn]) -> str:
    """Return the rates of all runs over each other, on one scale."""
    known = [turn.curve for turn in turns if len(turn.curve) > 1]
    if not known:
        return ""
    top = max(max(curve) for curve in known) or 1.0
    lines = "".join(
        '<polyline points="{}"/>'.format(
            " ".join(
                f"{_WIDTH * index / (len(curve) - 1):.1f},{1 + (_HEIGHT - 2) * (1 - rate / top):.1f}"
                for index, rate in enumerate(curve)
            )
        )
        for curve in known
    )
    label = f"rate over time, up to {top / 1e6:.3g} Mbit/s"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}"><title>{label}</title>{lines}</svg>'
    )


def _link(number: int, turn: Turn, place: Path) -> str:
    if not turn.directory:
        return ""
    target = quote(Path(os.path.relpath(turn.directory, place)).as_posix())
    told = f"seed {turn.seed}: {WORDS[turn.outcome]}"
    return f'<a href="{escape(target, quote=True)}/" title="{escape(told, quote=True)}">run {number}</a>'


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>" if text else ""


def _letter(outcome: Outcome) -> str:
    return outcome.letter if outcome is not Outcome.NOT_RUN else "–"


def _css(outcome: Outcome) -> str:
    return outcome.letter if outcome is not Outcome.NOT_RUN else "N"
