"""A pytest plug-in of the lanes: which test runs is written to a file, and SIGUSR1 writes all tracebacks.

pytest's own time limit of a test writes them, too, but not while it collects tests or ends.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from pathlib import Path

import pytest

_ASK = signal.SIGUSR1
#: It writes at once when it runs at all; with SIGTERM in the same moment it would not come to it.
_ASKED_SECONDS = 1.0
_OPTION = "--current-test"
_END = "(end)"


def options(path: Path) -> list[str]:
    """Options of pytest that have the tests' names written to a file."""
    path.unlink(missing_ok=True)
    return ["-p", __name__, f"{_OPTION}={path}"]


def where(path: Path) -> str:
    """Return in words where a pytest is that writes, or wrote, to a file."""
    lines = path.read_text().splitlines() if path.exists() else []
    if not lines:
        return "before its first test"
    return "after its last test" if lines[-1] == _END else f"in {lines[-1]}"


def ask(pid: int) -> None:
    """Have a pytest write the tracebacks of all its threads."""
    os.kill(pid, _ASK)
    time.sleep(_ASKED_SECONDS)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the file's name."""
    parser.addoption(_OPTION, metavar="FILE", help="append the name of each test that begins")


def pytest_configure(config: pytest.Config) -> None:
    """Begin; what the tests print is not captured yet, so this is the real stderr."""
    faulthandler.register(_ASK, file=os.dup(2), all_threads=True)
    config.pluginmanager.register(_Writer(Path(config.getoption(_OPTION))))


class _Writer:
    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._append(nodeid)

    def pytest_sessionfinish(self) -> None:
        self._append(_END)

    def _append(self, line: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{line}\n")
