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
from orchestrator.images import LAB_LABEL, NODE_LABEL, RUN_LABEL
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
