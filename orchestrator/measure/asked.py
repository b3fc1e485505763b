"""What a direction of a link is asked to do, as numbers: all that measuring is told of its configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Quartile distance of a uniform and of a normal distribution, in standard deviations.
UNIFORM, NORMAL = math.sqrt(3), 1.349


@dataclass(frozen=True, slots=True)
class Asked:
    """One direction."""

    #: Constant delay, ns.
    delay: int = 0
    #: Standard deviation of the delay, ns, and the distance of its quartiles in such; None: not judged.
    deviation: float | None = 0.0
    quartiles: float = UNIFORM
    #: How far a delay may be from the mean, ns: frames closer together would have to wait for each other.
    spread: int = 0
    #: Share of frames lost; None: not judged.
    loss: float | None = 0.0
    #: Frames that share one draw of loss, on average.
    loss_run: float = 1.0
    #: Copies more, of frames sent; damaged copies, of those that came.
    duplicates: float | None = 0.0
    damaged: float | None = 0.0
    #: Whether frames may overtake each other, and the share that skips the delay; None: not judged.
    reorders: bool = False
    early: float | None = None
    #: Bits a second; 0: there is no bottleneck; None: not judged.
    rate: int | None = 0
    mtu: int = 1500
    #: Quantity → why it is not judged.
    unjudged: tuple[tuple[str, str], ...] = ()

    def why_not(self, quantity: str) -> str:
        """Return why a quantity is not judged; empty: it is."""
        return dict(self.unjudged).get(quantity, "")
