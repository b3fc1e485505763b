"""The long-term model: how much in flight the path bears (draft-ietf-ccwg-bbr §5.3.3.8, §5.5.10.2)."""

from __future__ import annotations

from node.protocol.bbr.constants import (
    HEADROOM,
    LOSS_THRESHOLD,
    MAX_PROBE_UP_ROUNDS,
    MIN_PIPE_PACKETS,
    UNBOUNDED,
)


class LongTermModel:
    """BBR.inflight_longterm, and how probing raises it.

    Args:
        max_datagram_size: bytes of a full packet.
    """

    def __init__(self, max_datagram_size: int) -> None:
        self.inflight = UNBOUNDED
        #: Bytes of a full packet.
        self.packet_size = max_datagram_size
        self._acked = 0
        self._acked_for_a_packet = UNBOUNDED
        self._rounds = 0

    @property
    def with_headroom(self) -> int:
        """``inflight`` less what is left to others, bytes."""
        if self.inflight == UNBOUNDED:
            return UNBOUNDED
        headroom = max(self.packet_size, int(HEADROOM * self.inflight))
        return max(self.inflight - headroom, MIN_PIPE_PACKETS * self.packet_size)

    def begin_refill(self) -> None:
        """The next probe grows slowly at first."""
        self._rounds = self._acked = 0

    def stop_growing(self) -> None:
        """Probing is over."""
        self._acked_for_a_packet = UNBOUNDED

    def steepen(self, window: int) -> None:
        """Let growth double: 1, 2, 4 … packets a round trip."""
        growth = 1 << self._rounds
        self._rounds = min(self._rounds + 1, MAX_PROBE_UP_ROUNDS)
        self._acked_for_a_packet = max(window // growth, self.packet_size)

    def grow(self, acked: int, *, window: int, window_limited: bool, round_started: bool) -> None:
        """Grow for acknowledged bytes, if it is what limits the sender: ProbeInflightLongtermUpward()."""
        if not window_limited or window < self.inflight:
            return
        self._acked += acked
        packets, self._acked = divmod(self._acked, self._acked_for_a_packet)
        self.inflight += packets * self.packet_size
        if round_started:
            self.steepen(window)


def is_too_high(*, lost: int, tx_in_flight: int, by_chance: int = 0) -> bool:
    """Whether losing ``lost`` of ``tx_in_flight`` bytes says that it was too much: IsInflightTooHigh().

    Args:
        by_chance: bytes of the lost ones that may have been lost by chance.
    """
    return lost - by_chance > tx_in_flight * LOSS_THRESHOLD


def inflight_at_loss(*, lost: int, tx_in_flight: int, size: int) -> int:
    """Return at how many bytes in flight the losses crossed the threshold: InflightAtLoss().

    It may have been in the middle of a burst, so it solves
    (lost before + x) / (in flight before + x) = threshold for x.

    Args:
        lost: bytes lost since the burst was sent, its own included.
        tx_in_flight: bytes in flight when it was sent, its own included.
        size: bytes of it that are lost.
    """
    inflight_before = tx_in_flight - size
    lost_before = lost - size
    prefix = (LOSS_THRESHOLD * inflight_before - lost_before) / (1 - LOSS_THRESHOLD)
    return max(0, inflight_before + int(prefix))
