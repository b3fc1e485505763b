"""What a container is made with, what its flows need, and when that is enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.containers import equipment
from orchestrator.containers.equipment import Equipment
from orchestrator.images import IMAGE_LABEL, NODE_IMAGE, NODE_QUIC_IMAGE
from orchestrator.topology.load import parse
from orchestrator.topology.planning import make_plan

LAB = """
name: star
topology:
  nodes: {a: {}, r: {kind: router}, b: {}, c: {}}
  links:
    - {endpoints: ["a:eth1", "r:eth1"]}
    - {endpoints: ["r:eth2", "b:eth1"]}
    - {endpoints: ["r:eth3", "c:eth1"]}
workloads:
  film: {kind: bulk, from: a, to: b, size: 1MB, transport: %s}
"""


@pytest.mark.parametrize(
    ("transport", "needed", "given"),
    [
        ("strait", (NODE_IMAGE, NODE_IMAGE), NODE_IMAGE),
        ("quic", (NODE_QUIC_IMAGE, NODE_IMAGE), NODE_QUIC_IMAGE),
        ("{protocol: tcp, congestion: reno}", (NODE_IMAGE, NODE_IMAGE), NODE_IMAGE),
        ("{protocol: tcp, congestion: cubic}", (f"{NODE_IMAGE} +NET_ADMIN", NODE_IMAGE), NODE_IMAGE),
    ],
)
def test_the_ends_of_a_flow_need_its_transport_and_others_nothing(
    transport: str,
    needed: tuple[str, str],
    given: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    allowed = tmp_path_factory.mktemp("proc") / "allowed"
    allowed.write_text("reno\n")
    monkeypatch.setattr(equipment, "_ALLOWED", allowed)
    plan = make_plan(parse((LAB % transport).encode(), file="star.lab.yml"))
    assert tuple(str(Equipment.needed(plan, node)) for node in ("b", "c")) == needed
    # Nodes of a lab run one image, so that it is built once.
    assert str(Equipment.given(plan, "c")) == given


def test_what_a_container_has_is_read_from_the_engine() -> None:
    """One of a lab that was made before containers were labelled with it has the plain image."""
    inspected: dict[str, Any] = {
        "HostConfig": {"CapAdd": None, "Sysctls": None},
        "Config": {"Labels": {}},
    }
    assert str(Equipment.of(inspected)) == NODE_IMAGE
    labels = {IMAGE_LABEL: NODE_QUIC_IMAGE}
    made = Equipment(NODE_QUIC_IMAGE, frozenset({"NET_ADMIN"}), ipv6=True)
    host = {"CapAdd": ["CAP_NET_ADMIN"], "Sysctls": made.sysctls}
    assert Equipment.of({"HostConfig": host, "Config": {"Labels": labels}}) == made
    assert str(made) == f"{NODE_QUIC_IMAGE} +NET_ADMIN +IPv6"


def test_more_than_is_needed_is_enough_and_less_is_not() -> None:
    plain = Equipment(NODE_IMAGE, frozenset(), ipv6=False)
    able = replace(plain, capabilities=frozenset({"NET_ADMIN"}))
    quic, six = replace(plain, image=NODE_QUIC_IMAGE), replace(plain, ipv6=True)
    every = (plain, able, quic, six)
    assert [has.serves(plain) for has in every] == [True, True, True, True]
    for needed in (able, quic, six):
        assert [has.serves(needed) for has in every] == [has is needed for has in every]
