"""An attacker on the path and one beside it: true packets again, cut, bent, backwards, over IPv4 and IPv6."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.capture.pcapng import Capture
from node.dissectors.scapy_layer import INITIATION, RESPONSE, RETRY
from node.protocol.time import SECOND, Duration, Instant
from node.protocol.wire.setup import RETRY_BYTES
from orchestrator.experiment.probing import Probed, probe
from orchestrator.probes import replayed
from orchestrator.probes.wire.headers import read_headers
from orchestrator.topology.load import parse
from orchestrator.topology.model import LinkEndpoint

LAB = """
name: replayed
seed: {seed}
topology:
  defaults:
    ip: {ip}
    transport: {{early-data: true, handshake: {handshake}, retry-threshold: {retry}}}
  nodes: {{a: {{kind: host}}, r: {{kind: router}}, b: {{kind: host}}}}
  links:
    - {{endpoints: ["a:eth1", "r:eth1"], netem: {{delay: 2ms, rate: 20Mbit, queue: 100p}}}}
    - {{endpoints: ["r:eth2", "b:eth1"], netem: {{delay: 3ms, {trouble}}}}}
workloads:
  file: {{kind: bulk, from: a, to: b, size: 60kB, connections: 6}}
  back: {{kind: echo, from: b, to: a, count: 60, interval: 30ms}}
  beacon: {{kind: datagrams, from: a, to: b, size: 2kB, count: 40, interval: 40ms}}
"""
#: Over when its one connection is: nobody is there when its packets come again.
ONE = """
name: replayed
seed: {seed}
topology:
  defaults: {{ip: {ip}, transport: {{handshake: {handshake}, retry-threshold: {retry}}}}}
  nodes: {{a: {{kind: host}}, r: {{kind: router}}, b: {{kind: host}}}}
  links:
    - {{endpoints: ["a:eth1", "r:eth1"], netem: {{delay: 2ms}}}}
    - {{endpoints: ["r:eth2", "b:eth1"], netem: {{delay: 3ms}}}}
workloads:
  file: {{kind: bulk, from: a, to: b, size: 5kB}}
"""
#: Nothing is lost, so no copy comes instead of its original.
TROUBLE = "duplicate: 5%, reorder: 5%"


def probed(
    name: str, directory: Path, *, seed: int, ip: int, handshake: str = "ik", trouble: str = TROUBLE,
    retry: int = 128, lab: str = LAB, duration: Duration = 4 * SECOND,
) -> Probed:  # fmt: skip
    text = lab.format(seed=seed, ip=ip, handshake=handshake, trouble=trouble, retry=retry)
    topology = parse(text.encode(), file="replayed.lab.yml")
    return asyncio.run(
        probe(
            topology, name, "simulation", directory=directory, endpoint=LinkEndpoint("a", "eth1"),
            duration=duration, seed=None,
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


@pytest.mark.parametrize(("seed", "ip", "retry"), [(7, 6, 0), (6, 4, 128)])
def test_who_asks_again_from_elsewhere_is_asked_for_a_cookie_first(
    seed: int, ip: int, retry: int, tmp_path: Path
) -> None:
    """SPEC 3.4-1, 3.4-4: also where RETRY comes again. Without load he is answered anywhere (3-6)."""
    found = probed("replayed", tmp_path, seed=seed, ip=ip, retry=retry, duration=2 * SECOND)
    assert found.wire.details == ()
    assert found.passed, (found.result, found.failures)
    assert (found.result.figures.get("retry_copies", 0) > 20) is (retry == 0)
    assert found.result.figures["initiation_copies"] > 20
    assert (found.result.figures["responses_answered_there"] == 0) is (retry == 0)


def test_a_cookie_opens_nothing_elsewhere_and_nothing_anywhere_once_it_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC 3.4-2, 3.4-3: after its 120 s, and 60 s of what it opened until then (3-5), only RETRY comes."""
    monkeypatch.setattr(replayed, "RATE", 2)
    found = probed("replayed", tmp_path, seed=8, ip=4, retry=0, lab=ONE, duration=260 * SECOND)
    assert found.wire.details == ()
    assert found.passed, (found.result, found.failures)
    assert found.result.figures["responses_answered_there"] == 0
    assert found.result.figures["bytes_answered_there"] > 10 * RETRY_BYTES
    times: dict[int, list[Instant]] = {INITIATION: [], RESPONSE: [], RETRY: []}
    for frame in Capture.open(next(found.directory.glob("r_eth2--*.pcapng"))):
        headers = read_headers(frame.data)
        if headers is not None and frame.data[headers.start] in times:
            times[frame.data[headers.start]].append(frame.at // SECOND)
    assert max(times[RESPONSE]) > 1
    assert max(times[RESPONSE]) <= 120 + 60
    assert min(max(times[INITIATION]), max(times[RETRY])) > 240


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
