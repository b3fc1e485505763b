"""Probe time-outs (SPEC 8-2): what the two packets carry."""

from __future__ import annotations

from node.protocol.configuration import Configuration
from node.protocol.time import MILLISECOND, SECOND
from tests.support.pair import Pair

DELAY = 5 * MILLISECOND


def cut_off(size: int, *, arq: str = "selective-repeat", window: int = 1 << 20) -> tuple[Pair, int, int]:
    """A pair whose left end sends ``size`` bytes into nothing; the stream and what of ``wire`` was before."""
    configuration = Configuration(arq=arq, stream_window=window)
    pair = Pair(left=configuration, right=configuration)
    pair.established()
    pair.run_for(SECOND)
    pair.to_right = lambda datagram, rng: []
    stream = pair.connection.open_stream()
    before = len(pair.wire)
    pair.connection.write(stream, bytes(size), end=True)
    pair.drain()
    return pair, stream, before


def ranges_sent(pair: Pair, stream: int, since: int) -> list[tuple[int, int]]:
    """The stream ranges of the packets from ``wire[since]`` on, from what was noted of them."""
    sent = list(pair.connection.recovery.sent)
    found = []
    for record in sent[-(len(pair.wire) - since) :]:
        if record.stream is not None:
            found += [(start, end) for start, end, _ in record.data_of(record.full)]
        found += [(start, end) for piece, start, end, _, _ in record.pieces if piece.stream_id == stream]
    return found


def after_probe_timeout(pair: Pair) -> int:
    """Go on to the next probe time-out; return where in ``wire`` its packets begin."""
    timeouts, since = pair.connection.statistics().probe_timeouts, len(pair.wire)
    while pair.connection.statistics().probe_timeouts == timeouts:
        since = len(pair.wire)
        assert pair.step()
    return since


def test_without_new_data_the_probes_repeat_the_last_and_the_first_packet() -> None:
    pair, stream, _ = cut_off(6000)
    packet = pair.connection.builder.size - 13 - 13 - 16
    since = after_probe_timeout(pair)
    assert len(pair.wire) - since == 2
    assert ranges_sent(pair, stream, since) == [(4 * packet, 6000), (0, packet)]


def test_with_new_data_the_first_probe_carries_it() -> None:
    """RFC 8985 §7.3, RFC 9002 §6.2.4: it is worth more than a repetition."""
    pair, stream, before = cut_off(1_000_000)
    packet = pair.connection.builder.size - 13 - 13 - 16
    since = after_probe_timeout(pair)
    window = (since - before) * packet
    assert ranges_sent(pair, stream, since) == [(window, window + packet), (0, packet)]


def test_a_single_packet_in_flight_is_what_both_probes_repeat() -> None:
    pair, stream, _ = cut_off(100)
    since = after_probe_timeout(pair)
    assert ranges_sent(pair, stream, since) == [(0, 100), (0, 100)]


def test_in_go_back_n_probes_repeat_from_the_first_packet_on() -> None:
    """SPEC 7-3: nothing else would be taken."""
    pair, stream, _ = cut_off(6000, arq="go-back-n")
    since = after_probe_timeout(pair)
    assert ranges_sent(pair, stream, since)[0][0] == 0


def test_a_lost_tail_comes_back_within_one_probe_timeout() -> None:
    """The repeated last packet proves by its acknowledgement that those between are lost."""
    pair, stream, _ = cut_off(14_000)
    after_probe_timeout(pair)
    pair.to_right = lambda datagram, rng: [DELAY]
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 14_000)
    assert pair.connection.statistics().probe_timeouts <= 2
