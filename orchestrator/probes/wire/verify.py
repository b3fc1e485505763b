"""Reads all captures of a run and gives the verdict."""

from __future__ import annotations

import gc
from collections.abc import Iterable

from node.dissectors.reset import STATELESS_RESET
from node.dissectors.scapy_layer import COMPLETION, DATA, DATA_ODD, EARLY, INITIATION, RESPONSE, RETRY
from node.dissectors.sealed import SEALED
from orchestrator.backends.base import Collected
from orchestrator.probes.wire.connections import Connection, Connections
from orchestrator.probes.wire.contents import MAX_NEEDLES, search
from orchestrator.probes.wire.ends import FIRST_SIZE, End, watch
from orchestrator.probes.wire.facts import gather_facts
from orchestrator.probes.wire.key_log import read_key_logs
from orchestrator.probes.wire.order import OrderChecks
from orchestrator.probes.wire.report import WireReport
from orchestrator.probes.wire.resets import Resets
from orchestrator.probes.wire.sealed import SealedPackets
from orchestrator.probes.wire.setups import SetUps
from orchestrator.probes.wire.sightings import Datagram, Sightings
from orchestrator.probes.wire.suspects import Suspects
from orchestrator.topology.plan import DeploymentPlan

_DATA_TYPES = (bytes([DATA]), bytes([DATA_ODD]))


def verify(plan: DeploymentPlan, collected: Collected) -> WireReport:
    """Return what the captures and key logs of a run say.

    The captures of one run must share a clock, as those of one kernel or one simulation do.

    Raises:
        ProbeError: a capture or key log cannot be read, or is damaged.
    """
    was_enabled = gc.isenabled()
    gc.disable()  # nothing of what is made here is garbage before the end: to look for it took a tenth
    try:
        return _verify(plan, collected)
    finally:
        if was_enabled:
            gc.enable()


def _verify(plan: DeploymentPlan, collected: Collected) -> WireReport:
    report = WireReport()
    sightings = Sightings(plan, report)
    datagrams = sightings.read(collected)
    suspects = _suspects(plan, collected, report)
    setups = SetUps(plan, suspects)
    setups.provoke(datagram for datagram in datagrams if datagram.injected)
    by_type = _sort(datagrams, suspects, report)
    # Each kind refers to those before it, and DATA packets to all.
    for kind in (INITIATION, RESPONSE, COMPLETION, RETRY):
        for datagram in by_type[kind]:
            setups.check(datagram)
    if report.complete:
        setups.check_cookies()
    used = {datagram.head[1:] for datagram in by_type[DATA] if datagram.head[0] != EARLY}
    # The keys of SEALED packets, which the logs tell as well, follow from the plan.
    secrets = read_key_logs(collected.key_logs, report).connections
    connections = Connections(secrets, setups, suspects, report, used)
    for part in sightings.parts(by_type[DATA]):
        for datagram in part:
            connections.check(datagram)
    resets = Resets(plan, suspects, [one for one in datagrams if one.head[:1] in _DATA_TYPES])
    for datagram in by_type[STATELESS_RESET]:
        resets.check(datagram)
    sealed = SealedPackets(plan, suspects)
    for datagram in by_type[SEALED]:
        sealed.check(datagram)
    _check_order(plan, connections, suspects, report, sightings)
    _check_contents(connections, sightings.parts(datagrams), suspects)
    report.facts = gather_facts(datagrams, setups, connections.all, resets=len(resets.good))
    suspects.judge([*setups.good, *connections.good, *sealed.good, *resets.good])
    return report


def _suspects(plan: DeploymentPlan, collected: Collected, report: WireReport) -> Suspects:
    corrupting = [link for link in plan.links if link.forward.corrupt or link.reverse.corrupt]
    # One capture at each end of a link, instead of one in its middle, sees what comes out of it only.
    blind = frozenset(link.name for link in corrupting if len(collected.captures.get(link.name, ())) > 1)
    return Suspects(report, corrupting=bool(corrupting), blind=blind)


def _sort(datagrams: list[Datagram], suspects: Suspects, report: WireReport) -> dict[int, list[Datagram]]:
    kinds = (INITIATION, RESPONSE, COMPLETION, RETRY, DATA, SEALED, STATELESS_RESET)
    by_type: dict[int, list[Datagram]] = {kind: [] for kind in kinds}
    for datagram in datagrams:
        if datagram.injected:
            report.injected += 1
            continue
        kind = datagram.head[0] if datagram.head else None
        kind = DATA if kind in (DATA_ODD, EARLY) else kind
        if kind in by_type:
            by_type[kind].append(datagram)
        else:
            found = "an empty datagram" if kind is None else f"packet type 0x{kind:02x}"
            known = ", ".join(f"0x{kind:02x}" for kind in sorted((*kinds, DATA_ODD, EARLY)))
            suspects.add(datagram, "1-2", found, f"one of {known}")
    return by_type


def _check_contents(connections: Connections, parts: Iterable[list[Datagram]], suspects: Suspects) -> None:
    needles: list[bytes] = []
    for connection in connections.all:
        for flow in connection.flows:
            for datagram in flow.in_clear():
                suspects.misconduct(datagram, "4.1-1", "frames in clear", "sealed")
        for watcher in connection.watchers:
            watcher.judge(suspects)
            needles += watcher.needles
    for datagrams in parts if needles else ():
        search(needles[:: 1 + len(needles) // MAX_NEEDLES], datagrams, suspects)


def _check_order(
    plan: DeploymentPlan,
    connections: Connections,
    suspects: Suspects,
    report: WireReport,
    sightings: Sightings,
) -> None:
    checks = OrderChecks(suspects, exits_captured=sightings.exits_captured)
    connections.find_resumable()
    damaged_headers = any(link.forward.corrupt or link.reverse.corrupt for link in plan.links)
    asked = [flow.transport.get("initial_datagram_size", FIRST_SIZE) for flow in plan.workloads]
    first_size = max((size for size in asked if isinstance(size, int)), default=FIRST_SIZE)
    first_size = max(first_size, FIRST_SIZE)
    for connection in connections.all:
        if not any(flow.packets for flow in connection.flows):
            continue
        report.connections += 1
        if connection.secrets.windows is None:
            report.note(f"connection {connection.name}: initial windows unknown, so windows were not checked")
        if report.complete and connection.whole:
            checks.check(connection)
            if damaged_headers and (not sightings.is_virtual or connection.secrets.profile == "xor"):
                # Real links let damage of addresses pass, and XOR that of packet numbers: who came from
                # where, and what came at all, the capture then cannot tell.
                report.note("links corrupt here: the rules of conduct were not checked")
            elif sightings.exits_captured:
                for index in (0, 1):
                    paused = _longest_pause(plan, connection, index)
                    watch(End(connection, index, suspects, sightings.is_virtual, first_size, paused))
            else:
                report.note("only what entered the links was captured: the rules of conduct were not checked")
        elif not connection.whole and not connections.opened_by_probe(connection):
            report.note(
                f"connection {connection.name} was not captured from its start: order was not checked"
            )


def _longest_pause(plan: DeploymentPlan, connection: Connection, index: int) -> int:
    """Return how long, in ns, the timeline lets the node of an end stand still at most."""
    nodes = connection.nodes(index)
    pauses = (event for event in plan.timeline if event.action == "pause")
    return max(
        (
            plan.time_limit if event.duration is None else event.duration
            for event in pauses
            if nodes is not None and isinstance(event.value, list) and nodes[0].name in event.value
        ),
        default=0,
    )
