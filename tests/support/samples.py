"""Samples as loss recovery makes them, with defaults for what a test does not care about."""

from __future__ import annotations

from typing import Any

from node.protocol.recovery.rtt import RttEstimator
from node.protocol.recovery.samples import AckSample, LossSample, LostBurst
from node.protocol.time import MILLISECOND, Duration, Instant

RTT: Duration = 50 * MILLISECOND


def rtt_of(sample: Duration = RTT) -> RttEstimator:
    """Return an estimator with one sample."""
    estimator = RttEstimator()
    estimator.update(sample, 0)
    return estimator


def ack_sample(acked: int, *, sent: Instant, now: Instant, **fields: Any) -> AckSample:  # Any: of its fields
    """Return an acknowledgement of ``acked`` bytes, the newest of them sent at ``sent``; nothing is lost."""
    given: dict[str, Any] = {
        "rtt": rtt_of(),
        "rtt_sample": now - sent,
        "lost_bytes": 0,
        "prior_in_flight": acked,
        "bytes_in_flight": 0,
        "window_used": True,
        "delivered": acked,
        "prior_delivered": 0,
        "delivery_rate": 0,
        "interval": now - sent,
        "is_app_limited": False,
        "tx_in_flight": acked,
        "lost": 0,
    }
    return AckSample(now=now, acked_bytes=acked, newest_sent=sent, **{**given, **fields})


def loss_sample(lost: int, *, sent: Instant, now: Instant, prior_in_flight: int | None = None) -> LossSample:
    """Return a detection of ``lost`` bytes, the newest of them sent at ``sent``."""
    prior = lost if prior_in_flight is None else prior_in_flight
    burst = LostBurst(sent=sent, size=lost, ranges=1, tx_in_flight=prior, lost=lost, is_app_limited=False)
    return LossSample(
        now=now,
        lost_bytes=lost,
        newest_sent=sent,
        prior_in_flight=prior,
        bytes_in_flight=prior - lost,
        bursts=(burst,),
    )
