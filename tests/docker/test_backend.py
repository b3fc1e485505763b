"""The docker back end: a run passes, leaves nothing, and can be removed whatever becomes of its maker."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from node.control.messages import Command
from orchestrator.backends.base import NodeState
from orchestrator.backends.docker import DockerBackend
from orchestrator.errors import BackendError
from orchestrator.images import LAB_LABEL, NODE_IMAGE, NODE_LABEL, RUN_LABEL, node_source_digest
from orchestrator.topology.load import load
from orchestrator.topology.planning import make_plan
from orchestrator.wiring import cleanup
from orchestrator.wiring.journal import run_ids
from tests.lanes.machine import ROOT
from tests.netns.labs import LINE, left_over, new_run_id, plan_of

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.slow]

LINE_FILE = ROOT / "topologies" / "line.lab.yml"
#: Building the image on a machine that has none of its layers takes a minute.
PATIENCE_SECONDS = 180.0
#: Nodes of LINE_FILE.
CONTAINERS = 4


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def containers_of(engine: docker.DockerClient, run_id: str) -> list[str]:
    found = engine.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run_id}"}, ignore_removed=True)
    return [str(container.name) for container in found]


def narrows(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "orchestrator", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_topology_passes_on_containers_and_leaves_nothing(
    tmp_path: Path, engine: docker.DockerClient, state: Path
) -> None:
    results = tmp_path / "results"
    done = narrows("run", str(LINE_FILE), "--backend", "docker", "-f", "json", "--results", str(results))
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    assert (result["verdict"], result["backend"]) == ("PASS", "docker")
    assert result["impairment"] in ("kernel", "userspace")
    assert result["wire"]["frames"] > 0
    assert result["wire"]["violations"] == 0
    [run_id] = [path.name.rpartition("-")[2] for path in results.iterdir()]
    assert containers_of(engine, run_id) == []
    assert left_over(run_id) == []
    assert list(state.glob("*")) == []


def test_containers_are_labelled_confined_and_without_a_network_of_dockers(
    tmp_path: Path, engine: docker.DockerClient
) -> None:
    plan, run_id = plan_of(LINE), new_run_id()

    async def look() -> None:
        deployment = await DockerBackend().deploy(
            plan, run_id=run_id, directory=tmp_path / "run", capture=False
        )
        try:
            for name in containers_of(engine, run_id):
                container = engine.containers.get(name)
                assert container.labels[LAB_LABEL] == plan.name
                host = container.attrs["HostConfig"]
                assert host["NetworkMode"] == "none"
                assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], None)
                assert host["ReadonlyRootfs"]
                assert not host["Privileged"]
                node = container.labels[NODE_LABEL]
                reply = await deployment.request(node, Command("status"))
                assert reply.ok, reply
        finally:
            await deployment.destroy()
            await deployment.destroy()

    asyncio.run(look())
    assert containers_of(engine, run_id) == []
    assert left_over(run_id) == []


def test_a_stopped_node_does_not_answer_and_does_not_come_back(tmp_path: Path) -> None:
    run_id = new_run_id()

    async def stop_one() -> None:
        deployment = await DockerBackend().deploy(
            plan_of(LINE), run_id=run_id, directory=tmp_path / "run", capture=False
        )
        try:
            await deployment.set_node_state("left", NodeState.PAUSED)
            await deployment.set_node_state("left", NodeState.RUNNING)
            assert (await deployment.request("left", Command("status"))).ok
            await deployment.set_node_state("left", NodeState.STOPPED)
            async for event in deployment.events():
                if event.kind == "node_failed":
                    assert event.node == "left"
                    break
            with pytest.raises(BackendError, match="left"):
                await deployment.request("left", Command("status"))
            with pytest.raises(BackendError, match="deploy again"):
                await deployment.set_node_state("left", NodeState.RUNNING)
        finally:
            await deployment.destroy()

    asyncio.run(stop_one())
    assert left_over(run_id) == []


def test_nothing_is_left_after_a_kill_of_a_run(
    tmp_path: Path, engine: docker.DockerClient, state: Path
) -> None:
    argv = [sys.executable, "-m", "orchestrator", "run", str(LINE_FILE), "--backend", "docker"]
    argv += ["--results", str(tmp_path / "results")]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    run_id = ""
    while not run_id or len(containers_of(engine, run_id)) < CONTAINERS:
        assert time.monotonic() < deadline, "no containers come up"
        assert process.poll() is None, "the run ended before it could be killed"
        run_id = next(iter(run_ids()), "")
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    bystander = engine.containers.create(NODE_IMAGE, labels={RUN_LABEL: "not-of-this-run"})
    try:
        done = narrows("destroy", "--all")
        assert done.returncode == 0, done
        assert containers_of(engine, run_id) == []
        assert left_over(run_id) == []
        assert list(state.glob("*")) == []
        assert cleanup.destroy_all().removed == ()
        bystander.reload()
    finally:
        bystander.remove(force=True)


def test_the_image_is_stale_when_a_source_of_it_changes(tmp_path: Path) -> None:
    for name in ("Dockerfile", ".ci/requirements/node.txt", "node/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = node_source_digest(tmp_path)
    assert node_source_digest(tmp_path) == before
    (tmp_path / "node" / "__pycache__").mkdir()
    (tmp_path / "node" / "__pycache__" / "x.pyc").write_text("1")
    assert node_source_digest(tmp_path) == before, "bytecode is no source"
    (tmp_path / "node" / "__init__.py").write_text("2")
    assert node_source_digest(tmp_path) != before


def test_the_back_end_can_run_here() -> None:
    assert DockerBackend().check() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_an_engine_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    problems = DockerBackend().check()
    assert any("no Docker engine answers" in problem.what for problem in problems)
    assert all(problem.remedy for problem in problems)
    gc.collect()  # the SDK does not close a socket that could not connect: its warning belongs here


def test_the_demo_plans_for_this_back_end() -> None:
    wanted = {
        name
        for link in make_plan(load(ROOT / "topologies" / "demo.lab.yml")).links
        for side in (link.forward, link.reverse)
        for name in side.to_mapping()
    }
    assert wanted <= DockerBackend().capabilities().impairments
