"""Sending SEALED packets: epochs, packet numbers, fragments, and bursts of them (SPEC 14)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.protocol.arena import Arena
from node.protocol.datagrams import MAX_SEGMENTS, SocketAddress, Transmit
from node.protocol.errors import LocalProtocolError
from node.protocol.identity import Identity, Peer
from node.protocol.sealed.keys import sealing_key, shared_secret
from node.protocol.wire.sealed import (
    EPOCH_BYTES,
    FRAGMENT,
    FRAGMENT_BYTES,
    HEADER,
    MAX_DATAGRAM_BYTES,
    SEALED,
    TAG_BYTES,
    fragment_count,
)
from node.protocol.wire.setup import VERSION

#: SPEC 14-3: packets under one key; AES-GCM's confidentiality limit is 2^23 (RFC 9001 §6.6).
MAX_PACKETS_OF_EPOCH = 1 << 22
#: Peers that something was sent to.
MAX_PEERS = 1 << 16
#: Datagrams that wait for the driver; more are refused.
MAX_QUEUED_BYTES = 8 << 20
#: What a waiting datagram costs beside its bytes.
QUEUED_OVERHEAD_BYTES = 256


class _Target:
    """A peer that is sent to."""

    __slots__ = ("encrypt_into", "epoch", "next_number", "peer", "secret")

    def __init__(self, peer: Peer, secret: bytes) -> None:
        self.peer = peer
        self.secret = secret
        self.epoch = b""
        self.next_number = 0
        self.encrypt_into: Callable[..., int] | None = None


class SealedSender:
    """All SEALED packets that one node sends.

    Args:
        identity: the node.
        epoch: a number above all that were ever used with this identity: nanoseconds of the wall clock.
        process: names the process this runs in: state that was copied by fork must not be used twice.
        rng: the random half of each epoch.
        log_key: told of each new epoch's source, target, epoch and key.
    """

    def __init__(
        self, identity: Identity, *, epoch: int, process: Callable[[], int], rng: Random,
        log_key: Callable[[int, int, bytes, bytes], None],
    ) -> None:  # fmt: skip
        self._identity = identity
        self._rng = rng
        self._log_key = log_key
        self._process = process
        self._owner = process()
        self._next_epoch = epoch
        self._targets: dict[int, _Target] = {}
        #: Datagrams to send: target, where to, bytes, fragments that are gone already.
        self._queue: deque[tuple[_Target, SocketAddress, bytes, int]] = deque()
        self._queued = 0

    def send(self, peer: Peer, data: bytes) -> None:
        """Queue a datagram.

        Raises:
            LocalProtocolError: it is too long, for this node itself, or too many wait already.
        """
        self._check_process()
        if len(data) > MAX_DATAGRAM_BYTES:
            raise LocalProtocolError(
                f"a datagram of {len(data)} bytes, at most {MAX_DATAGRAM_BYTES} are sent"
            )
        if peer.address == self._identity.address:
            raise LocalProtocolError("a node cannot send datagrams to itself")
        cost = len(data) + QUEUED_OVERHEAD_BYTES
        if self._queued + cost > MAX_QUEUED_BYTES:
            raise LocalProtocolError(f"{MAX_QUEUED_BYTES} bytes of datagrams wait already")
        self._queue.append((self._target(peer), peer.socket_address, data, 0))
        self._queued += cost

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._queue)

    def transmit(self, arena: Arena) -> Transmit | None:
        """Return the next packets, as many as go in one burst: to one socket, alike in size but the last."""
        self._check_process()
        if not self._queue:
            return None
        destination = self._queue[0][1]
        position = size = count = 0
        while self._queue and self._queue[0][1] == destination and count < MAX_SEGMENTS:
            target, _, data, index = self._queue[0]
            piece = memoryview(data)[index * FRAGMENT_BYTES : (index + 1) * FRAGMENT_BYTES]
            packet_size = HEADER.size + FRAGMENT.size + len(piece) + TAG_BYTES
            if packet_size > (size or packet_size) or position + packet_size > len(arena.buffer):
                break
            of = fragment_count(len(data))
            if index == 0 and (target.encrypt_into is None or self._is_used_up(target, of)):
                self._begin_epoch(target)
            self._seal(arena, position, target, index, of, piece)
            self._advance(of)
            size = size or packet_size
            position += packet_size
            count += 1
            if packet_size < size:
                break
        return Transmit(destination, arena.view[:position], size)

    def _seal(
        self, arena: Arena, position: int, target: _Target, index: int, count: int, piece: memoryview
    ) -> None:
        number, target.next_number = target.next_number, target.next_number + 1
        HEADER.pack_into(
            arena.buffer, position, SEALED, VERSION, target.peer.address, self._identity.address,
            target.epoch, number,
        )  # fmt: skip
        body = position + HEADER.size
        FRAGMENT.pack_into(arena.buffer, body, index, count)
        end = body + FRAGMENT.size + len(piece)
        arena.view[body + FRAGMENT.size : end] = piece
        assert target.encrypt_into is not None
        target.encrypt_into(
            number.to_bytes(12, "big"), arena.view[body:end], arena.view[position:body],
            arena.view[body : end + TAG_BYTES],
        )  # fmt: skip

    def _advance(self, count: int) -> None:
        """The fragment at the head of the queue has gone."""
        target, destination, data, index = self._queue[0]
        if index + 1 < count:
            self._queue[0] = (target, destination, data, index + 1)
        else:
            self._queue.popleft()
            self._queued -= len(data) + QUEUED_OVERHEAD_BYTES

    def _is_used_up(self, target: _Target, count: int) -> bool:
        # SPEC 14.2-2: the fragments of a datagram are of one epoch.
        return target.next_number + count > MAX_PACKETS_OF_EPOCH

    def _begin_epoch(self, target: _Target) -> None:
        """SPEC 14-3: a number above all before, then chance: no key is ever made twice."""
        epoch = self._next_epoch.to_bytes(8, "big") + self._rng.randbytes(EPOCH_BYTES - 8)
        self._next_epoch += 1
        source, address = self._identity.address, target.peer.address
        key = sealing_key(target.secret, epoch=epoch, source=source, target=address)
        target.epoch, target.next_number, target.encrypt_into = epoch, 0, AESGCM(key).encrypt_into
        self._log_key(source, address, epoch, key)

    def _target(self, peer: Peer) -> _Target:
        target = self._targets.get(peer.address)
        if target is None:
            if len(self._targets) >= MAX_PEERS:
                raise LocalProtocolError(f"datagrams to {MAX_PEERS} nodes are the most")
            target = self._targets[peer.address] = _Target(peer, shared_secret(self._identity, peer))
        return target

    def _check_process(self) -> None:
        """A forked copy begins epochs of its own, and leaves what waited to the original (SPEC 14-3)."""
        if self._process() == self._owner:
            return
        self._owner = self._process()
        self._queue.clear()
        self._queued = 0
        for target in self._targets.values():
            target.encrypt_into = None
