"""Measures the links of a Compose lab through the agents, each of which has its own ends of links.

The orchestrator's container is on no link: it tells agents what to send and what to expect, and gets back
when each frame left and came. Containers of one engine share the kernel's CLOCK_REALTIME; agents that do not
run on one kernel are found out, since no delay follows from two clocks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from node.measuring.bursts import SEGMENTS, WAIT_SECONDS
from node.measuring.streams import Arrival, Burst, Observed, Stream
from node.protocol.time import SECOND
from orchestrator.errors import BackendError, ProbeError
from orchestrator.measure.prober import Limits
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import InterfacePlan

_logger = logging.getLogger(__name__)

#: Trains that user-space shapers carry at the same time, bits a second together: all of them, and all agents
#: that send and read and stamp, share the machine's CPUs.
SHAPERS_CARRY = 100_000_000
#: How long a train takes that its reader stamps, ns: he may be held up as long as a train elsewhere lasts.
READ_TRAIN_TIME = 300_000_000
#: Seconds that an agent gets beyond what it is told to wait.
PATIENCE_SECONDS = 30.0

_OWN_EGRESS = (
    "nodes shape what leaves their own interfaces, and bursts are seen behind netem only: whether they are "
    "split before it was not measured; and a full queue refuses frames at the sender's own socket"
)
_IN_NETFILTER = (
    "agents shape IP packets where they arrive, in netfilter: {which} were measured with such, stamped by "
    "the processes that read them, not by the kernel: delays have in them what the machine's scheduler adds"
)
_UNSEEN_DAMAGE = "damage in the headers of IP packets is not seen as such"


class Orders(Protocol):
    """Hands commands to agents (orchestrator.agents.Agents)."""

    async def order(
        self, node: str, name: str, *, time_limit: float | None = None, **arguments: object
    ) -> Mapping[str, Any]:
        """Hand a command to a node; return the data of its reply."""
        ...


@dataclass(frozen=True, slots=True)
class AgentEnd:
    """One end of a link, as its agent is to open it."""

    endpoint: LinkEndpoint
    opposite: LinkEndpoint
    #: What the interface is called in the container.
    device: str
    own: InterfacePlan
    other: InterfacePlan
    #: Whether frames of either direction are to be IP packets: a shaper in netfilter sees nothing else.
    ip: bool
    #: Whether what leaves here is shaped by a process at the other end.
    by_shaper: bool
    #: Whether what leaves here is to be damaged.
    corrupts: bool

    def to_mapping(self) -> dict[str, object]:
        """Return it as agents are told."""
        return {
            "interface": self.device,
            "opposite": str(self.opposite),
            "address": _address(self.own),
            "opposite_address": _address(self.other),
            "mac": self.own.mac.replace(":", ""),
            "opposite_mac": self.other.mac.replace(":", ""),
            "mtu": self.own.mtu,
            "ip": self.ip,
        }


class AgentProber:
    """Probes links through the agents at their ends.

    Args:
        agents: of the nodes.
        ends: both of each link, by name.
    """

    exact = False

    def __init__(self, agents: Orders, ends: Mapping[str, AgentEnd]) -> None:
        self._agents = agents
        self._ends = ends
        self._nodes = list(dict.fromkeys(end.endpoint.node for end in ends.values()))
        self._number = 0
        self._opened = False
        self.limits = _limits(ends)

    async def send(self, streams: Mapping[str, Stream], *, linger: int) -> Mapping[str, Observed]:
        """Send all streams at the same time, and return what became of them.

        Raises:
            BackendError: an agent does not answer, or cannot do its part.
            ProbeError: the nodes have no clock in common.
        """
        await self._open()
        self._number = (self._number + 1) % 256
        lasting = max((stream.count * stream.interval for stream in streams.values()), default=0) / SECOND
        told = {node: self._streams_of(node, streams) for node in self._nodes}
        nodes = [node for node in self._nodes if told[node]]
        await self._all(nodes, "expect_streams", lambda node: {"number": self._number, "streams": told[node]})
        # Who sends much more slowly than it is to is too busy to measure anything.
        await self._all(nodes, "send_streams", time_limit=4 * lasting + PATIENCE_SECONDS)
        replies = await self._all(
            nodes,
            "end_streams",
            lambda node: {"linger": linger},
            time_limit=linger / SECOND + PATIENCE_SECONDS,
        )
        found = {end: Observed(stream) for end, stream in streams.items()}
        for reply in replies.values():
            _take(reply, found)
        return found

    async def burst(self, ends: Sequence[str]) -> Mapping[str, Burst]:
        """Have the nodes send bursts over links whose shapers are behind a place where one can look.

        Raises:
            BackendError: an agent does not answer, or cannot do its part.
        """
        senders = [end for end in ends if self._ends[end].by_shaper]
        if not senders:
            return {}
        await self._open()
        addresses: dict[str, dict[str, str]] = {node: {} for node in self._nodes}
        for end in senders:
            addresses[self._ends[end].endpoint.node][end] = _address(self._ends[end].other)
        await self._all(self._nodes, "watch_bursts")
        sent = await self._all(self._nodes, "send_bursts", lambda node: {"ends": addresses[node]})
        ports = {end: port for reply in sent.values() for end, port in reply["ports"].items()}
        await asyncio.sleep(WAIT_SECONDS)
        seen = await self._all(self._nodes, "read_bursts", lambda node: {"ports": ports})
        found = {}
        for end in ports:
            at_sender = seen[self._ends[end].endpoint.node]
            at_receiver = seen[self._ends[end].opposite.node]
            found[end] = Burst(
                SEGMENTS,
                at_sender=at_sender["sent"][end],
                # Where it comes in, before netfilter: there the shaper takes it.
                on_link=at_receiver["came"][end],
                oversize=at_receiver["oversize"][end],
            )
        return found

    async def close(self) -> None:
        """Have the agents close their ends; one that does not answer has told so before, or will."""
        if not self._opened:
            return
        self._opened = False
        try:
            await self._all(self._nodes, "close_ends")
        except BackendError as error:
            # Raised here it would take the place of what went wrong, or of the run's being cut short.
            _logger.warning("ends of links were not closed: %s", error)

    async def _open(self) -> None:
        if self._opened:
            return
        told: dict[str, dict[str, object]] = {node: {} for node in self._nodes}
        for name, end in self._ends.items():
            told[end.endpoint.node][name] = end.to_mapping()
        self._opened = True
        replies = await self._all(self._nodes, "open_ends", lambda node: {"ends": told[node]})
        if len({reply["kernel"] for reply in replies.values()}) > 1:
            raise ProbeError("the nodes run on several kernels, whose clocks have nothing in common")

    def _streams_of(self, node: str, streams: Mapping[str, Stream]) -> dict[str, object]:
        """Return the streams that begin or end at a node, as its agent is told."""
        return {
            name: asdict(stream)
            for name, stream in streams.items()
            if node in (self._ends[name].endpoint.node, self._ends[name].opposite.node)
        }

    async def _all(
        self,
        nodes: Sequence[str],
        name: str,
        arguments: Callable[[str], Mapping[str, object]] = lambda node: {},
        *,
        time_limit: float | None = None,
    ) -> dict[str, Mapping[str, Any]]:
        """Hand a command to all agents at once; return their replies when all have done it."""
        orders = (self._agents.order(node, name, time_limit=time_limit, **arguments(node)) for node in nodes)
        replies = await asyncio.gather(*orders, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return dict(zip(nodes, cast("list[Mapping[str, Any]]", replies), strict=True))


def _take(reply: Mapping[str, Any], found: Mapping[str, Observed]) -> None:
    """Add what an agent has seen of streams."""
    base = int(reply["base"])
    for end, times in reply["departures"].items():
        found[end].departures.extend(base + at for at in times)
    for end, seen in reply["arrivals"].items():
        damaged = set(seen["damaged"])
        found[end].oversize += seen["oversize"]
        found[end].arrivals.extend(
            Arrival(number, base + at, damaged=place in damaged)
            for place, (number, at) in enumerate(zip(seen["numbers"], seen["at"], strict=True))
        )


def _limits(ends: Mapping[str, AgentEnd]) -> Limits:
    shaped = [name for name, end in ends.items() if end.by_shaper]
    notes = [] if len(shaped) == len(ends) else [_OWN_EGRESS]
    if shaped:
        which = "all links" if len(shaped) == len(ends) else f"what leaves {', '.join(shaped)}"
        notes.append(_IN_NETFILTER.format(which=which))
    usual = Limits()
    return Limits(
        together=SHAPERS_CARRY if shaped else usual.together,
        train_time=READ_TRAIN_TIME if shaped else usual.train_time,
        unseen={name: {"damage": _UNSEEN_DAMAGE} for name, end in ends.items() if end.ip and end.corrupts},
        notes=tuple(notes),
    )


def _address(interface: InterfacePlan) -> str:
    return interface.ipv4.partition("/")[0]
