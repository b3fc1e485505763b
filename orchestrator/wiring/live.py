"""Labs that are up, from any process: find one, look at it, change its impairments, enter its nodes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from node.control.client import ControlClient, ControlError
from node.control.messages import Command, Reply
from node.links.settings import Impairments
from orchestrator.backends.base import Impairment
from orchestrator.errors import BackendError, NotInLabError
from orchestrator.executor import Executor, Process
from orchestrator.topology.model import LinkEndpoint
from orchestrator.wiring import cleanup, namespaces, state
from orchestrator.wiring.commands import DEVICE_A, DEVICE_B
from orchestrator.wiring.journal import Journal
from orchestrator.wiring.processes import spawn_for_run
from orchestrator.wiring.shaping import LinkShaping, direction_from
from orchestrator.wiring.state import LabRecord, LinkRecord, NodeRecord

_ANSWER_SECONDS = 5.0
#: Links whose impairments are read at the same time.
_ASKED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class LiveDirection:
    """What leaves one end of a link."""

    link: str
    #: The end that sends, as ``lisbon:eth1``.
    endpoint: str
    #: The end that receives.
    towards: str
    impairments: Impairments
    #: What happened to packets, by name (sent, lost, overflowed …).
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LiveNode:
    """A node as it is now."""

    name: str
    #: ``host`` or ``router``.
    kind: str
    ipv4: str
    #: Path of its network namespace.
    namespace: str
    #: ``running``, ``silent`` (no answer: paused, stopped or crashed), ``forwarding`` or ``gone``.
    state: str


def find(name: str | None = None) -> LabRecord:
    """Return the lab that is up under a name or run id; None: the only one there is.

    Raises:
        BackendError: there is none, or more than one; the message says which there are.
    """
    up = [lab for lab in cleanup.list_labs() if lab.up]
    fitting = [lab for lab in up if name is None or name in (lab.name, lab.run_id)]
    records = [record for lab in fitting if (record := state.load(lab.run_id)) is not None]
    if len(records) == 1:
        return records[0]
    listing = ", ".join(f"{lab.name} ({lab.run_id})" for lab in up) or "none"
    if not records:
        wanted = "no lab is up" if name is None else f"no lab {name!r} is up"
        raise BackendError(f"{wanted}; up are: {listing}; make one with narrows deploy TOPOLOGY")
    raise BackendError(f"{len(records)} labs fit; give the run id of one: {listing}")


def show_impairments(lab: LabRecord, *, link: str | None = None) -> list[LiveDirection]:
    """Return each direction of each link with its impairments, read back from whoever impairs.

    Args:
        lab: which lab.
        link: only this link, or the links at this node or endpoint.

    Raises:
        BackendError: there is no such link, or it cannot be read.
    """
    chosen = [found for found in lab.links if link is None or _names(found, link)]
    if not chosen:
        known = ", ".join(found.name for found in lab.links)
        raise NotInLabError(f"lab {lab.name} has no link {link!r}: use one of {known}")
    # A relay that waits for a core answers late: a thousand in turn took half a minute.
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
        return list(chain.from_iterable(threads.map(partial(_directions, lab), chosen)))


def set_impairments(
    lab: LabRecord, endpoint: LinkEndpoint, changes: Mapping[str, object | None]
) -> Impairments:
    """Change the named impairments of what leaves ``endpoint`` and leave the others; return all, read back.

    Args:
        lab: which lab.
        endpoint: the end that sends.
        changes: name → value as in topology files; None takes it out.

    Raises:
        BackendError: there is no such endpoint, or what was read back is not what was asked.
        ImpairmentsError: a name or value is wrong.
    """
    link = lab.link_at(endpoint)
    shaping, direction = _shaping(lab, link), direction_from(link, endpoint)
    return shaping.set(direction, shaping.read(direction).replace(changes))


def replace_impairments(lab: LabRecord, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
    """Replace the whole set of what leaves ``endpoint``; errors as ``set_impairments``."""
    link = lab.link_at(endpoint)
    return _shaping(lab, link).set(direction_from(link, endpoint), impairments)


def execute(lab: LabRecord, node: str, argv: Sequence[str]) -> int:
    """Run a command in a node, on this terminal; return its exit status.

    Raises:
        BackendError: there is no such node or program.
    """
    record = lab.node(node)
    # As in `exec NODE -- ls -l`: it ends the options of whoever reads the command line, and is no program.
    argv = argv[1:] if argv[:1] in (("--",), ["--"]) else argv
    if record.container:
        terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        return Executor().call(["docker", "exec", "-i", *terminal, record.container, *argv])
    return Executor().call(argv, namespace=Path(record.namespace))


def capture(lab: LabRecord, link: str, output: Path | None, *, seconds: float | None) -> int:
    """Capture both ends of a link until Ctrl-C, both where frames come in and where they go out.

    Args:
        lab: which lab.
        link: the link's name, or one of its endpoints.
        output: the pcapng file; None: standard output.
        seconds: end after so long; None: on Ctrl-C, or when nobody reads standard output any more.

    Returns the exit status of the capture.

    Raises:
        BackendError: there is no such link.
    """
    found = next((one for one in lab.links if link in (one.name, one.a, one.b)), None)
    if found is None:
        known = ", ".join(one.name for one in lab.links)
        raise NotInLabError(f"lab {lab.name} has no link {link!r}: use one of {known}, or one of their ends")
    comment = f"link {found.name}: {DEVICE_A} is {found.a}, {DEVICE_B} is {found.b}"
    argv = [sys.executable, "-m", "node.capture", "--output", str(output or "-"), "--direction", "both"]
    argv += ["--interface", DEVICE_A, "--interface", DEVICE_B, "--comment", comment]
    if seconds is not None:
        argv += ["--seconds", str(seconds)]
    return Executor().call(argv, namespace=Path(found.namespace))


async def inspect(lab: LabRecord) -> list[LiveNode]:
    """Return the nodes of a lab as they are now."""
    states = await asyncio.gather(*(_state_of(node) for node in lab.nodes))
    return [
        LiveNode(node.name, node.kind, node.ipv4, node.namespace, found)
        for node, found in zip(lab.nodes, states, strict=True)
    ]


async def request(lab: LabRecord, node: str, command: Command) -> Reply:
    """Hand a command to the agent of a node and return its reply.

    Raises:
        BackendError: the node has no agent that other commands can reach, or it does not answer.
    """
    record = lab.node(node)
    if not record.control:
        raise BackendError(f"node {node} has no agent to ask: it is a {record.kind}")
    try:
        async with await ControlClient.connect_unix(record.control, time_limit=_ANSWER_SECONDS) as client:
            return await client.request(command, time_limit=_ANSWER_SECONDS)
    except ControlError as error:
        raise BackendError(f"node {node}: {error}") from error


async def _state_of(node: NodeRecord) -> str:
    if namespaces.identity(Path(node.namespace)) is None:
        return "gone"
    if node.is_router:
        return "forwarding"
    if not node.control:
        return "running"
    try:
        async with await ControlClient.connect_unix(node.control, time_limit=_ANSWER_SECONDS) as client:
            reply = await client.request(Command("status"), time_limit=_ANSWER_SECONDS)
    except ControlError:
        return "silent"
    return "running" if reply.ok else "silent"


def _directions(lab: LabRecord, link: LinkRecord) -> list[LiveDirection]:
    shaping = _shaping(lab, link)
    counters = shaping.counters()
    found: list[LiveDirection] = []
    for endpoint, towards in ((link.a, link.b), (link.b, link.a)):
        direction = direction_from(link, state.endpoint_of(endpoint))
        found.append(
            LiveDirection(link.name, endpoint, towards, shaping.read(direction), counters.get(direction, {}))
        )
    return found


def _names(link: LinkRecord, text: str) -> bool:
    return text in (link.name, link.a, link.b, *(end.node for end in link.ends()))


def _shaping(lab: LabRecord, link: LinkRecord) -> LinkShaping:
    executor = Executor()

    def spawn(what: str, argv: list[str], namespace: Path) -> Process:
        log = Path(lab.directory) / "logs" / f"shaper-{link.index}.log"
        # Locked: while another process makes or runs the lab, its processes are that one's to start.
        with Journal.open(lab.run_id) as journal:
            return spawn_for_run(
                executor, journal, what, argv, namespace=namespace, log=log, environment={}, attached=False
            )

    return LinkShaping(link, Impairment(lab.impairment), executor, spawn)
