"""Reads a plan back from the JSON that ``DeploymentPlan.to_json`` gives, without its topology file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.links.settings import Impairments, ImpairmentsError
from orchestrator.errors import TestbedError
from orchestrator.topology.model import (
    Expectation,
    LinkEndpoint,
    Nat,
    NatPorts,
    NodeKind,
    TimelineEvent,
    WorkloadSpec,
)
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan, LinkPlan, NodePlan, RoutePlan


def plan_from_json(data: Mapping[str, Any]) -> DeploymentPlan:
    """Return the plan that ``data`` was made of: printed again it is the same.

    Raises:
        TestbedError: it is not a plan of this version.
    """
    try:
        return DeploymentPlan(
            name=data["name"],
            seed=data["seed"],
            nodes=tuple(map(_node, data["nodes"])),
            links=tuple(map(_link, data["links"])),
            workloads=tuple(map(_workload, data["workloads"])),
            expectations=tuple(map(_expectation, data["expectations"])),
            time_limit=data["time_limit_ns"],
            qlog=data.get("qlog", False),
            labels=data.get("labels", {}),
            timeline=tuple(map(_event, data.get("timeline", ()))),
        )
    except (KeyError, TypeError, ValueError, ImpairmentsError) as error:
        raise TestbedError(f"not a plan of this version of narrows: {error!r}") from error


def _node(data: Mapping[str, Any]) -> NodePlan:
    return NodePlan(
        name=data["name"],
        kind=NodeKind(data["kind"]),
        private_key=bytes.fromhex(data["private_key"]),
        public_key=bytes.fromhex(data["public_key"]),
        address=int(data["address"], 16),
        ipv4=data["ipv4"],
        port=data["port"],
        interfaces=tuple(InterfacePlan(**found) for found in data["interfaces"]),
        routes=tuple(RoutePlan(**found) for found in data["routes"]),
        ipv6=data.get("ipv6", ""),
        host=data.get("host", data["ipv4"]),
        other_addresses=tuple(data.get("other_addresses", ())),
        outer_addresses=tuple(data.get("outer_addresses", ())),
        transport=data.get("transport", {}),
        nat=_nat(data["nat"]) if "nat" in data else None,
    )


def _link(data: Mapping[str, Any]) -> LinkPlan:
    return LinkPlan(
        name=data["name"],
        index=data["index"],
        a=_endpoint(data["a"]),
        b=_endpoint(data["b"]),
        forward=Impairments.parse(data["forward"]),
        reverse=Impairments.parse(data["reverse"]),
        mtu=data["mtu"],
    )


def _endpoint(text: str) -> LinkEndpoint:
    node, _, interface = text.partition(":")
    return LinkEndpoint(node, interface)


def _workload(data: Mapping[str, Any]) -> WorkloadSpec:
    return WorkloadSpec(
        name=data["name"],
        kind=data["kind"],
        source=data["from"],
        target=data["to"],
        start=data["start_ns"],
        options=data["options"],
        transport=data["transport"],
        restarts=data.get("restarts", False),
        connections=data.get("connections", 1),
    )


def _nat(data: Mapping[str, Any]) -> Nat:
    return Nat(data["timeout_ns"], data["outside"], NatPorts(data["ports"]))


def _expectation(data: Mapping[str, Any]) -> Expectation:
    return Expectation(**{**data, "arguments": tuple(data.get("arguments", ()))})


def _event(data: Mapping[str, Any]) -> TimelineEvent:
    return TimelineEvent(
        at=data["at_ns"],
        action=data["action"],
        value=data["value"],
        duration=data["for_ns"],
        every=data["every_ns"],
        count=data["count"],
    )
