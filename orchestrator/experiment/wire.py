"""Has the wire probe read a run's captures, and puts what it says into results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.protocol.time import SECOND, Duration
from orchestrator.backends.base import Collected
from orchestrator.errors import ProbeError
from orchestrator.results import MAX_DETAILS, LinkResult, WireResult
from orchestrator.topology.plan import DeploymentPlan

if TYPE_CHECKING:
    from orchestrator.probes.wire import WireReport

#: When nothing was captured, or what was captured could not be read.
UNCHECKED = WireResult(checked=False, frames=0, violations=0)


@dataclass(frozen=True, slots=True)
class WireFindings:
    """The probe's verdict in the words of results."""

    wire: WireResult = UNCHECKED
    links: tuple[LinkResult, ...] = ()
    #: What could not be checked, and why.
    notes: tuple[str, ...] = ()


def check_wire(plan: DeploymentPlan, collected: Collected, *, duration: Duration = 0) -> WireFindings:
    """Return what the probe says of the captures, and of each direction of each link.

    Args:
        plan: what was deployed.
        collected: its captures and key logs.
        duration: how long the flows took, ns; 0: unknown.

    Raises:
        ProbeError: it can give no verdict: a capture is missing or broken, or scapy is not installed.
    """
    missing = [link.name for link in plan.links if not collected.captures.get(link.name)]
    if missing:
        raise ProbeError(f"no capture of {', '.join(missing)}")
    try:
        # Imported here, since it imports scapy, which is an extra.
        from orchestrator.probes.wire import verify
    except ModuleNotFoundError as error:
        raise ProbeError(f"{error.name} is missing; install it with: pip install 'narrows[probe]'") from error
    report = verify(plan, collected)
    wire = WireResult(
        checked=True,
        frames=report.frames,
        violations=report.violation_count,
        details=tuple(map(str, report.violations[:MAX_DETAILS])),
        other=sum(link.other for link in report.links.values()),
        damaged=report.damaged,
        slipped=report.slipped,
        complete=report.complete,
        facts=dict(report.facts),
    )
    return WireFindings(wire, tuple(_links(plan, report, duration, collected.under_way)), tuple(report.notes))


def _links(
    plan: DeploymentPlan, report: WireReport, duration: Duration, under_way: Mapping[str, int]
) -> Iterator[LinkResult]:
    for link in plan.links:
        seen = report.links.get(link.name)
        if seen is None:
            continue
        ways = ((link.a, link.b, link.forward), (link.b, link.a, link.reverse))
        for sender, receiver, impairments in ways:
            end = str(sender)
            left = seen.left.get(end, 0) if report.exits_captured else None
            room = impairments.rate * duration / SECOND
            carried = 8 * seen.carried_bytes.get(end, 0)
            yield LinkResult(
                link.name,
                end,
                str(receiver),
                seen.entered.get(end, 0),
                left,
                utilisation=carried / room if room else None,
                under_way=under_way.get(end, 0),
            )
