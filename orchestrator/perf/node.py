"""An endpoint on a real socket, whose connections are sessions: objects that are told what happened."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from typing import Protocol, TypeVar

from node.agent.udp import UdpDriver
from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.datagrams import SocketAddress
from node.protocol.endpoint import Endpoint
from node.protocol.events import (
    ConnectionClosed,
    ConnectionEstablished,
    Event,
    MessageReceived,
    StreamDataReceived,
)
from node.protocol.identity import Identity, Peer
from node.protocol.time import Instant
from node.workloads.flow import describe_close

#: What the key of a server follows from if nobody gives a word: then anybody can pose as one.
NO_KEY = "narrows perf"


class Session(Protocol):
    """One side of a test over one connection."""

    def on_established(self, *, now: Instant) -> None:
        """The handshake is through."""
        ...

    def on_stream(self, stream_id: int, data: bytearray, *, ended: bool, now: Instant) -> None:
        """Bytes of a stream came; ``ended``: its last."""
        ...

    def on_message(self, data: bytes, *, now: Instant) -> None:
        """A message came."""
        ...

    def on_closed(self, reason: str) -> None:
        """The connection is over."""
        ...

    def pump(self, *, now: Instant) -> None:
        """Write what there is to write: called after every step."""
        ...


S = TypeVar("S", bound=Session)


class PerfNode:
    """A socket with an endpoint.

    Args:
        identity: who we are.
        host, port: where to listen; port 0: any.
        configuration: of connections that we accept or open.
        accept: makes the session of a connection that a peer opened; None: none is accepted.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        host: str,
        port: int,
        configuration: Configuration,
        accept: Callable[[Connection], Session] | None = None,
    ) -> None:
        self.endpoint = Endpoint(identity, configuration, rng=random.SystemRandom())
        self._accept = accept
        self._news = asyncio.Event()
        self._sessions: dict[Connection, Session] = {}
        self.driver = UdpDriver(self.endpoint, host=host, port=port, on_drained=self._step)

    def connect(self, peer: Peer, make: Callable[[Connection], S]) -> S:
        """Open a connection; its session is made at once."""
        connection = self.endpoint.connect(peer, now=self.now())
        session = make(connection)
        self._sessions[connection] = session
        self.driver.drain()
        return session

    @staticmethod
    def now() -> Instant:
        """Return the clock, ns."""
        return UdpDriver.now()

    async def wait(self, seconds: float) -> None:
        """Wait until something happened, but at most so long."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), max(0.0, seconds))
        except TimeoutError:
            pass  # nothing happened

    async def close(self) -> None:
        """Say goodbye and close the socket."""
        self.endpoint.close(now=self.now())
        self.driver.drain()
        await self.driver.flush(1.0)
        await asyncio.sleep(0)
        self.driver.close()

    def _step(self) -> bool:
        """Tell the sessions what happened, and let them write; return whether anything was done."""
        now, any_event = self.now(), False
        while (item := self.endpoint.next_event()) is not None:
            any_event = True
            self._news.set()
            self._tell(*item, now)
        for session in list(self._sessions.values()):
            session.pump(now=now)
        return any_event

    def _tell(self, connection: Connection, event: Event, now: Instant) -> None:
        session = self._sessions.get(connection)
        if session is None:
            if self._accept is None or not isinstance(event, ConnectionEstablished):
                return
            session = self._sessions[connection] = self._accept(connection)
        if isinstance(event, ConnectionEstablished):
            session.on_established(now=now)
        elif isinstance(event, StreamDataReceived):
            data = connection.read(event.stream_id)
            session.on_stream(event.stream_id, data, ended=event.ended, now=now)
        elif isinstance(event, MessageReceived):
            session.on_message(event.data, now=now)
        elif isinstance(event, ConnectionClosed):
            del self._sessions[connection]
            session.on_closed(describe_close(event))


def server_identity(word: str | None) -> Identity:
    """Return the identity of a server whose key follows from a word that both ends are given."""
    return Identity(hashlib.sha256(b"narrows perf server\0" + (word or NO_KEY).encode()).digest())


def client_identity() -> Identity:
    """Return an identity that nobody had before."""
    return Identity(random.SystemRandom().randbytes(32))


def peer_at(address: SocketAddress, word: str | None) -> Peer:
    """Return the server at an address, whose key follows from a word."""
    return Peer(server_identity(word).public_key, address)
