"""Reordering and spurious losses (SPEC 8-5, 8-6), through Recovery."""

from __future__ import annotations

from collections.abc import Sequence

from node.protocol.congestion.new_reno import NewReno
from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.reordering import (
    MAX_PACKET_THRESHOLD,
    MAX_TIME_THRESHOLD_EIGHTHS,
    PERIODS_REMEMBERED,
)
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.time import MILLISECOND, SECOND, Instant
from node.protocol.wire.frames import Ack
from tests.attacks.caps import calls_of

SIZE = 1000
RTT = 80 * MILLISECOND


class Sender:
    """A recovery that sends packets and takes acknowledgements; it notes what it is told of them."""

    def __init__(self) -> None:
        self.controller = NewReno(SIZE)
        self.acked: list[int] = []
        self.lost: list[int] = []
        self.recovery = Recovery(
            self.controller,
            initial_window=10 * SIZE,
            on_acked=self._note_acked,
            on_lost=lambda record, mask: self._note(self.lost, record, mask),
        )
        self.recovery.take_handshake_sample(RTT, now=0)

    def _note_acked(self, newly: Sequence[tuple[SentBurst, int]]) -> None:
        for record, mask in newly:
            self._note(self.acked, record, mask)

    def _note(self, into: list[int], record: SentBurst, mask: int) -> None:
        into += [record.first + bit for bit in range(record.count) if mask >> bit & 1]

    def send(self, count: int, now: Instant) -> None:
        first = self.recovery.next_packet_number
        self.recovery.on_sent(SentBurst(first, count, now, size=SIZE, last_size=SIZE))

    def ack(self, *ranges: tuple[int, int], now: Instant) -> None:
        self.recovery.on_ack(Ack(ranges, 0), now=now)

    def ssthresh(self) -> int | None:
        return self.controller.ssthresh

    @property
    def thresholds(self) -> tuple[int, int]:
        return self.recovery.reordering.packet_threshold, self.recovery.reordering.time_threshold_eighths


def test_a_packet_acknowledged_after_it_was_declared_lost_is_delivered_and_raises_the_threshold() -> None:
    sender = Sender()
    sender.send(10, now=0)
    sender.ack((1, 8), now=RTT)
    assert sender.lost == [0]
    sender.ack((0, 8), now=RTT + MILLISECOND)
    assert sorted(sender.acked) == list(range(8))
    assert sender.recovery.rate.delivered == 8 * SIZE
    assert sender.recovery.reordering.spurious == 1
    assert sender.thresholds == (8, 1)  # seven later packets had arrived
    sender.send(10, now=2 * RTT)
    sender.ack((11, 18), (0, 10), now=3 * RTT)
    assert sender.lost == [0]
    sender.ack((11, 19), (0, 10), now=3 * RTT)
    assert sender.lost == [0, 10]  # eight have


def test_a_packet_later_than_the_time_threshold_raises_that() -> None:
    sender = Sender()
    sender.send(2, now=0)
    sender.ack((1, 2), now=RTT)
    deadline = sender.recovery.next_timeout()
    assert deadline == RTT * 9 // 8
    sender.recovery.on_timeout(now=deadline)
    assert sender.lost == [0]
    sender.ack((0, 2), now=deadline + 1)
    assert sender.thresholds == (3, 2)
    sender.send(2, now=2 * RTT)
    sender.ack((3, 4), (0, 2), now=3 * RTT)
    assert sender.recovery.next_timeout() == 2 * RTT + RTT * 10 // 8


def test_losses_that_all_prove_spurious_give_the_window_back() -> None:
    sender = Sender()
    sender.send(10, now=0)
    before = sender.controller.congestion_window
    sender.ack((3, 10), now=RTT)
    assert sender.lost == [0, 1, 2]
    assert sender.ssthresh() == before // 2
    sender.ack((1, 10), now=RTT + 1)
    assert sender.ssthresh() == before // 2  # one is still missing
    sender.ack((0, 10), now=RTT + 2)
    assert sender.ssthresh() is None
    assert sender.controller.congestion_window >= before


def test_a_loss_that_was_one_keeps_the_window_reduced() -> None:
    """Of the same recovery period, whichever comes first."""
    sender = Sender()
    sender.send(10, now=0)
    sender.send(10, now=1)
    sender.ack((1, 10), now=RTT)
    sender.ack((11, 20), (1, 10), now=RTT + 1)
    assert sender.lost == [0, 10]
    sender.ack((10, 20), (1, 10), now=RTT + 2)
    assert sender.ssthresh() is not None


def test_losses_of_an_earlier_period_do_not_stand_in_the_way() -> None:
    sender = Sender()
    sender.send(10, now=0)
    sender.ack((1, 10), now=RTT)  # 0 is lost for good
    threshold = sender.ssthresh()
    sender.send(10, now=RTT + 1)
    sender.ack((11, 20), (1, 10), now=2 * RTT + 1)
    assert sender.ssthresh() != threshold
    sender.ack((1, 20), now=2 * RTT + 2)
    assert sender.ssthresh() == threshold


def test_what_was_lost_too_long_ago_is_forgotten() -> None:
    sender = Sender()
    sender.send(10, now=0)
    sender.ack((1, 10), now=RTT)
    sender.ack((0, 10), now=RTT + 2 * sender.recovery.probe_timeout)
    assert sender.recovery.reordering.spurious == 0
    assert 0 not in sender.acked


def test_sixteen_calm_recovery_periods_put_the_thresholds_back() -> None:
    sender = Sender()
    sender.send(10, now=0)
    sender.ack((1, 10), now=RTT)
    sender.ack((0, 10), now=RTT + 1)
    assert sender.thresholds == (10, 1)
    for period in range(1, PERIODS_REMEMBERED + 2):
        assert sender.thresholds == (10, 1)
        now = 10 * SECOND * period
        first = sender.recovery.next_packet_number
        sender.send(20, now=now)
        sender.ack((first + 1, first + 20), now=now + RTT)
    assert sender.thresholds == (3, 1)


def test_the_packet_threshold_has_a_limit() -> None:
    sender = Sender()
    sender.send(1, now=0)
    for _ in range(2 * MAX_PACKET_THRESHOLD // 64):
        sender.send(64, now=1)
    end = sender.recovery.next_packet_number
    sender.ack((1, end), now=RTT)
    sender.ack((0, end), now=RTT + 1)
    assert sender.thresholds == (MAX_PACKET_THRESHOLD, 1)


def test_the_time_threshold_has_a_limit() -> None:
    """RFC 8985 §6.2: never more than a further round trip."""
    sender = Sender()
    for number in range(20):
        now, first = 10 * SECOND * (number + 1), sender.recovery.next_packet_number
        sender.send(2, now=now)
        sender.ack((first + 1, first + 2), now=now + RTT)
        deadline = sender.recovery.next_timeout()
        assert deadline is not None
        assert deadline <= now + 2 * RTT
        sender.recovery.on_timeout(now=deadline)
        sender.ack((first, first + 2), now=deadline)
    assert sender.thresholds == (3, MAX_TIME_THRESHOLD_EIGHTHS)


def test_a_flood_of_acknowledgements_looks_at_little() -> None:
    """SPEC 5-2: 3000 packets in flight, and each acknowledgement of 64 ranges is unlike the one before."""
    sender = Sender()
    for number in range(3000):
        sender.send(1, now=number)

    def flood() -> None:
        for shift in range(500):
            ranges = [(number, number + 1) for number in range(2999 - shift % 3, 0, -3)]
            sender.ack(*ranges[:64], now=RTT + shift)

    assert calls_of(flood) < 500 * 64 * 15  # for each range, not for each packet
    assert len(sender.recovery.sent) < 3000
