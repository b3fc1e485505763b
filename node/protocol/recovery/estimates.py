"""What loss recovery knows of one path, as one value: it changes with the path (RFC 9000 §9.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from node.protocol.congestion.base import CONTROLLERS, CongestionController, initial_window
from node.protocol.recovery.delivery_rate import DeliveryRate
from node.protocol.recovery.pacer import Pacer
from node.protocol.recovery.rtt import RttEstimator
from node.protocol.time import Instant


def fresh_estimates(congestion: str, packet_size: int, seed: bytes) -> Estimates:
    """Return what is known of a path of which nothing is known."""
    controller = CONTROLLERS[congestion](packet_size, rng=Random(seed))
    return Estimates(controller, Pacer(initial_window(packet_size)))


@dataclass(slots=True)
class Estimates:
    """The controller, the round-trip time and what follows from them."""

    congestion: CongestionController
    pacer: Pacer
    rtt: RttEstimator = field(default_factory=RttEstimator)
    rate: DeliveryRate = field(default_factory=DeliveryRate)
    first_sample: Instant | None = None
