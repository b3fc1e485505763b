"""Opening a connection: the Noise IK exchange in set-up packets (SPEC 3)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from node.protocol.configuration import Configuration
from node.protocol.errors import RemoteProtocolError
from node.protocol.identity import Identity, Peer, address_of
from node.protocol.key_phases import KeyPhases
from node.protocol.noise import Handshake, NoiseError
from node.protocol.wire.data import DATA
from node.protocol.wire.parameters import CONNECTION_ID_BYTES, TransportParameters, parse_parameters
from node.protocol.wire.protection import AeadProtection, Crc32cProtection, PacketProtection, XorProtection
from node.protocol.wire.setup import INITIATION, RESPONSE, VERSION, SetupPacket

PROTOCOL_NAME = "Noise_IK_25519_AESGCM_SHA256"
NO_CONNECTION_ID = bytes(CONNECTION_ID_BYTES)


@dataclass(frozen=True, slots=True)
class Keys:
    """What Split() gave: the keys of the two directions (SPEC 3.1-2)."""

    initiator_to_responder: bytes
    responder_to_initiator: bytes


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
    protection = AeadProtection(send_key=send_key, receive_key=receive_key)
    return protection, KeyPhases(
        protection, send_key=send_key, receive_key=receive_key, kind=DATA,
        packets=configuration.key_update_packets, interval=configuration.key_update_interval,
    )  # fmt: skip


class Initiator:
    """Our side of a handshake that we began."""

    def __init__(
        self, identity: Identity, peer: Peer, configuration: Configuration, connection_id: bytes, rng: Random
    ) -> None:
        self._identity, self._peer = identity, peer
        self._asked = TransportParameters.of(configuration, connection_id)
        self._connection_id = connection_id
        self._packet_number = 0
        self._noise = Handshake(
            PROTOCOL_NAME,
            initiator=True,
            prologue=_prologue(peer.address, identity.address, connection_id),
            static=identity.private_key,
            ephemeral=rng.randbytes(32),
            remote_static=peer.public_key,
        )
        self._message = self._noise.write_message(self._asked.encode())

    def packet(self) -> bytes:
        """Return the next INITIATION: the same message in a packet of its own number (SPEC 3-3, 3-4)."""
        number, self._packet_number = self._packet_number, self._packet_number + 1
        return SetupPacket(
            INITIATION, self._peer.address, self._identity.address, NO_CONNECTION_ID,
            self._connection_id, number, self._message,
        ).encode()  # fmt: skip

    @property
    def packets_sent(self) -> int:
        """How many INITIATIONs went out."""
        return self._packet_number

    def take_response(self, packet: SetupPacket) -> tuple[TransportParameters, Keys] | str:
        """Return the peer's parameters and the keys, or why the packet is to be dropped."""
        if packet.source_address != self._peer.address:
            return "RESPONSE from another node"
        # A forged RESPONSE must not spoil the handshake: the state is rebuilt from a copy.
        noise = self._noise.copy()
        try:
            parameters = parse_parameters(noise.read_message(packet.message))
        except (NoiseError, RemoteProtocolError) as error:
            return str(error)
        if parameters.connection_id != packet.source_connection_id:
            return "RESPONSE with another connection ID than it proves"
        if (parameters.integrity, parameters.arq) != (self._asked.integrity, self._asked.arq):
            return "RESPONSE changes the profile"  # SPEC 3.2-1
        return parameters, _keys(noise)


@dataclass(slots=True)
class Accepted:
    """A valid INITIATION, and our answer to it."""

    peer_address: int
    peer: TransportParameters
    ours: TransportParameters
    keys: Keys
    message: bytes


def answer(
    packet: SetupPacket, identity: Identity, configuration: Configuration, connection_id: bytes, rng: Random
) -> Accepted | str:
    """Return the answer to an INITIATION for us, or why it is to be dropped."""
    noise = Handshake(
        PROTOCOL_NAME,
        initiator=False,
        prologue=_prologue(identity.address, packet.source_address, packet.source_connection_id),
        static=identity.private_key,
        ephemeral=rng.randbytes(32),
    )
    try:
        parameters = parse_parameters(noise.read_message(packet.message))
    except (NoiseError, RemoteProtocolError) as error:
        return str(error)
    if address_of(noise.remote_static) != packet.source_address:  # SPEC 3.1-1
        return "source address is not that of the proven key"
    if parameters.connection_id != packet.source_connection_id:
        return "INITIATION with another connection ID than it proves"
    if parameters.integrity not in configuration.accepted_integrity:  # SPEC 3.2-1
        return f"integrity profile {parameters.integrity} not accepted"
    wanted = TransportParameters.of(configuration, connection_id)
    ours = wanted.with_choices(integrity=parameters.integrity, arq=parameters.arq)
    message = noise.write_message(ours.encode())
    return Accepted(packet.source_address, parameters, ours, _keys(noise), message)


def response_packet(identity: Identity, accepted: Accepted, number: int) -> bytes:
    """Return a RESPONSE packet (SPEC 3-3)."""
    return SetupPacket(
        RESPONSE, accepted.peer_address, identity.address, accepted.peer.connection_id,
        accepted.ours.connection_id, number, accepted.message,
    ).encode()  # fmt: skip


def _prologue(target: int, source: int, source_connection_id: bytes) -> bytes:
    parts = (VERSION.to_bytes(4, "big"), target.to_bytes(8, "big"), source.to_bytes(8, "big"))
    return b"Strait" + b"".join(parts) + source_connection_id


def _keys(noise: Handshake) -> Keys:
    first, second = noise.split()
    return Keys(first.key, second.key)
