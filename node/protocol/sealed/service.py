"""Connectionless datagrams of one endpoint: both directions under one roof (SPEC 14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from node.protocol.arena import Arena
from node.protocol.datagrams import Transmit
from node.protocol.events import DatagramReceived
from node.protocol.identity import Identity, Peer
from node.protocol.sealed.receiving import SealedReceiver
from node.protocol.sealed.sending import SealedSender
from node.protocol.time import Instant


@dataclass(frozen=True, slots=True)
class SealedSettings:
    """What connectionless datagrams need to know of the world."""

    #: Returns a peer by its node address; None: not known, so nothing is taken from it.
    peer_of: Callable[[int], Peer | None]
    #: Above every number used with the same identity before: nanoseconds of the wall clock at the start.
    epoch: int
    #: Names the process (``os.getpid``): a copy of the state in another one must not seal as this one.
    process: Callable[[], int]


class SealedService:
    """Sends and takes SEALED packets.

    Args:
        key_log: called with each line of the key log (SPEC 11-3).
    """

    def __init__(
        self, identity: Identity, settings: SealedSettings, *, rng: Random,
        key_log: Callable[[str], None] | None,
    ) -> None:  # fmt: skip
        self._key_log = key_log
        self.receiver = SealedReceiver(identity, settings.peer_of, self._log)
        self.sender = SealedSender(
            identity, epoch=settings.epoch, process=settings.process, rng=rng, log_key=self._log
        )

    def receive(self, datagram: memoryview, *, now: Instant) -> str | None:
        """Take a packet; return in a few words why it was dropped, None: it was not."""
        return self.receiver.receive(datagram, now=now)

    def handle_timeout(self, *, now: Instant) -> None:
        """Give up incomplete datagrams whose time is over."""
        self.receiver.reassembly.expire(now=now)

    def send(self, peer: Peer, data: bytes) -> None:
        """Queue a datagram (LocalProtocolError: it cannot be sent)."""
        self.sender.send(peer, data)

    def transmit(self, arena: Arena) -> Transmit | None:
        """Return the next packets, or None."""
        return self.sender.transmit(arena) if self.sender.waiting else None

    def next_datagram(self) -> DatagramReceived | None:
        """Return the next datagram that came, or None."""
        return self.receiver.next_datagram()

    def duplicates_of(self, address: int) -> int:
        """Return how many packets of a node came once more."""
        return self.receiver.duplicates_of(address)

    def next_timeout(self) -> Instant | None:
        """Return when ``handle_timeout`` has something to do."""
        return self.receiver.reassembly.deadline

    def _log(self, source: int, target: int, epoch: bytes, key: bytes) -> None:
        if self._key_log is not None:
            self._key_log(f"STRAIT_SEALED {source:016x} {target:016x} {epoch.hex()} {key.hex()}")
