"""The wire probe where a NAT router changes addresses, and over IPv6: real runs, whole and doctored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from node.dissectors.scapy_layer import DATA, INITIATION, PathResponse
from node.protocol.datagrams import SocketAddress
from orchestrator.experiment.kept import KeptRun, find_run
from orchestrator.experiment.runner import run
from orchestrator.probes.wire.sightings import INJECTED_DSCP
from orchestrator.simulation.packet import Packet
from orchestrator.topology.load import parse
from tests.support.doctored import Doctored, Sighting

LAB = """
name: places
topology:
  defaults: {{ip: {ip}}}
  nodes: {{a: {{kind: host}}, n: {middle}, b: {{kind: host}}}}
  links:
    - {{endpoints: ["a:eth1", "n:eth1"], netem: {{delay: 1ms, rate: 20Mbit, queue: 400p}}}}
    - {{endpoints: ["n:eth2", "b:eth1"], netem: {{delay: 5ms}}}}
workloads:
  file: {{kind: request-response, from: a, to: b, count: 4, size: 20kB, response: 100kB, streams: 2}}
timeline: [{timeline}]
"""
NAT = "{kind: nat, timeout: 30s, ports: random}"
ELSEWHERE = {4: "192.0.2.9", 6: "2001:db8::9"}
INSIDE, OUTSIDE = "a:eth1", "n:eth2"


def ran(directory: Path, *, ip: int = 4, middle: str = "{kind: router}", timeline: str = "") -> KeptRun:
    text = LAB.format(ip=ip, middle=middle, timeline=timeline)
    result = asyncio.run(run(parse(text.encode(), file="places.lab.yml"), "simulation", directory=directory))
    assert result.verdict.value == "PASS", result.reasons
    return find_run(result.directory)


@pytest.fixture(scope="module")
def nat_run(tmp_path_factory: pytest.TempPathFactory) -> KeptRun:
    """Behind a NAT router that forgets its mapping while data comes back."""
    return ran(tmp_path_factory.mktemp("nat"), middle=NAT, timeline="{at: 45ms, nat-flush: n}")


@pytest.fixture(scope="module")
def ipv6_run(tmp_path_factory: pytest.TempPathFactory) -> KeptRun:
    return ran(tmp_path_factory.mktemp("ipv6"), ip=6)


@pytest.fixture
def nat(nat_run: KeptRun, tmp_path: Path) -> Doctored:
    return Doctored(nat_run, tmp_path)


@pytest.fixture
def ipv6(ipv6_run: KeptRun, tmp_path: Path) -> Doctored:
    return Doctored(ipv6_run, tmp_path)


def bent(packet: Packet, *, source: str = "") -> Packet:
    """Return a packet that no key opens, maybe from another address."""
    address: SocketAddress = (source or packet.source[0], packet.source[1])
    return Packet(address, packet.destination, packet.payload[:-1] + bytes((packet.payload[-1] ^ 1,)))


# -- behind a NAT router


def test_a_right_run_behind_a_nat_router_has_no_violation(nat: Doctored) -> None:
    """A datagram is one on both sides of the router, though its addresses differ; and not sent twice."""
    report = nat.report()
    assert [str(violation) for violation in report.violations] == []
    assert report.complete
    assert report.notes == []
    assert report.frames == len(nat.seen)
    assert report.distinct == len([*nat.all(INSIDE, "a"), *nat.all(OUTSIDE, "b")])
    assert report.facts["ipv4 datagrams"] == report.distinct
    assert report.facts["addresses"] == 2


def test_packets_from_the_routers_outer_address_are_its_hosts_and_from_others_are_not(nat: Doctored) -> None:
    """SPEC 2-3: what is from the outer address is looked into; only then is its tag wrong."""
    one = nat.first(OUTSIDE, "n", kind=DATA)
    nat.seen.append(one.changed(bent))
    assert nat.rules() == ["4.1-4"]
    nat.seen[-1] = one.changed(lambda packet: bent(packet, source=ELSEWHERE[4]))
    assert nat.rules() == ["2-3"]


def test_what_reached_the_router_has_not_reached_the_host_behind_it(nat: Doctored) -> None:
    """SPEC 5-8: a packet that was lost inside was not received, whatever its destination was outside."""
    lost = list(nat.all(INSIDE, "n", kind=DATA))[20].packet.payload
    nat.leave_out(lost, INSIDE)
    assert nat.report().violations[0].rule == "5-8"


def test_a_host_that_sends_twice_is_blamed_and_its_router_is_not(nat: Doctored) -> None:
    """SPEC 4-1: a NAT router's addresses are on what others sent."""
    nat.seen.append(nat.first(OUTSIDE, "n", kind=DATA))
    assert nat.rules() == []
    nat.seen.append(nat.first(INSIDE, "a", kind=DATA))
    assert nat.rules() == ["4-1"]


def test_a_mapping_that_was_forgotten_leaves_an_address_to_be_validated(nat: Doctored) -> None:
    """SPEC 13.2-3: without the answer to its challenge the responder may send but three times what came."""
    answers = [
        one
        for one, frames in nat.frames(nat.all(INSIDE, "a"))
        if any(isinstance(frame, PathResponse) for frame in frames)
    ]
    assert answers
    for one in answers:
        nat.leave_out(one.packet.payload)
    # It acknowledges the answers, which are gone now, as well.
    assert nat.rules() == ["13.2-3", "5-2"]


# -- over IPv6


def test_a_right_run_over_ipv6_has_no_violation(ipv6: Doctored) -> None:
    report = ipv6.report()
    assert [str(violation) for violation in report.violations] == []
    assert report.notes == []
    assert report.frames == 4 * report.distinct
    assert (report.facts["ipv6 datagrams"], report.facts["ipv4 datagrams"]) == (report.distinct, 0)


@pytest.mark.parametrize(("kind", "rule"), [(INITIATION, "2-1"), (DATA, "2-3")])
def test_a_packet_from_the_ipv6_address_of_nobody_is_caught(ipv6: Doctored, kind: int, rule: str) -> None:
    one = ipv6.first(INSIDE, "a", kind=kind)
    ipv6.seen.append(
        one.changed(
            lambda packet: Packet((ELSEWHERE[6], packet.source[1]), packet.destination, packet.payload)
        )
    )
    assert ipv6.rules() == [rule]


def test_an_ipv6_packet_may_be_as_long_as_the_mtu_and_no_longer(ipv6: Doctored) -> None:
    """SPEC 1-1; the IPv6 header counts, and is longer. What fits is looked into: its tag is wrong."""

    def of_length(packet: Packet, length: int) -> Packet:
        payload = packet.payload[:13] + bytes(length - 48 - 13)
        return Packet(packet.source, packet.destination, payload)

    one = ipv6.first(INSIDE, "a", kind=DATA)
    (mtu,) = {link.mtu for link in ipv6.run.plan.links}
    ipv6.seen.append(one.changed(lambda packet: of_length(packet, mtu)))
    assert ipv6.rules() == ["4.1-4"]
    ipv6.seen[-1] = one.changed(lambda packet: of_length(packet, mtu + 1))
    assert ipv6.rules() == ["1-1"]


def test_ipv6_headers_with_wrong_lengths_are_caught(ipv6: Doctored) -> None:
    one = ipv6.first(INSIDE, "a", kind=DATA)
    broken = bytearray(one.data)
    broken[19] ^= 1  # the payload's length, low byte
    ipv6.seen.append(replace(one, data=bytes(broken)))
    assert ipv6.rules() == ["1"]


def _marked(one: Sighting, ecn: int) -> Sighting:
    return one.changed(
        lambda packet: Packet(packet.source, packet.destination, packet.payload, ecn=ecn, ttl=packet.ttl)
    )


def test_marks_are_read_from_the_traffic_class(ipv6: Doctored) -> None:
    """SPEC 8.2-2, 8.2-1: as it was sent, and as it came: a mark that nobody counted."""
    sent = list(ipv6.all(INSIDE, "a", kind=DATA))[4]
    place = ipv6.seen.index(sent)
    ipv6.seen[place] = _marked(sent, 1)
    assert ipv6.rules() == ["8.2-2"]
    ipv6.seen[place] = sent
    came = next(one for one in ipv6.all(OUTSIDE, "n", entered=False, kind=DATA) if one.packet.ecn == 2)
    ipv6.seen[ipv6.seen.index(came)] = _marked(came, 3)
    assert ipv6.rules() == ["8.2-1"]


def test_probes_are_told_by_the_dscp_in_the_traffic_class(ipv6: Doctored) -> None:
    one = ipv6.first(INSIDE, "a", kind=DATA)
    ipv6.seen.append(
        one.changed(
            lambda packet: Packet(packet.source, packet.destination, b"\x42rubbish", dscp=INJECTED_DSCP)
        )
    )
    report = ipv6.report()
    assert (report.injected, report.violations) == (1, [])
