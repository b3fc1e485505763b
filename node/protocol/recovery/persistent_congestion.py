"""Persistent congestion (RFC 9002 §7.6): a pure function."""

from __future__ import annotations

from collections.abc import Sequence

from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.time import Duration, Instant

#: RFC 9002 §7.6.1
PERSISTENT_CONGESTION_THRESHOLD = 3


def is_persistent(
    lost: Sequence[tuple[SentBurst, int]], *, probe_timeout: Duration, first_sample: Instant | None
) -> bool:
    """Return whether the losses span so long, with nothing acknowledged between: those of one burst never do.

    Args:
        lost: records with masks of newly lost packets, oldest first.
        probe_timeout: smoothed_rtt + max(4 rttvar, granularity) + max_ack_delay, without backoff.
        first_sample: when the first RTT sample was taken; packets sent before do not count.
    """
    if first_sample is None:
        return False
    limit = PERSISTENT_CONGESTION_THRESHOLD * probe_timeout
    run_start: Instant | None = None
    expected = -1
    for record, mask in lost:
        if record.time_sent < first_sample or not record.eliciting:
            continue
        low = (mask & -mask).bit_length() - 1
        # Within a burst all have one time; what matters is that bursts follow without a gap.
        if run_start is None or record.first + low != expected:
            run_start = record.time_sent
        elif record.time_sent - run_start > limit:
            return True
        whole = mask == record.full & ~((1 << low) - 1)
        expected = record.first + record.count if whole else -1
    return False
