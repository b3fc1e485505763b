"""Transport parameters, as the handshake carries them (SPEC 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from node.protocol.configuration import (
    ARQ_CODES,
    FEC_ARQ_CODES,
    FEC_CODES,
    INTEGRITY_CODES,
    MAX_DATAGRAM_SIZE,
    MIN_DATAGRAM_SIZE,
    Configuration,
)
from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.identity import RESET_TOKEN_BYTES
from node.protocol.time import MILLISECOND, Duration
from node.protocol.wire.varint import decode_varint, encode_varint

CONNECTION_ID_BYTES = 8
#: SPEC 15-2: a ticket must fit into an INITIATION beside all else.
MAX_TICKET_BYTES = 512
#: IDs of the peer's that we keep at a time: one in use, one of the path left, two to move to. Each costs the
#: peer an entry in the table it finds connections by.
CONNECTION_ID_LIMIT = 4
#: RFC 9000 §18.2: without two there is none to change to; also what an end means that says nothing.
MIN_CONNECTION_ID_LIMIT = 2
_INTEGRITY_NAMES = {code: name for name, code in INTEGRITY_CODES.items()}
_ARQ_NAMES = {code: name for name, code in ARQ_CODES.items()}
_FEC_NAMES = {code: name for name, code in FEC_CODES.items()}
_FEC_ARQ_NAMES = {code: name for name, code in FEC_ARQ_CODES.items()}


@dataclass(frozen=True, slots=True)
class TransportParameters:
    """What one end tells the other about itself."""

    connection_id: bytes
    integrity: str
    arq: str
    initial_max_data: int
    initial_max_stream_data: int
    initial_max_streams_bidi: int
    initial_max_streams_uni: int
    max_idle_timeout: Duration
    max_ack_delay: Duration
    max_datagram_size: int
    fec: str = "none"
    fec_arq: str = "always"
    #: Proof of a STATELESS_RESET of ``connection_id``; empty: there will be none (SPEC 4.3).
    stateless_reset_token: bytes = b""
    active_connection_id_limit: int = MIN_CONNECTION_ID_LIMIT
    #: Of an initiator that sends early data (SPEC 15-3); empty: it does not.
    ticket: bytes = b""
    #: Of a responder: whether it takes the early data (SPEC 15-4).
    early_accepted: bool = False

    @classmethod
    def of(cls, configuration: Configuration, connection_id: bytes) -> TransportParameters:
        """Return the parameters that a configuration asks for."""
        return cls(
            connection_id=connection_id,
            integrity=configuration.integrity,
            arq=configuration.arq,
            initial_max_data=configuration.first_connection_window,
            initial_max_stream_data=configuration.first_stream_window,
            initial_max_streams_bidi=configuration.max_streams_bidi,
            initial_max_streams_uni=configuration.max_streams_uni,
            max_idle_timeout=configuration.idle_timeout,
            max_ack_delay=configuration.max_ack_delay,
            max_datagram_size=configuration.max_datagram_size,
            fec=configuration.fec,
            fec_arq=configuration.fec_arq if configuration.fec != "none" else "always",
            active_connection_id_limit=CONNECTION_ID_LIMIT,
        )

    def with_choices_of(self, asked: TransportParameters) -> TransportParameters:
        """Return these parameters with what the initiator asked for (SPEC 3.2)."""
        return replace(self, integrity=asked.integrity, arq=asked.arq, fec=asked.fec, fec_arq=asked.fec_arq)

    def agrees_on_fec(self, other: TransportParameters) -> bool:
        """Whether both ends want the same forward error correction (SPEC 12-2)."""
        return self.fec != "none" and (self.fec, self.fec_arq) == (other.fec, other.fec_arq)

    def with_reset_token(self, token: bytes) -> TransportParameters:
        """Return these parameters with the token of their connection ID (SPEC 4.3-2)."""
        return replace(self, stateless_reset_token=token)

    def encode(self) -> bytes:
        """Return the list of id, length, value."""
        values: tuple[tuple[int, bytes], ...] = (
            (0x01, self.connection_id),
            (0x02, bytes((INTEGRITY_CODES[self.integrity],))),
            (0x03, bytes((ARQ_CODES[self.arq],))),
            (0x04, encode_varint(self.initial_max_data)),
            (0x05, encode_varint(self.initial_max_stream_data)),
            (0x06, encode_varint(self.initial_max_streams_bidi)),
            (0x07, encode_varint(self.initial_max_streams_uni)),
            (0x08, encode_varint(self.max_idle_timeout // MILLISECOND)),
            (0x09, encode_varint(self.max_ack_delay // MILLISECOND)),
            (0x0A, encode_varint(self.max_datagram_size)),
            (0x0E, encode_varint(self.active_connection_id_limit)),
        )
        if self.stateless_reset_token:
            values += ((0x0B, self.stateless_reset_token),)
        if self.fec != "none":
            values += (
                (0x0C, bytes((FEC_CODES[self.fec],))),
                (0x0D, bytes((FEC_ARQ_CODES[self.fec_arq],))),
            )
        if self.ticket:
            values += ((0x0F, self.ticket),)
        if self.early_accepted:
            values += ((0x10, b""),)
        return b"".join(encode_varint(key) + encode_varint(len(v)) + v for key, v in values)


def parse_parameters(data: bytes) -> TransportParameters:
    """Return the parameters in ``data``.

    Raises:
        RemoteProtocolError: something is missing, there twice, truncated or out of range.
    """
    values = _split(data)
    connection_id = values.get(0x01, b"")
    if len(connection_id) != CONNECTION_ID_BYTES:
        raise _error("connection_id")
    token = values.get(0x0B, b"")
    if len(token) not in (0, RESET_TOKEN_BYTES) or (0x0B in values and not token):
        raise _error("stateless_reset_token")
    max_datagram_size = _number(values, 0x0A, "max_datagram_size")
    if not MIN_DATAGRAM_SIZE <= max_datagram_size <= MAX_DATAGRAM_SIZE:
        raise _error("max_datagram_size")
    max_ack_delay = _number(values, 0x09, "max_ack_delay")
    if max_ack_delay >= 1 << 14:  # RFC 9000 §18.2
        raise _error("max_ack_delay")
    arq = _choice(values, 0x03, _ARQ_NAMES, "arq")
    fec, fec_arq = _fec(values)
    if fec != "none" and arq == "stop-and-wait":
        raise _error("fec with stop-and-wait")  # SPEC 12-3
    limit = _number(values, 0x0E, "active_connection_id_limit") if 0x0E in values else MIN_CONNECTION_ID_LIMIT
    if limit < MIN_CONNECTION_ID_LIMIT:
        raise _error("active_connection_id_limit")
    return TransportParameters(
        connection_id=connection_id,
        integrity=_choice(values, 0x02, _INTEGRITY_NAMES, "integrity"),
        arq=arq,
        initial_max_data=_number(values, 0x04, "initial_max_data"),
        initial_max_stream_data=_number(values, 0x05, "initial_max_stream_data"),
        initial_max_streams_bidi=_number(values, 0x06, "initial_max_streams_bidi"),
        initial_max_streams_uni=_number(values, 0x07, "initial_max_streams_uni"),
        max_idle_timeout=_number(values, 0x08, "max_idle_timeout") * MILLISECOND,
        max_ack_delay=max_ack_delay * MILLISECOND,
        max_datagram_size=max_datagram_size,
        fec=fec,
        fec_arq=fec_arq,
        stateless_reset_token=token,
        active_connection_id_limit=limit,
        ticket=_ticket(values),
        early_accepted=_flag(values, 0x10, "early_accepted"),
    )


def _split(data: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        key, position = decode_varint(data, position)
        length, position = decode_varint(data, position)
        if key in values or position + length > len(data):
            # No id in the text: reasons are counted by their text, and the peer chooses the id.
            raise _error("one twice or truncated")
        values[key] = data[position : position + length]
        position += length
    return values


def _fec(values: dict[int, bytes]) -> tuple[str, str]:
    """A scheme or mode that is not known here counts as none asked for: SPEC 12-2."""
    scheme, mode = values.get(0x0C, b"\0"), values.get(0x0D, b"\0")
    if len(scheme) != 1 or len(mode) != 1:
        raise _error("fec")
    if _FEC_NAMES.get(scheme[0], "none") == "none" or mode[0] not in _FEC_ARQ_NAMES:
        return "none", "always"
    return _FEC_NAMES[scheme[0]], _FEC_ARQ_NAMES[mode[0]]


def _number(values: dict[int, bytes], key: int, name: str) -> int:
    value = values.get(key, b"")
    if not value:
        raise _error(name)
    number, end = decode_varint(value, 0)
    if end != len(value):
        raise _error(name)
    return number


def _ticket(values: dict[int, bytes]) -> bytes:
    ticket = values.get(0x0F, b"")
    if len(ticket) > MAX_TICKET_BYTES or (0x0F in values and not ticket):
        raise _error("ticket")
    return ticket


def _flag(values: dict[int, bytes], key: int, name: str) -> bool:
    if values.get(key):
        raise _error(name)
    return key in values


def _choice(values: dict[int, bytes], key: int, names: dict[int, str], name: str) -> str:
    value = values.get(key, b"")
    if len(value) != 1 or value[0] not in names:
        raise _error(name)
    return names[value[0]]


def _error(name: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.TRANSPORT_PARAMETER, f"bad transport parameter: {name}")
