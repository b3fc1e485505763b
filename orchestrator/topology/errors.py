"""All that is wrong with a topology file, each place with its line, a caret and advice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from orchestrator.errors import TestbedError

#: More than this is one mistake seen many times; the rest is counted.
MAX_SHOWN = 25
#: Names that are listed where one of them must be meant: all impairments.
MAX_NAMES = 30
#: Characters of a source line that are shown.
MAX_WIDTH = 160


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake, and where it is."""

    #: From 1.
    line: int
    #: From 1, in characters.
    column: int
    #: What was found and why it is wrong.
    message: str
    #: What to do, one sentence a line; then how the place came to matter (a parameter, an extending file).
    advice: tuple[str, ...] = ()
    #: Which of the topology's files it is in: 0 is the one that was asked for, others are those it extends.
    source: int = 0


class TopologyError(TestbedError):
    """A topology file is not valid; its text shows every problem (exit code 2).

    Args:
        file: name of the file as the user gave it.
        text: the file's text, for showing lines.
        problems: what is wrong, in any order.
        more: name and text of the files that it extends, in the order of ``Problem.source``.
    """

    def __init__(
        self, file: str, text: str, problems: Iterable[Problem], more: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.file = file
        #: Name and text of each file that a problem may be in.
        self.sources = ((file, text), *more)
        self.problems: tuple[Problem, ...] = tuple(
            sorted(set(problems), key=lambda problem: (problem.source, problem))
        )
        super().__init__(render(self.sources, self.problems))

    def file_of(self, problem: Problem) -> str:
        """Return the name of the file that a problem is in."""
        return self.sources[problem.source][0]


def render(sources: Sequence[tuple[str, str]], problems: Sequence[Problem]) -> str:
    """Return the problems as users read them: ``file:line:column: message``, line, caret, advice."""
    lines = [(file, text.splitlines()) for file, text in sources]
    blocks = [_block(*lines[problem.source], problem) for problem in problems[:MAX_SHOWN]]
    if len(problems) > MAX_SHOWN:
        blocks.append(f"and {len(problems) - MAX_SHOWN} more")
    return "\n\n".join(blocks)


def suggestion(found: str, known: Iterable[str], *, what: str = "use one of") -> tuple[str, ...]:
    """Return advice for a word that is none of ``known``: the nearest, or else all of them."""
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    near = get_close_matches(found.lower(), lowered, n=1, cutoff=0.6)
    advice = (f"did you mean {lowered[near[0]]!r}?",) if near else ()
    if not names:
        return advice
    shown = ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")
    return (*advice, f"{what}: {shown}")


def _excerpt(line: str, column: int) -> tuple[str, int]:
    """Return what is shown of a line, and the column in it: a long line is cut around its column.

    Each character takes one place, and none of them does anything to a terminal: files may be anything.
    """
    start = max(0, column - 1 - MAX_WIDTH // 2) if column > MAX_WIDTH else 0
    shown = "".join(
        character if character.isprintable() else " " if character == "\t" else "·"
        for character in line[start : start + MAX_WIDTH]
    )
    before, after = "…" if start else "", "…" if start + MAX_WIDTH < len(line) else ""
    return before + shown + after, column - start + len(before)


def _block(file: str, lines: list[str], problem: Problem) -> str:
    parts = [f"{file}:{problem.line}:{problem.column}: {problem.message}"]
    if 1 <= problem.line <= len(lines):
        number = f"{problem.line:5d}"
        source, column = _excerpt(lines[problem.line - 1], problem.column)
        parts.append(f"{number} | {source}")
        if column <= len(source) + 1:
            parts.append(f"{' ' * len(number)} | {' ' * (column - 1)}^")
    parts.extend(f"      = {advice}" for advice in problem.advice)
    return "\n".join(parts)
