"""Opening a connection: the Noise exchange of a suite in set-up packets (SPEC 3).

IK and IKpsk2 take two messages, XX three: there the responder learns who asks from COMPLETION alone, and
has no keys before it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeAlias

from node.protocol.configuration import Configuration
from node.protocol.errors import RemoteProtocolError
from node.protocol.identity import Identity, Peer, address_of
from node.protocol.key_phases import KeyPhases
from node.protocol.ml_kem import MlKem768, has_ml_kem
from node.protocol.noise import Handshake, NoiseError
from node.protocol.suites import SUITES, Suite
from node.protocol.wire.data import DATA
from node.protocol.wire.parameters import CONNECTION_ID_BYTES, TransportParameters, parse_parameters
from node.protocol.wire.protection import AeadProtection, Crc32cProtection, PacketProtection, XorProtection
from node.protocol.wire.setup import COMPLETION, INITIATION, RESPONSE, RETRY, VERSION, SetupPacket

#: SPEC 3.4-4: a responder's secret may change twice under way; more is somebody's game.
MAX_RETRIES = 3
NO_CONNECTION_ID = bytes(CONNECTION_ID_BYTES)


@dataclass(frozen=True, slots=True)
class Keys:
    """What Split() gave: the keys of the two directions, and the cipher they are for (SPEC 3.1-2)."""

    initiator_to_responder: bytes
    responder_to_initiator: bytes
    cipher: str = "aes-gcm"


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an initiator has when RESPONSE has come."""

    peer: TransportParameters
    keys: Keys
    #: The third Noise message, if the pattern has one.
    completion: bytes | None


def new_connection_id(rng: Random) -> bytes:
    """Return a random connection ID; all zero means none and is not used."""
    while True:
        found = rng.randbytes(CONNECTION_ID_BYTES)
        if found != NO_CONNECTION_ID:
            return found


def make_protection(
    profile: str, keys: Keys, configuration: Configuration, *, initiator: bool
) -> tuple[PacketProtection, KeyPhases | None]:
    """Return the protection of DATA packets (SPEC 4.1), and what updates its keys if it has any."""
    if profile == "crc32c":
        return Crc32cProtection(), None
    if profile == "xor":
        return XorProtection(), None
    pair = (keys.initiator_to_responder, keys.responder_to_initiator)
    send_key, receive_key = pair if initiator else pair[::-1]
    protection = AeadProtection(send_key=send_key, receive_key=receive_key, cipher=keys.cipher)
    return protection, KeyPhases(
        protection, send_key=send_key, receive_key=receive_key, kind=DATA,
        packets=configuration.key_update_packets, interval=configuration.key_update_interval,
    )  # fmt: skip


class Initiator:
    """Our side of a handshake that we began."""

    def __init__(
        self, identity: Identity, peer: Peer, configuration: Configuration, connection_id: bytes, rng: Random,
        *, ticket: bytes = b"",
    ) -> None:  # fmt: skip
        self._identity, self._peer = identity, peer
        self._suite = configuration.suite
        self._asked = replace(TransportParameters.of(configuration, connection_id), ticket=ticket)
        if not self._suite.has_three_messages:  # SPEC 4.3-2: XX would say it in clear
            self._asked = self._asked.with_reset_token(identity.reset_token(connection_id))
        self._connection_id = connection_id
        self._packet_number = 0
        self._cookie = b""
        self._retries = 0
        #: The newest INITIATION that a RETRY answered.
        self._retried = -1
        prologue = _prologue(self._suite, peer.address, identity.address, connection_id)
        self._noise = _noise(
            self._suite, identity, configuration, prologue, rng,
            initiator=True, remote_static=b"" if self._suite.handshake == "xx" else peer.public_key,
        )  # fmt: skip
        self._message = self._noise.write_message(self._asked.encode())

    def initiation(self) -> bytes:
        """Return the next INITIATION: the same message in a packet of its own number (SPEC 3-3, 3-4)."""
        return self._packet(INITIATION, NO_CONNECTION_ID, self._message)

    def completion(self, agreed: Agreed) -> bytes:
        """Return the next COMPLETION (SPEC 3.1-5)."""
        assert agreed.completion is not None
        return self._packet(COMPLETION, agreed.peer.connection_id, agreed.completion)

    def early_key(self, secret: bytes) -> bytes:
        """Return the key of EARLY packets, before RESPONSE has come."""
        return early_key(self._suite, secret, self._noise.hash)

    @property
    def packets_sent(self) -> int:
        """How many set-up packets went out."""
        return self._packet_number

    def take_response(self, packet: SetupPacket) -> Agreed | str:
        """Return what was agreed on, or why the packet is to be dropped."""
        if packet.source_address != self._peer.address:
            return "RESPONSE from another node"
        if packet.suite != self._suite.code:
            return "RESPONSE changes the suite"
        # SPEC 3.1-4: a forged RESPONSE must not spoil the handshake, so a copy of the state reads it.
        noise = self._noise.copy()
        try:
            parameters = parse_parameters(noise.read_message(packet.message))
        except (NoiseError, RemoteProtocolError) as error:
            return str(error)
        if address_of(noise.remote_static) != self._peer.address:  # SPEC 3.1-1
            return "source address is not that of the proven key"
        if parameters.connection_id != packet.source_connection_id:
            return "RESPONSE with another connection ID than it proves"
        if (parameters.integrity, parameters.arq) != (self._asked.integrity, self._asked.arq):
            return "RESPONSE changes the profile"
        if parameters.fec != "none" and not self._asked.agrees_on_fec(parameters):
            return "RESPONSE changes the FEC scheme"  # SPEC 12-2
        if parameters.early_accepted and not self._asked.ticket:
            return "RESPONSE takes early data that nobody sent"
        completion = noise.write_message(b"") if self._suite.has_three_messages else None
        return Agreed(parameters, _keys(noise, self._suite), completion)

    def take_retry(self, packet: SetupPacket) -> str | None:
        """Carry the cookie from now on, or return why the packet is to be dropped (SPEC 3.4-4)."""
        if (packet.source_address, packet.suite) != (self._peer.address, self._suite.code):
            return "RETRY to another INITIATION"
        if not self._retried < packet.packet_number < self._packet_number:
            return "RETRY to another INITIATION"
        if packet.message or not packet.cookie:
            return "RETRY without a cookie"
        if self._retries >= MAX_RETRIES:
            return "one RETRY too many"
        self._retries += 1
        self._retried = self._packet_number - 1
        self._cookie = packet.cookie
        return None

    def _packet(self, kind: int, target_connection_id: bytes, message: bytes) -> bytes:
        number, self._packet_number = self._packet_number, self._packet_number + 1
        return SetupPacket(
            kind, self._suite.code, self._peer.address, self._identity.address, target_connection_id,
            self._connection_id, number, message, self._cookie if kind == INITIATION else b"",
        ).encode()  # fmt: skip


@dataclass(slots=True)
class Accepted:
    """A valid INITIATION, and our answer to it."""

    peer_address: int
    peer: TransportParameters
    ours: TransportParameters
    suite: Suite
    #: The Noise message of RESPONSE.
    message: bytes
    #: None: COMPLETION has not come yet.
    keys: Keys | None
    #: What reads COMPLETION, where there is one to come.
    noise: Handshake | None
    #: The key of EARLY packets; empty: none are taken.
    early_key: bytes = field(default=b"", repr=False)


#: Returns the secret of the ticket in what was asked, given what we would answer; empty: it is refused.
Redeem: TypeAlias = Callable[[TransportParameters, TransportParameters], bytes]


def answer(
    packet: SetupPacket, identity: Identity, configuration: Configuration, connection_id: bytes, rng: Random,
    *, redeem: Redeem,
) -> Accepted | str:  # fmt: skip
    """Return the answer to an INITIATION for us, or why it is to be dropped."""
    suite = SUITES[packet.suite]
    if suite.name not in configuration.accepted_suites:  # SPEC 3.2-1, before a key is touched
        return "suite not accepted"
    if suite.handshake == "ik-psk2" and not configuration.pre_shared_key:
        return "no pre-shared key here"  # SPEC 3.3-6
    if suite.post_quantum and not has_ml_kem():
        return "no ML-KEM-768 here"
    prologue = _prologue(suite, identity.address, packet.source_address, packet.source_connection_id)
    try:
        noise = _noise(suite, identity, configuration, prologue, rng, initiator=False)
        parameters = parse_parameters(noise.read_message(packet.message))
        transcript = noise.hash
        if not suite.has_three_messages and address_of(noise.remote_static) != packet.source_address:
            return "source address is not that of the proven key"  # SPEC 3.1-1
        if parameters.connection_id != packet.source_connection_id:
            return "INITIATION with another connection ID than it proves"
        if parameters.integrity not in configuration.accepted_integrity:  # SPEC 3.2-1
            return f"integrity profile {parameters.integrity} not accepted"
        wanted = TransportParameters.of(configuration, connection_id)
        ours = wanted.with_choices_of(parameters).with_reset_token(identity.reset_token(connection_id))
        secret = redeem(parameters, ours) if parameters.ticket else b""
        ours = replace(ours, early_accepted=bool(secret))
        message = noise.write_message(ours.encode())
    except (NoiseError, RemoteProtocolError) as error:
        return str(error)
    accepted = Accepted(packet.source_address, parameters, ours, suite, message, keys=None, noise=noise)
    if secret:
        accepted.early_key = early_key(suite, secret, transcript)
    if not suite.has_three_messages:
        accepted.keys, accepted.noise = _keys(noise, suite), None
    return accepted


def take_completion(packet: SetupPacket, accepted: Accepted) -> Keys | str:
    """Return the keys that COMPLETION confirms, or why it is to be dropped."""
    assert accepted.noise is not None
    if (packet.source_address, packet.suite) != (accepted.peer_address, accepted.suite.code):
        return "COMPLETION of another handshake"
    noise = accepted.noise.copy()  # SPEC 3.1-4, as with RESPONSE
    try:
        payload = noise.read_message(packet.message)
    except NoiseError as error:
        return str(error)
    if payload:
        return "COMPLETION with a payload"
    if address_of(noise.remote_static) != packet.source_address:  # SPEC 3.1-1
        return "source address is not that of the proven key"
    accepted.keys, accepted.noise = _keys(noise, accepted.suite), None
    return accepted.keys


def early_key(suite: Suite, secret: bytes, transcript: bytes) -> bytes:
    """Return the key of EARLY packets (SPEC 15-3): HKDF of the suite's hash.

    Args:
        secret: of the ticket.
        transcript: the handshake hash after the first message: the salt.
    """
    extracted = hmac.digest(transcript, secret, suite.hash_name)
    return hmac.digest(extracted, b"Strait early data\x01", suite.hash_name)


def response_packet(identity: Identity, accepted: Accepted, number: int) -> bytes:
    """Return a RESPONSE packet (SPEC 3-3)."""
    return SetupPacket(
        RESPONSE, accepted.suite.code, accepted.peer_address, identity.address, accepted.peer.connection_id,
        accepted.ours.connection_id, number, accepted.message,
    ).encode()  # fmt: skip


def retry_packet(identity: Identity, packet: SetupPacket, cookie: bytes) -> bytes:
    """Return the RETRY that answers an INITIATION, all from the INITIATION itself (SPEC 3.4-1)."""
    return SetupPacket(
        RETRY, packet.suite, packet.source_address, identity.address, packet.source_connection_id,
        NO_CONNECTION_ID, packet.packet_number, b"", cookie,
    ).encode()  # fmt: skip


def _noise(
    suite: Suite, identity: Identity, configuration: Configuration, prologue: bytes, rng: Random, *,
    initiator: bool, remote_static: bytes = b"",
) -> Handshake:  # fmt: skip
    return Handshake(
        suite.protocol_name,
        initiator=initiator,
        prologue=prologue,
        static=identity.private_key,
        ephemeral=rng.randbytes(32),
        remote_static=remote_static,
        psks=[bytes.fromhex(configuration.pre_shared_key)] if suite.handshake == "ik-psk2" else [],
        kem=MlKem768(rng) if suite.post_quantum else None,
    )


def _prologue(suite: Suite, target: int, source: int, source_connection_id: bytes) -> bytes:
    """SPEC 3.1, 3.3-2: what both ends must have seen alike beside the Noise messages."""
    head = VERSION.to_bytes(4, "big") + bytes((suite.code,))
    return b"Strait" + head + target.to_bytes(8, "big") + source.to_bytes(8, "big") + source_connection_id


def _keys(noise: Handshake, suite: Suite) -> Keys:
    first, second = noise.split()
    return Keys(first.key, second.key, suite.cipher)
