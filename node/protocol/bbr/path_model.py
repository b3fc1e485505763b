"""What BBR believes of its path (draft-ietf-ccwg-bbr §2.9, §5.5): all estimators together."""

from __future__ import annotations

from node.protocol.bbr.aggregation import AckAggregation
from node.protocol.bbr.constants import MIN_PIPE_PACKETS, UNBOUNDED
from node.protocol.bbr.filters import TwoCycleMaximum
from node.protocol.bbr.full_pipe import FullPipe
from node.protocol.bbr.long_term import LongTermModel
from node.protocol.bbr.min_rtt import MinRtt
from node.protocol.bbr.random_loss import RandomLoss
from node.protocol.bbr.rounds import Rounds
from node.protocol.bbr.short_term import ShortTermModel
from node.protocol.bbr.states import PROBING, State
from node.protocol.recovery.samples import AckSample
from node.protocol.time import SECOND, Instant


class PathModel:
    """The path's bandwidth, delay and room.

    Args:
        max_datagram_size: bytes of a full packet.
        initial_window: bytes in flight before anything is known.
    """

    def __init__(self, *, max_datagram_size: int, initial_window: int) -> None:
        self.rounds = Rounds()
        self.max_bandwidth = TwoCycleMaximum()
        self.min_rtt = MinRtt()
        self.full_pipe = FullPipe()
        self.aggregation = AckAggregation()
        self.short_term = ShortTermModel()
        self.long_term = LongTermModel(max_datagram_size)
        self.random_loss = RandomLoss(max_datagram_size)
        #: Whether the acknowledgement at hand proved that losses until now were chance.
        self.chance_found = False
        #: What may be sent at, bytes/s [BBR.bw]: the least of what the models allow.
        self.bandwidth = 0
        #: Bytes delivered so far [C.delivered].
        self.delivered = 0
        self._packet = max_datagram_size
        self._initial_window = initial_window
        self._answered_until: Instant = -1
        # Samples of packets sent while ProbeRTT throttled, by bytes delivered then; none yet.
        self._throttled = range(0)

    def take(
        self, sample: AckSample, *, state: State, window: int, app_limited: bool, jump_rate: int
    ) -> None:
        """Take an acknowledgement: the first half of UpdateModelAndState() (§5.2.3).

        Args:
            jump_rate: bytes/s that a jump sends at, of which the bandwidth does not know yet.
        """
        rate, short_term, rounds = sample.delivery_rate, self.short_term, self.rounds
        prior, delivered = sample.prior_delivered, sample.delivered
        self.delivered = delivered
        short_term.take_delivery(
            delivery_rate=rate, inflight=delivered - prior, prior_delivered=prior, delivered=delivered
        )
        rounds.update(prior_delivered=prior, delivered=delivered)
        # §5.5.4: a sample that the application limited still counts if it is the best.
        if rate and (not app_limited or rate >= self.max_bandwidth.value):
            self.max_bandwidth.update(rate)
        self.random_loss.take(
            acked=sample.acked_bytes,
            rtt=sample.now - sample.newest_sent,
            answered=self.is_answered(sample.newest_sent),
        )
        self.chance_found = False
        if rounds.started:
            self._look_for_chance(sample, state=state, app_limited=app_limited)
        if short_term.round_started:
            short_term.adapt(
                max_bandwidth=self.max_bandwidth.value, window=window, probing=state in PROBING,
                allowance=self.random_loss.allowance,
            )  # fmt: skip
        self.aggregation.update(
            sample.acked_bytes, now=sample.now, bandwidth=max(self.bandwidth, jump_rate), window=window,
            round_count=rounds.count, pipe_was_full=self.full_pipe.reached,
        )  # fmt: skip
        if rounds.started:
            self.full_pipe.update(rate, round_started=True, app_limited=app_limited)

    def _look_for_chance(self, sample: AckSample, *, state: State, app_limited: bool) -> None:
        """End a round trip: let losses that prove to be chance count no longer, nor what they have led to."""
        self.chance_found = self.random_loss.end_round(
            bandwidth=self.bandwidth,
            max_bandwidth=self.max_bandwidth.value,
            min_rtt=self.min_rtt.value or 0,
            counts=not app_limited and state in (State.PROBE_BW_DOWN, State.PROBE_BW_CRUISE),
            now=sample.now,
        )
        if self.chance_found:
            self.short_term.reset()
            self.short_term.loss_in_round = False
            self.long_term.inflight = UNBOUNDED

    def resize(self, packet_size: int, *, initial_window: int) -> None:
        """Count in packets of another size (SPEC 8.1-3)."""
        self._packet, self._initial_window = packet_size, initial_window
        self.long_term.packet_size = self.random_loss.packet_size = packet_size

    def finish(self, sample: AckSample) -> None:
        """End the acknowledgement: AdvanceLatestDeliverySignals() and BoundBWForModel()."""
        if self.short_term.round_started:
            self.short_term.end_acknowledgement(
                delivery_rate=sample.delivery_rate, inflight=sample.delivered - sample.prior_delivered
            )
        self.bound_bandwidth()

    def bound_bandwidth(self) -> None:
        """Follow the estimators: BoundBWForModel()."""
        self.bandwidth = min(self.max_bandwidth.value, self.short_term.bandwidth)

    def answer_losses(self, now: Instant) -> None:
        """Whatever was sent until now and is lost has been answered (SPEC 8.1.3-3, 8.1.3-10)."""
        self._answered_until = now

    def is_answered(self, sent: Instant) -> bool:
        """Whether what was sent then was sent before the last answer."""
        return sent <= self._answered_until

    def restart_round(self) -> None:
        """Let a round trip begin now: StartRound()."""
        self.rounds.restart(self.delivered)

    def throttle(self, bytes_in_flight: int) -> None:
        """ProbeRTT throttles: what is in flight says nothing of the bandwidth (§5.3.4.3)."""
        start = self._throttled.start if self._throttled else self.delivered
        self._throttled = range(start, self.delivered + bytes_in_flight + 1)

    def is_throttled(self, prior_delivered: int) -> bool:
        """Whether a sample is of a packet sent while ProbeRTT throttled."""
        if prior_delivered >= self._throttled.stop:
            self._throttled = range(0)
        return prior_delivered in self._throttled

    def bdp(self, gain: float = 1.0, *, bandwidth: int | None = None) -> int:
        """Return the bandwidth-delay product times ``gain``, bytes: BDPMultiple()."""
        rtt = self.min_rtt.value
        if rtt is None:
            return self._initial_window
        return int(gain * (self.bandwidth if bandwidth is None else bandwidth) * rtt) // SECOND

    def quantized(self, inflight: int, *, quantum: int, state: State) -> int:
        """Return ``inflight``, or the least that keeps the path busy: QuantizationBudget()."""
        inflight = max(inflight, quantum, MIN_PIPE_PACKETS * self._packet)
        return inflight + 2 * self._packet if state is State.PROBE_BW_UP else inflight

    def is_filled(self, bytes_in_flight: int, *, at_most: int) -> bool:
        """Whether more is in flight than ``at_most`` and the long-term model's bound with headroom."""
        bound = self.long_term.with_headroom
        return bytes_in_flight > (at_most if bound == UNBOUNDED else min(at_most, bound))

    def restart_from_idle(self, now: Instant) -> None:
        """Nothing was in flight: what comes is not an excess (§5.4.1)."""
        self.aggregation.restart(now)
