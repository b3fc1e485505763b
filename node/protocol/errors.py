"""Error codes of the wire (SPEC 10) and the exceptions of the core."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Why a connection ended (SPEC 10)."""

    NO_ERROR = 0x00
    INTERNAL = 0x01
    PROTOCOL_VIOLATION = 0x02
    FRAME_ENCODING = 0x03
    FLOW_CONTROL = 0x04
    STREAM_LIMIT = 0x05
    STREAM_STATE = 0x06
    FINAL_SIZE = 0x07
    TRANSPORT_PARAMETER = 0x08
    HANDSHAKE_TIMEOUT = 0x09
    IDLE_TIMEOUT = 0x0A
    PACKET_NUMBERS_EXHAUSTED = 0x0B
    KEY_UPDATE = 0x0C
    AEAD_LIMIT = 0x0D
    STATELESS_RESET = 0x0E
    NO_VIABLE_PATH = 0x0F
    FEC = 0x10
    MESSAGE = 0x11


class ProtocolError(Exception):
    """Base of all errors of the transport; never itself raised."""


class LocalProtocolError(ProtocolError):
    """The caller asked for what the protocol or the state does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol. Stays inside the core: it closes the connection with its code."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def check_code(code: int) -> None:
    """Refuse an application's code that does not fit the wire, before anything is changed.

    Raises:
        LocalProtocolError: it is negative or takes more than 62 bits.
    """
    if not 0 <= code < 1 << 62:
        raise LocalProtocolError(f"code {code}: must be from 0 to 2^62 - 1")
