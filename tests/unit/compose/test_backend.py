"""The back end inside Compose, as far as it needs no agents: what is not there is named."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from node.control.messages import Command
from node.links.settings import NONE, Impairments
from orchestrator.backends.base import Deployment, Impairment, NodeState
from orchestrator.backends.compose import ComposeDeployment
from orchestrator.errors import BackendError
from orchestrator.measure.prober import Limits
from orchestrator.topology.model import IpVersion, LinkEndpoint
from orchestrator.topology.planning import make_plan
from tests.support.topologies import impaired, line, line_topology

PLAN = line(impaired(), impaired())
NOWHERE = LinkEndpoint("a", "eth9")


@pytest.mark.parametrize("impairment", [Impairment.KERNEL, Impairment.USERSPACE])
@pytest.mark.parametrize(
    "ask",
    [
        lambda lab: lab.set_impairments(NOWHERE, NONE),
        lambda lab: lab.inject(NOWHERE, bytes(60)),
    ],
    ids=["set_impairments", "inject"],
)
def test_an_endpoint_that_is_not_there_is_named_with_those_there_are(
    tmp_path: Path, impairment: Impairment, ask: Callable[[Deployment], Awaitable[object]]
) -> None:
    deployment = ComposeDeployment(PLAN, tmp_path)
    deployment.impairment = impairment

    async def whole() -> None:
        await ask(deployment)

    with pytest.raises(BackendError, match=r"no endpoint a:eth9 in this lab: use one of a:eth1, r1:eth1"):
        asyncio.run(whole())


def test_a_node_cannot_be_stopped_and_the_message_says_who_can(tmp_path: Path) -> None:
    deployment = ComposeDeployment(PLAN, tmp_path)
    with pytest.raises(BackendError, match="docker compose pause"):
        asyncio.run(deployment.set_node_state("a", NodeState.PAUSED))


def test_a_node_without_an_agent_is_named(tmp_path: Path) -> None:
    deployment = ComposeDeployment(PLAN, tmp_path)
    with pytest.raises(BackendError, match="nobody"):
        asyncio.run(deployment.request("nobody", Command("status")))


class Agents:
    """Answers as agents on a kernel that has netem, but no PIE; keeps what they were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, object]]] = []

    async def order(self, node: str, command: str, **arguments: object) -> dict[str, object]:
        self.told.append((node, command, arguments))
        if command in ("open_ends", "close_ends"):
            raise BackendError("no such command")
        if "pie" in str(arguments.get("tc")):
            raise BackendError("tc: Specified qdisc kind is unknown.")
        if "tc" in arguments:
            return {"qdiscs": "[]"}
        return {"impairments": arguments.get("impairments", {})}


@pytest.mark.parametrize(
    ("wanted", "why"),
    [(impaired(rate="1Mbit", aqm="pie"), "unknown"), (impaired(drop="2-7"), "by their number")],
)
def test_what_the_kernel_cannot_do_the_receivers_shaper_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Impairments, why: str
) -> None:
    deployment, agents = ComposeDeployment(PLAN, tmp_path), Agents()
    deployment.impairment = Impairment.KERNEL
    ends = [end for link in PLAN.links for end in (link.a, link.b)]
    monkeypatch.setattr(deployment, "_agents", agents)
    monkeypatch.setattr(deployment, "_devices", {end: end.interface for end in ends})
    assert asyncio.run(deployment.set_impairments(PLAN.links[0].a, wanted)) == wanted
    # The sender's qdiscs are taken away, then the receiver shapes.
    (sender, _, cleared), (receiver, _, shaped) = agents.told[-2:]
    assert (sender, receiver) == ("a", "r1")
    assert "noqueue" in str(cleared["tc"])
    assert shaped["impairments"] == wanted.to_mapping()
    (note,) = asyncio.run(deployment.begin())
    assert "a:eth1" in note
    assert why in note
    assert agents.told[-1][1] == "begin_shaping"


@pytest.mark.parametrize(
    ("impairment", "dropping", "packets", "notes"),
    [
        (Impairment.KERNEL, False, set(), ["behind netem only"]),
        (Impairment.USERSPACE, False, {"a:eth1", "r1:eth1", "r1:eth2", "b:eth1"}, ["all links"]),
        (Impairment.KERNEL, True, {"a:eth1", "r1:eth1"}, ["behind netem only", "what leaves a:eth1"]),
    ],
    ids=["kernel", "shaper", "both"],
)
def test_links_are_measured_with_what_whoever_shapes_them_takes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    impairment: Impairment,
    dropping: bool,
    packets: set[str],
    notes: list[str],
) -> None:
    """IP packets where a process shapes in netfilter, both ways of such a link; else frames."""
    deployment, agents = ComposeDeployment(PLAN, tmp_path), Agents()
    deployment.impairment = impairment
    ends = [end for link in PLAN.links for end in (link.a, link.b)]
    monkeypatch.setattr(deployment, "_agents", agents)
    monkeypatch.setattr(deployment, "_devices", {end: end.interface for end in ends})
    if dropping:
        asyncio.run(deployment.set_impairments(PLAN.links[0].a, impaired(drop="2-7")))
    prober = deployment.prober([link.name for link in PLAN.links])
    assert len(prober.limits.notes) == len(notes)
    # Who stamps what he reads may be held up: his trains are longer, and not so many at once.
    usual = Limits()
    assert (prober.limits.train_time > usual.train_time) is bool(packets)
    assert (prober.limits.together < usual.together) is bool(packets)
    assert all(part in note for part, note in zip(notes, prober.limits.notes, strict=True))

    with pytest.raises(BackendError, match="no such command"):
        asyncio.run(prober.send({}, linger=0))
    told: dict[str, dict[str, object]] = {}
    for _, command, arguments in agents.told:
        if command == "open_ends":
            told |= cast("dict[str, dict[str, object]]", arguments["ends"])
    assert {name for name, end in told.items() if end["ip"]} == packets
    assert told["a:eth1"]["opposite_address"] == told["r1:eth1"]["address"] != ""
    # What an agent cannot close must not hide why nothing was measured.
    asyncio.run(prober.close())
    assert agents.told[-1][1] == "close_ends"


def test_a_user_space_shaper_is_not_given_ipv6(tmp_path: Path) -> None:
    """It knows packets of IPv4 only: what it does not see would pass unimpaired."""
    topology = line_topology(impaired(delay="5ms"))
    links = [dataclasses.replace(link, ip=IpVersion.DUAL) for link in topology.links]
    deployment = ComposeDeployment(make_plan(dataclasses.replace(topology, links=tuple(links))), tmp_path)
    deployment.impairment = Impairment.USERSPACE
    with pytest.raises(BackendError, match=r"a:eth1: agents shape IPv4 only in user space.*write ip: 4"):
        asyncio.run(deployment.set_impairments(LinkEndpoint("a", "eth1"), impaired(delay="5ms")))
