"""The UDP driver on real loopback sockets: bursts in are bytes out, whatever the kernel cannot do."""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from node.agent.udp import LONE_WAKES, UdpDriver, new_event_loop
from node.protocol.datagrams import Burst, SocketAddress, Transmit
from node.protocol.time import MILLISECOND, Instant

#: Not in Python's socket module: linux/udp.h.
UDP_SEGMENT, UDP_GRO = 103, 104

#: Seconds after which a condition that should come about at once counts as never coming.
PATIENCE = 20.0


class RawCore:
    """Sends the bursts it was given, keeps those it gets: no protocol, so that none can repair a loss."""

    def __init__(self) -> None:
        self.to_send: deque[Transmit] = deque()
        self.received: list[bytes] = []
        self.codepoints: list[int] = []
        self.timeouts: list[Instant] = []
        self.deadline: Instant | None = None
        self.changed = asyncio.Event()

    def receive(self, burst: Burst, *, now: Instant) -> None:
        """Cut the burst into datagrams and keep them."""
        for start in range(0, len(burst.buffer), burst.segment_size):
            self.received.append(bytes(burst.buffer[start : start + burst.segment_size]))
            self.codepoints.append(burst.ecn)
        self.changed.set()

    def handle_timeout(self, *, now: Instant) -> None:
        """Note it."""
        self.timeouts.append(now)
        self.deadline = None
        self.changed.set()

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next burst, in a buffer that the next one overwrites."""
        return self.to_send.popleft() if self.to_send else None

    def next_timeout(self) -> Instant | None:
        """Return the deadline."""
        return self.deadline

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that a received burst or a time-out can bring about."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


#: What a test has started: closed at its end, however it ends.
started: list[UdpDriver] = []


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on the agent's own kind of event loop."""

    async def main() -> None:
        try:
            await test()
        finally:
            while started:
                started.pop().close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


def driver(core: RawCore, **options: bool) -> UdpDriver:
    """Return a started driver on a free port."""
    made = UdpDriver(core, host="127.0.0.1", port=0, on_drained=lambda: None, **options)
    started.append(made)
    made.start()
    return made


def loopback_carries_bursts_whole() -> bool:
    """Does a burst cross this machine's loopback interface in one piece? A switch of ``lo`` decides."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as into,
    ):
        into.bind(("127.0.0.1", 0))
        into.settimeout(PATIENCE)
        into.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        out.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
        out.sendto(bytes(300), into.getsockname())
        return len(into.recv(1000)) == 300


def burst(destination: SocketAddress, segment: int, size: int, seed: int) -> Transmit:
    """Return a burst of random bytes."""
    return Transmit(destination, memoryview(random.Random(seed).randbytes(size)), segment)


def datagrams(bursts: list[Transmit]) -> list[bytes]:
    """Return what must arrive, datagram by datagram."""
    return [
        bytes(sent.buffer[start : start + sent.segment_size])
        for sent in bursts
        for start in range(0, len(sent.buffer), sent.segment_size)
    ]


SHAPES = [
    (1200, 1200),
    (1452, 1452 * 40),
    (1452, 1452 * 40 + 7),
    (1200, 1200 * 54),
    (700, 700 * 64),
    (1, 64),
    (65_507, 65_507),
]


@pytest.mark.parametrize(
    "options", [{}, {"gso": False}, {"gro": False}, {"gso": False, "gro": False}, {"no_udp_checksum": True}]
)
def test_bursts_arrive_as_they_were_sent(options: dict[str, bool]) -> None:
    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender, **options), driver(receiver, **options)
        bursts = [burst(right.address, segment, size, size) for segment, size in SHAPES]
        sender.to_send.extend(bursts)
        left.drain()
        expected = datagrams(bursts)
        await receiver.until(lambda: len(receiver.received) >= len(expected))
        assert receiver.received == expected
        assert left.counters.datagrams_sent == right.counters.datagrams_received == len(expected)
        assert left.counters.bytes_sent == right.counters.bytes_received
        assert left.counters.errors == right.counters.errors == {}

    run(test)


def test_gso_and_gro_move_many_datagrams_a_call() -> None:
    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender), driver(receiver)
        if not (left.gso and right.gro):
            pytest.skip("this kernel has no UDP GSO or GRO")
        if not loopback_carries_bursts_whole():
            pytest.skip("lo splits bursts here (see `ethtool -K lo tx-udp-segmentation on`)")
        sender.to_send.append(burst(right.address, 1452, 1452 * 40, 1))
        left.drain()
        await receiver.until(lambda: len(receiver.received) == 40)
        assert left.counters.send_calls == 1
        assert right.counters.bursts_received == 1

    run(test)


@pytest.mark.parametrize("options", [{}, {"gso": False}, {"gro": False}, {"no_udp_checksum": True}])
def test_the_codepoint_of_each_burst_arrives_with_it(options: dict[str, bool]) -> None:
    """SPEC 8.2: what GRO merges carries one codepoint, so bursts of different ones stay apart."""

    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender, **options), driver(receiver, **options)
        for number, codepoint in enumerate([2, 2, 0, 3, 1, 2]):
            sent = burst(right.address, 1200, 1200 * 5, number)
            sender.to_send.append(replace(sent, ecn=codepoint))
        left.drain()
        await receiver.until(lambda: len(receiver.received) >= 30)
        assert receiver.codepoints == [2] * 10 + [0] * 5 + [3] * 5 + [1] * 5 + [2] * 5
        assert left.counters.errors == {}

    run(test)


def test_a_kernel_that_sets_no_codepoint_sends_all_the_same() -> None:
    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender), driver(receiver)
        broken = BrokenSocket(left._socket)
        left._socket = broken  # type: ignore[assignment]
        broken.setsockopt_errors = [errno.EPERM]
        sender.to_send.extend(replace(burst(right.address, 100, 100, n), ecn=2) for n in range(3))
        left.drain()
        await receiver.until(lambda: len(receiver.received) == 3)
        assert receiver.codepoints == [0, 0, 0]
        assert not left.ecn
        assert left.counters.errors == {"EPERM": 1}

    run(test)


class BrokenSocket:
    """A real socket whose ``sendmsg`` or ``sendto`` fails when told to, as kernels and devices do."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.sendmsg_errors: list[int] = []
        self.sendto_errors: list[int] = []
        self.setsockopt_errors: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def sendmsg(self, *arguments: object) -> int:
        """Send, or fail with the next error there is (0: none)."""
        return self._or_fail(self.sendmsg_errors, self._real.sendmsg, arguments)

    def setsockopt(self, *arguments: object) -> int:
        """Set, or fail with the next error there is."""
        return self._or_fail(self.setsockopt_errors, self._real.setsockopt, arguments)  # type: ignore[arg-type]

    def sendto(self, *arguments: object) -> int:
        """Send, or fail with the next error there is (0: none)."""
        return self._or_fail(self.sendto_errors, self._real.sendto, arguments)

    @staticmethod
    def _or_fail(errors: list[int], call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        if errors and (number := errors.pop(0)):
            raise OSError(number, "told to fail")
        return call(*arguments)


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP])
def test_gso_that_fails_half_way_loses_nothing_and_is_said_once(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender), driver(receiver)
        left.gso = True
        broken = BrokenSocket(left._socket)
        left._socket = broken  # type: ignore[assignment]
        broken.sendmsg_errors = [0, number]
        bursts = [burst(right.address, 1200, 1200 * 10 + 5, seed) for seed in range(4)]
        sender.to_send.extend(bursts)
        left.drain()
        expected = datagrams(bursts)
        await receiver.until(lambda: len(receiver.received) >= len(expected))
        assert receiver.received == expected
        assert not left.gso
        assert left.counters.errors == {errno.errorcode[number]: 1}
        assert len([r for r in caplog.records if "GSO" in r.message]) == 1

    run(test)


def test_a_burst_too_long_for_the_interface_is_lost_and_gso_goes_on() -> None:
    """The path's MTU fell: neither cut nor whole would it go, and the core finds out."""

    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender), driver(receiver)
        left.gso = True
        broken = BrokenSocket(left._socket)
        left._socket = broken  # type: ignore[assignment]
        broken.sendmsg_errors = [errno.EINVAL, 0]
        broken.sendto_errors = [errno.EMSGSIZE] * 3
        sender.to_send.extend(burst(right.address, 1200, 1200 * 3, seed) for seed in range(2))
        left.drain()
        await receiver.until(lambda: len(receiver.received) == 3)
        assert left.gso
        assert left.counters.errors == {"EMSGSIZE": 3}

    run(test)


def test_datagrams_are_never_cut_on_the_way_whatever_icmp_says() -> None:
    """SPEC 13.4-5. Attack: forged ICMP. IP_PMTUDISC_PROBE: Don't Fragment, and no MTU from ICMP is used."""

    async def test() -> None:
        made = driver(RawCore())
        assert made._socket.getsockopt(socket.IPPROTO_IP, 10) == 3

    run(test)


@pytest.mark.parametrize("gso", [True, False])
def test_a_full_socket_keeps_the_burst_and_the_order(gso: bool) -> None:
    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender), driver(receiver)
        left.gso = gso
        broken = BrokenSocket(left._socket)
        left._socket = broken  # type: ignore[assignment]
        full = [0, errno.EAGAIN, errno.EAGAIN] if gso else [0] * 13 + [errno.EAGAIN, errno.EAGAIN]
        broken.sendmsg_errors, broken.sendto_errors = (full, []) if gso else ([], full)
        reused = bytearray(1200 * 10)

        class Reusing(RawCore):
            """Overwrites its one buffer with each burst, as the real core does."""

            def transmit(self, *, now: Instant) -> Transmit | None:
                """Return the next burst."""
                found = super().transmit(now=now)
                if found is None:
                    return None
                reused[:] = found.buffer
                return Transmit(found.destination, memoryview(reused), found.segment_size)

        core = Reusing()
        left.core = core
        bursts = [burst(right.address, 1200, 1200 * 10, seed) for seed in range(4)]
        core.to_send.extend(bursts)
        left.drain()
        assert left.blocked
        reused[:] = bytes(len(reused))
        await left.flush(PATIENCE)
        expected = datagrams(bursts)
        await receiver.until(lambda: len(receiver.received) >= len(expected))
        assert receiver.received == expected
        assert left.counters.waits == 2

    run(test)


@pytest.mark.parametrize(
    "number", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE, errno.ENOBUFS]
)
def test_errors_of_the_path_are_counted_and_nothing_stops(number: int) -> None:
    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender, gso=False), driver(receiver)
        broken = BrokenSocket(left._socket)
        left._socket = broken  # type: ignore[assignment]
        broken.sendto_errors = [number, number, 0]
        sender.to_send.extend(burst(right.address, 1200, 1200, seed) for seed in range(3))
        left.drain()
        await receiver.until(lambda: len(receiver.received) == 1)
        assert left.counters.errors == {errno.errorcode[number]: 2}

    run(test)


def test_a_port_nobody_listens_at_harms_nothing() -> None:
    async def test() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            nobody = probe.getsockname()
        sender, receiver = RawCore(), RawCore()
        left, right = driver(sender), driver(receiver)
        sender.to_send.extend([burst(nobody, 1200, 1200, 1), burst(right.address, 1200, 1200, 2)])
        left.drain()
        await receiver.until(lambda: len(receiver.received) == 1)

    run(test)


def test_empty_datagrams_are_ignored() -> None:
    async def test() -> None:
        receiver = RawCore()
        right = driver(receiver)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
            raw.sendto(b"", right.address)
            raw.sendto(b"x", right.address)
        await receiver.until(lambda: receiver.received == [b"x"])
        right.close()

    run(test)


def test_deadlines_are_kept_and_never_called_early() -> None:
    async def test() -> None:
        core = RawCore()
        made = driver(core)
        for delay in (0, MILLISECOND // 10, 3 * MILLISECOND):
            asked = made.now() + delay
            core.timeouts.clear()
            core.deadline = asked
            made.drain()
            await core.until(lambda: bool(core.timeouts))
            assert core.timeouts[0] >= asked
        made.close()

    run(test)


def test_a_deadline_that_moves_forward_is_kept() -> None:
    async def test() -> None:
        core = RawCore()
        made = driver(core)
        core.deadline = made.now() + 3600 * 1000 * MILLISECOND
        made.drain()
        core.deadline = made.now() + MILLISECOND
        made.drain()
        await core.until(lambda: bool(core.timeouts))
        made.close()

    run(test)


def test_mutations_from_the_drained_callback_are_drained_too() -> None:
    async def test() -> None:
        sender, receiver = RawCore(), RawCore()
        right = driver(receiver)
        rounds = itertools.count()

        def on_drained() -> bool:
            number = next(rounds)
            if number < 3:
                sender.to_send.append(burst(right.address, 100, 100, number))
                return True
            if number == 3:
                sender.to_send.append(burst(right.address, 100, 100, number))
                left.drain()
            return False

        left = UdpDriver(sender, host="127.0.0.1", port=0, on_drained=on_drained)
        started.append(left)
        left.start()
        await receiver.until(lambda: len(receiver.received) == 4)

    run(test)


def test_a_flood_does_not_starve_the_loop() -> None:
    async def test() -> None:
        receiver = RawCore()
        right = driver(receiver, gro=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
            for _ in range(300):
                raw.sendto(b"x", right.address)
        seen: list[int] = []

        def look() -> None:
            seen.append(len(receiver.received))
            if len(receiver.received) < 300:
                asyncio.get_running_loop().call_soon(look)

        look()
        await receiver.until(lambda: len(receiver.received) == 300)
        assert max(b - a for a, b in itertools.pairwise([*seen, 300])) <= 64
        right.close()

    run(test)


def test_lone_datagrams_are_not_followed_by_a_call_in_vain_each() -> None:
    async def test() -> None:
        receiver = RawCore()
        right = driver(receiver)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
            for number in range(64):
                raw.sendto(b"x", right.address)
                await receiver.until(lambda number=number: len(receiver.received) == number + 1)  # type: ignore[misc]
            assert right.counters.receive_calls <= 64 + 64 // LONE_WAKES + 1
            for _ in range(50):  # and where more comes, all of it is taken
                raw.sendto(b"y", right.address)
        await receiver.until(lambda: len(receiver.received) == 64 + 50)

    run(test)


def test_closing_twice_is_fine() -> None:
    async def test() -> None:
        made = driver(RawCore())
        made.close()
        made.close()

    run(test)
