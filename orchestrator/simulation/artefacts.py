"""The files of a simulated run: captures of all links in virtual time, and the nodes' key logs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO


class Artefacts:
    """Writes the files of one run.

    Args:
        directory: where they go.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open = ExitStack()
        self._key_logs: dict[str, TextIO] = {}

    def key_log_of(self, node: str) -> Callable[[str], None]:
        """Return what takes the key log lines of ``node``."""
        log = self._key_logs.get(node)
        if log is None:
            path = self._directory / f"{node}.keylog"
            log = self._key_logs[node] = self._open.enter_context(path.open("w", encoding="ascii"))

        def write(line: str) -> None:
            log.write(line.rstrip("\n") + "\n")

        return write

    def close(self) -> None:
        """Finish all files; may be called twice."""
        self._open.close()
