"""Breaks a rule in a copy of the sources, and runs the test that must notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lanes.machine import ROOT
from tests.mutation.mutations import Change, Mutation

#: What a copy needs so that tests of the transport run in it.
COPIED = ("node", "orchestrator", "tests", "pyproject.toml")
LIMIT_SECONDS = 120
#: Python's words for a change that is wrong itself: a name that is no longer there breaks no rule.
BROKEN = ("AttributeError", "ImportError", "NameError", "TypeError", "UnboundLocalError")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the named test said to a broken rule."""

    mutation: Mutation
    caught: bool
    #: The line with which the test failed, or what went wrong.
    words: str

    def __str__(self) -> str:
        found = "caught" if self.caught else "MISSED"
        return f"{found}: {self.mutation.rule}\n    {self.mutation.test}\n    {self.words}"


def copy_sources(directory: Path) -> None:
    """Copy what tests of the transport need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*cache")
            shutil.copytree(source, directory / name, ignore=ignored)
        else:
            shutil.copy(source, directory / name)


def applied(change: Change, text: str) -> str:
    """Return the text with a change made (ValueError: the place is not there exactly once)."""
    if text.count(change.old) != 1:
        raise ValueError(f"{change.file}: {text.count(change.old)} times, not once: {change.old!r}")
    return text.replace(change.old, change.new)


def run(mutation: Mutation, directory: Path) -> Outcome:
    """Break a rule in the copy, run its test, and mend the copy again."""
    before = {path: (path.read_text(), path.stat().st_mtime_ns) for path in (
        directory / change.file for change in mutation.changes
    )}  # fmt: skip
    try:
        for change in mutation.changes:
            path = directory / change.file
            path.write_text(applied(change, path.read_text()))
        status, said = run_tests([mutation.test], directory)
    finally:
        for path, (text, modified) in before.items():
            path.write_text(text)
            # With the time that it had, so that what was compiled of it holds again.
            os.utime(path, ns=(modified, modified))
    words = [line[1:].strip() for line in said.splitlines() if line.startswith("E  ")]
    # Status 1: a test failed. Another one (no such test, an error of syntax) proves nothing.
    noticed = status == 1 and not any(word.startswith(BROKEN) for word in words)
    return Outcome(mutation, noticed, words[0] if words else said.strip()[-200:])


def run_tests(tests: Sequence[str], directory: Path, *, keep_compiled: bool = False) -> tuple[int, str]:
    """Return pytest's status and output for tests in the copy, all in one process.

    Args:
        keep_compiled: leave what was compiled to later runs, which takes them most of their time: only
            where nothing is broken.
    """
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header"]
    argv += [f"tests/{test}" for test in tests]
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    environment["PYTHONDONTWRITEBYTECODE"] = "" if keep_compiled else "1"
    done = subprocess.run(
        argv,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout
