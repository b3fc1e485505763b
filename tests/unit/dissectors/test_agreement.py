"""Two readings of one specification: what the codec under test makes, the scapy layer reads, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.dissectors import protection
from node.dissectors import varint as second_varint
from node.dissectors.scapy_layer import FRAME_TYPES, Frames, MalformedError, dissect_frames
from node.protocol.errors import RemoteProtocolError
from node.protocol.wire import varint as first_varint
from node.protocol.wire.crc32c import crc32c
from node.protocol.wire.frames import parse_frames

NUMBERS = st.integers(0, 2**62 - 1)


@given(NUMBERS)
def test_variable_length_integers_agree(value: int) -> None:
    encoded = second_varint.encode_varint(value)
    assert first_varint.encode_varint(value) == encoded
    assert second_varint.decode_varint(encoded + b"rest") == (b"rest", value)


@given(st.binary(max_size=3000))
def test_checksums_agree(data: bytes) -> None:
    assert crc32c(data) == protection.crc32c(data)


def _typed(data: bytes) -> bytes:
    """Make the first byte a frame type, so that more than one in twelve is."""
    kinds = sorted(FRAME_TYPES)
    return bytes([kinds[data[0] % len(kinds)]]) + data[1:]


@given(st.lists(st.binary(min_size=1, max_size=40).map(_typed), min_size=1, max_size=4).map(b"".join))
def test_any_bytes_are_frames_to_both_or_to_none(payload: bytes) -> None:
    """The specification leaves no room: what one takes the other takes, with as many frames."""
    try:
        first = list(parse_frames(memoryview(payload)))
    except RemoteProtocolError:
        first = None
    try:
        second = dissect_frames(payload)
        for frame in second:
            if frame.name in ("ACK", "FEC_REPAIR", "FEC_RECOVERED"):
                frame.intervals()
            if frame.name == "CLOSE":
                frame.reason.decode("utf-8")
    except (MalformedError, UnicodeDecodeError):
        second = None
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert [frame.name for frame in second if frame.name != "PADDING"] == [
            _name(type(frame).__name__) for frame in first if type(frame).__name__ != "Padding"
        ]
        assert dissect_frames(bytes(Frames(frames=second))) == second


@pytest.mark.parametrize("length", [1, 2])
def test_both_refuse_a_stream_that_ends_at_2_to_the_62(length: int) -> None:
    """SPEC 5-7: found by fuzzing; the second reading took it."""
    frame = b"\x08\x00" + second_varint.encode_varint(2**62 - 2) + b"x" * length
    if length == 1:
        assert len(dissect_frames(frame)) == len(list(parse_frames(memoryview(frame)))) == 1
        return
    with pytest.raises(MalformedError, match="STREAM"):
        dissect_frames(frame)
    with pytest.raises(RemoteProtocolError, match="beyond"):
        list(parse_frames(memoryview(frame)))


def _name(name: str) -> str:
    return "".join("_" + letter if letter.isupper() else letter for letter in name).strip("_").upper()
