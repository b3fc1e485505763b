"""TCP and QUIC between containers: the image with aioquic is made where a flow asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.containers.building import build
from orchestrator.containers.engine import connected
from orchestrator.errors import BackendError
from orchestrator.images import BASE_IMAGE, NODE_QUIC_IMAGE
from tests.support.command import narrows

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.slow]

LAB = """
name: versus
time-limit: 60s
topology:
  nodes: {a: {}, b: {}}
  links:
    - {endpoints: ["a:eth1", "b:eth1"], netem: {delay: 5ms, rate: 50Mbit, queue: 100p}}
workloads:
  quic: {kind: bulk, from: a, to: b, size: 300kB, transport: quic}
  tcp: {kind: bulk, from: b, to: a, size: 300kB, transport: tcp}
expect: [integrity == ok]
"""


def test_flows_over_quic_and_tcp_run_in_the_image_that_has_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    file = tmp_path / "versus.lab.yml"
    file.write_text(LAB)
    done = narrows("run", file, "--backend", "docker", "--results", tmp_path / "out", "-f", "json")
    assert done.code == 0, done.stderr + done.stdout
    flows = done.json()["flows"]
    assert {name: flow["transport"] for name, flow in flows.items()} == {"quic": "quic", "tcp": "tcp"}
    assert all(flow["intact"] for flow in flows.values())


def test_an_image_that_cannot_be_built_says_what_failed_and_what_to_do(
    tmp_path: Path,
) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE} AS node-quic\nRUN echo no route to the index of packages; exit 3\n"
    )
    with connected() as engine:
        before = {container.id for container in engine.containers.list(all=True)}
        with pytest.raises(BackendError) as caught:
            build(engine, tmp_path, NODE_QUIC_IMAGE, labels={})
        assert {container.id for container in engine.containers.list(all=True)} <= before
    said = str(caught.value)
    assert f"the image {NODE_QUIC_IMAGE} cannot be built in {tmp_path}" in said
    assert "non-zero code: 3" in said
    assert "\n  no route to the index of packages" in said
    assert f"docker save {NODE_QUIC_IMAGE} |" in said
