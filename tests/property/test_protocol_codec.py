"""Whatever the codec writes it reads back; whatever it reads, it never fails in any other way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.protocol.errors import RemoteProtocolError
from node.protocol.ranges import RangeSet
from node.protocol.wire.fec_frames import FecRecovered, FecRepair
from node.protocol.wire.frames import (
    Ack,
    AckFrequency,
    Close,
    DataBlocked,
    Frame,
    MaxData,
    MaxStreamData,
    MaxStreams,
    Message,
    NewConnectionId,
    NewTicket,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    RetireConnectionId,
    StopSending,
    Stream,
    StreamDataBlocked,
    parse_frames,
)
from node.protocol.wire.parameters import parse_parameters
from node.protocol.wire.setup import parse_setup

numbers = st.integers(0, (1 << 62) - 1)
eight = st.binary(min_size=8, max_size=8)


@st.composite
def acks(draw: st.DrawFn) -> Ack:
    bounds = sorted(draw(st.sets(st.integers(0, 1 << 61), min_size=2, max_size=40)))
    pairs = list(zip(bounds[::2], bounds[1::2], strict=False))
    ranges = RangeSet(pairs)
    ecn = draw(st.none() | st.tuples(numbers, numbers, numbers))
    return Ack(tuple(reversed(ranges)), draw(st.integers(0, 1 << 40)), ecn)


@st.composite
def repairs(draw: st.DrawFn) -> FecRepair:
    """The last frame of a packet: its symbol has no length (SPEC 12.1-3)."""
    bounds = sorted(draw(st.sets(st.integers(0, 120), min_size=2, max_size=16)))
    ranges, first = RangeSet(zip(bounds[::2], bounds[1::2], strict=False)), draw(st.integers(0, 1 << 61))
    total = draw(st.integers(1, 32))
    return FecRepair(
        draw(numbers),
        tuple((first + low, first + high) for low, high in ranges),
        total,
        draw(st.integers(0, total - 1)),
        draw(st.binary(max_size=60)),
    )


frames = st.one_of(
    st.builds(Padding, st.integers(1, 60)),
    st.builds(Ping),
    acks(),
    st.builds(ResetStream, numbers, numbers, numbers),
    st.builds(StopSending, numbers, numbers),
    st.builds(Message, numbers, st.integers(0, 1 << 61), st.binary(max_size=200), st.booleans()),
    st.builds(Stream, numbers, st.integers(0, 1 << 61), st.binary(max_size=200), st.booleans()),
    st.builds(MaxData, numbers),
    st.builds(MaxStreamData, numbers, numbers),
    st.builds(MaxStreams, numbers, st.booleans()),
    st.builds(DataBlocked, numbers),
    st.builds(StreamDataBlocked, numbers, numbers),
    st.builds(AckFrequency, numbers, numbers, numbers),
    st.builds(NewConnectionId, numbers, numbers, eight, st.binary(min_size=16, max_size=16)),
    st.builds(RetireConnectionId, numbers),
    st.builds(PathChallenge, eight),
    st.builds(PathResponse, eight),
    st.builds(NewTicket, numbers, st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=99)),
    st.builds(Close, numbers, st.text(max_size=50)),
    acks().map(lambda ack: FecRecovered(ack.ranges)),
)


@given(st.lists(frames, min_size=1, max_size=8), st.lists(repairs(), max_size=1))
def test_frames_come_back(some: list[Frame], last: list[Frame]) -> None:
    sent = some + last
    payload = b"".join(frame.encode() for frame in sent)
    expected: list[Frame] = []
    for frame in sent:
        before = expected[-1] if expected else None
        if isinstance(frame, Padding) and isinstance(before, Padding):
            expected[-1] = Padding(before.count + frame.count)
        else:
            expected.append(frame)
    assert list(parse_frames(memoryview(payload))) == expected


@given(st.binary(max_size=300))
def test_random_bytes_are_parsed_or_refused(data: bytes) -> None:
    for parse in (lambda: list(parse_frames(memoryview(data))), lambda: parse_parameters(data)):
        try:
            parse()
        except RemoteProtocolError:
            pass
    parse_setup(memoryview(data))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 120), st.integers(0, 30)), max_size=40))
def test_a_range_set_is_a_set_of_integers(steps: list[tuple[bool, int, int]]) -> None:
    ranges, model = RangeSet(), set[int]()
    for add, start, length in steps:
        numbers_of_step = range(start, start + length)
        if add:
            ranges.add(start, start + length)
            model.update(numbers_of_step)
        else:
            ranges.remove(start, start + length)
            model.difference_update(numbers_of_step)
        flat = [n for low, high in ranges for n in range(low, high)]
        assert flat == sorted(model)
        assert all(high < low for (_, high), (low, _) in zip(list(ranges), list(ranges)[1:], strict=False))
        missing = [n for low, high in ranges.missing(10, 100) for n in range(low, high)]
        assert missing == [n for n in range(10, 100) if n not in model]
        assert (start in ranges) == (start in model)
