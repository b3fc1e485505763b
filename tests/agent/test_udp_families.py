"""The UDP driver over IPv6, and over both families at once: bursts, marks and names of addresses."""

from __future__ import annotations

import socket
from dataclasses import replace
from random import Random

import pytest

from node.agent.address_family import address_family
from node.agent.udp import UdpDriver
from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst, SocketAddress
from node.protocol.endpoint import Endpoint
from node.protocol.events import PathChanged, StreamDataReceived
from node.protocol.identity import Identity, Peer
from node.protocol.time import Instant
from tests.agent.test_udp import SHAPES, RawCore, burst, datagrams, run, started


def has_ipv6() -> bool:
    """Is there an IPv6 loopback address here?"""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback address here")


class Seeing(RawCore):
    """Keeps who sent what."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: set[SocketAddress] = set()

    def receive(self, burst: Burst, *, now: Instant) -> None:
        """Keep the burst and its source."""
        self.sources.add(burst.source)
        super().receive(burst, now=now)


def driver(core: RawCore, host: str, **options: bool) -> UdpDriver:
    """Return a started driver on a free port."""
    made = UdpDriver(core, host=host, port=0, on_drained=lambda: None, **options)
    started.append(made)
    made.start()
    return made


@pytest.mark.parametrize("options", [{}, {"gso": False}, {"gro": False}, {"no_udp_checksum": True}])
def test_bursts_arrive_over_ipv6_as_they_were_sent(options: dict[str, bool]) -> None:
    async def test() -> None:
        sender, receiver = Seeing(), Seeing()
        left, right = driver(sender, "::1", **options), driver(receiver, "::1", **options)
        # The header is longer than IPv4's: on lo the longest datagram is shorter.
        bursts = [
            burst(right.address, min(segment, 65_480), min(size, 65_480), size) for segment, size in SHAPES
        ]
        sender.to_send.extend(bursts)
        left.drain()
        expected = datagrams(bursts)
        await receiver.until(lambda: len(receiver.received) >= len(expected))
        assert receiver.received == expected
        assert receiver.sources == {left.address}
        assert left.address[0] == "::1"
        assert left.counters.errors == right.counters.errors == {}

    run(test)


@pytest.mark.parametrize("hosts", [("::1", "::1"), ("::", "::1"), ("::1", "::"), ("127.0.0.1", "::")])
def test_marks_arrive_over_both_families(hosts: tuple[str, str]) -> None:
    """SPEC 8.2: in the traffic class as in the type of service."""

    async def test() -> None:
        sender, receiver = Seeing(), Seeing()
        left, right = driver(sender, hosts[0]), driver(receiver, hosts[1])
        to = "127.0.0.1" if hosts[0] == "127.0.0.1" else "::1"
        for number, codepoint in enumerate([2, 0, 3]):
            sent = burst((to, right.address[1]), 1200, 1200 * 3, number)
            sender.to_send.append(replace(sent, ecn=codepoint))
        left.drain()
        await receiver.until(lambda: len(receiver.received) >= 9)
        assert receiver.codepoints == [2] * 3 + [0] * 3 + [3] * 3
        assert receiver.sources == {(to, left.address[1])}

    run(test)


def test_a_socket_for_all_addresses_speaks_both_families() -> None:
    async def test() -> None:
        both, four, six = Seeing(), Seeing(), Seeing()
        middle = driver(both, "::")
        for other, core in ((driver(four, "127.0.0.1"), four), (driver(six, "::1"), six)):
            core.to_send.append(burst((other.address[0], middle.address[1]), 100, 100, 1))
            other.drain()
            both.to_send.append(burst(other.address, 100, 300, 2))
            middle.drain()
            await core.until(lambda core=core: len(core.received) == 3)  # type: ignore[misc]
        await both.until(lambda: len(both.received) == 2)
        assert {host for host, _ in both.sources} == {"127.0.0.1", "::1"}

    run(test)


def test_never_cut_on_the_way_in_either_family() -> None:
    """SPEC 13.4-5."""

    async def test() -> None:
        made = driver(RawCore(), "::1")
        assert made._socket.getsockopt(socket.IPPROTO_IPV6, 23) == 3

    run(test)


def test_names_hold_no_more_than_host_and_port() -> None:
    family = address_family(socket.AF_INET6)
    loopback = socket.if_nametoindex("lo")
    assert family.name_of(("2001:db8::1", 5, 0, 0)) == ("2001:db8::1", 5)
    assert family.name_of(("::ffff:192.0.2.1", 5, 0, 0)) == ("192.0.2.1", 5)
    assert family.name_of(("fe80::1", 5, 7, loopback)) == ("fe80::1%lo", 5)
    assert family.name_of(("fe80::1%lo", 5, 7, loopback)) == ("fe80::1%lo", 5)
    assert family.name_of(("fe80::1", 5, 0, 1 << 30)) == ("fe80::1", 5)  # the interface is gone
    four = address_family(socket.AF_INET)
    assert four.name_of(("192.0.2.1", 5)) == four.address_of(("192.0.2.1", 5)) == ("192.0.2.1", 5)


class Two:
    """Two real endpoints, a connection between them, and what the second one received."""

    def __init__(self, host: str) -> None:
        settings = Configuration()
        ends = [Endpoint(Identity(Random(n).randbytes(32)), settings, rng=Random(n)) for n in (1, 2)]
        self.events: list[object] = []
        self.data = bytearray()
        self.watch = RawCore()
        self.left, self.right = (
            UdpDriver(end, host=host, port=0, on_drained=lambda end=end: self._take(end))  # type: ignore[misc]
            for end in ends
        )
        for made in (self.left, self.right):
            started.append(made)
            made.start()
        peer = Peer(ends[1].identity.public_key, self.right.address)
        self.connection = ends[0].connect(peer, now=self.left.now())
        self.left.drain()

    def _take(self, endpoint: Endpoint) -> None:
        self.watch.changed.set()
        while (found := endpoint.next_event()) is not None:
            connection, event = found
            self.events.append(event)
            if isinstance(event, StreamDataReceived):
                self.data.extend(connection.read(event.stream_id))

    async def established(self) -> int:
        """Wait for the handshake, and for IDs to move to; return a stream."""
        await self.watch.until(lambda: self.connection.state.value == "established")
        stream = self.connection.open_stream()
        self.connection.write(stream, b"x")
        self.left.drain()
        await self.watch.until(lambda: len(self.data) == 1)
        return stream


def test_a_transfer_over_ipv6_stays_on_its_path() -> None:
    """What the driver calls a peer is what the peer was told to be."""

    async def test() -> None:
        two = Two("::1")
        stream = await two.established()
        two.connection.write(stream, bytes(500_000), end=True)
        two.left.drain()
        await two.watch.until(lambda: len(two.data) == 500_001)
        assert not any(isinstance(event, PathChanged) for event in two.events)
        assert two.connection.statistics().ecn_state == "capable"

    run(test)


@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", "127.0.0.2"), ("::1", "::1")])
def test_an_end_that_binds_another_address_and_migrates_goes_on(host: str, other: str) -> None:
    """SPEC 13.3-1, in mid transfer, over real sockets."""

    async def test() -> None:
        two = Two(host)
        stream = await two.established()
        two.connection.write(stream, bytes(20_000_000), end=True)
        two.left.drain()
        await two.watch.until(lambda: len(two.data) > 100_000)
        before = two.left.address
        two.left.rebind(host=other)
        two.connection.migrate(now=two.left.now())
        two.left.drain()
        assert two.left.address != before
        await two.watch.until(lambda: len(two.data) == 20_000_001)
        assert PathChanged(two.left.address) in two.events
        assert PathChanged(two.right.address) in two.events

    run(test)


def test_an_address_that_cannot_be_bound_leaves_the_old_one_in_use() -> None:
    async def test() -> None:
        two = Two("127.0.0.1")
        stream = await two.established()
        before = two.left.address
        with pytest.raises(OSError, match="assign"):
            two.left.rebind(host="192.0.2.1")
        assert two.left.address == before
        two.connection.write(stream, b"still", end=True)
        two.left.drain()
        await two.watch.until(lambda: bytes(two.data) == b"xstill")

    run(test)
