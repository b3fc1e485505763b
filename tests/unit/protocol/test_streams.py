"""The halves of a stream (RFC 9000 §3) and the table that holds them, as behaviours."""

from __future__ import annotations

import pytest

from node.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from node.protocol.streams.receive import ReceiveStream
from node.protocol.streams.send import SendStream
from node.protocol.streams.states import ReceiveState, SendState
from node.protocol.streams.table import StreamTable

PLENTY = 1 << 30


def sending(data: bytes = b"0123456789", *, end: bool = True) -> SendStream:
    stream = SendStream(0, PLENTY)
    stream.write(data, end=end)
    return stream


def send(stream: SendStream, size: int) -> tuple[int, int, bool]:
    """Send at most ``size`` bytes of what is next."""
    start, end = stream.sendable(PLENTY)
    end = min(end, start + size)
    fin = stream.fin_goes_with(end)
    stream.on_sent(start, end, fin=fin)
    return start, end, fin


# sending


def test_what_is_lost_goes_before_what_is_new() -> None:
    stream = sending()
    assert send(stream, 4) == (0, 4, False)
    stream.requeue(0, 4, fin=False)
    assert send(stream, 10) == (0, 4, False)
    assert send(stream, 10) == (4, 10, True)
    assert not stream.has_work


def test_what_was_acknowledged_meanwhile_is_not_sent_again() -> None:
    stream = sending()
    send(stream, 10)
    stream.on_acked(2, 5, fin=False)
    stream.requeue(0, 10, fin=True)
    assert [send(stream, 10) for _ in range(2)] == [(0, 2, False), (5, 10, True)]
    assert not stream.has_work


def test_an_acknowledgement_takes_a_range_off_what_is_to_be_sent_again() -> None:
    stream = sending()
    send(stream, 10)
    stream.requeue(0, 10, fin=True)
    assert stream.on_acked(0, 10, fin=True) == 10
    assert stream.complete
    assert stream.on_acked(0, 10, fin=True) == 0


def test_the_end_is_sent_alone_when_all_bytes_have_gone() -> None:
    stream = sending(end=False)
    send(stream, 10)
    assert stream.sendable(PLENTY) == (10, 10)
    stream.write(b"", end=True)
    assert stream.has_work
    assert send(stream, 10) == (10, 10, True)
    stream.requeue(10, 10, fin=True)
    assert send(stream, 10) == (10, 10, True)


def test_new_bytes_need_credit_and_repeated_ones_do_not() -> None:
    stream = sending()
    assert stream.sendable(3) == (0, 3)
    stream.on_sent(0, 3, fin=False)
    assert stream.sendable(0) == (3, 3)
    stream.requeue(0, 3, fin=False)
    assert stream.sendable(0) == (0, 3)


def test_go_back_n_sends_from_the_lost_byte_on_but_nothing_acknowledged() -> None:
    stream = sending()
    for _ in range(5):
        send(stream, 2)
    stream.on_acked(0, 4, fin=False)
    stream.rewind(2)
    assert stream.sendable(0) == (4, 10)  # credit was counted when they went first
    stream.on_acked(4, 6, fin=False)
    assert send(stream, 10) == (6, 10, True)


@pytest.mark.parametrize("late", ["requeue", "rewind", "ack"])
def test_after_a_reset_nothing_is_sent_and_nothing_counts(late: str) -> None:
    stream = sending()
    send(stream, 10)
    stream.reset(1)
    if late == "requeue":
        stream.requeue(0, 10, fin=True)
    elif late == "rewind":
        stream.rewind(0)
    else:
        assert stream.on_acked(0, 10, fin=True) == 0
    assert not stream.has_work
    assert stream.sendable(PLENTY) == (0, 0)
    with pytest.raises(LocalProtocolError, match="reset sent"):
        stream.reset(2)
    assert stream.state is SendState.RESET_SENT


def test_a_stream_takes_nothing_after_its_end() -> None:
    with pytest.raises(LocalProtocolError, match="after its end"):
        sending().write(b"x", end=False)


# receiving


def test_bytes_that_overlap_are_delivered_once() -> None:
    stream = ReceiveStream(0, 100)
    assert stream.receive(5, b"56789", fin=True) == 10
    assert stream.read() == b""
    assert stream.receive(3, b"3456", fin=False) == 0
    assert stream.receive(0, b"0123", fin=False) == 0
    assert stream.ended
    assert stream.read() == b"0123456789"
    assert stream.state is ReceiveState.DATA_READ
    assert stream.receive(0, b"0123456789", fin=True) == 0
    assert stream.read() == b""


def test_what_came_early_survives_a_read_of_what_is_in_order() -> None:
    stream = ReceiveStream(0, 100)
    stream.receive(0, b"ab", fin=False)
    stream.receive(4, b"ef", fin=False)
    assert stream.read() == b"ab"
    stream.receive(2, b"cd", fin=False)
    assert stream.read() == b"cdef"


@pytest.mark.parametrize(
    ("offset", "data", "fin", "code"),
    [
        (0, b"x" * 101, False, ErrorCode.FLOW_CONTROL),
        (100, b"x", False, ErrorCode.FLOW_CONTROL),
        (3, b"x", True, ErrorCode.FINAL_SIZE),
    ],
)
def test_a_frame_that_is_refused_changes_nothing(
    offset: int, data: bytes, fin: bool, code: ErrorCode
) -> None:
    stream = ReceiveStream(0, 100)
    stream.receive(0, b"01234", fin=False)
    with pytest.raises(RemoteProtocolError) as refused:
        stream.receive(offset, data, fin=fin)
    assert refused.value.code == code
    assert stream.receive(5, b"5" * 95, fin=True) == 95
    assert len(stream.read()) == 100


def test_the_final_size_is_final() -> None:
    stream = ReceiveStream(0, 100)
    stream.receive(4, b"", fin=True)
    for offset, data, fin in ((4, b"x", False), (3, b"", True), (5, b"", True)):
        with pytest.raises(RemoteProtocolError):
            stream.receive(offset, data, fin=fin)
    with pytest.raises(RemoteProtocolError):
        stream.reset(5)
    assert stream.reset(4) == 0
    assert stream.receive(0, b"late", fin=True) == 0
    assert stream.read() == b""


# the table


def table(**limits: int) -> StreamTable:
    streams = StreamTable(initiator=False, stream_window=100, max_bidi=4, max_uni=4)
    streams.set_peer_limits(
        stream_window=100, max_bidi=limits.get("max_bidi", 4), max_uni=limits.get("max_uni", 4)
    )
    return streams


def test_a_stream_opens_all_lower_ones_of_its_kind() -> None:
    """SPEC 6-5."""
    streams = table()
    assert streams.receiver_for_frame(8)[1] == [0, 4, 8]
    assert streams.receiver_for_frame(4) == (streams.receivers[4], [])
    assert streams.sender_for_frame(12) == (streams.senders[12], [12])
    with pytest.raises(RemoteProtocolError) as refused:
        streams.receiver_for_frame(16)
    assert refused.value.code == ErrorCode.STREAM_LIMIT


def test_a_huge_stream_id_is_refused_before_anything_is_made() -> None:
    streams = table()
    for stream_id in ((1 << 62) - 4, (1 << 62) - 2):
        with pytest.raises(RemoteProtocolError):
            streams.receiver_for_frame(stream_id)
    assert not streams.receivers


def test_half_the_limit_is_announced_anew_when_as_many_streams_are_over() -> None:
    streams = table()
    streams.receiver_for_frame(14)
    announced = []
    for stream_id in (2, 6, 10, 14):
        stream, _ = streams.receiver_for_frame(stream_id)
        assert stream is not None
        stream.reset(0)
        announced.append(streams.forget_if_done(stream_id))
    assert announced == [None, 6, None, 8]
    assert streams.limit_of_peer(unidirectional=True) == 8
    assert streams.receiver_for_frame(2) == (None, [])  # over, and not opened again
    assert streams.forget_if_done(2) is None


def test_a_lower_limit_that_comes_late_takes_nothing_back() -> None:
    streams = table(max_uni=1)
    streams.raise_peer_limit(3, unidirectional=True)
    streams.raise_peer_limit(2, unidirectional=True)
    assert [streams.open(unidirectional=True) for _ in range(3)] == [3, 7, 11]
    with pytest.raises(LocalProtocolError, match="allows 3"):
        streams.open(unidirectional=True)


def test_streams_take_turns_and_blocked_ones_are_passed_over() -> None:
    streams = table()
    first, second, blocked = (streams.senders[streams.open(unidirectional=True)] for _ in range(3))
    blocked.max_data = 0
    for stream in (blocked, first, second):
        stream.write(b"data", end=False)
        streams.mark_ready(stream)
    assert streams.next_ready(PLENTY) is first
    streams.take_turns(first)
    assert streams.next_ready(PLENTY) is second
    assert streams.next_ready(0) is None
    blocked.max_data = 4
    streams.mark_ready(blocked)
    streams.take_turns(second)
    streams.take_turns(first)
    assert streams.next_ready(PLENTY) is blocked
