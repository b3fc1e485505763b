"""Actions on a lab that is up, from any process: begin one, list them, end them.

An action that ends by itself has a process of its own that ends it (``orchestrator.wiring.expiry``), started
before it begins: the command that asked for it may be killed. If that process is killed too, the action is
listed as overdue, and ``end`` ends it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from node.control.messages import Command, Reply
from node.links.settings import Impairments
from node.protocol.time import Duration
from orchestrator.errors import BackendError
from orchestrator.executor import Executor
from orchestrator.faulted_links import FaultedLinks, Layer
from orchestrator.faults.base import FAULTS, Fault, Flows, LinkFault, Need, View
from orchestrator.topology.model import LinkEndpoint, NodeKind
from orchestrator.wiring import fault_book, live, namespaces, nat
from orchestrator.wiring.fault_book import Entry, FaultBook
from orchestrator.wiring.journal import Journal, read_entries
from orchestrator.wiring.processes import spawn_for_run, start_of
from orchestrator.wiring.state import LabRecord, NodeRecord, endpoint_of


def view_of(lab: LabRecord) -> View:
    """Return the names of a lab that is up; flows have none outside of a run."""
    nodes = {node.name: NodeKind(node.kind) for node in lab.nodes}
    return View(nodes, tuple(link.ends() for link in lab.links), frozenset())


async def begin(lab: LabRecord, action: str, value: object, duration: Duration | None) -> tuple[int, str]:
    """Begin an action; return its number and what is worth telling.

    Args:
        lab: which lab.
        action: its name.
        value: its arguments, validated.
        duration: after this it ends by itself, ns; None: when it is ended.

    Raises:
        FaultError: it makes no sense in this lab.
        BackendError: it cannot be done; then it is not on.
    """
    fault = FAULTS[action](value, view_of(lab))
    _check_return(lab, fault, ends=duration is not None)
    now = time.monotonic_ns()
    with fault_book.locked(lab.run_id) as book:
        for entry in book.entries:
            held = set(FAULTS[entry.action](entry.value, view_of(lab)).claims()) & set(fault.claims())
            if held:
                raise BackendError(
                    f"{min(held).partition(' ')[2]} is held by fault {entry.id} ({entry.action}): "
                    f"clear it first with narrows fault clear {entry.id}"
                )
        number = book.next_id
        book.next_id += 1
        until = None if duration is None else now + duration
        book.entries.append(Entry(number, action, value, str(fault), now, until))
        fault_book.write(lab.run_id, book)
        try:
            if duration is not None:
                _start_expiry(lab, number)
            told = await LiveLab(lab, book, book.entry(number)).do(fault, begins=True)
        except BaseException:
            book.entries.remove(book.entry(number))
            raise
        if duration is None and not fault.claims():
            book.entries.remove(book.entry(number))
        book.entries = [entry for entry in book.entries if not _is_ended_by(lab, fault, entry)]
    return number, told


async def end(lab: LabRecord, numbers: Iterable[int] | None = None) -> list[Entry]:
    """End actions, the last first; None: all that are on. Return those that were.

    Raises:
        BackendError: one is not on, or cannot be ended; then it stays on the list.
    """
    with fault_book.locked(lab.run_id) as book:
        chosen = [book.entry(number) for number in numbers] if numbers is not None else list(book.entries)
        for entry in sorted(chosen, key=lambda entry: -entry.id):
            await LiveLab(lab, book, entry).do(FAULTS[entry.action](entry.value, view_of(lab)), begins=False)
            book.entries.remove(entry)
    return chosen


async def switch(lab: LabRecord, number: int, *, on: bool) -> None:
    """Let an action on links hold or not, while it stays on the list: for those that come and go."""
    with fault_book.locked(lab.run_id) as book:
        entry = book.entry(number)
        await LiveLab(lab, book, entry).do(FAULTS[entry.action](entry.value, view_of(lab)), begins=on)


async def set_impairments(
    lab: LabRecord, endpoint: LinkEndpoint, changes: Mapping[str, object | None]
) -> Impairments:
    """Change what leaves ``endpoint`` below all actions; return what holds now, these included.

    Raises:
        BackendError: there is no such endpoint, or what was read back is not what was asked.
        ImpairmentsError: a name or value is wrong.
    """
    lab.link_at(endpoint)
    with fault_book.locked(lab.run_id) as book:
        if str(endpoint) not in book.base:
            return await asyncio.to_thread(live.set_impairments, lab, endpoint, changes)
        changed = Impairments.parse(book.base[str(endpoint)]).replace(changes)
        book.base[str(endpoint)] = changed.to_mapping()
        links = LiveLab(lab, book, None).layers()
        return await asyncio.to_thread(live.replace_impairments, lab, endpoint, links.effective(endpoint))


class LiveLab:
    """What actions may do to a lab that is up (``faults.base.FaultLab``).

    Args:
        lab: which lab.
        book: its book, locked.
        entry: the action that does it.
    """

    def __init__(self, lab: LabRecord, book: FaultBook, entry: Entry | None) -> None:
        self._lab = lab
        self._book = book
        self._entry = entry
        self._links = self.layers()

    async def do(self, fault: Fault, *, begins: bool) -> str:
        """Begin or end an action, and note in the book where it lies over links."""
        mine = [layer for layer in self._links.layers if self._entry is self._of.get(id(layer))]
        if isinstance(fault, LinkFault):
            self._remember(fault.endpoints)
        if begins:
            told = await fault.begin(self)
        else:
            told = await (mine[0].fault if mine else fault).end(self)
            if not mine and isinstance(fault, LinkFault):
                # Whoever began it was killed before the book could say over which links it lies.
                await self._links.refresh(fault.endpoints)
        self._note()
        return told

    def layers(self) -> FaultedLinks:
        """Return the links with all that the book says lies over them."""

        async def apply(endpoint: LinkEndpoint, impairments: Impairments) -> None:
            await asyncio.to_thread(live.replace_impairments, self._lab, endpoint, impairments)

        base = {endpoint_of(end): Impairments.parse(found) for end, found in self._book.base.items()}
        links = FaultedLinks(base, apply)
        self._of: dict[int, Entry] = {}
        for entry in self._book.entries:
            fault = FAULTS[entry.action](entry.value, view_of(self._lab))
            if entry.endpoints and isinstance(fault, LinkFault):
                layer = Layer(fault, [endpoint_of(end) for end in entry.endpoints])
                links.layers.append(layer)
                self._of[id(layer)] = entry
        return links

    def _remember(self, endpoints: Iterable[LinkEndpoint]) -> None:
        """Read what links do before the first action lies over them."""
        for endpoint in endpoints:
            if endpoint not in self._links.base:
                found = next(
                    way.impairments
                    for way in live.show_impairments(self._lab, link=str(endpoint))
                    if way.endpoint == str(endpoint)
                )
                self._links.base[endpoint] = found
                self._book.base[str(endpoint)] = found.to_mapping()
        fault_book.write(self._lab.run_id, self._book)

    def _note(self) -> None:
        for entry in self._book.entries:
            entry.endpoints = []
        for layer in self._links.layers:
            entry = self._of.get(id(layer), self._entry)  # type: ignore[assignment]
            if entry is not None:
                entry.endpoints = [str(end) for end in layer.endpoints]

    # What actions ask for.

    @property
    def links(self) -> FaultedLinks:
        """Impairments of links."""
        return self._links

    @property
    def flows(self) -> Flows:
        """Refuse: a lab that is up has no flows of ours."""
        raise BackendError("flows belong to a run: put this on the timeline of a topology")

    async def crash(self, node: str) -> None:
        """End a node's agent at once; a router forwards no more."""
        await asyncio.to_thread(self._signal, self._lab.node(node), signal.SIGKILL, "kill")

    async def pause(self, node: str) -> None:
        """Let a node get no CPU."""
        await asyncio.to_thread(self._signal, self._lab.node(node), signal.SIGSTOP, "pause")

    async def run(self, node: str) -> None:
        """Let a crashed or paused node run again."""
        await asyncio.to_thread(self._run, self._lab.node(node))

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node's agent."""
        return await live.request(self._lab, node, command)

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Change a NAT router's time-out, or let it forget."""
        place = Path(self._lab.node(node).namespace)
        told = await asyncio.to_thread(nat.set_timeout, place, keep_for) if keep_for is not None else ""
        return f"{await asyncio.to_thread(nat.flush, place)} mappings forgotten" if flush else told

    def next_address(self, node: str) -> str:
        """Refuse: addresses to move to are planned with a topology's timeline."""
        raise BackendError(f"node {node} has no other address: only a topology's timeline plans them")

    def main_address(self, node: str) -> str:
        """Return the address that a node has by its topology."""
        return self._lab.node(node).ipv4

    def nat_timeout(self, node: str) -> Duration:
        """Return the time-out that a NAT router has by its topology."""
        return self._lab.node(node).nat_timeout

    def _signal(self, node: NodeRecord, number: signal.Signals, verb: str) -> None:
        if node.is_router:
            _forward(node, on=False)
        elif node.container:
            Executor().run(["docker", verb, node.container])
        else:
            os.kill(_agent_of(self._lab, node), number)

    def _run(self, node: NodeRecord) -> None:
        if node.is_router:
            _forward(node, on=True)
        elif node.container:
            asked = ["docker", "inspect", "--format", "{{.State.Status}}", node.container]
            if Executor().run(asked, check=False).stdout.strip() != "paused":
                raise BackendError(
                    f"the container of {node.name} was killed and does not return: "
                    f"narrows destroy {self._lab.run_id}, then deploy again"
                )
            Executor().run(["docker", "unpause", node.container])
        else:
            try:
                os.kill(_agent_of(self._lab, node), signal.SIGCONT)
            except BackendError:
                _start_agent(self._lab, node)


def _check_return(lab: LabRecord, fault: Fault, *, ends: bool) -> None:
    """Refuse to end nodes for a while that cannot be brought back (BackendError)."""
    if Need.NODES_RETURN not in fault.needs(ends=ends):
        return
    for node in map(lab.node, fault.needs_up()):
        if node.container and not node.is_router:
            raise BackendError(
                f"{node.name} is a container, and one that was killed does not return: "
                f"pause it instead, or {fault.name} it without --for"
            )


def _is_ended_by(lab: LabRecord, fault: Fault, entry: Entry) -> bool:
    """Return whether beginning ``fault`` has ended an action that lies over nothing any more."""
    claims = FAULTS[entry.action](entry.value, view_of(lab)).claims()
    return any(fault.ends(claim) for claim in claims) and not entry.endpoints


def _forward(node: NodeRecord, *, on: bool) -> None:
    forwards = "1" if on else "0"
    setting = {"net/ipv4/ip_forward": forwards, "net/ipv6/conf/all/forwarding": forwards}
    namespaces.inside({Path(node.namespace): lambda: namespaces.write_settings(setting)})


def _agent_of(lab: LabRecord, node: NodeRecord) -> int:
    """Return the process of a node's agent (BackendError: it does not run)."""
    found = [
        entry
        for entry in read_entries(lab.run_id)
        if entry.kind == "process" and entry.text("what") == f"agent of {node.name}"
    ]
    if not found or start_of(found[-1].number("pid")) != found[-1].number("start"):
        raise BackendError(f"the agent of {node.name} does not run")
    return found[-1].number("pid")


def _start_agent(lab: LabRecord, node: NodeRecord) -> None:
    """Start a crashed node anew, with the configuration that it had."""
    control = Path(node.control)
    argv = [sys.executable, "-m", "node", "--config", str(control.with_suffix(".json"))]
    with Journal.open(lab.run_id) as journal:
        process = spawn_for_run(
            Executor(),
            journal,
            f"agent of {node.name}",
            argv,
            namespace=Path(node.namespace),
            log=Path(lab.directory) / "logs" / f"{node.name}.log",
            environment={"TMPDIR": str(control.parent)},
            attached=False,
        )
        process.release()


def _start_expiry(lab: LabRecord, number: int) -> None:
    with Journal.open(lab.run_id) as journal:
        process = spawn_for_run(
            Executor(),
            journal,
            f"expiry of fault {number}",
            [sys.executable, "-m", "orchestrator.wiring.expiry", lab.run_id, str(number)],
            namespace=Path("/proc/self/ns/net"),
            log=Path(lab.directory) / "logs" / "faults.log",
            environment={},
            attached=False,
        )
        process.release()
