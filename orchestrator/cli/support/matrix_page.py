"""A matrix as one page of HTML that needs nothing beside it: colours, figures, curves, links to the runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from orchestrator.experiment.matrix import Cell, Letter, Matrix, Turn

_WORDS = {
    Letter.PASS: "passed",
    Letter.FAIL: "failed",
    Letter.UNSUPPORTED: "not supported",
    Letter.ERROR: "could not be tried",
    Letter.MISSING: "not run",
}
_WIDTH, _HEIGHT = 96, 22
_STYLE = """
:root{color-scheme:light dark;--pass:#d7f0dc;--fail:#f8d3d0;--not:#ececf0;--error:#fbe7c2;--ink:#1c2024;
--soft:#5b6470;--line:#d4d8de;--page:#fff}
@media(prefers-color-scheme:dark){:root{--pass:#1d4429;--fail:#5c2623;--not:#2b2e34;--error:#57441a;--ink:#e8eaed;
--soft:#a0a8b3;--line:#3a3f47;--page:#16181c}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:2rem}
h1{font-size:1.3rem;margin:0 0 .3rem}p{color:var(--soft);margin:.2rem 0 1rem}
table{border-collapse:separate;border-spacing:3px}
th{font-weight:600;text-align:left;padding:.35rem .7rem}thead th{border-bottom:1px solid var(--line)}
td{padding:.4rem .7rem;border-radius:5px;vertical-align:top;min-width:8rem}
.P{background:var(--pass)}.F{background:var(--fail)}.U,.M{background:var(--not);color:var(--soft)}.E{background:var(--error)}
b{font-variant-numeric:tabular-nums}small{color:var(--soft);display:block}
svg{display:block;margin:.25rem 0}polyline{fill:none;stroke:currentColor;stroke-width:1.3;opacity:.75}
.runs a{display:inline-block;margin-right:.35rem;color:inherit}summary{cursor:pointer}
.key span{padding:.1rem .5rem;border-radius:4px;margin-right:.4rem;color:var(--ink)}
"""


def matrix_page(matrix: Matrix, *, title: str, place: Path) -> str:
    """Return the page.

    Args:
        matrix: what it shows.
        title: its heading.
        place: the directory that it will be in: links to runs start there.
    """
    rows, columns = list(dict.fromkeys(c.row for c in matrix.cells)), _columns(matrix.cells)
    by_place = {(cell.row, cell.column): cell for cell in matrix.cells}
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(row)}</th>'
        + "".join(_cell(matrix, by_place.get((row, column)), place) for column in columns)
        + "</tr>\n"
        for row in rows
    )
    count = {letter: sum(matrix.letter(cell) is letter for cell in matrix.cells) for letter in Letter}
    told = ", ".join(f"{number} {_WORDS[letter]}" for letter, number in count.items() if number)
    key = "".join(
        f'<span class="{_css(letter)}">{letter.value} {words}</span>' for letter, words in _WORDS.items()
    )
    runs = "run" if matrix.repeats == 1 else "runs"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>\n'
        f"<h1>{escape(title)}: {matrix.verdict.value}</h1>\n"
        f"<p>{len(matrix.cells)} cells of {matrix.repeats} {runs} each: {told}. A figure is the goodput of "
        "all flows together, the mean of the runs with its 95 % interval; a curve is the rate over the time "
        "of each run.</p>\n"
        f"<table><thead><tr><th></th>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>\n"
        f'<p class="key">{key}</p>\n</body></html>\n'
    )


def _columns(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.column for cell in cells))


def _cell(matrix: Matrix, cell: Cell | None, place: Path) -> str:
    if cell is None:
        return '<td class="M"></td>'
    letter, turns = matrix.letter(cell), matrix.turns.get(cell, [])
    figures = f"<b>{letter.value}</b>"
    goodput = matrix.goodput(cell)
    if goodput is not None:
        mean, low, high, _ = goodput
        figures += f" <b>{mean / 1e6:.3g}</b> Mbit/s"
        if len(turns) > 1:
            figures += f"<small>{max(0.0, low) / 1e6:.3g} to {high / 1e6:.3g}</small>"
    curves = _curves(turns)
    links = "".join(
        _link(number, turn, place) for number, turn in enumerate(turns, start=1) if turn.directory
    )
    reasons = list(dict.fromkeys(reason for turn in turns for reason in turn.reasons))
    why = ""
    if reasons:
        items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        why = f"<details><summary>why</summary><ul>{items}</ul></details>"
    return f'<td class="{_css(letter)}">{figures}{curves}<span class="runs">{links}</span>{why}</td>'


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
    target = Path(os.path.relpath(turn.directory, place)).as_posix()
    told = f"seed {turn.seed}: {_WORDS[turn.letter]}"
    return f'<a href="{escape(target, quote=True)}/" title="{escape(told, quote=True)}">run {number}</a>'


def _css(letter: Letter) -> str:
    return "M" if letter is Letter.MISSING else letter.value
