"""Deploying again on containers: only the difference is made, and what all of it is labelled with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from node.control.client import ControlClient
from orchestrator.agents import Agents
from orchestrator.containers.equipment import capabilities
from orchestrator.images import LAB_LABEL, NODE_IMAGE, NODE_LABEL, NODE_QUIC_IMAGE, RUN_LABEL
from orchestrator.topology.load import load
from orchestrator.topology.planning import make_plan
from orchestrator.wiring import cleanup, live
from tests.netns.labs import PATIENCE_SECONDS, left_over
from tests.support.command import narrows
from tests.unit.topology.test_difference import BASE, MORE

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.slow]

LABELLED = "labels: {team: net}\n"
IMPAIRED = BASE.replace("delay: 1ms", "delay: 7ms")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    for name, text in (("base", BASE), ("more", MORE), ("impaired", IMPAIRED)):
        (tmp_path / f"{name}.lab.yml").write_text(text + LABELLED)
    yield tmp_path
    run_ids = [lab.run_id for lab in cleanup.list_labs()]
    cleanup.destroy_all()
    assert [left_over(run_id) for run_id in run_ids] == [[] for _ in run_ids]


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def deploy(place: Path, name: str, *options: str) -> dict[str, Any]:
    results = ("--results", place / "results")
    ended = narrows(
        "deploy", place / f"{name}.lab.yml", "--backend", "docker", *results, "-f", "json", *options
    )
    assert ended.code == 0, ended.stderr
    return ended.json()


def changes(told: dict[str, Any]) -> list[str]:
    return [f"{change['action']} {change['what']} {change['name']}" for change in told["changes"]]


def containers(engine: docker.DockerClient, run_id: str) -> dict[str, tuple[str, int]]:
    """Containers of a run, by node: the id, and the process."""
    found = engine.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run_id}"})
    return {one.labels[NODE_LABEL]: (str(one.id), one.attrs["State"]["Pid"]) for one in found}


def reaches(run_id: str, source: str, target: str) -> bool:
    """Whether an agent moves bytes to another: both know each other, and the routes are there."""
    lab = live.find(run_id)

    async def move() -> bool:
        agents = Agents()
        await agents.connect(
            {node: ControlClient.connect_unix(lab.node(node).control) for node in (source, target)}
        )
        try:
            for role, node, peer in (("target", target, source), ("source", source, target)):
                options = {"size": 50_000}
                await agents.order(
                    node, "start_flow", flow="film", workload="bulk", role=role, peer=peer, options=options
                )
            async for event in agents.events():
                if event.kind in ("flow_finished", "node_failed") and event.node == source:
                    return event.data.get("ok") is True
            return False
        finally:
            await agents.close()

    return asyncio.run(asyncio.wait_for(move(), PATIENCE_SECONDS))


def test_containers_come_go_and_are_found_by_their_labels(place: Path, engine: docker.DockerClient) -> None:
    run_id = deploy(place, "base", "--label", "ticket=7")["run_id"]
    before = containers(engine, run_id)
    assert sorted(before) == ["left", "middle", "right"]
    labels = engine.containers.get(before["left"][0]).labels
    wanted = {LAB_LABEL: "base", RUN_LABEL: run_id, NODE_LABEL: "left", "team": "net", "ticket": "7"}
    assert labels.items() >= wanted.items()
    listed = narrows("inspect", "--label", "ticket=7", "-f", "json").json()
    assert [lab["run_id"] for lab in listed["labs"]] == [run_id]
    assert narrows("gc", "--deployed", "--label", "ticket=8", "-f", "json").code == 0
    assert deploy(place, "base")["changes"] == []
    assert containers(engine, run_id) == before

    tried = deploy(place, "more", "--dry-run")
    assert changes(tried) == [
        "add node far",
        "add link middle:eth3--far:eth1",
        "change agent left",
        "change agent right",
    ]
    assert containers(engine, run_id) == before
    grown = deploy(place, "more")
    assert (grown["run_id"], grown["changes"]) == (run_id, tried["changes"])
    assert containers(engine, run_id).items() > before.items(), "what stays is not started again"
    assert reaches(run_id, "left", "far")

    assert changes(deploy(place, "impaired")) == [
        "remove link middle:eth3--far:eth1",
        "remove node far",
        "change impairments left:eth1",
        "change impairments middle:eth1",
        "change agent left",
        "change agent right",
    ]
    assert containers(engine, run_id) == before
    assert reaches(run_id, "left", "right")


def test_a_container_that_has_ended_is_made_anew_with_its_links(
    place: Path, engine: docker.DockerClient
) -> None:
    run_id = deploy(place, "base")["run_id"]
    before = containers(engine, run_id)
    engine.containers.get(before["left"][0]).kill()
    assert changes(deploy(place, "base")) == ["add node left", "add link left:eth1--middle:eth1"]
    after = containers(engine, run_id)
    assert after["left"] != before["left"]
    assert (after["middle"], after["right"]) == (before["middle"], before["right"])
    assert reaches(run_id, "left", "right")
    assert deploy(place, "base")["changes"] == []


def test_a_container_that_lacks_what_a_flow_needs_is_made_anew(
    place: Path, engine: docker.DockerClient
) -> None:
    """An image and capabilities cannot be given to one that runs."""
    flow = "workloads: {film: {kind: bulk, from: left, to: far, size: 100kB, transport: {protocol: %s}}}\n"
    for protocol in ("quic", "tcp"):
        (place / f"{protocol}.lab.yml").write_text(MORE + LABELLED + flow % protocol)
    run_id = deploy(place, "more")["run_id"]
    before = containers(engine, run_id)
    links = ("left:eth1--middle:eth1", "middle:eth3--far:eth1")

    tried = deploy(place, "quic", "--dry-run")
    assert changes(tried) == [
        *(f"remove link {link}" for link in links),
        *("change node left", "change node far"),
        *(f"add link {link}" for link in links),
    ]
    nodes = [change for change in tried["changes"] if change["what"] == "node"]
    assert {(node["before"], node["after"]) for node in nodes} == {(NODE_IMAGE, NODE_QUIC_IMAGE)}
    assert containers(engine, run_id) == before
    assert deploy(place, "quic")["changes"] == tried["changes"]
    after = containers(engine, run_id)
    assert {node for node in after if after[node] != before[node]} == {"left", "far"}
    for node in ("left", "far"):
        found = engine.containers.get(after[node][0]).exec_run(["python", "-c", "import aioquic"])
        assert found.exit_code == 0, found.output
    assert reaches(run_id, "left", "far")
    assert deploy(place, "quic")["changes"] == []

    # What has more than it needs stays; TCP's default needs a capability where the kernel restricts it.
    lacking = bool(capabilities(make_plan(load(place / "tcp.lab.yml")), "left"))
    assert len(deploy(place, "tcp")["changes"]) == (6 if lacking else 0)
    given = {node: engine.containers.get(one).attrs for node, (one, _) in containers(engine, run_id).items()}
    assert {node for node, one in given.items() if one["HostConfig"]["CapAdd"]} == (
        {"left", "far"} if lacking else set()
    )
    assert reaches(run_id, "left", "far")
    assert deploy(place, "tcp")["changes"] == deploy(place, "more")["changes"] == []


def test_a_container_that_lacks_ipv6_is_made_anew(place: Path, engine: docker.DockerClient) -> None:
    """The engine turns it off for ever in a container that was not made for it."""
    dual = MORE.replace('"far:eth1"], ', '"far:eth1"], ip: dual, ')
    (place / "dual.lab.yml").write_text(dual + LABELLED)
    run_id = deploy(place, "more")["run_id"]
    before = containers(engine, run_id)
    told = deploy(place, "dual")["changes"]
    assert [change["name"] for change in told if change["what"] == "node"] == ["middle", "far"]
    assert {change["after"] for change in told if change["what"] == "node"} == {f"{NODE_IMAGE} +IPv6"}
    after = containers(engine, run_id)
    assert {node for node in after if after[node] != before[node]} == {"middle", "far"}
    assert reaches(run_id, "left", "far")
    assert deploy(place, "dual")["changes"] == []
