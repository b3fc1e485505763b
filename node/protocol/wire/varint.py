"""Variable-length integers (RFC 9000 §16): the top two bits of the first byte tell the length."""

from __future__ import annotations

from node.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError

MAX_VARINT = (1 << 62) - 1


def encode_varint(value: int) -> bytes:
    """Return the shortest encoding of ``value``.

    Raises:
        LocalProtocolError: the value is negative or takes more than 62 bits.
    """
    if 0 <= value < 0x40:
        return bytes((value,))
    if 0 <= value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    if 0 <= value < 0x4000_0000:
        return (value | 0x8000_0000).to_bytes(4, "big")
    if 0 <= value <= MAX_VARINT:
        return (value | 0xC000_0000_0000_0000).to_bytes(8, "big")
    raise LocalProtocolError(f"varint out of range: {value}")


#: The encodings of small integers: through loss an acknowledgement is made of a dozen of them.
_SHORT_END = 1024
_SHORT = [encode_varint(value) for value in range(_SHORT_END)]


def encode_varints(*values: int) -> bytes:
    """Return several integers, one after the other: one call for all of a frame's.

    Raises:
        LocalProtocolError: a value is negative or takes more than 62 bits.
    """
    found = []
    for value in values:
        if 0 <= value < _SHORT_END:
            found.append(_SHORT[value])
        elif 0x4000 <= value < 0x4000_0000:  # packet numbers and offsets, most of them: without a call
            found.append((value | 0x8000_0000).to_bytes(4, "big"))
        else:
            found.append(encode_varint(value))
    return b"".join(found)


def decode_varints(data: bytes | bytearray | memoryview, position: int, count: int) -> tuple[list[int], int]:
    """Return ``count`` integers that stand one after the other, and the position behind them.

    Raises:
        RemoteProtocolError: the data ends inside an integer.
    """
    found = []
    end = len(data)
    for _ in range(count):
        if position < end and (first := data[position]) < 0x40:
            found.append(first)
            position += 1
        elif position + 1 < end and first < 0x80:
            found.append((first & 0x3F) << 8 | data[position + 1])
            position += 2
        elif position + 3 < end and first < 0xC0:
            found.append(int.from_bytes(data[position : position + 4], "big") & 0x3FFF_FFFF)
            position += 4
        else:
            value, position = decode_varint(data, position)
            found.append(value)
    return found, position


def decode_varint(data: bytes | bytearray | memoryview, position: int) -> tuple[int, int]:
    """Return the value at ``position`` and the position behind it.

    Raises:
        RemoteProtocolError: the data ends inside the integer.
    """
    try:
        first = data[position]
        if first < 0x40:
            return first, position + 1
        length = 1 << (first >> 6)
        end = position + length
        if end <= len(data):
            mask = (1 << (8 * length - 2)) - 1
            return int.from_bytes(data[position:end], "big") & mask, end
    except IndexError:
        pass
    raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "truncated integer")
