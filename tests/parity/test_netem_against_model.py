"""What `orchestrator.tc` tells a real kernel does what `node.links.model` does, packet by packet.

Frames go through one veth with the set under test on its egress, at given instants; what arrives, when,
is compared with the model. Meant for a kernel in virtual time (the `netem` lane), where every difference
is a difference in meaning and none is noise.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from node.links.model import LinkModel
from node.links.settings import Impairments
from node.protocol.time import MILLISECOND, SECOND
from orchestrator.tc import commands, readback

pytestmark = [pytest.mark.netem]

FRAME_BYTES = 1014
ETHERTYPE = 0x88B5  # IEEE 802 "local experimental": no stack answers it
_SEQUENCE = slice(14, 18)


@dataclass(frozen=True)
class Arrival:
    """One frame that came out."""

    sequence: int
    delay_ns: int


@pytest.fixture
def veth() -> Iterator[tuple[str, str]]:
    """A pair of interfaces, made for the test and gone after it."""
    near, far = f"nwt{os.getpid() % 10_000}a", f"nwt{os.getpid() % 10_000}b"
    made = subprocess.run(["ip", "link", "add", near, "type", "veth", "peer", "name", far], check=False)
    if made.returncode:
        pytest.skip("cannot make interfaces here: needs root")
    probe = subprocess.run(["tc", "qdisc", "add", "dev", near, "root", "netem"], check=False)
    if probe.returncode:
        subprocess.run(["ip", "link", "del", near], check=True)
        pytest.skip("this kernel has no netem: the netem lane runs this under User-mode Linux")
    for name in (near, far):
        subprocess.run(["sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1"], check=False)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield near, far
    subprocess.run(["ip", "link", "del", near], check=True)


def set_on(device: str, impairments: Impairments) -> None:
    """Set and read back."""
    for argv in commands.set_impairments(device, impairments):
        subprocess.run(argv, check=True)
    shown = subprocess.run(commands.show(device), check=True, capture_output=True, text=True).stdout
    assert readback.differences(impairments, readback.parse(shown)) == []
    assert readback.limit_problem(shown) is None


def through_kernel(veth: tuple[str, str], *, gap_ns: int, count: int, size: int) -> list[Arrival]:
    """Send ``count`` frames ``gap_ns`` apart and return what arrives, in order of arrival."""
    near, far = veth
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((near, 0))
    into = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    into.setsockopt(socket.SOL_SOCKET, 33, 1 << 27)  # SO_RCVBUFFORCE
    into.setsockopt(socket.SOL_SOCKET, 64, 1)  # SO_TIMESTAMPNS_NEW: the kernel's own time of arrival
    into.bind((far, ETHERTYPE))
    into.settimeout(3)
    header = b"\xff" * 6 + b"\x02" + b"\0" * 5 + ETHERTYPE.to_bytes(2, "big")
    sent: list[int] = []
    start = time.clock_gettime_ns(time.CLOCK_REALTIME) + MILLISECOND
    for sequence in range(count):
        while (now := time.clock_gettime_ns(time.CLOCK_REALTIME)) < start + sequence * gap_ns:
            time.sleep((start + sequence * gap_ns - now) / 1e9)
        sent.append(now)
        out.send(header + sequence.to_bytes(4, "big") + bytes(size - 18))
    arrivals: list[Arrival] = []
    try:
        while True:
            frame, ancillary, _, _ = into.recvmsg(65_536, 256)
            seconds, nanoseconds = (int.from_bytes(ancillary[0][2][i : i + 8], "little") for i in (0, 8))
            sequence = int.from_bytes(frame[_SEQUENCE], "big")
            if sequence < count:
                arrivals.append(Arrival(sequence, seconds * SECOND + nanoseconds - sent[sequence]))
    except TimeoutError:
        return arrivals
    finally:
        out.close()
        into.close()


def through_model(impairments: Impairments, *, gap_ns: int, count: int, size: int) -> list[Arrival]:
    """The same through the model, sorted by arrival."""
    model = LinkModel(impairments, random.Random(1))
    found: list[tuple[int, Arrival]] = []
    for sequence in range(count):
        now = SECOND + sequence * gap_ns
        found.extend(
            (delivery.at, Arrival(sequence, delivery.at - now)) for delivery in model.enqueue(size, now)
        )
    return [arrival for _, arrival in sorted(found, key=lambda pair: pair[0])]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def spread(values: list[float]) -> float:
    middle = mean(values)
    return mean([(value - middle) ** 2 for value in values]) ** 0.5


def describe(arrivals: list[Arrival], count: int) -> dict[str, float]:
    delays = [float(arrival.delay_ns) for arrival in arrivals]
    sequences = [arrival.sequence for arrival in arrivals]
    late, highest = 0, -1
    for sequence in sequences:
        late += sequence < highest
        highest = max(highest, sequence)
    return {
        "arrived": len(arrivals),
        "distinct": len(set(sequences)),
        "min_ms": min(delays) / 1e6,
        "mean_ms": mean(delays) / 1e6,
        "max_ms": max(delays) / 1e6,
        "deviation_ms": spread(delays) / 1e6,
        "late": late,
    }
