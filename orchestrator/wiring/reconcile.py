"""Change a lab that is up into the lab of another plan: only the difference is touched.

What is made stands in the journal before it is made, as when a lab is made. The plan of the lab is forgotten
before the first step and written after the last: one whose change was cut short says so and can be destroyed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from node.control.messages import NodeEvent
from node.links.settings import Impairments
from orchestrator.errors import BackendError, NotSupportedError
from orchestrator.executor import Executor, run_batch
from orchestrator.tc import comparison
from orchestrator.topology.difference import Change, Difference, difference, with_indexes_of, with_made_anew
from orchestrator.topology.model import LinkEndpoint, NodeKind
from orchestrator.topology.plan import DeploymentPlan, LinkPlan
from orchestrator.wiring import fault_book, namespaces, processes, state
from orchestrator.wiring.agents import Agent, start_all, wait_all_ready
from orchestrator.wiring.cleanup import LabSummary
from orchestrator.wiring.commands import DEVICE_A, DEVICE_B
from orchestrator.wiring.forkserver import AGENT_MODULES, LINK_MODULES
from orchestrator.wiring.journal import Journal
from orchestrator.wiring.lab import Lab
from orchestrator.wiring.state import LabRecord

#: Time for a capture to write what it has, and for an agent to say goodbye.
_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.01


async def compare(lab: LabSummary, new: DeploymentPlan) -> tuple[Difference, DeploymentPlan, LabRecord]:
    """Return what has to change in a lab that is up, what it was made of, and what it looks like.

    Impairments are compared with what the links have now, and agents that do not run are to be started.

    Raises:
        BackendError: the lab is not wholly up, or a change of it was cut short.
    """
    record, old = state.load(lab.run_id), state.load_plan(lab.run_id)
    if record is None or old is None:
        raise BackendError(
            f"lab {lab.name} ({lab.run_id}) is only partly up: making or changing it was cut short; "
            f"remove it with narrows destroy {lab.run_id}, and deploy again"
        )
    nodes = _nodes_of(record)
    lost = nodes.lost()
    with Journal.open(lab.run_id) as journal:
        present = Lab.resume(old, journal, record, LINK_MODULES)
        links = await asyncio.gather(
            *(_as_it_is(present, link) for link in old.links if not _touches(link, lost))
        )
        present.leave()
        entries = journal.entries()
    now = {link.name: link for link in links}
    old = dataclasses.replace(old, links=tuple(now.get(link.name, link) for link in old.links))
    found = difference(old, new)
    staying = {node.name for node in old.nodes} - {*lost, *found.nodes_removed}
    lacking = nodes.lacking(new, sorted(staying))
    found = with_made_anew(found, old, new, lost=lost, lacking=lacking)
    running = {
        entry.text("what").removeprefix("agent of ")
        for entry in entries
        if entry.kind == "process" and processes.start_of(entry.number("pid")) == entry.number("start")
    }
    ended = [
        node.name
        for node in new.nodes
        # An agent in a container ends with it.
        if lab.backend == "netns"
        and node.kind is NodeKind.HOST
        and node.name not in (*running, *found.agents, *found.nodes_added)
    ]
    found = dataclasses.replace(
        found,
        agents=(*found.agents, *ended),
        changes=(*found.changes, *(Change("add", "agent", name) for name in ended)),
    )
    return found, old, record


async def apply(
    found: Difference, old: DeploymentPlan, new: DeploymentPlan, record: LabRecord, *, capture: bool
) -> None:
    """Change a lab as ``compare`` said.

    Args:
        found: what it said.
        old: what it said the lab is.
        new: what it is to be.
        record: what it looks like.
        capture: whether links that are added are captured.

    Raises:
        NotSupportedError: it cannot be done to a lab that is up; nothing was changed.
        BackendError: something failed, and the lab is partly changed; or ``narrows fault`` holds links.
    """
    if found.impossible:
        raise NotSupportedError("\n".join((*found.impossible, "destroy the lab, and deploy it again")))
    if not found.changes:
        return
    plan = with_indexes_of(old, new, found)
    with Journal.open(record.run_id) as journal:
        _forget_faults(record.run_id)
        nodes = _nodes_of(record)
        lab = nodes.take_up(plan, journal, found.nodes_added)
        state.forget_plan(record.run_id)
        try:
            await _change(lab, nodes, found, old, record, capture=capture)
        except BackendError as error:
            raise BackendError(
                f"the lab is only partly changed: {error}\nremove it with narrows destroy {record.run_id}"
            ) from error
        finally:
            lab.leave()


async def _change(
    lab: Lab, nodes: Nodes, found: Difference, old: DeploymentPlan, record: LabRecord, *, capture: bool
) -> None:
    await asyncio.to_thread(_remove, lab.journal, found, old, record)
    await nodes.remove(found.nodes_removed)
    await nodes.make(lab, found.nodes_added)
    if found.nodes_added or found.links_added or found.agents:
        lab.start_server()
    if not found.only_impairments:
        await lab.grow(old, found.nodes_added, found.links_added)
    for end in found.impairments:
        await lab.set_impairments(end, _wanted(lab.plan, end))
    if capture and found.links_added:
        await lab.start_captures(found.links_added)
    await nodes.start_agents(lab, found.nodes_added, found.agents)
    lab.save()


class Nodes(Protocol):
    """How nodes of a lab that is up are made and removed, and their agents started."""

    def lost(self) -> list[str]:
        """Return the nodes that have ended, and whose links went with them."""
        ...

    def lacking(self, plan: DeploymentPlan, names: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        """Return those of some nodes that must be made anew for what a plan asks of them.

        Each with what it is made with, and with what it must be.
        """
        ...

    def take_up(self, plan: DeploymentPlan, journal: Journal, added: Sequence[str]) -> Lab:
        """Return the lab as it is to be, before the nodes ``added`` are made."""
        ...

    async def remove(self, names: Sequence[str]) -> None:
        """Remove what is more than a namespace of nodes that go.

        Raises:
            BackendError: something is left.
        """
        ...

    async def make(self, lab: Lab, names: Sequence[str]) -> None:
        """Make what is more than a namespace of nodes that come.

        Raises:
            BackendError: something cannot be made.
        """
        ...

    async def start_agents(self, lab: Lab, made: Sequence[str], told_anew: Sequence[str]) -> None:
        """Start the agents of nodes that were made, and anew those of others; wait until all answer.

        Raises:
            BackendError: one does not.
        """
        ...


class NamespaceNodes:
    """Nodes that are namespaces and no more."""

    def __init__(self, record: LabRecord) -> None:
        self._record = record

    def lost(self) -> list[str]:
        """Return none: a namespace does not end."""
        return []

    def lacking(self, plan: DeploymentPlan, names: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        """Return none: a namespace has all that this machine has."""
        return {}

    def take_up(self, plan: DeploymentPlan, journal: Journal, added: Sequence[str]) -> Lab:
        """Return the lab as it is to be."""
        return Lab.resume(plan, journal, self._record, (*LINK_MODULES, *AGENT_MODULES))

    async def remove(self, names: Sequence[str]) -> None:
        """Do nothing: their namespaces are removed."""

    async def make(self, lab: Lab, names: Sequence[str]) -> None:
        """Do nothing: their namespaces are made."""

    async def start_agents(self, lab: Lab, made: Sequence[str], told_anew: Sequence[str]) -> None:
        """Start agents, and wait until they answer."""
        directory, events = Path(lab.record.directory), asyncio.Queue[NodeEvent | None]()
        names = [*(name for name in made if lab.plan.node(name).kind is NodeKind.HOST), *told_anew]
        for name in names:
            (directory / "received" / name).mkdir(parents=True, exist_ok=True)
        agents = [Agent(lab.plan.node(name), lab, directory, events) for name in names]
        await lab.do(start_all, agents)
        await wait_all_ready(agents)
        for agent in agents:
            await agent.disconnect()


def _nodes_of(record: LabRecord) -> Nodes:
    if record.backend == "netns":
        return NamespaceNodes(record)
    # Imported by name: only who made containers needs the Docker SDK.
    nodes: Nodes = importlib.import_module("orchestrator.containers.changing").ContainerNodes(record)
    return nodes


def _remove(journal: Journal, found: Difference, old: DeploymentPlan, record: LabRecord) -> None:
    """Take out links, nodes, and agents that are to start anew; namespaces are found by their names."""
    run_id = record.run_id
    middles = {name: namespaces.link_namespace(run_id, old.link(name).index) for name in found.links_removed}
    for name in middles.values():
        lines = [("link", "delete", "dev", device) for device in (DEVICE_A, DEVICE_B)]
        run_batch(Executor(), "ip", lines, namespace=namespaces.path_of(name), force=True)
    inner = [namespaces.node_namespace(run_id, name) for name in found.nodes_removed]
    gone = [*middles.values(), *inner]
    # An adopted one is not ours, and by now may be anybody's: its path has a process's number in it.
    paths = [path for name in gone if not (path := namespaces.path_of(name)).is_symlink()]
    identities = {seen for path in paths if (seen := namespaces.identity(path))}
    replaced = {f"agent of {name}" for name in found.agents}
    known = [
        processes.ProcessIdentity(entry.number("pid"), entry.number("start"))
        for entry in journal.entries()
        if entry.kind == "process" and entry.text("what") in replaced
    ]
    _end(identities, known)
    for name in gone:
        namespaces.remove(name)
    for link in record.links:
        if link.name in middles:
            for path in Path(link.control).parent.glob(f"link{link.index}.*"):
                path.unlink(missing_ok=True)


def _end(identities: Collection[tuple[int, int]], known: Collection[processes.ProcessIdentity]) -> None:
    """End the processes in some namespaces, and some others: asked first, since they have files to finish."""
    deadline = time.monotonic() + _GRACE_SECONDS
    told = processes.found_in(identities, known)
    for pid in told:
        processes.send(pid, signal.SIGTERM)
    while processes.found_in(identities, known) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for pid in processes.found_in(identities, known):
        processes.send(pid, signal.SIGKILL)


def _touches(link: LinkPlan, nodes: Sequence[str]) -> bool:
    return link.a.node in nodes or link.b.node in nodes


async def _as_it_is(lab: Lab, link: LinkPlan) -> LinkPlan:
    """Return a link with the impairments that it has now; as planned where they amount to the same."""
    now = [await lab.impairments(end) for end in (link.a, link.b)]
    forward, reverse = (
        planned if not comparison.differences(planned, found) else found
        for planned, found in zip((link.forward, link.reverse), now, strict=True)
    )
    return dataclasses.replace(link, forward=forward, reverse=reverse)


def _wanted(plan: DeploymentPlan, end: LinkEndpoint) -> Impairments:
    link = next(link for link in plan.links if end in (link.a, link.b))
    return link.forward if end == link.a else link.reverse


def _forget_faults(run_id: str) -> None:
    with fault_book.locked(run_id) as book:
        if book.entries:
            on = ", ".join(f"{entry.id} ({entry.action})" for entry in book.entries)
            raise BackendError(f"faults are on, which hold links: {on}; end them with narrows fault clear")
        # What links do without faults is what the plan says from now on.
        book.base.clear()
