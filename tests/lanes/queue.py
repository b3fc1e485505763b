"""Which lane is next, for who runs them one after another in the foreground, and for who does beside that."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from tests.lanes.table import Lane


class Queue:
    """Lanes that nobody has begun."""

    def __init__(self, waiting: Sequence[Lane], set_ups: Mapping[str, Future[object]]) -> None:
        self._waiting = list(waiting)
        self._set_ups = set_ups
        self._lock = threading.Lock()
        self._closed = False

    def take(self, *, foreground: bool) -> Lane | None:
        """Return what to run next; None: nothing more.

        Those that need this machine for themselves come first and in the foreground, so never two of them
        are run at once. The others are for whoever is free, those first whose set-up is through.
        """
        with self._lock:
            alone = [lane for lane in self._waiting if not lane.beside] if foreground else []
            fit = alone or [lane for lane in self._waiting if lane.beside]
            ready = [lane for lane in fit if self._set_ups[lane.name].done()]
            if not fit or self._closed:
                return None
            taken = (ready or fit)[0]
            self._waiting.remove(taken)
            return taken

    def close(self) -> None:
        """Let nobody begin another. It takes no lock: a signal's handler may interrupt who has it."""
        self._closed = True
