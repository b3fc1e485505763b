"""Runs the tests: the server until it is stopped, a throughput test, and a ping."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.datagrams import SocketAddress
from node.protocol.errors import LocalProtocolError
from node.protocol.identity import Identity
from node.protocol.time import SECOND, Duration
from orchestrator.errors import TestbedError
from orchestrator.perf.node import PerfNode, client_identity, peer_at, server_identity
from orchestrator.perf.pings import PendingPings, PingResult
from orchestrator.perf.sessions import ClientSession, ServerSession, Wanted

#: How often a sender with a rate looks whether it may send on: bursts of so much time are sent.
PACING_SECONDS = 0.005
#: After the sender's time is over: how long what is under way may take.
DRAIN_SECONDS = 30.0


class PerfError(TestbedError):
    """Nobody answers, or a test broke off; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one interval moved."""

    start: float
    end: float
    #: Bytes of each stream.
    bytes: tuple[int, ...]
    #: Of the whole connection.
    retransmits: int
    congestion_window: int
    rtt: Duration


@dataclass(slots=True)
class PerfResult:
    """What a throughput test has shown."""

    wanted: Wanted
    local: SocketAddress
    remote: SocketAddress
    samples: list[Sample] = field(default_factory=list)
    #: Bytes that each stream sent, and that the receiver has.
    sent: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    #: Seconds until the sender was through, and until the receiver had all.
    seconds: float = 0.0
    received_seconds: float = 0.0
    retransmits: int = 0
    congestion: str = ""


async def serve(
    host: str, port: int, *, word: str | None, one_off: bool, on_ready: Callable[[SocketAddress], None]
) -> None:
    """Serve tests until cancelled, or one test.

    Raises:
        PerfError: the address cannot be used.
    """
    sessions: list[ServerSession] = []
    over = asyncio.Event()

    class Served(ServerSession):
        def on_closed(self, reason: str) -> None:
            sessions.remove(self)
            if one_off:
                over.set()

    def accept(connection: Connection) -> ServerSession:
        sessions.append(Served(connection))
        return sessions[-1]

    node = _node(server_identity(word), host, port, Configuration(), accept)
    node.driver.start()
    on_ready(node.driver.address)
    try:
        while not over.is_set():
            sends = any(session.sender is not None and not session.sender.over for session in sessions)
            try:
                await asyncio.wait_for(over.wait(), PACING_SECONDS if sends else 1.0)
            except TimeoutError:
                node.driver.drain()
    finally:
        await node.close()


async def measure(
    address: SocketAddress,
    wanted: Wanted,
    *,
    word: str | None,
    interval: float,
    configuration: Configuration,
    on_sample: Callable[[PerfResult], None],
) -> PerfResult:
    """Run a throughput test against a server.

    Raises:
        PerfError: nobody answers, or the connection broke; the message says why.
    """
    node = _node(client_identity(), "::" if ":" in address[0] else "0.0.0.0", 0, configuration, None)
    node.driver.start()
    try:
        session = await _established(node, address, word, wanted)
        result = PerfResult(
            wanted,
            (_local_host(address), node.driver.address[1]),
            address,
            congestion=configuration.congestion,
        )
        on_sample(result)
        await _watch(node, session, result, interval, on_sample)
        return result
    finally:
        await node.close()


async def _watch(
    node: PerfNode,
    session: ClientSession,
    result: PerfResult,
    interval: float,
    on_sample: Callable[[PerfResult], None],
) -> None:
    """Take a sample at each interval until the server has reported."""
    wanted, began = result.wanted, session.began
    end = wanted.duration / SECOND if wanted.duration else float("inf")
    limit, before, again = end + DRAIN_SECONDS, [0] * wanted.parallel, 0
    last, due = 0.0, interval

    def sample(now: float) -> None:
        nonlocal before, again, last
        moved = (session.moved() + [0] * wanted.parallel)[: wanted.parallel]
        statistics = session.connection.statistics()
        result.samples.append(
            Sample(
                last,
                now,
                tuple(later - earlier for later, earlier in zip(moved, before, strict=True)),
                statistics.retransmitted_packets - again,
                statistics.congestion_window,
                statistics.smoothed_rtt,
            )
        )
        # What only waits for the rest to arrive is no interval of the test.
        shown = last < end
        before, again, last = moved, statistics.retransmitted_packets, now
        if shown:
            on_sample(result)

    while session.report is None:
        now = (node.now() - began) / SECOND
        if session.closed is not None or now > limit:
            raise PerfError(session.closed or "the test did not come to its end in time")
        if now >= due or (now >= end > last):
            sample(now)
            due += interval
        node.driver.drain()
        sending = session.sender is not None and not session.sender.over
        pause = PACING_SECONDS if sending and wanted.rate else max(0.001, min(due, end) - now)
        if sending or session.sender is None:
            await asyncio.sleep(min(pause, 0.1))
        else:
            await node.wait(min(max(0.001, due - now), 0.1))
    if last < end:
        # The rest of the last interval, or all of it where this process had no time meanwhile.
        sample((node.now() - began) / SECOND)
    _conclude(node, session, result)


def _conclude(node: PerfNode, session: ClientSession, result: PerfResult) -> None:
    statistics = session.connection.statistics()
    result.seconds = result.received_seconds = (node.now() - session.began) / SECOND
    result.retransmits = statistics.retransmitted_packets
    if session.sender is not None and session.report is not None:
        result.sent = [sending.written for sending in session.sender.streams]
        result.received = list(session.report.streams)
        result.received_seconds = session.report.seconds or result.seconds
    else:
        result.sent = result.received = session.moved()


async def ping(
    address: SocketAddress,
    *,
    count: int,
    interval: float,
    size: int,
    wait: float,
    word: str | None,
    on_answer: Callable[[int, Duration], None],
    result: PingResult,
) -> None:
    """Send ``count`` messages (0: until cancelled) and take the time until each comes back.

    Raises:
        PerfError: nobody answers the handshake, or the connection broke.
    """
    node = _node(client_identity(), "::" if ":" in address[0] else "0.0.0.0", 0, Configuration(), None)
    node.driver.start()
    sent = PendingPings(round(wait * SECOND))
    try:
        session = await _established(node, address, word, None, seconds=wait)
        began = node.now()

        def take() -> None:
            # All of them: one that came too late must not be kept either.
            while session.answers:
                number = next(iter(session.answers))
                taken = sent.take(number, session.answers.pop(number))
                if taken is not None:
                    result.add(taken)
                    on_answer(number, taken)
            sent.forget(node.now())

        while count == 0 or result.transmitted < count:
            number = result.transmitted = result.transmitted + 1
            now = node.now()
            sent.add(number, now)
            data = number.to_bytes(8, "big") + bytes(max(0, size - 8))
            try:
                session.connection.send_message(data, now + round(wait * SECOND), now=now)
            except LocalProtocolError as error:
                raise PerfError(session.closed or str(error)) from error
            node.driver.drain()
            until = now + round((interval if number != count else wait) * SECOND)
            while (left := until - node.now()) > 0 and (len(sent) or number != count):
                await node.wait(left / SECOND)
                take()
            result.seconds = (node.now() - began) / SECOND
    finally:
        await node.close()


async def _established(
    node: PerfNode, address: SocketAddress, word: str | None, wanted: Wanted | None, *, seconds: float = 10.0
) -> ClientSession:
    session = node.connect(peer_at(address, word), lambda connection: ClientSession(connection, wanted))
    deadline = node.now() + round(seconds * SECOND)
    while not session.established:
        if session.closed is not None or node.now() > deadline:
            reason = session.closed or f"no answer in {seconds:g} s"
            raise PerfError(
                f"{address[0]} port {address[1]}: {reason}; is `narrows perf -s` running there, "
                "with the same --key?"
            )
        await node.wait((deadline - node.now()) / SECOND)
    return session


def _node(
    identity: Identity,
    host: str,
    port: int,
    configuration: Configuration,
    accept: Callable[[Connection], ServerSession] | None,
) -> PerfNode:
    try:
        return PerfNode(identity, host=host, port=port, configuration=configuration, accept=accept)
    except OSError as error:
        raise PerfError(f"cannot use {host} port {port}: {error.strerror}") from error


def _local_host(address: SocketAddress) -> str:
    """Return our address on the way to another."""
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def resolve(host: str, port: int, *, family: int = 0) -> SocketAddress:
    """Return the address of a host.

    Raises:
        PerfError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, family or socket.AF_UNSPEC, socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise PerfError(f"{host}: {error.strerror}") from error
    address = found[0][4]
    return str(address[0]), int(address[1])
