"""Which requirements the wire probe checks: the table of docs/wire-truth.md, made of the probe's own code.

A requirement counts as checked where a module of the probe names it in a string of its own: as the rule of a
violation, or among the ``requirements`` of a rule. For every other one the table says why it is not.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.architecture.tree import ROOT
from tests.compliance.requirements import SPEC, requirements

#: The probe, and what it reads with: relative to the project.
CODE = ("orchestrator/probes/wire", "node/dissectors")
PAGE = ROOT / "docs" / "wire-truth.md"
BEGIN, END = "<!-- table -->\n", "<!-- end -->\n"
_NUMBER = re.compile(r"\d+(?:\.\d+)*-\d+")
_FIRST_WORDS = 90

#: Beginning of a requirement's number → why the probe does not check it; the first that fits is meant.
NOT_CHECKED = (
    ("1-", "what a receiver makes of a datagram; what it answers is checked"),
    ("2-", "what a receiver drops; what it answers is checked"),
    ("3-", "timers and memory of a node; one process of several"),
    ("3.1-", "within the handshake's encryption: the probe has no ephemeral keys"),
    ("3.2-", "within the handshake's encryption; parameters are taken from the key log (11-5)"),
    ("3.3-", "within the handshake's encryption"),
    ("3.4-", "a responder's secret, its clock and its load"),
    ("4-", "what a receiver drops, and chance (4-5)"),
    ("4.2-", "timers, limits and settings of one end"),
    ("4.3-", "the receiver's memory, and what it compares"),
    ("5-", "what a receiver does upon it; when an acknowledgement is due depends on its timers"),
    ("6-", "what a receiver hands to its application"),
    ("6.2-", "what an application asked for and is told; deadlines are not on the wire"),
    ("6.3-", "follows from when an application reads"),
    ("7-", "nothing is forbidden by it"),
    ("8-", "estimates and memory of a sender"),
    ("8.1.", "state of a controller; what may go at first is checked (8.1-1)"),
    ("8.1-", "state of a controller"),
    ("8.2-", "how a controller reacts"),
    ("9-", "timers of one end"),
    ("11-", "lines of the key log, which the probe reads"),
    ("12", "measurements, settings and memory of one end"),
    ("13.", "timers, estimates and choices of one end"),
    ("14", "memory and clock of one end"),
    ("15-", "what is sealed in tickets and in INITIATION"),
    ("16-", "traces are not on the wire"),
)


def checked() -> dict[str, list[str]]:
    """Return requirement → modules of the probe that name it."""
    known = requirements((ROOT / SPEC).read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {}
    for path in _modules():
        name = path.relative_to(ROOT).with_suffix("").as_posix()
        for part in CODE:
            name = name.removeprefix(f"{part}/")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                number = node.value
                if _NUMBER.fullmatch(number) and number in known and name not in found.get(number, ()):
                    found.setdefault(number, []).append(name)
    return found


def _modules() -> list[Path]:
    return [path for part in CODE for path in sorted((ROOT / part).rglob("*.py"))]


def named() -> set[str]:
    """Return all numbers that the probe names, whether SPEC.md has them or not."""
    return {
        node.value
        for path in _modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _NUMBER.fullmatch(node.value)
    }


def reason(number: str) -> str:
    """Return why a requirement is not checked.

    Raises:
        LookupError: nothing says why.
    """
    for beginning, why in NOT_CHECKED:
        if number.startswith(beginning):
            return why
    raise LookupError(f"SPEC {number} is neither checked nor in NOT_CHECKED")


def table() -> str:
    """Return the table, one row a requirement."""
    by = checked()
    rows = ["| requirement | begins | checked by |", "| --- | --- | --- |"]
    for number, text in requirements((ROOT / SPEC).read_text(encoding="utf-8")).items():
        begins = text if len(text) <= _FIRST_WORDS else text[:_FIRST_WORDS].rsplit(" ", 1)[0] + " …"
        begins = begins.replace("|", "\\|")
        where = ", ".join(f"`{name}`" for name in by[number]) if number in by else f"– {reason(number)}"
        rows.append(f"| {number} | {begins} | {where} |")
    return "\n".join(rows) + "\n"
