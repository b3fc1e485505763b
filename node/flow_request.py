"""The arguments of ``start_flow``, checked."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from node.series import MAX_CONNECTIONS_IN_SERIES, Series
from node.workloads.base import WORKLOADS, Resources, Side, Workload, WorkloadError, whole
from node.workloads.flow import check_flow_name


@dataclass(frozen=True, slots=True)
class FlowRequest:
    """A flow that this node is told to run its part of."""

    name: str
    #: ``source`` or ``target``.
    role: str
    #: The other node's name; None: a target that takes any.
    peer: str | None
    workload: type[Workload]
    options: Mapping[str, object]
    #: Transport settings of this flow.
    transport: Mapping[str, object]
    #: How many connections it makes, one after the other.
    connections: int

    def make_side(self, resources: Resources) -> Side:
        """Return this node's side of the flow."""
        make = self.workload.source if self.role == "source" else self.workload.target
        return make(self.options, resources)

    def series(self) -> Series | None:
        """Return the account of the flow's connections; None: it has one."""
        return Series(self.connections) if self.connections > 1 else None


def read_flow_request(
    arguments: Mapping[str, object], *, running: Container[str], peers: Iterable[str]
) -> FlowRequest:
    """Return what the arguments of ``start_flow`` say.

    Args:
        running: names of flows that run.
        peers: names of nodes that this one knows.

    Raises:
        WorkloadError: they are not allowed; UnknownNameError: there is no such workload.
    """
    name = check_flow_name(arguments.get("flow"))
    role, peer = arguments.get("role"), arguments.get("peer")
    if name in running:
        raise WorkloadError(f"flow: {name!r} is running; stop it first or use another name")
    if role not in ("source", "target"):
        raise WorkloadError(f"role: found {role!r}, use source or target")
    if not isinstance(peer, str | None) or (peer is None and role == "source"):
        raise WorkloadError(f"peer: found {peer!r}, must be a node's name")
    if peer is not None and peer not in (known := list(peers)):
        raise WorkloadError(f"peer: found {peer!r}, use one of {', '.join(known) or 'none'}")
    return FlowRequest(
        name=name,
        role=str(role),
        peer=peer,
        workload=WORKLOADS[str(arguments.get("workload"))],
        options={**_mapping(arguments, "options"), "flow": name},
        transport=_mapping(arguments, "transport"),
        connections=whole(arguments, "connections", default=1, low=1, high=MAX_CONNECTIONS_IN_SERIES),
    )


def _mapping(arguments: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = arguments.get(name, {})
    if not isinstance(value, Mapping):
        raise WorkloadError(f"{name}: found {value!r:.100}, must be an object")
    return value
