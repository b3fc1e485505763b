"""What `orchestrator.tc` tells a real kernel does what `node.links.model` does, packet by packet.

Frames go through one veth with the set under test on its egress, at given instants; what arrives, and
when, is compared with the model. In a kernel whose time is virtual a difference is a difference in
meaning, and none is noise: only chance differs, and the bounds below are those of chance.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from node.links.model import LinkModel
from node.links.settings import NONE, Impairments
from node.protocol.time import MICROSECOND, MILLISECOND, SECOND
from orchestrator.executor import Executor
from orchestrator.tc import commands, comparison, readback
from orchestrator.wiring.shaping import kernel_problem
from tests.golden.test_tc_commands import SETS

pytestmark = [pytest.mark.netem, pytest.mark.timetravel]

ETHERTYPE = 0x88B5  # IEEE 802 "local experimental": no stack answers it
#: For where the type itself may be what is hit.
ETH_P_ALL = 3
SEQUENCE = slice(14, 18)
#: Not in Python's socket module: Linux's numbers.
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS_NEW = 64
#: The kernel counts in ticks of 64 ns, and a veth costs some time of its own.
GRAIN = 2 * MICROSECOND


@dataclass(frozen=True)
class Course:
    """What came out of a link, in order of arrival."""

    sequences: tuple[int, ...]
    delays: tuple[int, ...]

    @property
    def late(self) -> int:
        """How many frames came after one that was sent later."""
        highest = itertools.accumulate(self.sequences, max)
        return sum(one < most for one, most in zip(self.sequences, highest, strict=True))

    @property
    def mean(self) -> float:
        """Mean delay, ns."""
        return sum(self.delays) / len(self.delays)

    @property
    def deviation(self) -> float:
        """Standard deviation of the delay, ns."""
        return math.sqrt(sum((delay - self.mean) ** 2 for delay in self.delays) / len(self.delays))


@dataclass(frozen=True)
class Traffic:
    """Frames at a steady pace."""

    gap: int
    count: int
    size: int

    def through_kernel(self, near: str, far: str) -> Course:
        """Send them out of ``near`` and note what arrives at ``far``."""
        with packet_socket(near) as out, packet_socket(far) as into:
            into.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 27)
            into.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1)
            into.settimeout(3)  # virtual
            sent = list(self._send(out))
            return course(self._receive(into, sent))

    def through_model(self, impairments: Impairments) -> Course:
        """Return what the model says."""
        model = LinkModel(impairments, random.Random(1))
        found: list[tuple[int, int, int]] = []
        for sequence in range(self.count):
            now = SECOND + sequence * self.gap
            found += [(made.at, sequence, made.at - now) for made in model.enqueue(self.size, now)]
        return course((sequence, delay) for _, sequence, delay in sorted(found))

    def _send(self, out: socket.socket) -> Iterator[int]:
        header = b"\xff" * 6 + b"\x02" + bytes(5) + ETHERTYPE.to_bytes(2, "big")
        start = time.clock_gettime_ns(time.CLOCK_REALTIME) + MILLISECOND
        for sequence in range(self.count):
            due = start + sequence * self.gap
            while (now := time.clock_gettime_ns(time.CLOCK_REALTIME)) < due:
                time.sleep((due - now) / SECOND)
            out.send(header + sequence.to_bytes(4, "big") + bytes(self.size - 18))
            yield now

    def _receive(self, into: socket.socket, sent: list[int]) -> Iterator[tuple[int, int]]:
        while True:
            try:
                frame, ancillary, _, _ = into.recvmsg(65_536, 256)
            except TimeoutError:
                return
            stamp = ancillary[0][2]
            at = int.from_bytes(stamp[:8], "little") * SECOND + int.from_bytes(stamp[8:16], "little")
            sequence = int.from_bytes(frame[SEQUENCE], "big")
            if sequence < self.count:  # else a bit of the number was flipped
                yield sequence, at - sent[sequence]


def course(arrivals: Iterator[tuple[int, int]]) -> Course:
    sequences, delays = zip(*arrivals, strict=True)
    return Course(sequences, delays)


def packet_socket(interface: str, ethertype: int = ETHERTYPE) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.bind((interface, ethertype))
    return made


@pytest.fixture
def veth() -> Iterator[tuple[str, str]]:
    """Two joined interfaces, made for the test and gone after it."""
    near, far = f"nwp{os.getpid() % 100_000}a", f"nwp{os.getpid() % 100_000}b"
    subprocess.run(["ip", "link", "add", near, "type", "veth", "peer", "name", far], check=True)
    for name in (near, far):
        # Without an address of its own IPv6 sends nothing that would queue before our frames.
        subprocess.run(["ip", "link", "set", name, "addrgenmode", "none", "up"], check=True)
    yield near, far
    subprocess.run(["ip", "link", "del", near], check=True)


def set_on(device: str, impairments: Impairments) -> None:
    """Set, and read back."""
    for argv in commands.set_impairments(device, impairments):
        subprocess.run(argv, check=True)
    shown, classes = (
        subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        for argv in (commands.show(device), commands.show_classes(device))
    )
    assert comparison.differences(impairments, readback.parse(shown, classes)) == []
    assert readback.limit_problem(shown) is None


def both(veth: tuple[str, str], given: dict[str, object], traffic: Traffic) -> tuple[Course, Course]:
    """Return what kernel and model make of the same traffic."""
    impairments = Impairments.parse(given)
    set_on(veth[0], impairments)
    return traffic.through_kernel(*veth), traffic.through_model(impairments)


#: Further structures of qdiscs, beside those of the first SETS.
STRUCTURES: tuple[dict[str, object], ...] = (
    {"delay": "20ms", "jitter": "2ms", "distribution": "normal", "rate": "1Mbit"},
    {"slot": "2ms", "delay": "5ms"},
    {"slot": "2ms", "rate": "10Mbit"},
    {"slot": "2ms", "rate": "10Mbit", "aqm": "codel"},
    {"loss": "1%", "ecn": True, "rate": "10Mbit"},
    {"rate": "10Mbit", "aqm": "fq_codel"},
    {"rate": "10Mbit", "queue": "150kB"},
    {"trace": "steps 0s 10Mbit 5ms; 1s 2Mbit", "queue": "100p"},
    {"trace": "steps 0s 10Mbit; 1s 2Mbit", "slot": "2ms"},
)


def test_every_set_follows_every_other(veth: tuple[str, str]) -> None:
    """Setting replaces, whatever was there; a change leaves nothing behind that it does not name."""
    every = [NONE, *(Impairments.parse(given) for given in SETS)]
    for impairments in every:
        if not kernel_problem(Executor(), impairments):
            set_on(veth[0], impairments)
    # One set for each structure of qdiscs that there is.
    chosen = [NONE, every[2], every[14], every[16], every[17], *map(Impairments.parse, STRUCTURES)]
    for before, after in itertools.permutations(chosen, 2):
        set_on(veth[0], before)
        set_on(veth[0], after)


@pytest.mark.parametrize("delay", ["1ms", "12345us", "750ms"])
def test_delay_is_exact(veth: tuple[str, str], delay: str) -> None:
    kernel, model = both(veth, {"delay": delay}, Traffic(5 * MILLISECOND, 200, 1014))
    assert kernel.sequences == model.sequences
    assert max(abs(a - b) for a, b in zip(kernel.delays, model.delays, strict=True)) <= GRAIN


def test_jitter_is_uniform_between_sparse_packets(veth: tuple[str, str]) -> None:
    """1000 draws: the mean is known to 0.09 ms, the deviation to 0.04 ms; four times that."""
    kernel, model = both(veth, {"delay": "20ms", "jitter": "5ms"}, Traffic(20 * MILLISECOND, 1000, 1014))
    assert kernel.late == model.late == 0
    assert abs(kernel.mean - 20e6) < 0.4e6
    assert abs(kernel.deviation - 5e6 / 3**0.5) < 0.16e6
    assert abs(model.deviation - 5e6 / 3**0.5) < 0.16e6


def test_jitter_keeps_order_between_dense_packets(veth: tuple[str, str]) -> None:
    kernel, model = both(veth, {"delay": "20ms", "jitter": "5ms"}, Traffic(MILLISECOND // 2, 3000, 1014))
    assert kernel.sequences == model.sequences == tuple(range(3000))
    assert abs(kernel.mean - model.mean) < 0.4e6
    assert abs(kernel.deviation - model.deviation) < 0.2e6


def test_an_idle_bottleneck_serialises(veth: tuple[str, str]) -> None:
    """1014 bytes at 1 Mbit/s take 8.112 ms."""
    kernel, model = both(veth, {"delay": "10ms", "rate": "1Mbit"}, Traffic(20 * MILLISECOND, 100, 1014))
    assert abs(kernel.mean - 18_112_000) <= GRAIN
    assert abs(kernel.mean - model.mean) <= GRAIN


def test_a_busy_bottleneck_drops_the_same_packets(veth: tuple[str, str]) -> None:
    """Twice as much as the rate: the queue of 25 packets fills, then every second packet goes."""
    given: dict[str, object] = {"delay": "10ms", "rate": "10Mbit", "queue": "25p"}
    kernel, model = both(veth, given, Traffic(MILLISECOND // 2, 2000, 1014))
    assert abs(len(kernel.sequences) - len(model.sequences)) <= 2
    assert abs(max(kernel.delays) - max(model.delays)) <= 0.1 * MILLISECOND
    assert abs(kernel.mean - model.mean) <= 0.1 * MILLISECOND


def test_jitter_before_a_busy_bottleneck_is_smoothed(veth: tuple[str, str]) -> None:
    given: dict[str, object] = {"delay": "10ms", "jitter": "3ms", "rate": "10Mbit", "queue": "25p"}
    kernel, model = both(veth, given, Traffic(MILLISECOND // 2, 2000, 1014))
    assert kernel.late == 0
    assert abs(len(kernel.sequences) / len(model.sequences) - 1) < 0.02
    assert abs(kernel.mean / model.mean - 1) < 0.02


def test_loss_is_within_the_binomial_interval(veth: tuple[str, str]) -> None:
    """5 % of 10,000: the deviation is 22 packets; four of them."""
    kernel, _ = both(veth, {"loss": "5%"}, Traffic(MILLISECOND // 4, 10_000, 214))
    assert abs(10_000 - len(kernel.sequences) - 500) < 88
    assert kernel.late == 0


def test_duplicates_arrive_and_nothing_else_changes(veth: tuple[str, str]) -> None:
    given: dict[str, object] = {"duplicate": "5%", "delay": "5ms"}
    kernel, _ = both(veth, given, Traffic(MILLISECOND // 4, 10_000, 214))
    assert set(kernel.sequences) == set(range(10_000))
    assert abs(len(kernel.sequences) - 10_500) < 88
    assert max(kernel.delays) - 5 * MILLISECOND <= GRAIN


def test_duplicates_and_a_busy_bottleneck_have_the_rate(veth: tuple[str, str]) -> None:
    given: dict[str, object] = {"duplicate": "5%", "delay": "5ms", "rate": "10Mbit", "queue": "25p"}
    kernel, model = both(veth, given, Traffic(MILLISECOND // 2, 3000, 1014))
    assert abs(len(kernel.sequences) / len(model.sequences) - 1) < 0.02
    assert abs(kernel.mean / model.mean - 1) < 0.03


def test_reordered_packets_skip_the_delay_and_no_other_overtakes(veth: tuple[str, str]) -> None:
    given: dict[str, object] = {"reorder": "10%", "delay": "20ms", "jitter": "2ms"}
    kernel, model = both(veth, given, Traffic(MILLISECOND, 5000, 214))
    for found in (kernel, model):
        early = {
            sequence
            for sequence, delay in zip(found.sequences, found.delays, strict=True)
            if delay < MILLISECOND
        }
        # 10 % of 5000: the deviation is 21; four of them.
        assert abs(len(early) - 500) < 85
        rest = [sequence for sequence in found.sequences if sequence not in early]
        assert rest == sorted(rest)


def test_corruption_flips_one_bit(veth: tuple[str, str]) -> None:
    """All frames arrive, since Ethernet's addresses do not matter to the receiving socket here."""
    near, far = veth
    set_on(near, Impairments.parse({"corrupt": "100%"}))
    frame = b"\xff" * 6 + b"\x02" + bytes(5) + ETHERTYPE.to_bytes(2, "big") + bytes(200)
    flipped: list[int] = []
    with packet_socket(near) as out, packet_socket(far, ETH_P_ALL) as into:
        into.settimeout(1)
        for _ in range(300):
            out.send(frame)
            got = into.recv(4096)
            flipped.append((int.from_bytes(got, "big") ^ int.from_bytes(frame, "big")).bit_count())
    assert flipped.count(1) >= 295  # other frames of the stack may come between
