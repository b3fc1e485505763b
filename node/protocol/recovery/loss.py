"""Which packets are lost (RFC 9002 §6.1): a pure function."""

from __future__ import annotations

from collections.abc import Iterable

from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.time import Duration, Instant


def detect_lost(
    records: Iterable[SentBurst], *, largest_acked: int, packet_threshold: int, loss_delay: Duration,
    now: Instant,
) -> tuple[list[tuple[SentBurst, int]], Instant | None]:  # fmt: skip
    """Return the records with newly lost packets and masks of these, and when to look again.

    Args:
        records: oldest first.
        largest_acked: the largest packet number acknowledged.
        packet_threshold: so many later packets acknowledged mean that one is lost (§6.1.1).
        loss_delay: time threshold (RFC 9002 §6.1.2).
    """
    lost: list[tuple[SentBurst, int]] = []
    loss_time: Instant | None = None
    sent_before = now - loss_delay
    for record in records:
        if record.first > largest_acked:
            break
        waiting = record.full & ~(record.acked | record.lost)  # outstanding, without a call
        if not waiting:
            continue
        earlier = largest_acked - record.first  # packets of the burst sent before the largest
        waiting &= (1 << earlier) - 1
        if record.time_sent <= sent_before:
            mask = waiting
        else:
            mask = waiting & ((1 << max(0, earlier - packet_threshold + 1)) - 1)
            if waiting & ~mask:
                deadline = record.time_sent + loss_delay
                loss_time = deadline if loss_time is None else min(loss_time, deadline)
        if mask:
            lost.append((record, mask))
    return lost, loss_time
