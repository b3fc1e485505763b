"""Forward error correction between two ends (SPEC 12): what is lost comes back, and what that changes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from node.protocol.configuration import FEC_CODES, INTEGRITY_CODES, Configuration
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import (
    MessageAcknowledged,
    MessageExpired,
    MessageReceived,
    SendingGivenUp,
    StreamAcknowledged,
    StreamReset,
)
from node.protocol.fec.base import FEC_SCHEMES
from node.protocol.statistics import Statistics
from node.protocol.time import MILLISECOND, SECOND, Duration
from tests.support.pair import Fate, Pair, hostile, perfect

DELAY = 50 * MILLISECOND
#: Bytes of a full packet without FEC.
FULL = 1452

every_scheme = pytest.mark.parametrize("scheme", FEC_SCHEMES.names())


def dropping(lost: Callable[[int], bool], *, delay: Duration = DELAY) -> Fate:
    """The n-th DATA packet from now on, counted from 0, is lost if ``lost(n)``."""
    seen = -1

    def fate(datagram: bytearray, rng: Random) -> list[Duration]:
        nonlocal seen
        if datagram[0] != 0x41:
            return [delay]
        seen += 1
        return [] if lost(seen) else [delay]

    return fate


def established(
    fate: Fate, *, back: Fate | None = None, seed: int = 3, right: Configuration | None = None,
    coalesce: bool = True, **settings: object,
) -> Pair:  # fmt: skip
    """A connection with FEC both of whose ends use one congestion controller."""
    settings = {"fec": "reed-solomon", "handshake_timeout": 60 * SECOND, **settings}
    configuration = Configuration(**settings)  # type: ignore[arg-type]
    pair = Pair(
        left=configuration, right=right or Configuration(congestion=configuration.congestion),
        to_right=fate, to_left=back or perfect(DELAY), seed=seed, coalesce=coalesce,
    )  # fmt: skip
    pair.established()
    return pair


def settled(**settings: object) -> Pair:
    """A connection over a perfect path, in which all that follows the handshake is over."""
    pair = established(perfect(DELAY), **settings)  # type: ignore[arg-type]
    pair.run_for(SECOND)
    return pair


def send(pair: Pair, size: int) -> int:
    """Write a stream of our own, to its end."""
    stream_id = pair.connection.open_stream(unidirectional=True)
    pair.connection.write(stream_id, Random(stream_id).randbytes(size), end=True)
    pair.drain()
    return stream_id


def arrived(pair: Pair, stream_id: int, size: int) -> bool:
    return pair.right_data.get(stream_id, bytearray()) == Random(stream_id).randbytes(size)


def statistics(pair: Pair) -> tuple[Statistics, Statistics]:
    assert pair.accepted is not None
    return pair.connection.statistics(), pair.accepted.statistics()


# what is lost comes back


@every_scheme
@pytest.mark.parametrize("arq", ["selective-repeat", "go-back-n"])
@pytest.mark.parametrize("integrity", sorted(INTEGRITY_CODES))
@pytest.mark.parametrize("mode", ["always", "on-request"])
def test_streams_both_ways_arrive_intact_through_everything(
    scheme: str, arq: str, integrity: str, mode: str
) -> None:
    fate = hostile(loss=0.05, duplicate=0.05, reorder=0.05, corrupt=0.02)
    pair = established(fate, back=fate, fec=scheme, arq=arq, integrity=integrity, fec_arq=mode)
    assert pair.accepted is not None
    there = send(pair, 150_000)
    back = pair.accepted.open_stream()
    pair.accepted.write(back, Random(9).randbytes(90_000), end=True)
    pair.drain()
    pair.run_until(
        lambda: (
            StreamAcknowledged(there) in pair.left_events and StreamAcknowledged(back) in pair.right_events
        )
    )
    assert arrived(pair, there, 150_000)
    assert pair.left_data[back] == Random(9).randbytes(90_000)
    left, right = statistics(pair)
    assert left.fec_packets_rebuilt + right.fec_packets_rebuilt > 0
    assert left.fec_repairs_sent >= right.fec_repairs_received > 0


@every_scheme
@pytest.mark.parametrize("congestion", CONTROLLERS.names())
def test_every_controller_carries_repair(scheme: str, congestion: str) -> None:
    """Repair is paced and in flight, so no controller needs to know of it (SPEC 12.3-4)."""
    pair = established(hostile(delay=DELAY, loss=0.03), fec=scheme, congestion=congestion)
    stream_id = send(pair, 400_000)
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    assert arrived(pair, stream_id, 400_000)
    left, right = statistics(pair)
    assert left.fec_packets_recovered == right.fec_packets_rebuilt > 0
    assert left.bytes_in_flight >= 0


@every_scheme
def test_a_rebuilt_packet_is_lost_to_congestion_control_but_not_sent_again(scheme: str) -> None:
    """SPEC 12-1, 12.4-5: a packet of the first block never comes, its data does."""
    pair = settled(fec=scheme, congestion="new-reno")
    pair.to_right = dropping(lambda n: n == 5)
    stream_id = send(pair, 40 * 1200)
    window = pair.connection.statistics().congestion_window
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    assert arrived(pair, stream_id, 40 * 1200)
    pair.run_for(SECOND)
    left, right = statistics(pair)
    assert (right.fec_packets_rebuilt, left.fec_packets_recovered) == (1, 1)
    assert (left.packets_lost, left.retransmitted_packets) == (1, 0)
    assert left.ssthresh is not None
    assert left.congestion_window < window


def test_data_is_there_before_a_round_trip_has_told_of_its_loss() -> None:
    """Three packets and their repair leave together: the lost one is rebuilt when the repair arrives."""
    pair = settled(fec="xor")
    begin, pair.to_right = pair.now, dropping(lambda n: n == 0)
    stream_id = send(pair, 3 * 1200)
    pair.run_until(lambda: arrived(pair, stream_id, 3 * 1200))
    assert pair.now - begin < DELAY + 5 * MILLISECOND


def test_an_original_that_comes_late_is_acknowledged_and_not_handled_again() -> None:
    """SPEC 12.4-2, 12.4-4."""
    held: list[bytes] = []

    def fate(datagram: bytearray, rng: Random) -> list[Duration]:
        if datagram[0] == 0x41 and len(datagram) > 1000 and not held:
            held.append(bytes(datagram))
            return [DELAY + 30 * MILLISECOND]  # behind the others and the repair
        return [DELAY]

    pair = established(fate, fec="xor", coalesce=False)
    pair.run_for(SECOND)
    stream_id = send(pair, 3 * 1200)
    pair.run_until(lambda: arrived(pair, stream_id, 3 * 1200))
    before = statistics(pair)[1]
    assert before.fec_packets_rebuilt == 1
    pair.run_for(SECOND)
    left, right = statistics(pair)
    assert right.packets_received == before.packets_received + 2  # the original; one ACK of the report
    assert right.duplicate_packets == 0
    assert pair.right_data[stream_id] == Random(stream_id).randbytes(3 * 1200)
    assert left.bytes_in_flight == 0
    pair.inject(held[0], to_right=True)
    assert statistics(pair)[1].duplicate_packets == 1


def test_what_go_back_n_dropped_for_its_order_is_taken_when_the_gap_is_rebuilt() -> None:
    """SPEC 12-3: one packet is lost, those behind it are kept as symbols: nothing is sent again."""
    pair = settled(fec="xor", arq="go-back-n")
    pair.to_right = dropping(lambda n: n == 0)
    stream_id = send(pair, 5 * 1200)
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    left, right = statistics(pair)
    assert right.fec_packets_rebuilt >= 2
    assert left.retransmitted_packets == 0
    assert arrived(pair, stream_id, 5 * 1200)


# what it costs


def test_little_repair_goes_where_nothing_is_lost() -> None:
    """SPEC 12.3-3."""
    pair = established(perfect(DELAY))
    stream_id = send(pair, 2_000_000)
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    left, right = statistics(pair)
    assert 0 < left.fec_overhead < 0.01
    assert right.fec_packets_rebuilt == right.fec_blocks_unrepaired == 0


@every_scheme
@pytest.mark.parametrize("percent", [2, 10, 50])
def test_repair_keeps_within_the_overhead_allowed(scheme: str, percent: int) -> None:
    """SPEC 12.3-2: through loss that would call for more; one packet is free."""
    pair = established(
        hostile(delay=DELAY, loss=0.2), fec=scheme, fec_overhead_percent=percent, congestion="bbr"
    )
    stream_id = send(pair, 600_000)
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    left, _ = statistics(pair)
    protected = left.fec_repairs_sent / left.fec_overhead
    assert left.fec_repairs_sent <= 1 + protected * percent / 100
    assert left.fec_repairs_sent > protected * percent / 300


def test_the_sender_reacts_to_loss_within_a_few_round_trips_and_forgets_it_again() -> None:
    """SPEC 12.3-1."""
    pair = established(perfect(DELAY), congestion="bbr")
    stream_id = pair.connection.open_stream()

    def repairs_of(duration: Duration) -> float:
        before = pair.connection.statistics()
        for _ in range(duration // (10 * MILLISECOND)):
            pair.connection.write(stream_id, bytes(20_000))
            pair.drain()
            pair.run_for(10 * MILLISECOND)
        after = pair.connection.statistics()
        sent = after.packets_sent - before.packets_sent
        return (after.fec_repairs_sent - before.fec_repairs_sent) / sent

    assert repairs_of(2 * SECOND) < 0.015
    pair.to_right = hostile(delay=DELAY, loss=0.05)
    repairs_of(500 * MILLISECOND)
    assert repairs_of(SECOND) > 0.05
    pair.to_right = perfect(DELAY)
    repairs_of(8 * SECOND)
    assert repairs_of(2 * SECOND) < 0.015


def test_no_packet_is_longer_than_without_fec() -> None:
    """SPEC 12.1-6."""
    for integrity in sorted(INTEGRITY_CODES):
        fate = hostile(delay=DELAY, loss=0.05)
        pair = established(fate, integrity=integrity, max_datagram_size=FULL)
        stream_id = send(pair, 300_000)
        pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)  # noqa: B023
        lengths = [len(datagram) for _, _, datagram in pair.wire]
        assert FULL - 30 < max(lengths) <= FULL


# with ARQ


def test_bulk_data_that_lost_more_than_its_repair_gets_the_rest_of_it_and_is_not_sent_again() -> None:
    """SPEC 12.3-5, 12.5-2: through a path that loses one in twenty, repair follows what is lost."""
    pair = established(hostile(delay=DELAY, loss=0.05), congestion="bbr", stream_window=8 << 20)
    stream_id = send(pair, 3_000_000)
    pair.run_until(lambda: arrived(pair, stream_id, 3_000_000))
    left, right = statistics(pair)
    # Little is sent again, most of it before the loss was known; and most of the repair was of use.
    assert left.retransmitted_packets < 0.35 * left.packets_lost
    assert right.fec_packets_rebuilt > 0.6 * right.fec_repairs_received
    assert left.fec_repairs_sent < 0.085 * left.packets_sent


def time_to_send_again(mode: str) -> Duration:
    """How long three packets take of which the first and the only repair symbol are lost."""
    pair = settled(fec="xor", fec_arq=mode)
    begin, pair.to_right = pair.now, dropping(lambda n: n in (0, 3))
    stream_id = send(pair, 3 * 1200)
    pair.run_until(lambda: arrived(pair, stream_id, 3 * 1200))
    left, right = statistics(pair)
    assert (left.fec_repairs_sent, right.fec_repairs_received) == (1, 0)
    assert left.retransmitted_packets >= 1
    return pair.now - begin


def test_always_sends_again_as_soon_as_without_fec_and_on_request_soon_after() -> None:
    """SPEC 12.5-1, 12.5-2: the wait is bounded by a probe time-out from the repair on."""
    rtt = 2 * DELAY
    always, on_request = time_to_send_again("always"), time_to_send_again("on-request")
    assert rtt * 9 // 8 + DELAY <= always < rtt * 9 // 8 + DELAY + 30 * MILLISECOND
    assert always < on_request < always + 2 * rtt


def never(fate: Fate, **settings: object) -> Pair:
    return established(fate, fec_arq="never", **settings)  # type: ignore[arg-type]


@every_scheme
def test_never_sends_nothing_again_and_resets_what_stays_lost(scheme: str) -> None:
    """SPEC 12.5-3, 12.5-4: three packets of a short stream are lost, more than its repair mends."""
    pair = settled(fec=scheme, fec_arq="never")
    pair.to_right = dropping(lambda n: n in (0, 1, 2))
    broken = send(pair, 4 * 1200)
    pair.run_until(lambda: SendingGivenUp(broken, ErrorCode.FEC) in pair.left_events)
    whole = send(pair, 4 * 1200)
    pair.run_until(lambda: StreamAcknowledged(whole) in pair.left_events)
    assert StreamReset(broken, ErrorCode.FEC) in pair.right_events
    assert arrived(pair, whole, 4 * 1200)
    assert pair.connection.statistics().retransmitted_packets == 0
    assert pair.closed(right=False) is None


def test_never_gives_up_a_message_of_which_something_stays_lost() -> None:
    """SPEC 12.5-4, 6.2-4: without a deadline as well; the messages before and after it arrive."""
    pair = settled(fec="xor", fec_arq="never")
    sent = {}
    for size in (600, 4 * 1200, 700):
        pair.to_right = dropping(lambda n: size > 1000 and n < 3)  # noqa: B023
        sent[size] = pair.connection.send_message(bytes(size), now=pair.now)
        pair.drain()
        pair.run_for(SECOND)
    assert MessageExpired(sent[4 * 1200], refused=False) in pair.left_events
    assert [MessageAcknowledged(sent[size]) in pair.left_events for size in sent] == [True, False, True]
    got = [len(event.data) for event in pair.right_events if isinstance(event, MessageReceived)]
    assert got == [600, 700]


def test_never_resets_a_stream_whose_end_alone_is_lost() -> None:
    """SPEC 12.5-4: nobody would ever learn that the stream is over."""
    lost = set[int]()
    pair = never(dropping(lambda n: n in lost), fec="xor")
    stream_id = pair.connection.open_stream(unidirectional=True)
    pair.connection.write(stream_id, b"all of it")
    pair.drain()
    pair.run_for(SECOND)
    sent = pair.connection.statistics().packets_sent
    lost |= {sent, sent + 1}
    pair.connection.write(stream_id, b"", end=True)
    pair.drain()
    pair.run_until(lambda: SendingGivenUp(stream_id, ErrorCode.FEC) in pair.left_events)
    pair.run_until(lambda: StreamReset(stream_id, ErrorCode.FEC) in pair.right_events)


def test_never_still_repeats_what_is_no_stream_data() -> None:
    """SPEC 12.5-3: credit, resets and reports get through however much is lost."""
    pair = never(
        hostile(delay=DELAY, loss=0.3), back=hostile(delay=DELAY, loss=0.3), idle_timeout=0,
        stream_window=5000, connection_window=20_000, right=Configuration(idle_timeout=0),
    )  # fmt: skip
    ended = 0
    for _ in range(30):
        stream_id = send(pair, 3000)
        told = (SendingGivenUp(stream_id, ErrorCode.FEC), StreamAcknowledged(stream_id))
        pair.run_until(lambda: any(event in pair.left_events for event in told))  # noqa: B023
        if told[1] in pair.left_events:
            assert arrived(pair, stream_id, 3000)
            ended += 1
    assert 0 < ended < 30
    assert pair.connection.statistics().retransmitted_packets == 0


def test_never_delivers_through_loss_that_repair_can_mend() -> None:
    pair = never(
        hostile(delay=DELAY, loss=0.01), fec_overhead_percent=100, right=Configuration(max_streams_uni=200)
    )
    streams = []
    for _ in range(200):
        streams.append(send(pair, 2000))
        pair.run_for(10 * MILLISECOND)
    pair.run_for(8 * SECOND)
    whole = sum(arrived(pair, stream_id, 2000) for stream_id in streams)
    left, _ = statistics(pair)
    assert left.fec_packets_recovered > 1
    assert whole >= 185  # a packet may hold pieces of several streams


# agreement


@pytest.mark.parametrize("scheme", sorted(FEC_CODES))
def test_every_scheme_has_a_code_on_the_wire(scheme: str) -> None:
    """SPEC 12-2."""
    assert set(FEC_CODES) == {"none", *FEC_SCHEMES.names()}
    pair = established(perfect(), fec=scheme)
    assert (pair.connection.fec is not None) == (scheme != "none")
    assert pair.accepted is not None
    assert (pair.accepted.fec is not None) == (scheme != "none")


def test_fec_with_stop_and_wait_is_refused() -> None:
    """SPEC 12-3."""
    with pytest.raises(LocalProtocolError, match="no other packets to repair one with; use arq selective"):
        Configuration(fec="xor", arq="stop-and-wait")


def test_damage_that_slipped_through_does_not_spread_by_repair() -> None:
    """SPEC 12.1-5: two bits of a packet flip so that its XOR is right; what is rebuilt with it goes."""
    seen = -1

    def fate(datagram: bytearray, rng: Random) -> list[Duration]:
        nonlocal seen
        seen += datagram[0] == 0x41
        if seen == 0 and datagram[0] == 0x41:
            return []
        if seen == 1 and datagram[0] == 0x41:
            datagram[500] ^= 0x10
            datagram[700] ^= 0x10
        return [DELAY]

    pair = settled(fec="xor", integrity="xor")
    pair.to_right = fate
    stream_id = send(pair, 3 * 1200)
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    right = statistics(pair)[1]
    assert (right.fec_payloads_spoilt, right.fec_packets_rebuilt) == (1, 0)
    expected = bytearray(Random(stream_id).randbytes(3 * 1200))
    assert len(pair.right_data[stream_id]) == len(expected)
    wrong = [
        n
        for n, pairs in enumerate(zip(expected, pair.right_data[stream_id], strict=True))
        if len({*pairs}) > 1
    ]
    assert len(wrong) == 2  # the profile's own, in the packet that was damaged


def test_messages_are_rebuilt_as_messages() -> None:
    """MESSAGE frames as well as STREAM frames, through loss in both directions."""
    fate = hostile(delay=DELAY, loss=0.05)
    pair = established(fate, back=fate, congestion="bbr")
    contents = [Random(n).randbytes(900 + n) for n in range(150)]
    for content in contents:
        pair.connection.send_message(content, now=pair.now)
        pair.drain()
        pair.run_for(10 * MILLISECOND)
    pair.run_for(5 * SECOND)
    got = [event.data for event in pair.right_events if isinstance(event, MessageReceived)]
    assert sorted(got) == sorted(contents)
    assert statistics(pair)[1].fec_packets_rebuilt > 0
