"""An attacker on the path and one beside it: true packets again, cut, bent, backwards, over IPv4 and IPv6."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.protocol.time import SECOND
from orchestrator.experiment.probing import Probed, probe
from orchestrator.topology.load import parse
from orchestrator.topology.model import LinkEndpoint

LAB = """
name: replayed
seed: {seed}
topology:
  defaults:
    ip: {ip}
    transport: {{early-data: true, handshake: {handshake}}}
  nodes: {{a: {{kind: host}}, r: {{kind: router}}, b: {{kind: host}}}}
  links:
    - {{endpoints: ["a:eth1", "r:eth1"], netem: {{delay: 2ms, rate: 20Mbit, queue: 100p}}}}
    - {{endpoints: ["r:eth2", "b:eth1"], netem: {{delay: 3ms, {trouble}}}}}
workloads:
  file: {{kind: bulk, from: a, to: b, size: 60kB, connections: 6}}
  back: {{kind: echo, from: b, to: a, count: 60, interval: 30ms}}
  beacon: {{kind: datagrams, from: a, to: b, size: 2kB, count: 40, interval: 40ms}}
"""
#: Nothing is lost, so no copy comes instead of its original.
TROUBLE = "duplicate: 5%, reorder: 5%"


def probed(
    name: str, directory: Path, *, seed: int, ip: int, handshake: str = "ik", trouble: str = TROUBLE
) -> Probed:
    text = LAB.format(seed=seed, ip=ip, handshake=handshake, trouble=trouble)
    topology = parse(text.encode(), file="replayed.lab.yml")
    return asyncio.run(
        probe(
            topology, name, "simulation", directory=directory, endpoint=LinkEndpoint("a", "eth1"),
            duration=4 * SECOND, seed=None,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("seed", "ip", "handshake"), [(1, 4, "ik"), (2, 6, "xx"), (3, 6, "ik")])
def test_true_packets_sent_again_change_nothing_and_are_answered_little(
    seed: int, ip: int, handshake: str, tmp_path: Path
) -> None:
    """SPEC 3-3, 3-6, 4-2, 4.3-3, 13.2-3, 14-4, 15-5."""
    found = probed("replayed", tmp_path, seed=seed, ip=ip, handshake=handshake)
    assert found.wire.details == ()
    assert found.passed, (found.result, found.failures)
    figures = found.result.figures
    assert figures["most_answered_for_a_byte"] <= 3
    assert figures["bytes_sent_from_addresses_of_its_own"] > 10_000
    copies = {kind: figures[f"{kind}_copies"] for kind in ("initiation", "response", "data", "sealed")}
    assert min(copies.values()) > 20, copies
    assert handshake == "xx" or figures["early_copies"] > 20
    assert handshake == "ik" or figures["completion_copies"] > 20


@pytest.mark.parametrize(("seed", "handshake"), [(2, "xx"), (4, "ik")])
def test_copies_that_come_instead_of_lost_originals_make_no_node_break_a_rule(
    seed: int, handshake: str, tmp_path: Path
) -> None:
    """SPEC 3-6: an INITIATION that came from elsewhere first is taken from where it belongs, too."""
    found = probed("replayed", tmp_path, seed=seed, ip=6, handshake=handshake, trouble="loss: 5%")
    assert found.wire.details == ()
    assert found.passed, (found.result, found.failures)


@pytest.mark.parametrize("ip", [4, 6])
def test_forged_packets_are_answered_with_no_more_than_three_times_their_bytes(
    ip: int, tmp_path: Path
) -> None:
    """SPEC 3-3, 3.1-6, 4.3-3: an INITIATION of XX is answered, and so are DATA packets of nobody's."""
    found = probed("spoofed", tmp_path, seed=5, ip=ip)
    assert found.wire.details == ()
    assert found.passed, (found.result, found.failures)
    figures = found.result.figures
    assert figures["bytes_sent_from_addresses_of_its_own"] > 10_000
    assert figures["bytes_answered_there"] > 0
    assert figures["most_answered_for_a_byte"] <= 3
