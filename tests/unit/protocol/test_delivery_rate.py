"""Rate samples (SPEC 8-4; draft-ietf-ccwg-bbr §4.1) through Recovery, as a controller sees them."""

from __future__ import annotations

from random import Random

from node.protocol.congestion.new_reno import NewReno
from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.samples import AckSample, LossSample
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.time import MILLISECOND, SECOND, Instant
from node.protocol.wire.frames import Ack

SIZE = 1000
RTT = 100 * MILLISECOND


class Watched(NewReno):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(SIZE)
        self.acks: list[AckSample] = []
        self.losses: list[LossSample] = []
        self.sent: list[tuple[int, bool]] = []

    def on_sent(self, size: int, *, now: Instant, prior_in_flight: int, is_app_limited: bool) -> None:
        self.sent.append((prior_in_flight, is_app_limited))

    def on_ack(self, sample: AckSample) -> None:
        self.acks.append(sample)

    def on_lost(self, sample: LossSample) -> None:
        self.losses.append(sample)


class Sender:
    """A recovery that sends bursts and takes acknowledgements."""

    def __init__(self) -> None:
        self.controller = Watched()
        self.recovery = Recovery(
            self.controller,
            initial_window=10 * SIZE,
            rng=Random(1),
            on_acked=lambda newly: None,
            on_lost=lambda record, mask: None,
        )
        self.recovery.take_handshake_sample(RTT, now=0)

    def send(self, count: int, now: Instant) -> None:
        first = self.recovery.next_packet_number
        self.recovery.on_sent(SentBurst(first, count, now, size=SIZE, last_size=SIZE))

    def ack(self, start: int, end: int, now: Instant) -> AckSample:
        self.recovery.on_ack(Ack(((start, end),), 0), now=now)
        return self.controller.acks[-1]


def test_a_burst_acknowledged_a_round_trip_later_gives_its_rate() -> None:
    sender = Sender()
    sender.send(10, now=0)
    sample = sender.ack(0, 10, now=RTT)
    assert (sample.delivered, sample.prior_delivered) == (10_000, 0)
    assert (sample.interval, sample.delivery_rate) == (RTT, 100_000)
    assert (sample.prior_in_flight, sample.bytes_in_flight, sample.tx_in_flight) == (10_000, 0, 10_000)
    assert (sample.acked_bytes, sample.rtt_sample, sample.newest_sent) == (10_000, RTT, 0)


def test_a_part_of_a_burst_gives_a_sample_and_so_does_the_rest() -> None:
    sender = Sender()
    sender.send(10, now=0)
    assert sender.ack(0, 4, now=RTT).delivery_rate == 40_000
    later = sender.ack(4, 10, now=RTT + RTT // 4)
    assert (later.delivered, later.prior_delivered, later.delivery_rate) == (10_000, 0, 80_000)


def test_the_longer_of_sending_and_acknowledging_time_counts() -> None:
    """§4.1.1.3: acknowledgements that come compressed must not make the path look faster."""
    sender = Sender()
    for number in range(4):
        sender.send(1, now=number * RTT // 2)
    sender.ack(0, 1, now=2 * RTT)
    sample = sender.ack(1, 4, now=2 * RTT + 1)  # 3 packets at once, sent over one and a half round trips
    assert sample.interval == 2 * RTT + 1
    assert sample.delivery_rate == 4000 * SECOND // (2 * RTT + 1)


def test_the_next_round_trip_begins_with_what_was_delivered_when_it_was_sent() -> None:
    sender = Sender()
    sender.send(10, now=0)
    sender.ack(0, 10, now=RTT)
    sender.send(10, now=RTT)
    sample = sender.ack(10, 20, now=2 * RTT)
    assert (sample.delivered, sample.prior_delivered) == (20_000, 10_000)


def test_a_sample_is_marked_until_what_was_sent_with_nothing_to_send_is_delivered() -> None:
    """§4.1.2.4: bubbles of silence make the rate the application's, not the path's."""
    sender = Sender()
    sender.send(4, now=0)
    sender.recovery.on_app_limited()
    sender.send(2, now=1)
    assert not sender.ack(0, 4, now=RTT).is_app_limited
    assert sender.ack(4, 6, now=RTT + 1).is_app_limited
    sender.send(1, now=RTT + 1)
    assert not sender.ack(6, 7, now=2 * RTT + 1).is_app_limited
    assert sender.controller.sent == [(0, False), (4000, True), (0, False)]


def test_a_full_window_is_no_lack_of_data() -> None:
    sender = Sender()
    sender.send(10, now=0)
    sender.recovery.on_app_limited()
    sender.send(1, now=1)
    assert sender.controller.sent[-1] == (10_000, False)


def test_losses_are_told_with_what_was_in_flight_when_they_were_sent() -> None:
    sender = Sender()
    sender.send(4, now=0)
    sender.send(10, now=1)
    sample = sender.ack(8, 14, now=RTT)
    (loss,) = sender.controller.losses
    assert (loss.lost_bytes, loss.newest_sent) == (8000, 1)
    assert (loss.prior_in_flight, loss.bytes_in_flight) == (8000, 0)
    found = [(burst.size, burst.tx_in_flight, burst.lost) for burst in loss.bursts]
    assert found == [(4000, 4000, 4000), (4000, 14_000, 8000)]
    assert (sample.lost_bytes, sample.lost, sample.bytes_in_flight) == (8000, 8000, 0)
    sender.send(1, now=RTT)
    assert sender.ack(14, 15, now=2 * RTT).lost == 0
