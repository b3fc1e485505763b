"""Links that go down and up again and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from node.links.settings import Impairments
from node.protocol.time import MILLISECOND, Duration
from orchestrator.faults.base import FAULTS, FaultError, Lasting, LinkFault, View, lost
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.quantities import Names, PositiveDuration

#: A change of a link takes milliseconds of a real kernel.
MIN_PHASE: Duration = MILLISECOND


@FAULTS.register("flap")
class Flap(LinkFault):
    """Cuts links for ``down``, lets them be for ``up``, and so on, for as long as it lasts."""

    name: ClassVar[str] = "flap"
    summary: ClassVar[str] = "Cut links for down:, let them be for up:, again and again until for: is over."
    example: ClassVar[str] = '{link: "b:eth1", down: 200ms, up: 300ms}'
    shape: ClassVar[Any] = {"link": Names, "down": PositiveDuration, "up": PositiveDuration}
    lasting: ClassVar[Lasting] = Lasting.MUST

    def __init__(self, value: Any, view: View) -> None:
        self.endpoints = view.directions(value["link"], path=("link",))
        self._down, self._up = value["down"], value["up"]
        for key in ("down", "up"):
            if value[key] < MIN_PHASE:
                raise FaultError(f"{key} is shorter than 1ms", "write 1ms or more", path=(key,))

    def steps(self, duration: Duration | None) -> Iterator[tuple[Duration, Duration | None]]:
        """Yield each time that the links go down."""
        assert duration is not None, "it must say how long"
        for start in range(0, duration, self._down + self._up):
            yield start, min(self._down, duration - start)

    def count_steps(self, duration: Duration | None) -> int:
        """Return how often the links go down."""
        assert duration is not None, "it must say how long"
        return len(range(0, duration, self._down + self._up))

    def transform(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Lose everything."""
        return lost(impairments)
