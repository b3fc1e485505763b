"""SIGTERM ends a pytest that has a lab up as Ctrl-C does: by itself it ends at once, and leaves the lab."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def termination_in_order() -> Iterator[None]:
    """Let SIGTERM interrupt the block, so that what it made is removed; afterwards it ends pytest again.

    Nothing is changed where a project decides itself what SIGTERM does, nor outside the main thread, where no
    handler can be set: there the signal is the main thread's, and so is its end.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    interrupted = False

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        # timeout(1) signals its child and then its group, so a child twice: the second would end the removal.
        if interrupted:
            return
        interrupted = True
        # An event loop that runs has a handler of its own, which cancels what it runs. There is none where
        # SIGINT is ignored, as in what a shell started with &.
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
