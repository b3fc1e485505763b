"""Whether the links of a lab do what its topology asks, measured before its flows start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from node.links.impairments.distribution import Distribution
from node.links.impairments.gemodel import GeModel
from node.links.settings import Impairments
from orchestrator.backends.base import Deployment, Impairment, Measurable
from orchestrator.errors import TestbedError
from orchestrator.measure.asked import NORMAL, UNIFORM, Asked
from orchestrator.measure.judging import OUTSIDE, Comparison
from orchestrator.measure.links import LONG, SHORT, VIRTUAL, measure_links
from orchestrator.results import CalibrationResult, CalibrationRow
from orchestrator.topology.calibrating import Calibrate
from orchestrator.topology.crossing import flows_on_links
from orchestrator.topology.plan import DeploymentPlan, LinkPlan

#: Links that are measured, of labs that have more: those that most flows cross, and others by the seed.
MOST_LINKS = 100
#: Bits a second that the user-space shaper carries on busy machines too: up to here it is not its limit.
SHAPER_KEEPS = 100_000_000
#: Room for the delays of netem's normal table, in standard deviations to each side.
_NORMAL_SPREAD = 4


async def calibrate(
    deployment: Deployment, plan: DeploymentPlan, mode: Calibrate, *, virtual_time: bool
) -> CalibrationResult:
    """Return what the links of a lab do, beside what they are asked to do; no error says that it cannot."""
    if not isinstance(deployment, Measurable):
        why = "not measured: this back end cannot put frames on a link"
        return CalibrationResult(mode.value, (), (why,))
    links, notes = links_to_measure(plan)
    asked = {str(end): found for link in links for end, found in _directions(link)}
    effort = VIRTUAL if virtual_time else LONG if mode is Calibrate.STRICT else SHORT
    try:
        prober = deployment.prober([link.name for link in links])
        try:
            found = await measure_links(prober, asked, effort)
            notes += prober.limits.notes
        finally:
            await prober.close()
    except TestbedError as error:
        return CalibrationResult(mode.value, (), (*notes, f"not measured: {error}"))
    rows = tuple(
        CalibrationRow(
            end,
            row.quantity,
            row.unit,
            _finite(row.asked),
            _finite(row.measured),
            _finite(row.low),
            _finite(row.high),
            row.verdict,
            _told(row, deployment.impairment),
        )
        for end, comparisons in found.items()
        for row in comparisons
    )
    return CalibrationResult(mode.value, rows, tuple(notes))


def links_to_measure(plan: DeploymentPlan) -> tuple[list[LinkPlan], list[str]]:
    """Return the links of a lab that are measured, and what is to be told if these are not all."""
    links = list(plan.links)
    if len(links) <= MOST_LINKS:
        return links, []
    Random(f"{plan.seed}/calibrate").shuffle(links)
    flows = flows_on_links(plan)
    links.sort(key=lambda link: -flows[link.name])
    crossed = sum(link.name in flows for link in links[:MOST_LINKS])
    which = f"{crossed} of the {len(flows)} that flows cross, {MOST_LINKS - crossed} others by the seed"
    return links[:MOST_LINKS], [f"{MOST_LINKS} of {len(links)} links were measured: {which}"]


def _told(row: Comparison, impairment: Impairment) -> str:
    """Return why a quantity is as it is: a process that shapes carries less than a kernel."""
    asked, measured = row.asked or 0.0, row.measured or 0.0
    slow = row.quantity == "rate" and row.verdict == OUTSIDE and measured < asked
    if not slow or asked <= SHAPER_KEEPS or impairment is not Impairment.USERSPACE:
        return row.detail
    limit = (
        "a process of this machine shapes this link, as its kernel has no netem, and may carry no more: that "
        "is a limit of the shaper, not of what the link is set to (`narrows doctor` says how to get netem)"
    )
    return f"{row.detail}; {limit}" if row.detail else limit


def asked_of(impairments: Impairments, *, mtu: int) -> Asked:
    """Return what a set of impairments asks, in the words of measuring."""
    names: Mapping[str, str] = impairments.to_mapping()
    unjudged: list[tuple[str, str]] = []

    def leave(quantity: str, *because: str) -> None:
        found = [name for name in because if name in names]
        if found:
            unjudged.append((quantity, f"{', '.join(found)} is asked for"))

    leave("delay", "trace", "slot", "delay-correlation", "reorder")
    leave("jitter", "trace", "slot", "delay-correlation", "reorder")
    leave("loss", "drop", "loss-state", "trace")
    leave("duplicates", "duplicate-correlation", "drop")
    leave("damage", "corrupt-correlation")
    leave("rate", "trace", "slot", "reorder")
    deviation, quartiles, spread = _jitter(impairments)
    if deviation is None and not any(quantity == "jitter" for quantity, _ in unjudged):
        unjudged.append(("jitter", "no deviation follows from this distribution"))
    if impairments.jitter > impairments.delay:
        unjudged.append(("delay", "the jitter is larger than the delay"))
    lost, run = _loss(impairments)
    doubled = impairments.duplicate
    vague = {"gap", "reorder-correlation", "slot", "trace"}.intersection(names)
    return Asked(
        delay=impairments.delay,
        deviation=deviation,
        quartiles=quartiles,
        spread=spread,
        loss=(1 - doubled) * lost + doubled * lost**2,
        loss_run=run,
        duplicates=doubled * (1 - lost) ** 2,
        damaged=impairments.corrupt,
        reorders="reorder" in names,
        early=None if vague else impairments.reorder or None,
        rate=impairments.rate,
        mtu=mtu,
        unjudged=tuple(unjudged),
    )


def _directions(link: LinkPlan) -> Sequence[tuple[object, Asked]]:
    return (
        (link.a, asked_of(link.forward, mtu=link.mtu)),
        (link.b, asked_of(link.reverse, mtu=link.mtu)),
    )


def _jitter(impairments: Impairments) -> tuple[float | None, float, int]:
    """Return the delay's standard deviation, its quartiles' distance in such, and how far delays differ."""
    jitter = impairments.jitter
    kind = impairments.of(Distribution).kind
    if kind == "uniform":
        return (jitter / math.sqrt(3) if jitter <= impairments.delay else None), UNIFORM, jitter
    if kind == "normal" and 3 * jitter <= impairments.delay:
        return float(jitter), NORMAL, _NORMAL_SPREAD * jitter
    return None, NORMAL, _NORMAL_SPREAD * jitter


def _loss(impairments: Impairments) -> tuple[float, float]:
    """Return the mean loss, and how many frames share one draw of it."""
    chain = impairments.of(GeModel).ratios
    if chain:
        into, out, bad, good = chain
        share = into / (into + out) if into + out else 0.0
        return share * bad + (1 - share) * good, max(1.0, 2 / out - 1) if out else 1.0
    burst = impairments.modifiers().burst
    return impairments.loss, max(1.0, 2 * burst - 1)


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None
