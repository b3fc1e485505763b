"""``python -m tests.bench.loss``: what loss costs in CPU, both ends, with and without a network.

*memory*: two endpoints in one process, and between them a link on virtual time, which joins what arrives
together as UDP GRO does. Counted is the CPU time of the calls of the two endpoints, not of the link. Each
repetition is another seed: at what rate BBR goes while it learns that loss is chance, chance decides.

*routed*: the processes and namespaces of ``make bench``; the router drops packets by chance, in the kernel.

With loss and without take turns (A B A B); the figures are medians, the cost is that of each pair.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import deque
from random import Random
from typing import TYPE_CHECKING

from node.protocol.arena import Arena
from node.protocol.configuration import Configuration
from node.protocol.datagrams import MAX_BURST_BYTES, MAX_SEGMENTS, Burst
from node.protocol.time import SECOND, Duration, Instant
from tests.bench.__main__ import one
from tests.bench.places import Routed
from tests.support.pair import LEFT, RIGHT, Pair

if TYPE_CHECKING:
    from node.protocol.datagrams import SocketAddress, Transmit
    from node.protocol.endpoint import Endpoint

MIB = 1 << 20
CONTROLLERS = ("bbr", "cubic")
#: One way of the link in memory; with the wait for the next step, its product with the rate is 0.4 MB.
DELAY_NS: Duration = 500_000
RATE_BPS = 2_500_000_000
#: What the link holds beyond that; then it drops.
QUEUE_BYTES = 2_500_000
#: Arrivals are handed over so often, joined.
STEP_NS: Duration = 200_000
#: The sender's application keeps so much written.
BACKLOG_BYTES = 8 * MIB


class Direction:
    """One direction of the link: rate, queue, delay, and loss by chance of single packets."""

    def __init__(self, source: SocketAddress, receiver: Endpoint, loss: float, rng: Random) -> None:
        self._source, self._receiver = source, receiver
        self._loss, self._rng = loss, rng
        self._free_at: Instant = 0
        self._flying: deque[tuple[Instant, bytes, int]] = deque()
        self._arena = Arena()

    def carry(self, burst: Transmit, now: Instant) -> None:
        """Take a burst, packet by packet."""
        for start in range(0, len(burst.buffer), burst.segment_size):
            packet = bytes(burst.buffer[start : start + burst.segment_size])
            free_at = max(self._free_at, now)
            if (free_at - now) * RATE_BPS > QUEUE_BYTES * 8 * SECOND:
                continue
            self._free_at = free_at + len(packet) * 8 * SECOND // RATE_BPS
            if self._rng.random() >= self._loss:
                self._flying.append((self._free_at + DELAY_NS, packet, burst.ecn))

    @property
    def next_time(self) -> Instant | None:
        """When the next packet arrives."""
        return self._flying[0][0] if self._flying else None

    def bursts(self, now: Instant) -> list[tuple[int, list[bytes]]]:
        """Return what has arrived, joined like GRO: equal packets, of which the last may be shorter."""
        joined: list[tuple[int, list[bytes]]] = []
        size = room = marked = 0
        while self._flying and self._flying[0][0] <= now:
            _, packet, ecn = self._flying.popleft()
            if len(packet) <= min(size, room) and len(joined[-1][1]) < MAX_SEGMENTS and ecn == marked:
                joined[-1][1].append(packet)
            else:
                joined.append((ecn, [packet]))
                marked = ecn
                size, room = len(packet), MAX_BURST_BYTES
            room = room - len(packet) if len(packet) == size else 0
        return joined

    def deliver(self, now: Instant) -> int:
        """Hand over what has arrived; return the ns of CPU that took the receiver."""
        spent = 0
        for ecn, packets in self.bursts(now):
            data = b"".join(packets)
            view = self._arena.view[: len(data)]
            view[:] = data
            burst = Burst(self._source, view, len(packets[0]), ecn=ecn, arena=self._arena)
            begin = time.thread_time_ns()
            self._receiver.receive(burst, now=now)
            spent += time.thread_time_ns() - begin
        return spent


def in_memory(congestion: str, loss: float, *, size: int, seed: int = 1) -> float:
    """Send ``size`` bytes from left to right; return seconds of CPU a GiB, of both ends."""
    settings = Configuration(congestion=congestion)
    pair = Pair(left=settings, right=settings, seed=seed)
    connection = pair.established()
    stream = connection.open_stream()
    data, rng = memoryview(bytes(MIB)), Random(f"{seed}/loss")
    right = Direction(LEFT, pair.right, loss, rng)
    left = Direction(RIGHT, pair.left, loss, rng)
    clock, spent, received, written = time.thread_time_ns, 0, 0, 0
    while received < size:
        due = [when for when in (right.next_time, left.next_time) if when is not None]
        due += [when for end in (pair.left, pair.right) if (when := end.next_timeout()) is not None]
        pair.now = max(pair.now, -(-min(due, default=0) // STEP_NS) * STEP_NS)
        spent += right.deliver(pair.now) + left.deliver(pair.now)
        begin = clock()
        while (found := pair.right.next_event()) is not None:
            received += len(found[0].read(stream))
        while pair.left.next_event() is not None:
            pass
        while written < size and connection.backlog(stream) < BACKLOG_BYTES:
            connection.write(stream, data)
            written += len(data)
        for sender, direction in ((pair.left, right), (pair.right, left)):
            deadline = sender.next_timeout()
            if deadline is not None and deadline <= pair.now:
                sender.handle_timeout(now=pair.now)
            while (burst := sender.transmit(now=pair.now)) is not None:
                spent += clock() - begin
                direction.carry(burst, pair.now)
                begin = clock()
        spent += clock() - begin
    return spent / 1e9 * 1024 * MIB / size


def routed(asked: argparse.Namespace) -> None:
    """Measure on sockets, and print."""
    port = 18_000
    place = Routed()
    with place as ends:
        for congestion in asked.controllers.split(","):
            pairs: list[tuple[float, float]] = []
            for _ in range(asked.repetitions):
                found = []
                for loss in (0.0, asked.loss / 100):
                    place.set_loss(loss)
                    port += 3
                    options = ("--congestion", congestion)
                    run = one(ends, "strait", "bulk", asked.routed_mib * MIB, port, options)
                    if run is None:
                        raise SystemExit(f"routed: {congestion}: a run with {loss:.1%} of loss has failed")
                    found.append(run["cpu_per_gib"])
                pairs.append((found[0], found[1]))
            report("routed", congestion, pairs)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loss", description=__doc__)
    parser.add_argument("--loss", type=float, default=1.0, help="percent of the packets, each way")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--mib", type=int, default=128, help="size of one transfer in memory")
    parser.add_argument("--routed-mib", type=int, default=512, help="size of one transfer on sockets")
    parser.add_argument("--controllers", default=",".join(CONTROLLERS), help="comma-separated")
    parser.add_argument("--places", default="memory,routed", help="comma-separated")
    asked = parser.parse_args()
    print("CPU s/GiB of both ends")
    print(f"{'place':9}{'controller':12}{'0 %':>7}{asked.loss:>7.3g} %   cost of loss: median (each pair)")
    places = asked.places.split(",")
    if "memory" in places:
        for congestion in asked.controllers.split(","):
            pairs = []
            for seed in range(asked.repetitions):
                clean, lossy = (
                    in_memory(congestion, loss, size=asked.mib * MIB, seed=seed)
                    for loss in (0.0, asked.loss / 100)
                )
                pairs.append((clean, lossy))
            report("memory", congestion, pairs)
    if "routed" in places:
        if os.geteuid() == 0:
            routed(asked)
        else:
            print("routed: left out, network namespaces need root")


def report(place: str, congestion: str, pairs: list[tuple[float, float]]) -> None:
    """Print a line: CPU seconds a GiB of both ends without loss and with it."""
    clean, lossy = (statistics.median(column) for column in zip(*pairs, strict=True))
    costs = [b / a - 1 for a, b in pairs]
    each = " ".join(f"{cost:+.0%}" for cost in costs)
    print(
        f"{place:9}{congestion:12}{clean:7.2f}{lossy:9.2f}   {statistics.median(costs):+.1%}  ({each})",
        flush=True,
    )


if __name__ == "__main__":
    main()
