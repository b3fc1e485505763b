"""Cases and what became of them as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from orchestrator.cli.support.exit_codes import ExitCode
from orchestrator.cli.support.tables import table
from orchestrator.experiment.cases import CaseFile, CaseResult, Outcome
from orchestrator.experiment.suite import SuiteResult

#: Outcome → the sign of the interop runner's own tables, and how it looks.
SIGNS = {
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✕", "red"),
    Outcome.UNSUPPORTED: ("?", "yellow"),
    Outcome.MISSING: ("?", "yellow"),
}


#: What the suite's exit code is, the first that fits; passed cases beside unsupported ones are no failure.
_CODES = (
    (Outcome.FAILED, ExitCode.FAILED),
    (Outcome.PASSED, ExitCode.OK),
    (Outcome.UNSUPPORTED, ExitCode.NOT_SUPPORTED),
    (Outcome.MISSING, ExitCode.ENVIRONMENT),
)


def suite_exit_code(suite: SuiteResult) -> ExitCode:
    """Return how the command ends: 1 if a case failed, 127 if no case was supported."""
    counted = suite.count()
    return next(code for outcome, code in _CODES if counted[outcome])


def told(result: CaseResult) -> str:
    """Return one line that says what became of a case."""
    how = f"{result.seconds:.1f} s of the lab's time" if result.directory else "; ".join(result.reasons)
    return f"{SIGNS[result.outcome][0]} {result.letter:4} {result.name} ({result.setting.title}): {how}"


def list_tables(cases: Sequence[CaseFile]) -> tuple[RenderableType, ...]:
    """Return a table of what cases there are."""
    rows = [(case.case.letter, case.name, case.case.group, case.about) for case in cases]
    return (table("Cases", ("", "case", "of", "shows"), rows),)


def case_tables(suite: SuiteResult) -> tuple[RenderableType, ...]:
    """Return one row for each case and one column for each setting, the reasons below, then the letters."""
    by_cell: dict[tuple[str, int], list[CaseResult]] = {}
    for result in suite.results:
        by_cell.setdefault((result.name, suite.settings.index(result.setting)), []).append(result)
    columns = [setting.title for setting in suite.settings]
    rows: list[tuple[str | Text, ...]] = [
        (
            case.case.letter,
            case.name,
            *(_cell(by_cell[case.name, index]) for index in range(len(suite.settings))),
        )
        for case in suite.cases
    ]
    title = "Cases, each with a wrong setting that it must notice" if suite.broken else "Cases"
    parts: list[RenderableType] = [table(title, ("", "case", *columns), rows)]
    parts.extend(_reasons(suite))
    parts.extend(_letters(suite))
    return tuple(parts)


def _cell(results: Sequence[CaseResult]) -> Text:
    text = Text()
    for result in results:
        sign, style = SIGNS[result.outcome]
        text.append(f"{' ' if text else ''}{sign}", style=style)
    ran = [result.seconds for result in results if result.directory is not None]
    return text.append(f" {sum(ran):.1f} s") if ran else text.append(f" {results[0].outcome.value}")


def _reasons(suite: SuiteResult) -> list[Text]:
    told = []
    for result in suite.results:
        where = f" ({result.setting.title})" if len(suite.settings) > 1 else ""
        style = SIGNS[result.outcome][1]
        told += [
            Text(f"{result.outcome.value}: {result.letter} {result.name}{where}: {why}", style=style)
            for why in result.reasons
            if result.outcome is not Outcome.PASSED
        ]
        if result.outcome is Outcome.FAILED and result.directory:
            told.append(Text(f"  files in {result.directory}"))
    return told


def _letters(suite: SuiteResult) -> list[Text]:
    lines = []
    for setting in suite.settings:
        text = Text(f"{setting.title}: ")
        here = [result for result in suite.results if result.setting == setting]
        shapers = sorted({result.impairment for result in here if result.impairment})
        for outcome in (Outcome.PASSED, Outcome.UNSUPPORTED, Outcome.MISSING, Outcome.FAILED):
            letters = dict.fromkeys(result.letter for result in here if result.outcome is outcome)
            if letters:
                sign, style = SIGNS[outcome]
                text.append(f"{sign}({','.join(letters)}) ", style=style)
        text.append(f"{sum(result.outcome is Outcome.PASSED for result in here)} of {len(here)} passed")
        text.append(f"; links impaired by: {', '.join(shapers)}" if shapers else "")
        lines.append(text)
    return lines
