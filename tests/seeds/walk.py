"""Walks seeds over all cores: what failed comes back with its seed, and so does what never ended."""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from types import FrameType

from tests.seeds import ends, messages, transfer

#: What a seed may be run as.
KINDS: dict[str, Callable[[int], None]] = {
    "transfer": transfer.run, "ends": ends.run, "messages": messages.run,
}  # fmt: skip
#: Seeds that one process takes at a time.
CHUNK = 25
#: Real seconds after which a seed hangs: the slowest takes half of one, a crowded machine ten times that.
HANG_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that failed."""

    kind: str
    seed: int
    #: The last line of the traceback, and the line that failed.
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.seed}: {self.reason}"


class HangError(Exception):
    """A seed took longer than any does."""


def walk(kind: str, seeds: range, *, workers: int | None = None) -> Iterator[list[Failure]]:
    """Yield the failures of each chunk of seeds, in order, as they come.

    Args:
        workers: processes; None: one a core.
    """
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(workers or os.cpu_count(), initializer=gc.freeze) as pool:
        yield from pool.map(run_chunk, repeat(kind), chunks)


def run_chunk(kind: str, seeds: range) -> list[Failure]:
    """Run these seeds one after the other."""
    return [failure for seed in seeds if (failure := run_one(kind, seed)) is not None]


def run_one(kind: str, seed: int) -> Failure | None:
    """Run a seed; whatever it raises is its failure."""
    # Seconds of this process's own work: on a busy machine the clock would tell of others.
    signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        KINDS[kind](seed)
    except Exception as error:  # whatever it is, the walk goes on and tells
        frames = traceback.extract_tb(error.__traceback__)
        text = " ".join(str(error).split())[:300]
        return Failure(
            kind, seed, f"{type(error).__name__}: {text} ({frames[-1].filename}:{frames[-1].lineno})"
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def _hang(number: int, frame: FrameType | None) -> None:
    raise HangError(f"no end in {HANG_SECONDS} s of CPU")
