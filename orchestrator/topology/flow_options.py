"""Asks the workload of each flow what it says to its options, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from node.links.units import format_duration
from node.workloads.base import MAX_FLOW_BYTES, WORKLOADS, Resources, WorkloadError, whole
from node.workloads.sources import null_sink
from orchestrator.topology.document import Document, Path
from orchestrator.topology.model import Topology, WorkloadSpec

_SIZES = ("size", "response")


class _Unread:
    """A source of bytes that nobody reads; what it would be made of has been checked."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self.size = whole(options, "size", default=0, low=0, high=MAX_FLOW_BYTES)

    def read(self, offset: int, size: int) -> memoryview:
        """Nothing runs here."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to let go of."""


def check_flows(document: Document, keys: Iterable[str | int], topology: Topology) -> None:
    """Report options that a flow's workload would refuse, and starts that never come.

    Args:
        document: takes the problems.
        keys: where each flow stands below ``workloads:``.
        topology: whose flows.
    """
    # What has been found already may be why a workload would refuse.
    was_right = not document.problems
    for flow, key in zip(topology.workloads, keys, strict=True):
        path: Path = ("workloads", key)
        if flow.start >= topology.time_limit:
            start, limit = format_duration(flow.start), format_duration(topology.time_limit)
            message = f"start: {start} is not before the time limit of {limit}"
            document.report((*path, "start"), message, "take an earlier time, or raise time-limit:")
        if was_right:
            _check_options(document, path, flow)


def _check_options(document: Document, path: Path, flow: WorkloadSpec) -> None:
    try:
        WORKLOADS[flow.kind].source({**flow.options, "flow": flow.name}, Resources(_Unread, null_sink))
    except WorkloadError as error:
        message, _, allowed = str(error).partition(", must be ")
        key, _, _ = message.partition(":")
        place = (*path, key) if document.has((*path, key)) else path
        advice = [f"write {allowed}{', in bytes' if key in _SIZES else ''}"] if allowed else []
        document.report(place, message, *advice, key=place == path)
