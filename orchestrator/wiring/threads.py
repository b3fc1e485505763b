"""The threads of a lab: what blocks is done in one of them, and the end of the lab waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: Commands under way at once: each is a process that mostly waits for the kernel.
_THREADS = 8


class Threads:
    """Of a lab's own: ``end`` must wait for what a cancelled task still does in them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="lab")

    async def do(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function that blocks."""
        call = partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def end(self) -> None:
        """Wait for what is under way; what has not begun never will."""
        self._pool.shutdown(wait=True, cancel_futures=True)
