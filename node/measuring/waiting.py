"""Waits for the kernel with many packet sockets at once.

Whoever rebinds or closes a packet socket waits until no CPU looks at it any more (``synchronize_net``): some
5 to 30 ms each. The thousand sockets of a hundred links took half a minute one after the other; those who
wait at the same time wait for the same grace period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Sockets that are waited for at once.
_AT_ONCE = 64


def with_each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function that waits for the kernel with each item; return what it returned, in order."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="measure") as pool:
        return list(pool.map(function, items))
