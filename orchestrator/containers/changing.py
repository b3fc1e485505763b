"""Containers of a lab that is up: which have ended, more of them, and agents that are told something else.

An agent is told its peers when it starts, and starts anew within its container: a container that is restarted
gets another network namespace, and all its links would have to be made again. That is done to those alone
that lack what they need and what a container has from its making: the image, a capability, or IPv6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import docker
from docker.errors import NotFound

from orchestrator.containers.building import ensure_image
from orchestrator.containers.engine import connected
from orchestrator.containers.equipment import Equipment
from orchestrator.containers.nodes import Containers, network_of, remove_labelled
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.wiring.forkserver import LINK_MODULES
from orchestrator.wiring.journal import Journal
from orchestrator.wiring.lab import Lab
from orchestrator.wiring.state import LabRecord, NodeRecord


class ContainerNodes:
    """The nodes of a lab of containers that is up, as ``orchestrator.wiring.reconcile`` changes them.

    Args:
        record: what the lab looks like.
    """

    def __init__(self, record: LabRecord) -> None:
        self._record = record
        self._containers = Containers(record.run_id, Path(record.directory))
        #: Node → network namespace, of those that are to be made: there when their containers run.
        self._networks: dict[str, Path] = {}

    def lost(self) -> list[str]:
        """Return the nodes whose containers do not run, or not since they were wired: their links are gone.

        Raises:
            BackendError: the engine refuses to tell.
        """
        with connected() as engine:
            return [node.name for node in self._record.nodes if not _is_as_wired(engine, node)]

    def lacking(self, plan: DeploymentPlan, names: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return the nodes whose containers lack what is needed of them: the image, a capability or IPv6.

        Raises:
            BackendError: the engine refuses to tell.
        """
        found = {}
        with connected() as engine:
            for name in names:
                has = Equipment.of(engine.api.inspect_container(self._record.node(name).container))
                if not has.serves(Equipment.needed(plan, name)):
                    found[name] = (str(has), str(Equipment.given(plan, name)))
        return found

    def take_up(self, plan: DeploymentPlan, journal: Journal, added: Sequence[str]) -> Lab:
        """Return the lab as it is to be."""
        self._networks = {node: Path("/proc/0/ns/net") for node in added}
        return Lab.resume(
            plan,
            journal,
            self._record,
            LINK_MODULES,
            adopted=self._networks,
            controls={node: self._containers.control(node) for node in added},
            containers={node: self._containers.name(node) for node in added},
        )

    async def remove(self, names: Sequence[str]) -> None:
        """Remove the containers of some nodes."""
        if names:
            await asyncio.to_thread(remove_labelled, self._record.run_id, names)
        for name in names:
            # A container of this name may follow, and a socket that is there would be taken for its own.
            self._containers.control(name).unlink(missing_ok=True)

    async def make(self, lab: Lab, names: Sequence[str]) -> None:
        """Start the containers of some nodes, for the wiring to adopt their namespaces.

        Raises:
            BackendError: one cannot be started.
        """
        if not names:
            return
        image = await asyncio.to_thread(ensure_image, lab.plan)
        for name in names:
            self._containers.write_configuration(lab.plan, lab.plan.node(name))
        with connected() as engine:
            started = await asyncio.gather(
                *(
                    lab.do(self._containers.start, engine, image, lab.plan, lab.plan.node(name))
                    for name in names
                )
            )
        self._networks.update(zip(names, started, strict=True))

    async def start_agents(self, lab: Lab, made: Sequence[str], told_anew: Sequence[str]) -> None:
        """Wait for the agents of nodes that were made, and let others start anew with what the plan says now.

        Raises:
            BackendError: one does not come up.
        """
        await asyncio.to_thread(self._tell_anew, lab.plan, told_anew)
        kept = {name: self._record.node(name) for name in told_anew}
        await self._containers.wait_until_listening(
            {**self._networks, **{name: Path(node.namespace) for name, node in kept.items()}}
        )

    def _tell_anew(self, plan: DeploymentPlan, names: Sequence[str]) -> None:
        with connected() as engine:
            for name in names:
                self._containers.write_configuration(plan, plan.node(name))
                # So that nobody waits for the one that ends.
                self._containers.control(name).unlink(missing_ok=True)
                container = engine.containers.get(self._containers.name(name))
                if container.status == "paused":
                    container.unpause()
                container.kill("SIGHUP")


def _is_as_wired(engine: docker.DockerClient, node: NodeRecord) -> bool:
    try:
        state = engine.api.inspect_container(node.container)["State"]
    except NotFound:
        return False
    name = Path(node.namespace)
    # By its name: the number of a process that has ended may be that of any other by now.
    return bool(state["Running"]) and name.is_symlink() and name.readlink() == network_of(int(state["Pid"]))
