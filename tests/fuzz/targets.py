"""One function for each parser: it takes any bytes, and raises when the parser does what it must not.

What a parser may do with bytes of others is to read them, or to refuse them with its own error. Beyond
that each target holds what it reads to a second opinion: what was read is written and read again, or the
second implementation reads it as well.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from node.capture.pcapng import Capture, CaptureError
from node.control.codec import MessageError, decode_command, encode_command
from node.dissectors import varint as second_varint
from node.dissectors.scapy_layer import MalformedError, dissect_frames
from node.dissectors.sealed import SealedPacket, derive_key, seal
from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.endpoint import Endpoint
from node.protocol.errors import RemoteProtocolError
from node.protocol.identity import Identity, Peer
from node.protocol.sealed.service import SealedSettings
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.crc32c import crc32c
from node.protocol.wire.frames import parse_frames
from node.protocol.wire.parameters import parse_parameters
from node.protocol.wire.sealed import parse_sealed
from node.protocol.wire.setup import SETUP_KINDS, SetupPacket, parse_setup
from node.protocol.wire.varint import decode_varint, encode_varint
from tests.attacks.caps import total_drops
from tests.support.forge import Forger
from tests.support.pair import LEFT, Pair

#: Wake-ups in the time that a connection is given to come to its end.
MAX_WAKES = 500


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    run: Callable[[bytes], None]
    #: Longest input that says something new.
    max_length: int


TARGETS: dict[str, Target] = {}


def target(name: str, *, max_length: int) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Register a target."""

    def register(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[name] = Target(run, max_length)
        return run

    return register


# -- codecs


@target("varint", max_length=16)
def varint(data: bytes) -> None:
    """Both implementations read the same number, or neither reads one."""
    try:
        value, end = decode_varint(data, 0)
    except RemoteProtocolError:
        return
    rest, second = second_varint.decode_varint(data)
    assert (second, len(data) - len(rest)) == (value, end)
    assert decode_varint(encode_varint(value), 0)[0] == value


@target("frames", max_length=600)
def frames(data: bytes) -> None:
    """What is read can be written, and is then read as the same."""
    try:
        found = list(parse_frames(memoryview(data)))
    except RemoteProtocolError:
        return
    written = b"".join(frame.encode() for frame in found)
    assert list(parse_frames(memoryview(written))) == found


@target("scapy", max_length=600)
def scapy(data: bytes) -> None:
    """The second implementation takes what the first takes, and as many frames."""
    try:
        first = [type(frame).__name__ for frame in parse_frames(memoryview(data))]
    except RemoteProtocolError:
        first = []
    try:
        second = [frame.name for frame in dissect_frames(data)]
        for frame in dissect_frames(data):
            if hasattr(frame, "intervals"):  # it checks the ranges, which stand there as they came
                frame.intervals()
            elif frame.name == "CLOSE":
                frame.reason.decode("utf-8")
    except (MalformedError, UnicodeDecodeError):
        second = []
    assert bool(first) == bool(second), (first, second)
    assert len([name for name in first if name != "Padding"]) == len(
        [name for name in second if name != "PADDING"]
    )


@target("parameters", max_length=200)
def parameters(data: bytes) -> None:
    """Transport parameters that are taken say the same when they are written anew."""
    try:
        found = parse_parameters(data)
    except RemoteProtocolError:
        return
    assert parse_parameters(found.encode()) == found


@target("setup", max_length=1500)
def setup(data: bytes) -> None:
    """A set-up packet with a right CRC is parsed or refused in words, and comes back."""
    found = parse_setup(memoryview(with_crc(data)))
    if isinstance(found, SetupPacket):
        assert parse_setup(memoryview(found.encode())) == found
    else:
        assert found


@target("sealed-header", max_length=1300)
def sealed_header(data: bytes) -> None:
    """The clear part of a SEALED packet is parsed or refused in words."""
    data = b"\x51" + data  # the endpoint hands it no other kind
    found = parse_sealed(memoryview(data))
    if not isinstance(found, str):
        assert found.encode() == data[: len(found.encode())]


@target("control", max_length=400)
def control(data: bytes) -> None:
    """A line of the control protocol is a command or refused; a command comes back."""
    try:
        identifier, command = decode_command(data)
        assert decode_command(encode_command(command, identifier)) == (identifier, command)
    except MessageError:
        pass


@target("pcapng", max_length=600)
def pcapng(data: bytes) -> None:
    """A capture is read to its end, or refused with the offset of what is wrong."""
    try:
        for frame in Capture(memoryview(data)):
            assert len(frame.data) <= len(data)
    except CaptureError:
        pass


# -- endpoints


@target("endpoint", max_length=4000)
def endpoint(data: bytes) -> None:
    """Datagrams from nowhere: each is dropped for one reason, and no more than one connection begins."""
    pair = Pair()
    for piece in pieces(data):
        datagram = with_crc(piece) if piece[:1] and piece[0] in SETUP_KINDS else piece
        before, connections = total_drops(pair.right), len(pair.right.connections)
        pair.inject(datagram, to_right=True, source=("evil", 666))
        assert total_drops(pair.right) - before <= 1
        assert len(pair.right.connections) <= connections + 1


def data_path(profile: str, fec: str, data: bytes) -> None:
    """Payloads and packets, sealed with the right keys, reach an end in the middle of its life."""
    window = Configuration(integrity=profile, fec=fec, stream_window=20_000, connection_window=50_000)
    pair = Pair(left=window, right=window)
    pair.established()
    assert pair.accepted is not None
    pair.accepted.write(pair.accepted.open_stream(), bytes(30_000))
    pair.drain()
    pair.run_for(20 * MILLISECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    forger = Forger(pair)
    for piece in pieces(data):
        if not piece:
            continue
        # The first byte says how it comes: the next number or a later one, alone or twice, now or later.
        how, payload = piece[0], piece[1:] or b"\x01"
        forger.number += how & 0x03
        packet = forger.packet(payload)
        if how & 0x04:
            packet = packet[: max(1, len(packet) - how)]
        burst = packet * (2 if how & 0x08 else 1)
        pair.right.receive(Burst(LEFT, memoryview(bytearray(burst)), len(packet)), now=pair.now)
        pair.drain()
        pair.now += (how >> 4) * MILLISECOND
    _goes_on_quietly(pair)


@target("data-aead", max_length=2000)
def data_aead(data: bytes) -> None:
    """The profile that closes at what breaks the protocol."""
    data_path("aead", "none", data)


@target("data-crc32c", max_length=2000)
def data_crc32c(data: bytes) -> None:
    """The profile that drops what breaks the protocol."""
    data_path("crc32c", "none", data)


@target("data-xor", max_length=2000)
def data_xor(data: bytes) -> None:
    """The profile that lets much damage through."""
    data_path("xor", "none", data)


@target("fec", max_length=2000)
def fec(data: bytes) -> None:
    """Repair packets of a peer that breaks the rules."""
    data_path("crc32c" if data[:1] > b"\x7f" else "aead", "reed-solomon" if len(data) & 1 else "xor", data)


@target("sealed", max_length=3000)
def sealed(data: bytes) -> None:
    """Fragments sealed by a known node that breaks the rules, and packets of any other kind."""
    source, target_ = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))
    known = SealedSettings({source.address: Peer(source.public_key, LEFT)}.get, 1, lambda: 1)
    receiver = Endpoint(target_, Configuration(), rng=Random(1), sealed=known)
    for number, piece in enumerate(pieces(data)):
        # Its first four bytes are index and count of the fragment, whatever they say.
        index, count = struct.unpack(">HH", piece[:4].ljust(4, b"\x00"))
        head = SealedPacket(target_.address, source.address, b"\x01" * 16, number)
        for packet in (seal(head, _sealing_key(), index, count, piece[4:]), piece or b"\x51"):
            burst = Burst(LEFT, memoryview(bytearray(packet)), len(packet))
            receiver.receive(burst, now=number * MILLISECOND)
        while receiver.next_event() is not None:
            pass
    while (timeout := receiver.next_timeout()) is not None:
        receiver.handle_timeout(now=timeout)


# -- helpers


def pieces(data: bytes) -> list[bytes]:
    """Cut bytes into pieces: each begins with its length in two bytes, whatever is there."""
    found: list[bytes] = []
    position = 0
    while position + 2 <= len(data) and len(found) < 40:
        (length,) = struct.unpack_from(">H", data, position)
        found.append(data[position + 2 : position + 2 + length % 1500])
        position += 2 + length % 1500
    return found


def with_crc(data: bytes) -> bytes:
    """Return a set-up packet that has the length it must have, and a right CRC."""
    length = 65 if data[:1] == b"\xc4" else 1452 if len(data) > 5 and data[5] & 0x80 else 1200
    clear = data[: length - 4].ljust(length - 4, b"\x00")
    return clear + crc32c(clear).to_bytes(4, "big")


def _goes_on_quietly(pair: Pair) -> None:
    """Time goes on: no more wake-ups than timers can give, and in the end nothing is left."""
    end, wakes = pair.now + 100 * SECOND, 0
    while (following := pair.right.next_timeout()) is not None and following <= end:
        pair.now = max(pair.now, following)
        pair.right.handle_timeout(now=pair.now)
        pair.drain()
        wakes += 1
        assert wakes < MAX_WAKES, "spins"
    assert pair.right.connections == ()


@cache
def _sealing_key() -> bytes:
    """The key of the SEALED packets of this module."""
    source, target_ = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))
    private = X25519PrivateKey.from_private_bytes(source.private_key)
    shared = private.exchange(X25519PublicKey.from_public_bytes(target_.public_key))
    return derive_key(shared, SealedPacket(target_.address, source.address, b"\x01" * 16, 0))
