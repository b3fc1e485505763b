"""What a lab looks like, on disk: lets other commands list, change and enter one that is up."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.base import Impairment
from orchestrator.errors import NotInLabError
from orchestrator.topology.model import LinkEndpoint, NodeKind
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.plan_file import plan_from_json
from orchestrator.wiring import namespaces
from orchestrator.wiring.journal import run_directory

LAB_FILE = "lab.json"
PLAN_FILE = "plan.json"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node of a lab that is up."""

    name: str
    kind: str
    #: Path of its network namespace.
    namespace: str
    #: Address on its first interface.
    ipv4: str
    #: Path of its agent's control socket; empty: it has none here.
    control: str = ""
    #: Name of its container; empty: it is a namespace alone.
    container: str = ""
    #: How long it keeps idle mappings as a NAT router, ns; 0: it is none.
    nat_timeout: int = 0

    @property
    def is_router(self) -> bool:
        """Whether it only forwards."""
        return NodeKind(self.kind).forwards


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A link of a lab that is up."""

    name: str
    index: int
    #: Its ends, as ``lisbon:eth1``.
    a: str
    b: str
    mtu: int
    #: Path of the link namespace.
    namespace: str
    #: Control socket of its shaper; used only where the shaper runs.
    control: str
    #: Text that seeds its shaper.
    seed: str

    def ends(self) -> tuple[LinkEndpoint, LinkEndpoint]:
        """Return the endpoints a and b."""
        return endpoint_of(self.a), endpoint_of(self.b)


@dataclass(frozen=True, slots=True)
class LabRecord:
    """A lab that is up."""

    name: str
    run_id: str
    #: ``netns`` or ``docker``.
    backend: str
    #: ``kernel`` or ``userspace``.
    impairment: str
    #: Where its files go.
    directory: str
    nodes: tuple[NodeRecord, ...]
    links: tuple[LinkRecord, ...]

    def node(self, name: str) -> NodeRecord:
        """Return a node.

        Raises:
            NotInLabError: there is none of that name; the message lists those that there are.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise NotInLabError(f"lab {self.name} has no node {name!r}: use one of {known}")

    def link_at(self, endpoint: LinkEndpoint) -> LinkRecord:
        """Return the link at an endpoint.

        Raises:
            NotInLabError: there is none; the message lists the endpoints that there are.
        """
        for link in self.links:
            if str(endpoint) in (link.a, link.b):
                return link
        known = ", ".join(end for link in self.links for end in (link.a, link.b))
        raise NotInLabError(f"lab {self.name} has no link at {endpoint}: use one of {known}")

    def save(self) -> None:
        """Write it below the state directory, whole or not at all."""
        path = run_directory(self.run_id) / LAB_FILE
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=LAB_FILE, delete=False, encoding="utf-8"
        ) as stream:
            json.dump(dataclasses.asdict(self), stream)
        os.replace(stream.name, path)


def record_of(
    plan: DeploymentPlan,
    run_id: str,
    backend: str,
    impairment: Impairment,
    directory: Path,
    *,
    controls: Mapping[str, Path],
    containers: Mapping[str, str],
) -> LabRecord:
    """Return what a lab will look like when it is up.

    Args:
        plan: what is to be made.
        run_id: part of every name.
        backend: who makes it, for listings.
        impairment: who impairs.
        directory: where the run's files go.
        controls: node name → path of its agent's control socket.
        containers: node name → name of its container.
    """
    sockets = socket_directory(run_id)
    return LabRecord(
        name=plan.name,
        run_id=run_id,
        backend=backend,
        impairment=impairment.value,
        directory=str(directory.absolute()),
        nodes=tuple(
            NodeRecord(
                name=node.name,
                kind=node.kind.value,
                namespace=str(namespaces.path_of(namespaces.node_namespace(run_id, node.name))),
                ipv4=node.host,
                control=str(controls.get(node.name, "")),
                container=containers.get(node.name, ""),
                nat_timeout=0 if node.nat is None else node.nat.timeout,
            )
            for node in plan.nodes
        ),
        links=tuple(
            LinkRecord(
                name=link.name,
                index=link.index,
                a=str(link.a),
                b=str(link.b),
                mtu=link.mtu,
                namespace=str(namespaces.path_of(namespaces.link_namespace(run_id, link.index))),
                control=str(sockets / f"link{link.index}.sock"),
                seed=f"{plan.seed}/{link.name}",
            )
            for link in plan.links
        ),
    )


def load(run_id: str) -> LabRecord | None:
    """Return what a lab looks like; None: it is not up yet, or is no more."""
    try:
        text = (run_directory(run_id) / LAB_FILE).read_text(encoding="utf-8")
    except OSError:
        return None
    # Any: JSON that this module wrote.
    data: dict[str, Any] = json.loads(text)
    data["nodes"] = tuple(NodeRecord(**node) for node in data["nodes"])
    data["links"] = tuple(LinkRecord(**link) for link in data["links"])
    return LabRecord(**data)


def save_plan(run_id: str, plan: DeploymentPlan) -> None:
    """Write down what a lab was made of, for a later command to compare with; for its owner's eyes only."""
    path = run_directory(run_id) / PLAN_FILE
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=PLAN_FILE, delete=False, encoding="utf-8"
    ) as stream:
        json.dump(plan.to_json(), stream)
    os.replace(stream.name, path)


def load_plan(run_id: str) -> DeploymentPlan | None:
    """Return what a lab was made of; None: it is not known, since a change of the lab was cut short."""
    try:
        text = (run_directory(run_id) / PLAN_FILE).read_text(encoding="utf-8")
    except OSError:
        return None
    return plan_from_json(json.loads(text))


def forget_plan(run_id: str) -> None:
    """Note that the lab is about to be something else than what it was made of."""
    (run_directory(run_id) / PLAN_FILE).unlink(missing_ok=True)


def endpoint_of(text: str) -> LinkEndpoint:
    """Return the endpoint written ``node:interface``.

    Raises:
        NotInLabError: it is not written so.
    """
    node, colon, interface = text.rpartition(":")
    if not colon or not node or not interface:
        raise NotInLabError(f"found {text!r}, must be NODE:INTERFACE, as lisbon:eth1")
    return LinkEndpoint(node, interface)


def socket_directory(run_id: str) -> Path:
    """Return a short path for control sockets: their names are limited to 107 bytes."""
    if os.geteuid() == 0:
        return Path("/run/narrows") / run_id
    return Path(tempfile.gettempdir()) / f"narrows-{os.geteuid()}" / run_id
