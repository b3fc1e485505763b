"""Settings of a connection, checked once when built."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from node.protocol.errors import LocalProtocolError
from node.protocol.ml_kem import has_ml_kem
from node.protocol.suites import (
    CIPHER_CODES,
    HANDSHAKE_CODES,
    POST_QUANTUM_SETUP_BYTES,
    SUITE_NAMES,
    Suite,
)
from node.protocol.time import MILLISECOND, SECOND, Duration

#: Smallest datagram every path must carry (SPEC 3-1) and largest a UDP datagram can be.
MIN_DATAGRAM_SIZE = 1200
MAX_DATAGRAM_SIZE = 65_507
#: Most streams of a kind that a peer may have open: one frame opens all lower ones, 2 KB each.
MAX_STREAMS = 1 << 16
#: Half of what AES-GCM seals safely with one key (RFC 9001 §6.6): an update may have to wait a little.
MAX_KEY_UPDATE_PACKETS = 1 << 22
#: SPEC 3-5: connections that peers began and did not confirm; a further one takes the oldest's place.
MAX_HALF_OPEN = 1024
#: Longest message that may be configured: a message is held in memory at both ends.
MAX_MESSAGE_SIZE = 1 << 30
#: More often than this, keeping a binding alive would be a flow of its own.
MIN_KEEP_ALIVE: Duration = 100 * MILLISECOND
#: Names in topologies and on the wire (SPEC 3.2).
INTEGRITY_CODES = {"aead": 1, "crc32c": 2, "xor": 3}
ARQ_CODES = {"selective-repeat": 1, "stop-and-wait": 2, "go-back-n": 3}
_PRE_SHARED_KEY = re.compile("[0-9a-fA-F]{64}")

FEC_CODES = {"none": 0, "xor": 1, "reed-solomon": 2}
FEC_ARQ_CODES = {"always": 1, "on-request": 2, "never": 3}


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
    #: Forward error correction: ``none``, ``xor`` or ``reed-solomon``; the initiator's rules.
    fec: str = "none"
    #: With it, when lost data is sent again: ``always`` (at once), ``on-request`` (unless repair brings it)
    #: or ``never`` (the stream is reset instead); the initiator's rules.
    fec_arq: str = "on-request"
    #: Most repair packets that we send, in percent of the packets they protect.
    fec_overhead_percent: int = 25
    #: Congestion controller: a name in ``CONTROLLERS``.
    congestion: str = "cubic"
    #: Whether a connection begins with half of what an earlier one to the same peer found the path to carry.
    remember_path: bool = False
    #: Profiles that a responder accepts.
    accepted_integrity: tuple[str, ...] = ("aead", "crc32c", "xor")
    #: Noise pattern of connections we begin: ``ik`` (the peer's key is known), ``xx`` (only its address is),
    #: ``ik-psk2`` (and both share a secret).
    handshake: str = "ik"
    #: Cipher of handshake and ``aead``: ``aes-gcm`` (with SHA-256), ``chacha20-poly1305`` (with BLAKE2s).
    cipher: str = "aes-gcm"
    #: Whether connections we begin mix in ML-KEM-768; set-up packets are 1452 bytes long then.
    post_quantum: bool = False
    #: The secret of ``ik-psk2``: 64 hexadecimal digits. Never shown.
    pre_shared_key: str = field(default="", repr=False)
    #: Suites that a responder accepts, each ``handshake/cipher`` or ``handshake/cipher/ml-kem-768``.
    accepted_suites: tuple[str, ...] = SUITE_NAMES
    #: With this many half-open connections a responder asks for a cookie first; 0: always.
    retry_threshold: int = 256
    #: Whether to keep and use peers' tickets, and to give tickets and take early data: it may be a replay.
    early_data: bool = False
    #: UDP payload bytes of the largest packet we send and accept; what of it the path carries is found out.
    max_datagram_size: int = 1452
    #: ... and of full packets before that; a path that swallows them shows within two probe time-outs.
    initial_datagram_size: int = 1452
    #: Receive windows in bytes: whole connection, each stream.
    connection_window: int = 96 * 1024 * 1024
    stream_window: int = 64 * 1024 * 1024
    #: ... at first, if that is less: they grow to the above as far as the path can use it (SPEC 6.3).
    initial_connection_window: int = 6 * 1024 * 1024
    initial_stream_window: int = 4 * 1024 * 1024
    #: How many streams the peer may open.
    max_streams_bidi: int = 128
    #: ... of unidirectional streams, and so of messages that are not acknowledged yet.
    max_streams_uni: int = 2048
    #: Longest message that is sent and taken, in bytes.
    max_message_size: int = 1 << 20
    #: No packet for this long ends the connection silently; 0: never.
    idle_timeout: Duration = 30 * SECOND
    #: An end on which nothing happens sends PING this often, so that no NAT forgets it; 0: never.
    keep_alive: Duration = 0
    #: The initiator gives up after this long.
    handshake_timeout: Duration = 10 * SECOND
    #: How long an acknowledgement may be held back.
    max_ack_delay: Duration = 25 * MILLISECOND
    #: The sender changes its keys after so many packets, and after so long (0: not by time).
    key_update_packets: int = 1 << 22
    key_update_interval: Duration = 3600 * SECOND
    #: Mark packets as ECN-capable, and take reported marks for congestion (SPEC 8.2).
    ecn: bool = True

    @property
    def first_connection_window(self) -> int:
        """Receive window of the connection when it begins, bytes."""
        return min(self.initial_connection_window, self.connection_window)

    @property
    def first_stream_window(self) -> int:
        """Receive window of each stream when it begins, bytes."""
        return min(self.initial_stream_window, self.stream_window)

    def __post_init__(self) -> None:
        _check(self.integrity in INTEGRITY_CODES, "integrity", self.integrity, list(INTEGRITY_CODES))
        _check(self.arq in ARQ_CODES, "arq", self.arq, list(ARQ_CODES))
        _check(self.fec in FEC_CODES, "fec", self.fec, list(FEC_CODES))
        _check(self.fec_arq in FEC_ARQ_CODES, "fec_arq", self.fec_arq, list(FEC_ARQ_CODES))
        _check_range("fec_overhead_percent", self.fec_overhead_percent, 1, 100)
        if self.fec != "none" and self.arq == "stop-and-wait":
            raise LocalProtocolError(
                "fec: found with arq stop-and-wait, which has no other packets to repair one with; "
                "use arq selective-repeat or go-back-n, or fec none"
            )
        for profile in self.accepted_integrity:
            _check(profile in INTEGRITY_CODES, "accepted_integrity", profile, list(INTEGRITY_CODES))
        self._check_suite()
        _check_range("max_datagram_size", self.max_datagram_size, MIN_DATAGRAM_SIZE, MAX_DATAGRAM_SIZE)
        _check_range(
            "initial_datagram_size", self.initial_datagram_size, MIN_DATAGRAM_SIZE, MAX_DATAGRAM_SIZE
        )
        _check_range("connection_window", self.connection_window, 2 * MIN_DATAGRAM_SIZE, 1 << 40)
        _check_range("stream_window", self.stream_window, MIN_DATAGRAM_SIZE, 1 << 40)
        for name in ("initial_connection_window", "initial_stream_window"):
            _check_range(name, getattr(self, name), MIN_DATAGRAM_SIZE, 1 << 40)
        _check_range("max_streams_bidi", self.max_streams_bidi, 0, MAX_STREAMS)
        _check_range("max_streams_uni", self.max_streams_uni, 0, MAX_STREAMS)
        _check_range("max_message_size", self.max_message_size, 0, MAX_MESSAGE_SIZE)
        _check_range("idle_timeout", self.idle_timeout, 0, 1 << 62)
        _check_range("keep_alive", self.keep_alive, 0, 1 << 62)
        if self.keep_alive:
            _check_range("keep_alive", self.keep_alive, MIN_KEEP_ALIVE, 1 << 62)
        _check_range("handshake_timeout", self.handshake_timeout, MILLISECOND, 1 << 62)
        _check_range("retry_threshold", self.retry_threshold, 0, MAX_HALF_OPEN)
        _check_range("max_ack_delay", self.max_ack_delay, 0, 16 * SECOND)
        _check_range("key_update_packets", self.key_update_packets, 1, MAX_KEY_UPDATE_PACKETS)
        _check_range("key_update_interval", self.key_update_interval, 0, 1 << 62)

    @property
    def suite(self) -> Suite:
        """What connections we begin ask for."""
        return Suite(self.handshake, self.cipher, self.post_quantum)

    def _check_suite(self) -> None:
        _check(self.handshake in HANDSHAKE_CODES, "handshake", self.handshake, list(HANDSHAKE_CODES))
        _check(self.cipher in CIPHER_CODES, "cipher", self.cipher, list(CIPHER_CODES))
        for suite in self.accepted_suites:
            _check(suite in SUITE_NAMES, "accepted_suites", suite, list(SUITE_NAMES))
        if self.pre_shared_key and _PRE_SHARED_KEY.fullmatch(self.pre_shared_key) is None:
            raise LocalProtocolError("pre_shared_key: must be 64 hexadecimal digits")
        if self.handshake == "ik-psk2" and not self.pre_shared_key:
            raise LocalProtocolError("handshake: ik-psk2 needs a pre_shared_key, 64 hexadecimal digits")
        if self.post_quantum:
            if not has_ml_kem():
                raise LocalProtocolError("post_quantum: no ML-KEM-768 here, install cryptography 47 or newer")
            least = POST_QUANTUM_SETUP_BYTES  # SPEC 3.3-4: so long are its set-up packets
            _check_range(
                "max_datagram_size with post_quantum", self.max_datagram_size, least, MAX_DATAGRAM_SIZE
            )


def _check(ok: bool, name: str, found: object, allowed: list[str]) -> None:
    if not ok:
        raise LocalProtocolError(f"{name}: found {found!r}, use one of {', '.join(allowed)}")


def _check_range(name: str, found: int, low: int, high: int) -> None:
    if not low <= found <= high:
        raise LocalProtocolError(f"{name}: found {found}, must be from {low} to {high}")
