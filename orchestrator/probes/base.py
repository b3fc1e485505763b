"""What every active probe is: it runs beside the flows on a lab that is up, and gives a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Protocol

from node.registry import Registry
from orchestrator.backends.base import Deployment
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found."""

    probe: str
    passed: bool
    #: Measured figures by name, units last in the name.
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    #: Rows of figures, all with the same keys; none: it has no table.
    table: tuple[Mapping[str, object], ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the result as JSON-able data."""
        return {
            "probe": self.probe,
            "passed": self.passed,
            "figures": dict(self.figures),
            "notes": list(self.notes),
            "table": [dict(row) for row in self.table],
        }


class Probe(Protocol):
    """An active probe."""

    name: ClassVar[str]

    async def run(
        self,
        deployment: Deployment,
        plan: DeploymentPlan,
        *,
        endpoint: LinkEndpoint,
        duration: int,
        rng: Random,
    ) -> ProbeResult:
        """Run for ``duration`` ns of the lab's clock.

        Args:
            deployment: the lab.
            plan: what it was made from.
            endpoint: where on a link the probe acts.
            duration: in ns.
            rng: all its chance.

        Raises:
            ProbeError: it can give no verdict.
        """
        ...


PROBES: Registry[type[Probe]] = Registry("probe", "orchestrator.probes")
