"""Loss recovery of one connection (RFC 9002 §6, §7): ties the files of this package together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

from node.protocol.congestion.base import CongestionController
from node.protocol.ecn import EcnValidator
from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.recovery.delivery_rate import DeliveryRate
from node.protocol.recovery.estimates import Estimates
from node.protocol.recovery.loss import detect_lost
from node.protocol.recovery.pacer import Pacer
from node.protocol.recovery.persistent_congestion import is_persistent
from node.protocol.recovery.remembered import RememberedPath
from node.protocol.recovery.reordering import Reordering
from node.protocol.recovery.rtt import RttEstimator
from node.protocol.recovery.samples import AckSample, LossSample, LostBurst
from node.protocol.recovery.sent_packets import SentBurst, SentPackets
from node.protocol.recovery.skipping import SkippedNumbers
from node.protocol.time import MICROSECOND, SECOND, Duration, Instant
from node.protocol.wire.frames import Ack

if TYPE_CHECKING:
    from node.protocol.observer import Observer

#: Doublings of the probe timeout.
MAX_BACKOFF = 16
#: Backed off, a probe still goes this often (or every fourth PTO on very long paths): through heavy
#: loss a connection must probe often enough to be found alive within its idle time-out.
MAX_PROBE_INTERVAL: Duration = 3 * SECOND

OnPackets = Callable[[SentBurst, int], None]
OnAcked = Callable[[Sequence[tuple[SentBurst, int]]], None]


class Recovery:
    """Knows what is in flight, what is lost, and when to look again.

    Args:
        congestion: the controller.
        initial_window: tokens the pacer starts with, bytes.
        rng: chance that the peer does not know (SPEC 4-5); None: no packet number is skipped.
        on_acked: told of records and the masks of their packets, oldest first, once for each packet.
        on_lost: told of a record and the mask of its packets, once for each packet.
        ecn: whether to mark packets and react to congestion that the peer reports.
    """

    def __init__(
        self,
        congestion: CongestionController,
        *,
        initial_window: int,
        rng: Random | None = None,
        on_acked: OnAcked,
        on_lost: OnPackets,
        ecn: bool = False,
    ) -> None:
        self.congestion = congestion
        self.ecn = EcnValidator(enabled=ecn)
        self.rtt = RttEstimator()
        self.pacer = Pacer(initial_window)
        self.rate = DeliveryRate()
        self.sent = SentPackets()
        self.reordering = Reordering()
        self._skipped = SkippedNumbers(rng)
        #: Number of the path in use: packets of others count for none of the estimates (SPEC 13.2-6).
        self.path = 0
        #: ... bytes in flight included.
        self.bytes_in_flight = 0
        #: UDP payload bytes of a full packet; ``resize`` sets it.
        self.packet_size = 0
        self.next_packet_number = 0
        self.packets_lost = 0
        #: Acknowledgements received, and the last rate at which data arrived, bytes a second.
        self.acks = self.delivery_rate = 0
        self.probe_timeouts = 0
        #: Probes to send whatever the window says (SPEC 8-2).
        self.probes_due = 0
        #: The peer's max_ack_delay, ns.
        self.max_ack_delay: Duration = 0
        #: Who is told what happens; None: nobody.
        self.observer: Observer | None = None
        self._on_acked, self._on_lost = on_acked, on_lost
        self._largest_acked = -1
        #: The ranges of the last acknowledgement: nothing of them is news.
        self._known_ranges: frozenset[tuple[int, int]] = frozenset()
        self._loss_time: Instant | None = None
        self._pto_count = 0
        #: When something ack-eliciting was last sent.
        self.last_sent: Instant = 0
        #: Whether it has begun with what was known of the path.
        self.is_resumed = False
        self._eliciting_in_flight = 0
        self._first_sample: Instant | None = None
        #: Whether the sender, when it last tried, would have sent more but for the congestion window
        #: or pacing; set by who sends (RFC 9002 §7.8).
        self.window_used = False
        self._update_pacer()

    # -- what the world did

    def on_sent(self, record: SentBurst) -> None:
        """Note a burst; its packet numbers are taken from ``next_packet_number`` (SPEC 3-4, 4-1)."""
        assert record.first == self.next_packet_number
        self.next_packet_number = following = record.first + record.count
        if following >= self._skipped.next:
            self.next_packet_number = self._skipped.after(following)
        record.path = self.path
        if record.ecn:
            self.ecn.on_sent(record.count)
        if not record.eliciting:
            return
        size, prior = record.total, self.bytes_in_flight
        self.rate.on_sent(record, size, prior_in_flight=prior)
        self.congestion.on_sent(
            size, now=record.time_sent, prior_in_flight=prior, is_app_limited=record.is_app_limited
        )
        self.sent.append(record)
        self.bytes_in_flight = record.tx_in_flight
        self._eliciting_in_flight += record.count
        self.last_sent = record.time_sent
        self.pacer.on_sent(size)  # SPEC 8-3: probes and control frames as well
        if self.probes_due:
            self.probes_due -= 1

    def resize(self, size: int) -> None:
        """Set the bytes of a full packet: what the path carries now (SPEC 8.1-3)."""
        if size != self.packet_size:
            self.packet_size = size
            self.congestion.max_datagram_size = size
            self._update_pacer()

    def take_handshake_sample(self, rtt: Duration, *, now: Instant) -> None:
        """Take the round trip of the handshake as the first sample."""
        self.rtt.begin(rtt)
        self._first_sample = now
        self.congestion.on_handshake_rtt(rtt, now=now)
        self._update_pacer()

    def change_path(self, number: int, estimates: Estimates) -> Estimates:
        """Go on with what is known of another path; return what is known of the one that is left."""
        left = Estimates(self.congestion, self.pacer, self.rtt, self.rate, self._first_sample)
        self.congestion, self.pacer, self.rtt = estimates.congestion, estimates.pacer, estimates.rtt
        self.rate, self._first_sample = estimates.rate, estimates.first_sample
        self.path = number
        flying = [record for record in self.sent if record.path == number]
        self.bytes_in_flight = sum(record.bytes_of(record.outstanding) for record in flying)
        self._pto_count = 0
        self.ecn.restart()
        self.reordering.restart()
        self._update_pacer()
        return left

    def resume(self, path: RememberedPath | None) -> None:
        """Begin with what is known of the path, once its round trip is confirmed (SPEC 8-7)."""
        if self._first_sample is None:
            return
        self.is_resumed = True
        window = 0 if path is None else path.window(self.rtt.min_rtt, now=self._first_sample)
        if window > self.congestion.congestion_window:
            rtt, now = self.rtt.min_rtt, self._first_sample
            self.congestion.on_remembered_path(window, rtt=rtt, now=now)
            self._update_pacer()

    def on_app_limited(self) -> None:
        """The sender has nothing more to send although the window would let it."""
        self.window_used = False
        if self.window_left:
            self.rate.on_app_limited(self.bytes_in_flight)

    def on_ack(self, ack: Ack, *, now: Instant) -> None:
        """Take an acknowledgement.

        Raises:
            RemoteProtocolError: it acknowledges a packet that was never sent (SPEC 5-2, 4-5).
        """
        largest = ack.ranges[0][1] - 1
        if largest >= self.next_packet_number:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "ACK of a packet never sent")
        self.acks += 1
        # Through loss most ranges are those of the acknowledgement before.
        known, self._known_ranges = self._known_ranges, frozenset(ack.ranges)
        fresh: list[tuple[int, int]] = []
        for found in reversed(ack.ranges):
            if found not in known:
                fresh.append(found)  # noqa: PERF401  a comprehension is a call
        newly = self._newly_acked(fresh)
        advances = largest > self._largest_acked
        if advances:
            self._largest_acked = largest
        late = bool(fresh) and fresh[0][0] < self.reordering.beyond and self._take_late(fresh, now)
        if not newly:
            if late:
                self._update_pacer()
            return
        prior, lost_before = self.bytes_in_flight, self.rate.lost
        measured = self._take_rtt_sample(newly, largest, ack, now)
        if self.observer is not None:
            self.observer.acked(newly, now)
        everything, (newly, acked_bytes, marked) = newly, self._acknowledge(newly)
        self._on_acked(everything)
        ce_packets = self.ecn.on_ack(ack.ecn, newly_marked=marked, advances=advances) if newly else 0
        self._pto_count = 0
        self._detect_lost(now)
        if ce_packets:  # SPEC 8.2-4
            self.congestion.on_congestion_experienced(newest_sent=newly[-1][0].time_sent, now=now)
        if newly:
            self._tell_controller(
                newly, acked_bytes, prior, lost_before, rtt_sample=measured, ce_packets=ce_packets, now=now
            )
        self.sent.trim()
        self._update_pacer()
        if self.observer is not None:
            self.observer.settled(self, now)

    def send_again(self) -> None:
        """What is out was not taken, and no path is to blame: all of it goes again (SPEC 15-7)."""
        for record in self.sent:
            mask = record.outstanding
            record.lost |= mask
            self.bytes_in_flight -= record.bytes_of(mask)
            self._eliciting_in_flight -= mask.bit_count()
            self._on_lost(record, mask)
        self.sent.trim()

    def on_timeout(self, *, now: Instant) -> None:
        """The time that ``next_timeout`` gave has come."""
        if self.observer is not None:
            self.observer.timer_expired(now, probe=self._loss_time is None)
        if self._loss_time is not None:
            self._detect_lost(now)
            self.sent.trim()
            self._update_pacer()
        else:
            self.probe_timeouts += 1
            self._pto_count = min(self._pto_count + 1, MAX_BACKOFF)
            self.probes_due = 2
        if self.observer is not None:
            self.observer.settled(self, now)

    # -- when to look again

    def next_timeout(self) -> Instant | None:
        """Return when losses are to be looked for or a probe is to be sent."""
        if self._loss_time is not None:
            return self._loss_time
        if not self._eliciting_in_flight or self.probes_due:
            return None
        probe_timeout = self.rtt.probe_timeout(self.max_ack_delay)
        longest = max(MAX_PROBE_INTERVAL, 4 * probe_timeout)
        return self.last_sent + min(probe_timeout << self._pto_count, longest)

    @property
    def probe_timeout(self) -> Duration:
        """The PTO without backoff, ns."""
        return self.rtt.probe_timeout(self.max_ack_delay)

    @property
    def pto_count(self) -> int:
        """Probe timeouts in a row."""
        return self._pto_count

    @property
    def largest_acked(self) -> int:
        """The highest packet number that was acknowledged; -1: none yet."""
        return self._largest_acked

    @property
    def window_left(self) -> int:
        """Bytes that the congestion window still allows.

        With nothing in flight that is a packet at least: where packets have grown since (SPEC 13.4), the two
        smaller ones of a minimum window may be less than one, and no acknowledgement would ever raise it.
        """
        left = self.congestion.congestion_window - self.bytes_in_flight
        return max(left, 0 if self.bytes_in_flight else self.packet_size)

    @property
    def open_packets(self) -> int:
        """Ack-eliciting packets in flight."""
        return self._eliciting_in_flight

    def oldest_outstanding(self) -> SentBurst | None:
        """Return the oldest record with packets in flight."""
        return next((record for record in self.sent if record.outstanding), None)

    def newest_outstanding(self) -> SentBurst | None:
        """Return the newest record with packets in flight."""
        return next((record for record in reversed(self.sent) if record.outstanding), None)

    # -- the steps

    def _newly_acked(self, ranges: list[tuple[int, int]]) -> list[tuple[SentBurst, int]]:
        newly: list[tuple[SentBurst, int]] = []
        for start, end in ranges:
            if start <= self._skipped.highest and self._skipped.any_in(start, end):
                raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "ACK of a packet never sent")
            self.sent.take_outstanding(start, end, newly)
        return newly

    def _take_late(self, ranges: list[tuple[int, int]], now: Instant) -> bool:
        """Take back what was declared lost and is acknowledged; whether there was any (SPEC 8-6)."""
        late, all_of_it = self.reordering.take_late(ranges, largest_acked=self._largest_acked, now=now)
        if late and self.observer is not None:
            self.observer.acked(late, now)
        for record, mask in late:
            record.acked |= mask
            self.rate.on_late(record.bytes_of(mask), now=now)
        if late:
            self._on_acked(late)
        if late and self.observer is not None:
            self.observer.spurious(late, self.reordering, now, undone=all_of_it)
        if all_of_it:
            self.congestion.on_spurious_loss()
        return bool(late)

    def _take_rtt_sample(
        self, newly: list[tuple[SentBurst, int]], largest: int, ack: Ack, now: Instant
    ) -> Duration:
        """RFC 9002 §5.1: only if the largest acknowledged is newly so; 0: there is no sample."""
        record, mask = newly[-1]
        if record.path != self.path:
            return 0
        if not record.first <= largest < record.first + record.count:
            return 0
        if not mask >> (largest - record.first) & 1:
            return 0
        delay = min(ack.delay_us * MICROSECOND, self.max_ack_delay)
        measured = max(1, now - record.time_sent)
        self.rtt.update(measured, delay)
        if self._first_sample is None:
            self._first_sample = now
        return measured

    def _acknowledge(
        self, newly: list[tuple[SentBurst, int]]
    ) -> tuple[list[tuple[SentBurst, int]], int, int]:
        """Return what counts for the path in use: packets, their bytes, and how many were marked."""
        ours = []
        size = marked = 0
        for found in newly:
            record, mask = found
            record.acked |= mask
            count = mask.bit_count()
            self._eliciting_in_flight -= count
            if record.path == self.path:
                ours.append(found)
                size += count * record.size
                if mask >> (record.count - 1):  # the last packet may be shorter
                    size += record.last_size - record.size
                if record.ecn:
                    marked += count
        self.bytes_in_flight -= size
        return ours, size, marked

    def _tell_controller(
        self, newly: list[tuple[SentBurst, int]], acked_bytes: int, prior_in_flight: int, lost_before: int,
        *, rtt_sample: Duration, ce_packets: int, now: Instant,
    ) -> None:  # fmt: skip
        newest, rate = newly[-1][0], self.rate
        delivery_rate, interval = rate.on_acked(newly, acked_bytes, now=now)
        self.delivery_rate = delivery_rate or self.delivery_rate
        self.congestion.on_ack(
            AckSample(
                now=now,
                rtt=self.rtt,
                rtt_sample=rtt_sample,
                acked_bytes=acked_bytes,
                lost_bytes=rate.lost - lost_before,
                prior_in_flight=prior_in_flight,
                bytes_in_flight=self.bytes_in_flight,
                newest_sent=newest.time_sent,
                window_used=self.window_used,
                delivered=rate.delivered,
                prior_delivered=newest.delivered,
                delivery_rate=delivery_rate,
                interval=interval,
                is_app_limited=newest.is_app_limited,
                tx_in_flight=newest.tx_in_flight,
                lost=rate.lost - newest.lost_before,
                ce_packets=ce_packets,
            )
        )

    def _detect_lost(self, now: Instant) -> None:
        thresholds = self.reordering
        loss_delay = self.rtt.loss_delay(thresholds.time_threshold_eighths)
        lost, self._loss_time = detect_lost(
            self.sent,
            largest_acked=self._largest_acked,
            packet_threshold=thresholds.packet_threshold,
            loss_delay=loss_delay,
            now=now,
        )
        if not lost:
            return
        if self.observer is not None:
            self.observer.lost(lost, self._largest_acked, thresholds.packet_threshold, now)
        ours = []
        for found in lost:
            record, mask = found
            record.lost |= mask
            self.packets_lost += mask.bit_count()
            self._eliciting_in_flight -= mask.bit_count()
            self._on_lost(record, mask)
            if record.path == self.path:
                ours.append(found)
        if ours:
            thresholds.on_lost(ours, loss_delay=loss_delay, keep=2 * self.probe_timeout, now=now)
            self._tell_of_losses(ours, now)

    def _tell_of_losses(self, lost: list[tuple[SentBurst, int]], now: Instant) -> None:
        prior, bursts = self.bytes_in_flight, []
        for record, mask in lost:
            size = record.bytes_of(mask)
            self.rate.on_lost(size)
            self.bytes_in_flight -= size
            if record.ecn:
                self.ecn.on_lost(mask.bit_count())
            bursts.append(
                LostBurst(
                    sent=record.time_sent,
                    size=size,
                    ranges=(mask & ~(mask << 1)).bit_count(),
                    tx_in_flight=record.tx_in_flight,
                    lost=self.rate.lost - record.lost_before,
                    is_app_limited=record.is_app_limited,
                )
            )
        self.congestion.on_lost(
            LossSample(
                now=now,
                lost_bytes=prior - self.bytes_in_flight,
                newest_sent=lost[-1][0].time_sent,
                prior_in_flight=prior,
                bytes_in_flight=self.bytes_in_flight,
                bursts=tuple(bursts),
            )
        )
        if len(lost) > 1 and is_persistent(
            lost, probe_timeout=self.probe_timeout, first_sample=self._first_sample
        ):
            self.congestion.on_persistent_congestion()

    def _update_pacer(self) -> None:
        congestion = self.congestion
        self.pacer.set_rate(
            congestion.pacing_rate,
            congestion_window=congestion.congestion_window,
            smoothed_rtt=self.rtt.smoothed_rtt,
            slow_start=congestion.ssthresh is None or congestion.congestion_window < congestion.ssthresh,
        )
        self.pacer.quantum = congestion.send_quantum
