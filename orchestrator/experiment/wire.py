"""Has the wire probe read a run's captures, and puts what it says into results."""

from __future__ import annotations

from orchestrator.backends.base import Collected
from orchestrator.errors import ProbeError
from orchestrator.results import MAX_DETAILS, LinkResult, WireResult
from orchestrator.topology.plan import DeploymentPlan


def check_wire(
    plan: DeploymentPlan, collected: Collected
) -> tuple[WireResult, tuple[LinkResult, ...]]:
    """Return what the probe says of the captures, and of each direction of each link.

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
    details = tuple(str(violation) for violation in report.violations[:MAX_DETAILS])
    wire = WireResult(
        checked=True, frames=report.frames, violations=len(report.violations), details=details
    )
    return wire, ()
