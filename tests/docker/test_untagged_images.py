"""A rebuilt image takes the name of the one before it: that one goes, unless used or somebody else's."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from orchestrator.containers import building
from orchestrator.containers.engine import connected
from orchestrator.containers.nodes import Containers, remove_labelled
from orchestrator.images import NODE_STAGES, SOURCE_LABEL, STAGE_LABEL
from orchestrator.topology.load import load
from orchestrator.topology.planning import make_plan
from orchestrator.wiring.state import socket_directory
from tests.netns.labs import new_run_id
from tests.support.command import ROOT, narrows

pytestmark = [pytest.mark.docker, pytest.mark.slow]

NAME = "nw-test-untagged"
OTHER_NAME = "nw-test-untagged-kept"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[docker.DockerClient]:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    monkeypatch.setitem(NODE_STAGES, NAME, "node")
    with connected() as client:
        yield client
        for name in (NAME, OTHER_NAME):
            if exists(client, name):
                client.images.remove(name, force=True)


def built(engine: docker.DockerClient, directory: Path, *, instructions: str = "", **labels: str) -> str:
    """Build an image that nobody has built before, as ours are, and return its id."""
    (directory / "word").write_text(secrets.token_hex(8))
    (directory / "Dockerfile").write_text(f"FROM scratch AS node\nCOPY word /word\n{instructions}\n")
    return building.build(engine, directory, NAME, labels=labels)


def exists(engine: docker.DockerClient, name: str) -> bool:
    try:
        engine.images.get(name)
    except ImageNotFound:
        return False
    return True


def collect(*options: str) -> Any:
    ended = narrows("gc", "-f", "json", *options)
    assert ended.code == 0, ended.stderr
    return ended.json()["images"]


@pytest.mark.parametrize(
    ("instructions", "labels"),
    [("", {SOURCE_LABEL: "0123"}), (f"LABEL {STAGE_LABEL}=node", {})],
    ids=["ours by our build", "ours by the Dockerfile"],
)
def test_a_rebuild_removes_the_image_that_had_the_name(
    engine: docker.DockerClient, tmp_path: Path, instructions: str, labels: dict[str, str]
) -> None:
    first = built(engine, tmp_path, instructions=instructions, **labels)
    second = built(engine, tmp_path, instructions=instructions, **labels)
    assert not exists(engine, first)
    assert engine.images.get(NAME).id == second


def test_building_the_same_again_leaves_it(engine: docker.DockerClient, tmp_path: Path) -> None:
    first = built(engine, tmp_path, **{SOURCE_LABEL: "0123"})
    assert building.build(engine, tmp_path, NAME, labels={SOURCE_LABEL: "0123"}) == first
    assert exists(engine, first)


def test_an_image_of_somebody_else_stays(engine: docker.DockerClient, tmp_path: Path) -> None:
    theirs = built(engine, tmp_path)
    try:
        built(engine, tmp_path, **{SOURCE_LABEL: "0123"})
        assert exists(engine, theirs)
        assert theirs not in collect("--dry-run")
    finally:
        engine.images.remove(theirs)


def test_an_image_that_has_another_name_stays(engine: docker.DockerClient, tmp_path: Path) -> None:
    first = built(engine, tmp_path, **{SOURCE_LABEL: "0123"})
    engine.images.get(first).tag(OTHER_NAME)
    built(engine, tmp_path, **{SOURCE_LABEL: "0123"})
    assert engine.images.get(OTHER_NAME).id == first
    assert first not in collect("--dry-run")


def test_an_image_that_a_container_uses_stays_until_gc_finds_it_unused(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    first = built(engine, tmp_path, **{SOURCE_LABEL: "0123"})
    container = engine.containers.create(first, ["/word"])
    try:
        built(engine, tmp_path, **{SOURCE_LABEL: "0123"})
        assert exists(engine, first)
        assert first not in collect("--dry-run")
    finally:
        container.remove()
    assert first in collect("--dry-run")
    assert exists(engine, first)
    assert first not in collect("--older-than", "1h")
    assert collect("--label", "owner=ci") == []
    assert first in collect()
    assert not exists(engine, first)


def test_gc_without_an_engine_has_no_images_to_remove(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    assert collect() == []


def test_a_container_starts_where_its_image_has_been_removed_meanwhile(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    """As another checkout's build does between our look for the image and our first container."""
    plan = make_plan(load(ROOT / "topologies" / "line.lab.yml"))
    containers = Containers(new_run_id(), tmp_path)
    node = plan.nodes[0]
    containers.write_configuration(plan, node)
    try:
        network = containers.start(engine, f"sha256:{'0' * 64}", plan, node)
        assert network.exists()
        container = engine.containers.get(containers.name(node.name))
        assert container.attrs["Image"] == building.ensure_image(plan)
    finally:
        remove_labelled(containers.run_id)
        shutil.rmtree(socket_directory(containers.run_id))
