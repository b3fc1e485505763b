"""Taking SEALED packets: who may send, what is a replay, what is whole (SPEC 14)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.protocol.errors import LocalProtocolError
from node.protocol.events import DatagramReceived
from node.protocol.identity import Identity, Peer
from node.protocol.sealed.keys import sealing_key, shared_secret
from node.protocol.sealed.reassembly import Reassembly
from node.protocol.sealed.replay import ReplayWindow
from node.protocol.time import Instant
from node.protocol.wire.sealed import (
    FRAGMENT,
    FRAGMENT_BYTES,
    HEADER,
    MAX_DATAGRAM_BYTES,
    MAX_FRAGMENTS,
    SealedHeader,
    parse_sealed,
)

#: SPEC 14-5: epochs of one peer that are told apart: a few, for packets on the way during a restart.
MAX_EPOCHS = 4
#: Peers that have sent something. Their windows are never thrown away, that would be to allow replays.
MAX_PEERS = 1 << 16
#: Received datagrams that the application has not taken: more are dropped.
MAX_WAITING_BYTES = 8 << 20
#: What a waiting datagram costs beside its bytes.
WAITING_OVERHEAD_BYTES = 256


class _Epoch:
    """One epoch of a peer: its key, and what came under it."""

    __slots__ = ("decrypt", "key", "window")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.decrypt = AESGCM(key).decrypt
        self.window = ReplayWindow()


class _Source:
    """A peer that sends."""

    __slots__ = ("duplicates", "epochs", "secret")

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        #: Packets that came once more.
        self.duplicates = 0
        #: Epochs that an authentic packet has shown, at most MAX_EPOCHS, the highest ones.
        self.epochs: dict[bytes, _Epoch] = {}


class SealedReceiver:
    """All SEALED packets that come to one node.

    Args:
        identity: the node.
        peer_of: returns a peer by its address; None: not known, its packets are dropped.
        log_key: told of each new epoch's source, target, epoch and key.
    """

    def __init__(
        self,
        identity: Identity,
        peer_of: Callable[[int], Peer | None],
        log_key: Callable[[int, int, bytes, bytes], None],
    ) -> None:
        self.reassembly = Reassembly()
        self._identity = identity
        self._peer_of = peer_of
        self._log_key = log_key
        self._sources: dict[int, _Source] = {}
        self._received: deque[DatagramReceived] = deque()
        self._waiting = 0

    def receive(self, datagram: memoryview, *, now: Instant) -> str | None:
        """Take a packet; return in a few words why it was dropped, None: it was not."""
        header = parse_sealed(datagram)
        if isinstance(header, str):
            return header
        if header.target_address != self._identity.address:
            return "for another node"  # SPEC 2-4, 14-1
        source = self._sources.get(header.source_address) or self._new_source(header.source_address)
        if isinstance(source, str):
            return source
        epoch = source.epochs.get(header.epoch)
        if epoch is None:
            # SPEC 14-5. Equal length, so bytes compare as the numbers do.
            if source.epochs and header.epoch < max(source.epochs):
                return "SEALED packet of an old epoch"
            epoch = self._new_epoch(source, header)
        if epoch.window.is_replay(header.packet_number):
            source.duplicates += epoch.window.has(header.packet_number)
            return "SEALED packet replayed"
        nonce = header.packet_number.to_bytes(12, "big")  # SPEC 14.1-2
        try:
            clear = epoch.decrypt(nonce, datagram[HEADER.size :], datagram[: HEADER.size])
        except InvalidTag:
            return "SEALED packet with a wrong tag"
        self._keep(source, header, epoch)
        epoch.window.add(header.packet_number)
        return self._take(header, memoryview(clear), now)

    def duplicates_of(self, address: int) -> int:
        """Return how many packets of a node came once more and were dropped (SPEC 14-4).

        Their tags were not looked at: whoever can send again what he saw can send it again with another end.
        """
        source = self._sources.get(address)
        return source.duplicates if source is not None else 0

    def next_datagram(self) -> DatagramReceived | None:
        """Return the next whole datagram."""
        if not self._received:
            return None
        found = self._received.popleft()
        self._waiting -= len(found.data) + WAITING_OVERHEAD_BYTES
        return found

    def _new_source(self, address: int) -> _Source | str:
        peer = self._peer_of(address)
        if peer is None:
            return "SEALED packet of an unknown node"
        if len(self._sources) >= MAX_PEERS:
            return "SEALED packets of too many nodes"
        try:
            source = _Source(shared_secret(self._identity, peer))
        except LocalProtocolError as error:
            return str(error)
        self._sources[address] = source
        return source

    def _new_epoch(self, source: _Source, header: SealedHeader) -> _Epoch:
        """Return what an epoch not seen yet would be; it is kept when its first packet proves authentic."""
        return _Epoch(
            sealing_key(
                source.secret,
                epoch=header.epoch,
                source=header.source_address,
                target=header.target_address,
            )
        )

    def _keep(self, source: _Source, header: SealedHeader, epoch: _Epoch) -> None:
        if header.epoch in source.epochs:
            return
        source.epochs[header.epoch] = epoch
        if len(source.epochs) > MAX_EPOCHS:
            del source.epochs[min(source.epochs)]
        self._log_key(header.source_address, header.target_address, header.epoch, epoch.key)

    def _take(self, header: SealedHeader, clear: memoryview, now: Instant) -> str | None:
        index, count = FRAGMENT.unpack_from(clear)
        data = clear[FRAGMENT.size :]
        whole = index < count - 1
        if not index < count <= MAX_FRAGMENTS or index > header.packet_number:
            return "SEALED packet with a wrong fragment number"
        if len(data) > FRAGMENT_BYTES or (whole and len(data) != FRAGMENT_BYTES) or (index and not data):
            return "SEALED packet with a fragment of wrong length"
        if index * FRAGMENT_BYTES + len(data) > MAX_DATAGRAM_BYTES:
            return "SEALED packet of too long a datagram"
        if count == 1:
            return self._deliver(header.source_address, bytes(data))
        key = (header.source_address, header.epoch, header.packet_number - index)
        found = self.reassembly.add(key, index, count, data, now=now)
        return self._deliver(header.source_address, found) if found is not None else None

    def _deliver(self, source: int, data: bytes) -> str | None:
        cost = len(data) + WAITING_OVERHEAD_BYTES
        if self._waiting + cost > MAX_WAITING_BYTES:
            return "datagrams that nobody takes"
        self._waiting += cost
        self._received.append(DatagramReceived(source, data))
        return None
