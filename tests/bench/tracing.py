"""``python -m tests.bench.tracing``: CPU that tracing takes, in one process and without a network.

Two endpoints hand each other bursts as the UDP driver would; what is measured is the process's CPU
time, so that other load on the machine matters little. Three ways in turns: off, on with the events
thrown away, and on with files.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from node.protocol.arena import Arena
from node.protocol.datagrams import Burst
from node.protocol.trace import TracerOf
from node.qlog.writer import QlogWriter
from tests.support.pair import LEFT, RIGHT, Pair

MIB = 1 << 20
SIZE = 64 * MIB
REPETITIONS = 5
#: One way; a window of data is on its way at any time.
STEP_NS = 1_000_000


def main() -> int:
    """Measure, and print seconds of CPU for each GiB."""
    found: dict[str, list[float]] = {"off": [], "events": [], "files": []}
    for _ in range(REPETITIONS):
        found["off"].append(cpu_seconds(None))
        found["events"].append(cpu_seconds(lambda connection_id, initiator: lambda now, event: None))
        with TemporaryDirectory() as directory:
            found["files"].append(with_files(Path(directory)))
    base = statistics.median(found["off"])
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(
            f"{name:7} {median * 1024 * MIB / SIZE:6.2f} s of CPU a GiB, both ends   {median / base - 1:+.0%}"
        )
    return 0


def with_files(directory: Path) -> float:
    """Return the CPU of a transfer with qlog files of both ends."""
    writer = QlogWriter(
        directory, name="bench", local=("left", 1), reference=0, reference_time=1.0,
        on_trouble=sys.exit, file_bytes=1 << 30,
    )  # fmt: skip
    begin = time.process_time()
    cpu_seconds(writer.tracer_of)
    writer.close()
    return time.process_time() - begin


def cpu_seconds(tracer_of: TracerOf | None) -> float:
    """Send SIZE bytes from left to right; return the CPU it took."""
    pair = Pair(tracers=(tracer_of, tracer_of))
    connection = pair.established()
    stream = connection.open_stream()
    data = memoryview(bytes(MIB))
    arenas = {False: Arena(), True: Arena()}
    begin, received, written = time.process_time(), 0, 0
    while received < SIZE:
        while written < SIZE and connection.backlog(stream) < 8 * MIB:
            connection.write(stream, data)
            written += len(data)
        pair.now += STEP_NS
        for sender, receiver, source, to_right in (
            (pair.left, pair.right, LEFT, True),
            (pair.right, pair.left, RIGHT, False),
        ):
            sender.handle_timeout(now=pair.now)
            while (burst := sender.transmit(now=pair.now)) is not None:
                view = arenas[to_right].view[: len(burst.buffer)]
                view[:] = burst.buffer
                taken = Burst(source, view, burst.segment_size, arena=arenas[to_right])
                receiver.receive(taken, now=pair.now)
        while (found := pair.right.next_event()) is not None:
            received += len(found[0].read(stream))
        while pair.left.next_event() is not None:
            pass
    return time.process_time() - begin


if __name__ == "__main__":
    sys.exit(main())
