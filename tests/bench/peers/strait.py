"""Strait: the endpoint of node.protocol on the agent's own UDP driver, encrypted, a seal a packet."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from typing import TYPE_CHECKING

from node.agent.udp import UdpDriver, new_event_loop
from node.protocol.configuration import Configuration
from node.protocol.endpoint import Endpoint
from node.protocol.events import ConnectionClosed, ConnectionEstablished, StreamDataReceived
from node.protocol.identity import Identity, Peer
from tests.bench.session import (
    BLOCK,
    BULK,
    ECHO_BYTES,
    HEADER,
    PERIOD,
    Span,
    Verifier,
    arguments,
    report_echo,
)

if TYPE_CHECKING:
    import argparse

    from node.protocol.connection import Connection

#: Written but not yet sent: enough for a wake-up's worth of bursts.
BACKLOG_BYTES = 4 << 20
#: One write; by reference, as a mapped file would be.
CHUNK = memoryview(BLOCK * 16)


def identity_of(role: str) -> Identity:
    """A key that both sides know; it protects nothing but a benchmark."""
    return Identity(hashlib.sha256(f"bench {role}".encode()).digest())


class End:
    """One end of the session: takes the endpoint's events after every drain."""

    def __init__(self, asked: argparse.Namespace, *, host: str, port: int) -> None:
        self.asked = asked
        self.endpoint = Endpoint(
            identity_of(asked.role), Configuration(congestion=asked.congestion), rng=random.SystemRandom()
        )
        self.driver = UdpDriver(self.endpoint, host=host, port=port, on_drained=self.on_drained)
        self.done = asyncio.get_running_loop().create_future()

    def on_drained(self) -> bool:
        """Handle every event; True when something was written."""
        changed = False
        while (found := self.endpoint.next_event()) is not None:
            connection, event = found
            if isinstance(event, ConnectionEstablished):
                changed |= self.on_established(connection)
            elif isinstance(event, StreamDataReceived):
                changed |= self.on_data(connection, event.stream_id)
            elif isinstance(event, ConnectionClosed) and not self.done.done():
                self.done.set_exception(ConnectionError(f"closed: {event.code} {event.reason}"))
        return self.on_idle() or changed

    def on_established(self, connection: Connection) -> bool:
        """The handshake is done."""
        return False

    def on_data(self, connection: Connection, stream: int) -> bool:
        """There is something to read."""
        raise NotImplementedError

    def on_idle(self) -> bool:
        """All events are handled: write more?"""
        return False


class Server(End):
    """Verifies and confirms, or sends back."""

    span: Span
    verifier: Verifier
    mode = b""
    count = 0

    def on_data(self, connection: Connection, stream: int) -> bool:
        """Read the header, then what the mode says."""
        data = connection.read(stream)
        if not self.mode:
            self.span, self.verifier = Span(), Verifier()
            self.mode, self.count = HEADER.unpack_from(data)
            data = data[HEADER.size :]
        if self.mode == BULK:
            self.verifier.take(data)
            if self.verifier.count == self.count:
                connection.write(stream, self.count.to_bytes(8, "little"))
                self.span.report("server", self.count)
                self.done.set_result(None)
            return True  # the window has moved
        self.count -= len(data) // ECHO_BYTES
        if data:
            connection.write(stream, bytes(data))
        if self.count <= 0 and not self.done.done():
            self.done.set_result(None)
        return True


class Client(End):
    """Sends, and waits for the confirmation or for each message."""

    connection: Connection | None = None
    stream = 0
    left = 0
    offset = 0

    def on_established(self, connection: Connection) -> bool:
        """Open the stream and begin."""
        self.connection, self.stream = connection, connection.open_stream()
        self.latencies: list[float] = []
        self.got = bytearray()
        self.span = Span()
        if self.asked.mode == "bulk":
            self.left = self.asked.count
            connection.write(self.stream, HEADER.pack(BULK, self.asked.count))
        else:
            connection.write(self.stream, HEADER.pack(b"E", self.asked.count))
            self.ask(connection)
        return True

    def ask(self, connection: Connection) -> None:
        """Send one message of the echo run."""
        self.asked_at = time.perf_counter()
        connection.write(self.stream, BLOCK[:ECHO_BYTES])

    def on_data(self, connection: Connection, stream: int) -> bool:
        """The confirmation, or an echo."""
        self.got += connection.read(stream)
        if self.asked.mode == "bulk":
            if len(self.got) == 8:
                self.span.report("client", int.from_bytes(self.got, "little"))
                self.done.set_result(None)
            return False
        if len(self.got) < ECHO_BYTES:
            return False
        self.latencies.append(time.perf_counter() - self.asked_at)
        self.got.clear()
        if len(self.latencies) < self.asked.count:
            self.ask(connection)
            return True
        report_echo(self.latencies)
        self.done.set_result(None)
        return False

    def on_idle(self) -> bool:
        """Keep the backlog full: the pattern goes on where it stopped."""
        if not self.left or self.connection is None:
            return False
        written = False
        while self.left and self.connection.backlog(self.stream) < BACKLOG_BYTES:
            chunk = CHUNK[: min(self.left, len(CHUNK))]
            assert len(chunk) % PERIOD == 0 or len(chunk) == self.left
            self.connection.write(self.stream, chunk)
            self.left -= len(chunk)
            written = True
        return written


async def run(asked: argparse.Namespace) -> None:
    """Serve or make one session."""
    if asked.role == "server":
        end: End = Server(asked, host=asked.host, port=asked.port)
    else:
        end = Client(asked, host="0.0.0.0", port=0)
        peer = Peer(identity_of("server").public_key, (asked.host, asked.port))
        end.endpoint.connect(peer, now=end.driver.now())
    end.driver.start()
    await end.done
    await asyncio.sleep(0.1 if asked.role == "server" else 0)  # the last bytes are on their way
    end.driver.close()


def main() -> None:
    """Run the session on the agent's kind of event loop."""
    asked = arguments()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run(asked))


if __name__ == "__main__":
    main()
