"""The short-term model: what loss says about now (SPEC 8.1.3-3; draft-ietf-ccwg-bbr §5.5.10.3)."""

from __future__ import annotations

from collections.abc import Callable

from node.protocol.bbr.constants import BETA, UNBOUNDED


class ShortTermModel:
    """BBR.bw_shortterm and BBR.inflight_shortterm, and what the last round trip delivered."""

    def __init__(self) -> None:
        self.bandwidth = UNBOUNDED
        self.inflight = UNBOUNDED
        self.loss_in_round = False
        #: Whether the acknowledgement at hand ends a round trip in which loss is looked for.
        self.round_started = False
        #: Most that was delivered in this round trip: bytes/s, bytes.
        self.bandwidth_latest = 0
        self.inflight_latest = 0
        self._round_delivered = 0
        self._loss_is_first = False
        # Bytes of this round trip that came, and that chance may have lost.
        self._arrived = self._by_chance = 0

    def take_delivery(
        self, *, delivery_rate: int, inflight: int, prior_delivered: int, delivered: int
    ) -> None:
        """Near the start of an acknowledgement: UpdateLatestDeliverySignals()."""
        self.bandwidth_latest = max(self.bandwidth_latest, delivery_rate)
        self.inflight_latest = max(self.inflight_latest, inflight)
        if self._loss_is_first:  # a round trip of watching begins with it
            self._loss_is_first = False
            self._round_delivered = delivered
        self.round_started = prior_delivered >= self._round_delivered
        if self.round_started:
            self._arrived = delivered - self._round_delivered
            self._round_delivered = delivered

    def adapt(
        self, *, max_bandwidth: int, window: int, probing: bool, allowance: Callable[[int], int]
    ) -> None:
        """At the end of a round trip, lower the model if there was loss and nobody probed for it.

        Args:
            allowance: how many of so many bytes sent chance may have lost. It is asked once a round trip:
                asked at each loss, it was too little for one of them every few seconds (SPEC 8.1.3-10).
        """
        if not self.round_started:
            return
        self.loss_in_round |= self._by_chance > allowance(self._arrived + self._by_chance)
        self._by_chance = 0
        if self.loss_in_round and not probing:
            bandwidth = max_bandwidth if self.bandwidth == UNBOUNDED else self.bandwidth
            inflight = window if self.inflight == UNBOUNDED else self.inflight
            self.bandwidth = max(self.bandwidth_latest, int(BETA * bandwidth))
            self.inflight = max(self.inflight_latest, int(BETA * inflight))
        self.loss_in_round = False

    def end_acknowledgement(self, *, delivery_rate: int, inflight: int) -> None:
        """Near the end of an acknowledgement: AdvanceLatestDeliverySignals()."""
        if self.round_started:
            self.bandwidth_latest = delivery_rate
            self.inflight_latest = inflight

    def note_loss(self) -> None:
        """Something was lost: NoteLoss()."""
        self._loss_is_first |= not self.loss_in_round
        self.loss_in_round = True

    def note_chance(self, size: int) -> None:
        """So many bytes were lost; the end of the round trip says whether chance may have lost them."""
        self._by_chance += size

    def reset_signals(self) -> None:
        """Forget what the round trip delivered and lost: ResetCongestionSignals()."""
        self.loss_in_round = False
        self._by_chance = 0
        self.bandwidth_latest = self.inflight_latest = 0

    def reset(self) -> None:
        """Bound nothing: ResetShortTermModel()."""
        self.bandwidth = self.inflight = UNBOUNDED
