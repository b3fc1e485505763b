"""Messages keep their boundaries, come whole or not at all, and do not outlive their deadline (SPEC 6.2)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import (
    Event,
    MessageAcknowledged,
    MessageExpired,
    MessageReceived,
    StreamDataReceived,
    StreamOpened,
    StreamReset,
)
from node.protocol.messages import MAX_WAITING
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import Message, ResetStream, StopSending, Stream
from tests.support.forge import Forger
from tests.support.nodes import NodePair
from tests.support.pair import Pair, hostile


def messages(events: list[Event]) -> list[bytes]:
    return [event.data for event in events if isinstance(event, MessageReceived)]


def forged(right: Configuration | None = None) -> tuple[Pair, Forger]:
    """An established pair whose left end is replaced by a forger: it hears and says nothing more."""
    pair = Pair(right=right)
    pair.established()
    pair.run_for(SECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    return pair, Forger(pair)


@pytest.mark.parametrize("arq", ["selective-repeat", "stop-and-wait", "go-back-n"])
@pytest.mark.parametrize("seed", range(3))
def test_messages_of_any_size_come_whole_and_once_through_a_bad_network(arq: str, seed: int) -> None:
    """SPEC 6.2-1, 6.2-2."""
    fate = hostile(loss=0.1, duplicate=0.1, reorder=0.2, corrupt=0.02)
    pair = Pair(left=Configuration(arq=arq), to_right=fate, to_left=fate, seed=seed)
    connection = pair.established()
    rng = Random(seed)
    sent = [rng.randbytes(size) for size in (0, 1, 1400, 5000, 40_000, 0, *[30] * 60)]
    numbers = [connection.send_message(data, now=pair.now) for data in sent]
    pair.drain()
    acknowledged = [MessageAcknowledged(number) for number in numbers]
    pair.run_until(lambda: all(event in pair.left_events for event in acknowledged))
    assert sorted(messages(pair.right_events)) == sorted(sent)
    assert not [event for event in pair.right_events if isinstance(event, StreamOpened | StreamDataReceived)]


@pytest.mark.parametrize("seed", range(3))
def test_long_messages_come_whole_out_of_bursts(seed: int) -> None:
    """SPEC 1-1, 6.2-2: on the fast path, whole bursts at a time, among streams and small messages."""
    fate = hostile(loss=0.02, duplicate=0.02, reorder=0.05)
    pair = Pair(to_right=fate, to_left=fate, seed=seed, coalesce=True)
    connection = pair.established()
    rng = Random(seed)
    sent = [rng.randbytes(size) for size in (300_000, 10, 200_000, 1_000_000, 20, 70_000)]
    stream = connection.open_stream()
    connection.write(stream, bytes(500_000), end=True)
    for data in sent:
        connection.send_message(data, now=pair.now)
    pair.drain()
    pair.run_until(lambda: sum(isinstance(e, MessageAcknowledged) for e in pair.left_events) == len(sent))
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 500_000)
    assert sorted(messages(pair.right_events)) == sorted(sent)
    assert {e.stream_id for e in pair.right_events if isinstance(e, StreamDataReceived)} == {stream}


def test_a_burst_that_goes_beyond_the_limit_is_refused_on_the_fast_path_too() -> None:
    """SPEC 6.2-3."""
    pair = Pair(right=Configuration(max_message_size=100_000), coalesce=True)
    connection = pair.established()
    long = connection.send_message(bytes(300_000), now=pair.now)
    pair.drain()
    pair.run_for(5 * SECOND)
    assert MessageExpired(long, refused=True) in pair.left_events
    assert messages(pair.right_events) == []
    assert pair.closed(right=True) is None


def test_a_part_of_a_message_cannot_be_read_from_its_stream() -> None:
    """SPEC 6.2-2. The machine with held datagrams found it: what was read so was missing from the message."""
    pair, forger = forged()
    accepted = pair.accepted
    assert accepted is not None
    forger.send(Message(2, 0, b"the first part, "))
    with pytest.raises(LocalProtocolError, match="stream 2 carries a message"):
        accepted.read(2)
    forger.send(Message(2, 16, b"and the last", fin=True))
    assert messages(pair.right_events) == [b"the first part, and the last"]


def test_messages_go_one_after_the_other_and_take_turns_with_streams() -> None:
    """SPEC 6.2-8: in order where nothing is lost; a stream neither waits for them nor holds them up."""
    pair = Pair(to_right=lambda datagram, rng: [50 * MILLISECOND])
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, bytes(200_000), end=True)
    sent = [bytes([number]) * 20_000 for number in range(10)]
    for data in sent:
        connection.send_message(data, now=pair.now)
    pair.drain()
    pair.run_until(lambda: len(messages(pair.right_events)) == 5)
    assert messages(pair.right_events) == sent[:5]
    assert 80_000 < len(pair.right_data[stream]) < 150_000
    pair.run_until(lambda: len(messages(pair.right_events)) == 10)
    assert messages(pair.right_events) == sent


def test_messages_and_streams_share_a_connection() -> None:
    pair = Pair()
    connection = pair.established()
    first = connection.open_stream(unidirectional=True)
    connection.send_message(b"between", now=pair.now)
    second = connection.open_stream(unidirectional=True)
    for stream in (second, first):
        connection.write(stream, b"bytes", end=True)
    pair.drain()
    pair.run_for(SECOND)
    assert messages(pair.right_events) == [b"between"]
    assert pair.right_data == {first: b"bytes", second: b"bytes"}


def test_thousands_of_small_messages_wait_for_nothing_but_the_window() -> None:
    """Limits of streams do not throttle: 5000 messages in a few round trips."""
    pair = Pair(left=Configuration(), to_right=lambda datagram, rng: [50 * MILLISECOND])
    connection = pair.established()
    began = pair.now
    for number in range(5000):
        connection.send_message(number.to_bytes(4, "big"), now=pair.now)
    assert connection.message_backlog == 4 * (5000 - Configuration().max_streams_uni)
    pair.drain()
    pair.run_until(lambda: len(messages(pair.right_events)) == 5000)
    assert pair.now - began < 600 * MILLISECOND
    assert connection.message_backlog == 0
    # Several messages share a packet, and no acknowledgement is for one message alone (SPEC 6.2-6).
    assert connection.statistics().packets_sent < 250
    assert pair.accepted is not None
    assert pair.accepted.statistics().packets_sent < 250


def test_a_message_that_would_be_late_is_given_up_and_never_seen() -> None:
    """SPEC 6.2-4: neither whole nor in part, and nothing of it is repeated."""
    pair = Pair()
    connection = pair.established()
    pair.run_for(SECOND)
    pair.to_right = lambda datagram, rng: []
    number = connection.send_message(b"late" * 1000, pair.now + 100 * MILLISECOND, now=pair.now)
    lasting = connection.send_message(b"patient", now=pair.now)
    pair.drain()
    pair.run_for(99 * MILLISECOND)
    assert MessageExpired(number, refused=False) not in pair.left_events
    pair.run_for(MILLISECOND)
    assert MessageExpired(number, refused=False) in pair.left_events
    pair.to_right = lambda datagram, rng: [MILLISECOND]
    pair.run_until(lambda: MessageAcknowledged(lasting) in pair.left_events)
    pair.run_for(SECOND)
    assert messages(pair.right_events) == [b"patient"]
    assert not [event for event in pair.right_events if isinstance(event, StreamOpened | StreamReset)]
    assert connection.statistics().messages_expired == 1


def test_a_part_that_came_before_the_deadline_is_never_told_of() -> None:
    """SPEC 6.2-4: the memory of it is given back."""
    pair, forger = forged()
    forger.send(Message(2, 0, b"part", fin=False))
    forger.send(ResetStream(2, ErrorCode.MESSAGE, 8))
    forger.send(Message(2, 4, b"rest", fin=True))
    forger.send(ResetStream(6, ErrorCode.MESSAGE, 100_000))
    forger.send(Message(10, 0, b"whole", fin=True))
    assert messages(pair.right_events) == [b"whole"]
    assert not [event for event in pair.right_events if isinstance(event, StreamOpened | StreamReset)]


def test_a_message_with_time_left_is_delivered_and_a_passed_deadline_is_not_sent() -> None:
    pair = Pair()
    connection = pair.established()
    soon = connection.send_message(b"soon", pair.now + SECOND, now=pair.now)
    past = connection.send_message(b"past", pair.now, now=pair.now)
    pair.drain()
    pair.run_for(2 * SECOND)
    assert messages(pair.right_events) == [b"soon"]
    assert MessageAcknowledged(soon) in pair.left_events
    assert MessageExpired(past, refused=False) in pair.left_events
    assert MessageExpired(soon, refused=False) not in pair.left_events


def test_messages_that_wait_for_a_stream_expire_too() -> None:
    pair = Pair(right=Configuration(max_streams_uni=2))
    connection = pair.established()
    pair.run_for(SECOND)
    pair.to_right = lambda datagram, rng: []
    for _ in range(10):
        connection.send_message(b"x" * 100, pair.now + SECOND, now=pair.now)
    assert connection.message_backlog == 800
    pair.drain()
    pair.run_for(SECOND)
    assert sum(isinstance(event, MessageExpired) for event in pair.left_events) == 10
    assert connection.message_backlog == 0
    pair.to_right = lambda datagram, rng: [MILLISECOND]
    pair.run_for(3 * SECOND)
    connection.send_message(b"after", now=pair.now)
    pair.drain()
    pair.run_for(3 * SECOND)
    assert messages(pair.right_events) == [b"after"]


# Limits


def test_the_longest_message_goes_and_one_byte_more_is_refused_at_home() -> None:
    """SPEC 6.2-3."""
    pair = Pair(right=Configuration(stream_window=50_000))
    connection = pair.established()
    connection.send_message(bytes(50_000), now=pair.now)
    with pytest.raises(LocalProtocolError, match="at most 50000"):
        connection.send_message(bytes(50_001), now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    assert messages(pair.right_events) == [bytes(50_000)]


def test_a_receiver_with_a_smaller_limit_refuses_and_the_connection_goes_on() -> None:
    """SPEC 6.2-3."""
    pair = Pair(right=Configuration(max_message_size=10_000))
    connection = pair.established()
    long = connection.send_message(bytes(10_001), now=pair.now)
    good = connection.send_message(bytes(10_000), now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    assert messages(pair.right_events) == [bytes(10_000)]
    assert MessageExpired(long, refused=True) in pair.left_events
    assert MessageAcknowledged(good) in pair.left_events
    assert pair.closed(right=True) is None


def test_messages_that_wait_are_bounded() -> None:
    pair = Pair(right=Configuration(max_streams_uni=0))
    connection = pair.established()
    for _ in range(MAX_WAITING):
        connection.send_message(b"", now=pair.now)
    with pytest.raises(LocalProtocolError, match="wait already"):
        connection.send_message(b"", now=pair.now)


def test_what_is_incomplete_is_bounded_by_the_windows() -> None:
    """SPEC 6.2-2: a peer that sends the ends of many messages, and nothing else of them."""
    pair, forger = forged(Configuration(connection_window=100_000, stream_window=50_000))
    for number in range(20):
        forger.send(Message(number << 2 | 2, 49_000, b"end", fin=True))
        if pair.closed(right=True) is not None:
            break
    closed = pair.closed(right=True)
    assert closed is not None
    assert (closed.code, number) == (ErrorCode.FLOW_CONTROL, 2)


@pytest.mark.parametrize(
    "frames",
    [
        (Message(0, 0, b"x"),),
        (Stream(2, 0, b"x"), Message(2, 1, b"y")),
        (Message(2, 0, b"x"), Stream(2, 1, b"y")),
    ],
)
def test_frames_of_both_kinds_on_one_stream_close(frames: tuple[Message | Stream, ...]) -> None:
    """SPEC 6.2-1."""
    pair, forger = forged()
    for frame in frames:
        forger.send(frame)
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.MESSAGE


def test_a_refused_message_is_refused_once_and_its_rest_ignored() -> None:
    """SPEC 6.2-3."""
    pair, forger = forged(Configuration(max_message_size=100))
    begin = len(pair.wire)
    forger.send(Message(2, 90, b"x" * 11))
    forger.send(Message(2, 0, b"x" * 90))
    forger.send(Message(2, 300, b"x" * 90, fin=True))
    stops = [frame for frame in forger.answers(begin) if isinstance(frame, StopSending)]
    assert stops == [StopSending(2, ErrorCode.MESSAGE)]
    assert messages(pair.right_events) == []


def test_lower_streams_are_told_of_when_something_of_them_comes() -> None:
    """SPEC 6.2-5: one high stream costs nothing for those below it."""
    pair, forger = forged()
    forger.send(Stream(2047 << 2 | 2, 0, b"high"))
    assert [event for event in pair.right_events if isinstance(event, StreamOpened)] == [StreamOpened(8190)]
    forger.send(Stream(6, 0, b"low", fin=True))
    forger.send(Stream(6, 0, b"low", fin=True))
    assert [event for event in pair.right_events if isinstance(event, StreamOpened)][1:] == [StreamOpened(6)]
    assert pair.right_data == {8190: b"high", 6: b"low"}


# The workload


def test_a_flow_with_a_deadline_loses_what_is_late_and_both_ends_agree() -> None:
    pair = NodePair(hostile(loss=0.1, delay=20 * MILLISECOND), seed=4)
    pair.flow("f", "messages", size=500, count=300, rate=500, deadline=70 * MILLISECOND)
    source, target = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert target["ok"], target["error"]
    assert source["sha256"] == target["sha256"]
    assert 0 < target["results"]["missing"] < 200
    assert source["results"]["delivered"] == target["results"]["messages"] == target["bytes"] // 500
    # What was delivered and not acknowledged in time counts as expired at the source only.
    assert source["results"]["expired"] >= target["results"]["missing"]


def test_messages_may_overtake_the_header_of_their_flow() -> None:
    lost: list[int] = []

    def fate(datagram: bytearray, rng: Random) -> list[int]:
        # The first DATA packets of the source carry the header: they come late.
        if datagram[0] == 0x41 and len(datagram) > 60 and len(lost) < 1:
            lost.append(1)
            return [50 * MILLISECOND]
        return [5 * MILLISECOND]

    pair = NodePair(fate)
    pair.flow("f", "messages", size=1000, count=100)
    source, target = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert target["results"] == {"messages": 100, "missing": 0}


def test_messages_that_together_are_longer_than_the_window_all_become_whole() -> None:
    """SPEC 6.2-7: begun all at once, each would hold a part of the window, and none would end."""
    window = Configuration(connection_window=40_000, stream_window=30_000, max_message_size=30_000)
    pair = Pair(left=window, right=window)
    connection = pair.established()
    sent = [Random(number).randbytes(30_000) for number in range(10)]
    for data in sent:
        connection.send_message(data, now=pair.now)
    pair.drain()
    pair.run_until(lambda: len(messages(pair.right_events)) == 10)
    assert sorted(messages(pair.right_events)) == sorted(sent)
    with pytest.raises(LocalProtocolError, match="at most 30000"):
        connection.send_message(bytes(30_001), now=pair.now)


def test_what_a_message_that_is_given_up_did_not_send_is_credit_for_others() -> None:
    """SPEC 6.2-7: ten of them would have used up the window."""
    window = Configuration(connection_window=40_000, stream_window=30_000, max_message_size=30_000)
    pair = Pair(left=window, right=window)
    connection = pair.established()
    pair.run_for(SECOND)
    for _ in range(10):
        connection.send_message(bytes(30_000), pair.now + 2 * MILLISECOND, now=pair.now)
        pair.drain()
        pair.run_for(SECOND)
    assert messages(pair.right_events) == []
    connection.send_message(bytes(30_000), now=pair.now)
    pair.drain()
    pair.run_until(lambda: messages(pair.right_events) == [bytes(30_000)])
