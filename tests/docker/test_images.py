"""What is in the images, and what is not."""

from __future__ import annotations

import json
import subprocess

import pytest

from orchestrator.containers.untagged import remove_untagged, untagged
from orchestrator.images import NODE_IMAGE, ORCHESTRATOR_IMAGE, STAGE_LABEL
from tests.lanes.machine import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.slow]

#: The official base image of today is 120 MB, the stand-in of tests/lanes/scripts/base-images.sh 127 MB.
NODE_BYTES_OVER_BASE = 100_000_000
ORCHESTRATOR_BYTES_OVER_NODE = 80_000_000
NODE_QUIC_BYTES_OVER_NODE = 10_000_000


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def images() -> None:
    """The images of the working tree, under names of this test."""
    for target in ("node", "node-quic", "orchestrator"):
        docker("build", "-q", "--target", target, "-t", f"nw-test-{target}", str(ROOT))
    remove_untagged(untagged())  # those that had these names


def inside(image: str, script: str) -> str:
    """Run a shell script in a container of an image that may reach nothing."""
    arguments = ("run", "--rm", "--network", "none", "--cap-drop", "ALL", "--entrypoint", "sh")
    return docker(*arguments, image, "-c", script)


def packages(image: str) -> set[str]:
    program = "from importlib.metadata import distributions as d; print(*(x.name.lower() for x in d()))"
    return set(inside(image, f"python -c '{program}'").split())


def test_the_node_image_has_no_scapy_and_no_docker_sdk() -> None:
    found = packages("nw-test-node")
    assert {"cryptography", "numpy"} <= found
    assert not {"scapy", "docker", "pyyaml", "pydantic", "click", "rich", "pytest", "aioquic"} & found


def test_the_image_for_quic_has_aioquic_beside_what_the_node_image_has() -> None:
    assert packages("nw-test-node-quic") >= {"aioquic", *packages("nw-test-node")}


def test_the_node_image_has_no_orchestrator() -> None:
    listed = inside("nw-test-node", "ls /opt/narrows/app")
    assert listed.split() == ["node"]


def test_no_image_has_a_compiler() -> None:
    for image in ("nw-test-node", "nw-test-orchestrator"):
        found = inside(image, "for c in cc gcc g++ c++ clang tcc make ld as; do command -v $c || true; done")
        assert not found, image


def test_the_node_image_has_the_tools_that_an_agent_calls() -> None:
    found = inside("nw-test-node", "for tool in tc ip ethtool iptables; do command -v $tool; done")
    assert len(found.split()) == 4, found


def test_the_orchestrator_image_has_topologies_probes_and_the_docker_sdk() -> None:
    assert {"scapy", "docker", "pyyaml", "pydantic"} <= packages("nw-test-orchestrator")
    assert "demo.lab.yml" in inside("nw-test-orchestrator", "ls topologies")


def test_the_node_image_checks_its_health_and_starts_the_agent() -> None:
    config = json.loads(docker("image", "inspect", "nw-test-node"))[0]["Config"]
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "node", "health"]
    assert config["Entrypoint"] == ["python", "-m", "node"]


def test_each_image_tells_which_stage_it_was_made_of() -> None:
    for target in ("node", "node-quic", "orchestrator"):
        labels = json.loads(docker("image", "inspect", f"nw-test-{target}"))[0]["Config"]["Labels"]
        assert labels[STAGE_LABEL] == target


def test_images_are_small() -> None:
    size = {
        name: int(docker("image", "inspect", "-f", "{{.Size}}", name))
        for name in ("python:3.13-slim", "nw-test-node", "nw-test-node-quic", "nw-test-orchestrator")
    }
    assert size["nw-test-node"] - size["python:3.13-slim"] < NODE_BYTES_OVER_BASE, size
    assert size["nw-test-node-quic"] - size["nw-test-node"] < NODE_QUIC_BYTES_OVER_NODE, size
    assert size["nw-test-orchestrator"] - size["nw-test-node"] < ORCHESTRATOR_BYTES_OVER_NODE, size


def test_an_image_without_configuration_says_what_is_missing() -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "nw-test-node"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done
    assert "NARROWS_NAME: is missing" in done.stderr


def test_image_names_are_those_of_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert f"image: {NODE_IMAGE}\n" in text
    assert f"image: {ORCHESTRATOR_IMAGE}\n" in text
