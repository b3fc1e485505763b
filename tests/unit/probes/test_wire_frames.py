"""STREAM, MESSAGE and ACK as the wire probe reads them by hand are what scapy reads, or refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.dissectors.scapy_layer import (
    FRAME_TYPES,
    Ack,
    FecRecovered,
    Frame,
    MalformedError,
    Message,
    Stream,
    dissect_frames,
)
from node.dissectors.varint import encode_varint
from orchestrator.probes.wire.frames import AckFrame, AnyFrame, StreamFrame, read_frames

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "frames.json").read_text(encoding="utf-8"))
#: Lengths of integers (RFC 9000 §16), and of those, ends of what they hold.
NUMBERS = st.sampled_from((0, 1, 5, 63, 64, 16_383, 16_384, 2**30 - 1, 2**30, 2**62 - 2, 2**62 - 1))


def by_scapy(payload: bytes) -> list[object] | str:
    """Return what scapy says: of each frame its contents, or what is wrong."""
    try:
        return [_scapys(frame) for frame in dissect_frames(payload)]
    except MalformedError as error:
        return f"{error.rule}: {error}"


def by_hand(payload: bytes) -> list[object] | str:
    """Return the same from what the probe reads."""
    try:
        return [_told(frame) for frame in read_frames(payload)]
    except MalformedError as error:
        return f"{error.rule}: {error}"


def _scapys(frame: Frame) -> object:
    fields = frame.fields
    if isinstance(frame, Stream):
        start, data = fields["offset"], fields["data"]
        is_message = isinstance(frame, Message)
        return "stream", fields["stream_id"], start, start + len(data), data, frame.fin, is_message
    if isinstance(frame, Ack) and not isinstance(frame, FecRecovered):
        try:
            intervals = frame.intervals()
        except MalformedError as error:
            return frame.name, str(error)
        counts = (fields["ect0"], fields["ect1"], fields["ce"]) if fields["type"] & 1 else None
        return "ack", intervals, fields["delay"], counts
    return frame.name, frame.eliciting, fields


def _told(frame: AnyFrame) -> object:
    if isinstance(frame, StreamFrame):
        assert frame.eliciting
        assert frame.name == ("MESSAGE" if frame.is_message else "STREAM")
        return "stream", frame.stream, frame.offset, frame.end, frame.data, frame.fin, frame.is_message
    if isinstance(frame, AckFrame):
        assert not frame.eliciting
        return "ack", frame.intervals, frame.delay, frame.counts
    return _scapys(frame)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['name']}-{vector['wire'][:16]}")
def test_vectors_whole_and_cut_off_anywhere_are_read_alike(vector: dict[str, str]) -> None:
    wire = bytes.fromhex(vector["wire"])
    assert not isinstance(by_hand(wire), str)
    for size in range(min(len(wire), 80) + 1):
        assert by_hand(wire[:size]) == by_scapy(wire[:size])
    assert by_hand(b"\x01" + wire + b"\x01") == by_scapy(b"\x01" + wire + b"\x01")


def test_the_vectors_hold_what_is_read_by_hand() -> None:
    assert {vector["name"] for vector in VECTORS} >= {"STREAM", "MESSAGE", "ACK"}


def _frame(kind: int, numbers: list[int], rest: bytes) -> bytes:
    return bytes((kind,)) + b"".join(map(encode_varint, numbers)) + rest


@settings(max_examples=300)
@given(
    st.lists(
        st.builds(
            _frame,
            st.sampled_from((0x02, 0x03, *range(0x08, 0x10))),
            st.lists(NUMBERS, max_size=9),
            st.binary(max_size=9),
        ),
        min_size=1,
        max_size=3,
    ).map(b"".join)
)
def test_what_may_be_such_a_frame_is_read_or_refused_alike(payload: bytes) -> None:
    assert by_hand(payload) == by_scapy(payload)


@given(st.lists(st.sampled_from(sorted(FRAME_TYPES)).flatmap(lambda kind: st.binary(max_size=30).map(
    lambda rest: bytes((kind,)) + rest)), max_size=4).map(b"".join))  # fmt: skip
def test_any_bytes_are_read_or_refused_alike(payload: bytes) -> None:
    assert by_hand(payload) == by_scapy(payload)
