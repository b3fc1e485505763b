"""What a fork does before it is the process that was asked for."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
#: Nobody but us knows that it is a fork: what it says and its exit code are those of any process.
EXIT_CRASHED = 1
EXIT_NO_NAMESPACE = 3


@dataclass(frozen=True, slots=True)
class Order:
    """A process to be forked."""

    #: The package whose ``__main__`` has the ``main`` to call, as in ``python -m MODULE``.
    module: str
    arguments: tuple[str, ...]
    #: Path of the network namespace; empty: the server's.
    namespace: str
    #: File to whose end its output goes.
    log: str
    #: Added to the server's.
    environment: dict[str, str]
    #: What ``ps -o comm`` shows; the kernel cuts it to 15 bytes.
    title: str


def become(order: Order, *, parent: int | None) -> NoReturn:
    """Turn this process, a fork of the server, into what was ordered, and end with its exit code.

    Args:
        order: what it is to be.
        parent: pid of the server, with which it is to end; None: it outlives the server.
    """
    code = EXIT_CRASHED
    try:
        _settle(order, parent)
        code = _run(order)
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: the handlers and files above this call are the server's.
        _finish(code)


def _settle(order: Order, parent: int | None) -> None:
    """Take leave of the server: descriptors, session, namespace, environment."""
    os.setsid()
    if parent is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            # It ended before we asked to be told.
            os._exit(EXIT_CRASHED)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # Before anything that can fail: the log is where it is told.
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    _enter(order.namespace)
    _prctl(_PR_SET_NAME, ctypes.create_string_buffer(order.title.encode()))
    os.environ.update(order.environment)
    tempfile.tempdir = None
    sys.argv = [f"python -m {order.module}", *order.arguments]
    _show([sys.executable, "-m", order.module, *order.arguments])


def _run(order: Order) -> int:
    main: Callable[[], int] = importlib.import_module(f"{order.module}.__main__").main
    try:
        return main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_CRASHED


def _finish(code: int) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # the disk is full, or whoever read has gone: the exit code is what is left to tell
    os._exit(code)


def _enter(namespace: str) -> None:
    if not namespace:
        return
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc().setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            sys.stderr.write(f"cannot enter namespace {namespace}: {os.strerror(number)}; are you root?\n")
            _finish(EXIT_NO_NAMESPACE)
    finally:
        os.close(descriptor)


def _show(words: Sequence[str]) -> None:
    """Have ``ps`` show this command line, in the place of the server's, cut to its length."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    # Fields 48 and 49 of proc(5): where the kernel reads the arguments. Python has copied its own.
    start, end = int(fields[45]), int(fields[46])
    text = b"\0".join(word.encode() for word in words)[: end - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def _prctl(option: int, argument: object) -> None:
    _libc().prctl(option, argument, 0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def orders(fields: Sequence[dict[str, object]]) -> list[Order]:
    """Return what a request orders (TypeError: it is malformed)."""
    return [Order(**{**found, "arguments": tuple(found["arguments"])}) for found in fields]  # type: ignore[arg-type]
