"""The fields that Strait's packets and frames are made of, for scapy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scapy.error import Scapy_Exception
from scapy.fields import (
    Field,
    StrField,
    XByteField,
)
from scapy.packet import Packet

from node.dissectors.varint import decode_varint, encode_varint


class MalformedError(Scapy_Exception):
    """Bytes that are not Strait; ``rule`` is the specification's."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class VarIntField(Field):
    """A variable-length integer (RFC 9000 §16); built in its shortest form."""

    def __init__(self, name: str, default: int | None) -> None:
        super().__init__(name, default, "B")

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, int]:
        """Split the integer off ``data``."""
        try:
            return decode_varint(data)
        except ValueError as error:
            raise MalformedError("5-1", f"{packet.name}: {self.name} {error}") from None

    def addfield(self, packet: Packet, data: bytes, value: int | None) -> bytes:
        """Append the integer to ``data``."""
        return data + encode_varint(self.i2m(packet, value))

    def i2m(self, packet: Packet, value: Any) -> int:
        """Return the number to build: what a length counts, if it was left open."""
        return 0 if value is None else int(value)


class VarIntLenField(VarIntField):
    """The length of another field, computed when it is left open."""

    __slots__ = ["length_of"]

    def __init__(self, name: str, length_of: str) -> None:
        super().__init__(name, None)
        self.length_of = length_of

    def i2m(self, packet: Packet, value: Any) -> int:
        """Return the length."""
        return int(value) if value is not None else len(packet.getfieldval(self.length_of))


class CountedField(StrField):
    """Bytes that take the length another field of the frame has told; None: all there are."""

    __slots__ = ["length_from"]

    def __init__(self, name: str, length_from: str) -> None:
        super().__init__(name, b"")
        self.length_from = length_from

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, bytes]:
        """Split the bytes off ``data``."""
        size = packet.fields.get(self.length_from)
        if size is None:
            return b"", data
        if size > len(data):
            raise MalformedError("5-1", f"{packet.name}: {self.name} of {size} bytes, {len(data)} are there")
        return data[size:], data[:size]


class BytesField(StrField):
    """A fixed number of bytes."""

    __slots__ = ["size"]

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, bytes(size))
        self.size = size

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, bytes]:
        """Split the bytes off ``data``."""
        if self.size > len(data):
            raise MalformedError("5-1", f"{packet.name}: {self.name} cut off")
        return data[self.size :], data[: self.size]


class RangesField(Field):
    """The (gap, length) pairs of an ACK (RFC 9000 §19.3.1), as many as ``range_count`` tells."""

    islist = 1

    def __init__(self, name: str) -> None:
        super().__init__(name, [], "B")

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
        """Split the pairs off ``data``."""
        count = packet.fields["range_count"]
        if 2 * count > len(data):
            raise MalformedError("5-1", f"{packet.name}: {count} ranges in {len(data)} bytes")
        pairs = []
        for _ in range(count):
            data, gap = INTEGER.getfield(packet, data)
            data, length = INTEGER.getfield(packet, data)
            pairs.append((gap, length))
        return data, pairs

    def addfield(self, packet: Packet, data: bytes, value: Iterable[tuple[int, int]]) -> bytes:
        """Append the pairs to ``data``."""
        return data + b"".join(encode_varint(gap) + encode_varint(length) for gap, length in value)


class PaddingField(Field):
    """A run of zero bytes as one number: the count of PADDING frames behind the first."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 0, "B")

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, int]:
        """Split the run off ``data``."""
        rest = data.lstrip(b"\0")
        return rest, len(data) - len(rest)

    def addfield(self, packet: Packet, data: bytes, value: int) -> bytes:
        """Append the run to ``data``."""
        return data + bytes(value)


#: Reads an integer that is no field of a packet.
INTEGER = VarIntField("range", 0)


def type_field(value: int) -> XByteField:
    return XByteField("type", value)


def number_field(name: str) -> VarIntField:
    return VarIntField(name, 0)


class Item(Packet):
    """One of a list: what follows it is the next one, never its payload."""

    def extract_padding(self, data: bytes) -> tuple[bytes, bytes]:
        """Leave what follows to the list."""
        return b"", data
