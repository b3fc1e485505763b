"""What a lab's links do: measured with raw sockets at both of their ends, and as they count it."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from node.measuring.ends import End, open_end, open_unbound
from orchestrator.errors import BackendError
from orchestrator.measure.packets import PacketProber
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import InterfacePlan
from orchestrator.wiring.commands import DEVICE_A, DEVICE_B
from orchestrator.wiring.lab import Lab
from orchestrator.wiring.namespaces import inside
from orchestrator.wiring.shaping import FORWARD, REVERSE

#: Of a link namespace: where it takes in what its ends send.
_DEVICES = (DEVICE_A, DEVICE_B)


def open_prober(lab: Lab, links: Sequence[str]) -> PacketProber:
    """Return what measures the named links; ``close`` it.

    Raises:
        BackendError: a node's namespace cannot be entered, or a socket cannot be made there.
    """
    planned = [lab.plan.link(name) for name in links]
    pairs = {str(one): str(other) for link in planned for one, other in (_both(link.a, link.b))}
    interfaces = {
        str(end): next(found for found in lab.plan.node(end.node).interfaces if found.name == end.interface)
        for link in planned
        for end in (link.a, link.b)
    }
    by_namespace: dict[Path, dict[str, tuple[InterfacePlan, InterfacePlan]]] = defaultdict(dict)
    for link in planned:
        for end, other in _both(link.a, link.b):
            own = by_namespace[lab.namespace(end.node)]
            own[str(end)] = (interfaces[str(end)], interfaces[str(other)])
    work: dict[Path, Callable[[], dict[str, End]]] = {
        path: partial(_open, found) for path, found in by_namespace.items()
    }
    records = [link for link in lab.record.links if link.name in set(links)]
    try:
        opened = inside(work)
        passing = inside({Path(link.namespace): _open_passing for link in records})
    except OSError as error:
        raise BackendError(f"links cannot be measured: {error.strerror}; are you root?") from error
    ends = {name: end for found in opened.values() for name, end in found.items()}
    for record in records:
        seen_at = passing[Path(record.namespace)]
        for name, device, seen in zip((record.a, record.b), _DEVICES, seen_at, strict=True):
            ends[name].passing, ends[name].passing_interface = seen, device
    return PacketProber(ends, pairs)


async def all_counters(lab: Lab) -> dict[str, dict[str, int]]:
    """Return what happened to the packets of all links: by the end that sends, by name.

    Raises:
        BackendError: it cannot be read.
    """
    # A relay that is busy, or waits for a core, answers late: a thousand in turn took half a minute.
    links = lab.record.links
    answers = await asyncio.gather(*(lab.counters(link.name) for link in links))
    found: dict[str, dict[str, int]] = {}
    for link, counters in zip(links, answers, strict=True):
        found[link.a], found[link.b] = counters.get(FORWARD, {}), counters.get(REVERSE, {})
    return found


def _both(a: LinkEndpoint, b: LinkEndpoint) -> tuple[tuple[LinkEndpoint, LinkEndpoint], ...]:
    return (a, b), (b, a)


def _open_passing() -> tuple[socket.socket, ...]:
    return tuple(open_unbound() for _ in _DEVICES)


def _open(interfaces: dict[str, tuple[InterfacePlan, InterfacePlan]]) -> dict[str, End]:
    return {
        end: open_end(
            found.name,
            address=found.ipv4.partition("/")[0],
            mac=bytes.fromhex(found.mac.replace(":", "")),
            peer=bytes.fromhex(other.mac.replace(":", "")),
            mtu=found.mtu,
        )
        for end, (found, other) in interfaces.items()
    }
