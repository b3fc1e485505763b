"""Settings of a connection, checked once when built."""

from __future__ import annotations

from dataclasses import dataclass

from node.protocol.errors import LocalProtocolError
from node.protocol.time import MILLISECOND, SECOND, Duration

#: Smallest datagram every path must carry (SPEC 3-1) and largest a UDP datagram can be.
MIN_DATAGRAM_SIZE = 1200
MAX_DATAGRAM_SIZE = 65_507
#: Most streams of a kind that a peer may have open: one frame opens all lower ones, 2 KB each.
MAX_STREAMS = 1 << 16
#: Half of what AES-GCM seals safely with one key (RFC 9001 §6.6): an update may have to wait a little.
MAX_KEY_UPDATE_PACKETS = 1 << 22
#: Names in topologies and on the wire (SPEC 3.2).
INTEGRITY_CODES = {"aead": 1, "crc32c": 2, "xor": 3}
ARQ_CODES = {"selective-repeat": 1, "stop-and-wait": 2, "go-back-n": 3}


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings of one end of a connection.

    Raises:
        LocalProtocolError: a value is out of its range; the message names it and the range.
    """

    #: Integrity profile: ``aead``, ``crc32c`` (insecure), ``xor`` (insecure). The initiator's rules.
    integrity: str = "aead"
    #: ARQ mode; the initiator's rules.
    arq: str = "selective-repeat"
    #: Congestion controller: a name in ``CONTROLLERS``.
    congestion: str = "new-reno"
    #: Profiles that a responder accepts.
    accepted_integrity: tuple[str, ...] = ("aead", "crc32c", "xor")
    #: UDP payload bytes of a full packet we send and accept.
    max_datagram_size: int = 1452
    #: Receive windows in bytes: whole connection, each stream.
    connection_window: int = 16 * 1024 * 1024
    stream_window: int = 8 * 1024 * 1024
    #: How many streams the peer may open.
    max_streams_bidi: int = 128
    max_streams_uni: int = 128
    #: No packet for this long ends the connection silently; 0: never.
    idle_timeout: Duration = 30 * SECOND
    #: The initiator gives up after this long.
    handshake_timeout: Duration = 10 * SECOND
    #: How long an acknowledgement may be held back.
    max_ack_delay: Duration = 25 * MILLISECOND
    #: The sender changes its keys after so many packets, and after so long (0: not by time).
    key_update_packets: int = 1 << 22
    key_update_interval: Duration = 3600 * SECOND

    def __post_init__(self) -> None:
        _check(self.integrity in INTEGRITY_CODES, "integrity", self.integrity, list(INTEGRITY_CODES))
        _check(self.arq in ARQ_CODES, "arq", self.arq, list(ARQ_CODES))
        for profile in self.accepted_integrity:
            _check(profile in INTEGRITY_CODES, "accepted_integrity", profile, list(INTEGRITY_CODES))
        _check_range("max_datagram_size", self.max_datagram_size, MIN_DATAGRAM_SIZE, MAX_DATAGRAM_SIZE)
        _check_range("connection_window", self.connection_window, 2 * MIN_DATAGRAM_SIZE, 1 << 40)
        _check_range("stream_window", self.stream_window, MIN_DATAGRAM_SIZE, 1 << 40)
        _check_range("max_streams_bidi", self.max_streams_bidi, 0, MAX_STREAMS)
        _check_range("max_streams_uni", self.max_streams_uni, 0, MAX_STREAMS)
        _check_range("idle_timeout", self.idle_timeout, 0, 1 << 62)
        _check_range("handshake_timeout", self.handshake_timeout, MILLISECOND, 1 << 62)
        _check_range("max_ack_delay", self.max_ack_delay, 0, 16 * SECOND)
        _check_range("key_update_packets", self.key_update_packets, 1, MAX_KEY_UPDATE_PACKETS)
        _check_range("key_update_interval", self.key_update_interval, 0, 1 << 62)


def _check(ok: bool, name: str, found: object, allowed: list[str]) -> None:
    if not ok:
        raise LocalProtocolError(f"{name}: found {found!r}, use one of {', '.join(allowed)}")


def _check_range(name: str, found: int, low: int, high: int) -> None:
    if not low <= found <= high:
        raise LocalProtocolError(f"{name}: found {found}, must be from {low} to {high}")
