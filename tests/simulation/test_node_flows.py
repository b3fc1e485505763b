"""Whole nodes over a hostile network: a file arrives intact in every ARQ mode and integrity profile.

Single flipped bits, as here, are within what even ``xor`` detects.
"""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.configuration import ARQ_CODES, INTEGRITY_CODES
from node.protocol.errors import ErrorCode
from node.protocol.time import MILLISECOND, Duration
from node.protocol.wire.data import EARLY
from node.protocol.wire.setup import INITIATION, RESPONSE
from tests.support.nodes import NodePair
from tests.support.pair import hostile, perfect


@pytest.mark.parametrize("arq", ARQ_CODES)
@pytest.mark.parametrize("integrity", INTEGRITY_CODES)
def test_a_file_arrives_intact_through_loss_duplication_reordering_and_damage(
    integrity: str, arq: str
) -> None:
    network = hostile(loss=0.2, duplicate=0.05, reorder=0.1, corrupt=0.01)
    pair = NodePair(network, transport={"integrity": integrity, "arq": arq})
    pair.flow("f", "bulk", size=300_000)
    source, target = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert source["sha256"] == target["sha256"]
    assert len(pair.sinks["f"].data) == 300_000


@pytest.mark.parametrize("workload", ["bulk", "echo", "messages"])
def test_the_second_flow_to_a_node_begins_with_early_data(workload: str) -> None:
    """SPEC 15: the target has all of a short file a round trip sooner."""
    options = {"bulk": {"size": 500}, "echo": {"count": 3}, "messages": {"count": 3}}[workload]
    durations = {}
    for early in (False, True):
        pair = NodePair(perfect(50 * MILLISECOND), transport={"early_data": early})
        pair.flow("first", workload, **options)
        pair.run_until_finished("first")
        began = pair.now
        pair.flow("second", workload, **options)
        pair.run_until_finished("second")
        for name in ("first", "second"):
            for node in ("left", "right"):
                end = pair.finished(node, name)
                assert end is not None
                assert end["ok"], end["error"]
        started = next(
            e.time for e in pair.events
            if (e.node, e.kind, e.data.get("flow")) == ("right", "flow_started", "second")
        )  # fmt: skip
        durations[early] = started - began
    assert durations == {False: 150 * MILLISECOND, True: 50 * MILLISECOND}


FLOWS_WITH_EARLY_DATA = [
    ("bulk", {"size": 500}),  # all of it comes early
    ("bulk", {"size": 100_000}),
    ("echo", {"count": 3}),
    ("messages", {"count": 3}),
    ("request-response", {"count": 3}),
    ("files", {"sizes": [300, 40_000]}),
    ("incast", {"size": 1000, "rounds": 3}),
]


class EarlyFlow:
    """Two nodes that know each other, and a flow between them that has just begun with early data.

    ``flight`` is what its source sent at once, which has not arrived yet. ``behind``: the name of another
    flow, which is under way already, without early data.
    """

    def __init__(
        self, workload: str, options: dict[str, object], connections: int = 1, behind: str = ""
    ) -> None:
        self.pair = NodePair(self._fate, transport={"early_data": True})
        self.flight: list[bytes] = []
        self.loses_responses = False
        self.pair.flow("first", "bulk", size=1)
        self.pair.run_until_finished("first")
        common = {"workload": workload, "options": options, "connections": connections}
        if behind:
            self._start(behind, transport={"early_data": False}, **common)
            while not any(e.node == "right" and e.data.get("flow") == behind for e in self.pair.events):
                assert self.pair.step()
        self.flight.clear()
        self.pair.events.clear()
        self._start("f", **common)
        assert [packet[0] for packet in self.flight][:2] == [INITIATION, EARLY]

    def _start(self, name: str, **common: object) -> None:
        for node, role, peer in (("right", "target", "left"), ("left", "source", "right")):
            reply = self.pair.command(node, "start_flow", flow=name, role=role, peer=peer, **common)
            assert reply.ok, reply.error

    def _fate(self, datagram: bytearray, rng: Random) -> list[Duration]:
        if datagram[0] in (INITIATION, EARLY):
            self.flight.append(bytes(datagram))
        return [] if datagram[0] == RESPONSE and self.loses_responses else [50 * MILLISECOND]

    def expect_one_good_flow(self) -> None:
        """Fail unless the flow came to its end at both nodes, whole, and began and ended there once."""
        source, target = self.pair.run_until_finished("f")
        for end in (source, target):
            assert end["ok"], end["error"]
        assert source["sha256"] == target["sha256"]
        assert source["bytes"] == target["bytes"]
        for kind in ("flow_started", "flow_finished"):
            assert [e.node for e in self.pair.events if e.kind == kind].count("right") == 1
        assert not [e.data for e in self.pair.events if e.kind == "warning"]
        progress = [e.data for e in self.pair.events if e.kind == "flow_progress"]
        assert all(int(str(data["bits_per_second"])) >= 0 for data in progress)


@pytest.mark.parametrize(("workload", "options"), FLOWS_WITH_EARLY_DATA)
def test_a_copy_of_early_data_that_comes_first_takes_the_flow_from_nobody(
    workload: str, options: dict[str, object]
) -> None:
    """SPEC 15-6: it is delivered under a connection that nobody confirms, then again under the true one."""
    flow = EarlyFlow(workload, options)
    for datagram in flow.flight:
        flow.pair.inject("right", datagram, ("elsewhere", 1))
    assert [e.kind for e in flow.pair.events if e.node == "right"] == ["flow_started"]
    flow.expect_one_good_flow()


@pytest.mark.parametrize(("workload", "options"), FLOWS_WITH_EARLY_DATA)
def test_early_data_from_the_port_before_takes_the_flow_from_nobody(
    workload: str, options: dict[str, object]
) -> None:
    """SPEC 3-6, 15-6: a NAT forgets its mapping before RESPONSE; INITIATION comes again from another port."""
    flow = EarlyFlow(workload, options)
    flow.loses_responses = True
    while not any(e.node == "right" for e in flow.pair.events):
        assert flow.pair.step()
    flow.loses_responses, flow.pair.ports["left"] = False, 77
    flow.expect_one_good_flow()


def test_a_member_of_an_incast_whose_copy_came_first_keeps_its_place() -> None:
    """The round has begun with the copy: neither the others nor the true one may miss it, or begin twice."""
    options: dict[str, object] = {"size": 1000, "rounds": 3, "group": "g", "members": 2}
    flow = EarlyFlow("incast", options, behind="other")
    for datagram in flow.flight:
        flow.pair.inject("right", datagram, ("elsewhere", 1))
    for name in ("f", "other"):
        source, target = flow.pair.run_until_finished(name)
        assert (source["ok"], target["ok"]) == (True, True), (source["error"], target["error"])
        assert source["bytes"] == target["bytes"] == 3000


def test_copies_of_each_connection_of_a_flow_take_none_of_them() -> None:
    flow = EarlyFlow("bulk", {"size": 500}, connections=4)
    done = 0
    while flow.pair.finished("left", "f") is None:
        for datagram in flow.flight[done:]:
            flow.pair.inject("right", datagram, ("elsewhere", 1))
        done = len(flow.flight)
        assert flow.pair.step()
    flow.expect_one_good_flow()
    assert done >= 8


def test_a_copy_alone_keeps_the_flow_waiting_for_its_peer() -> None:
    """Nobody confirms it: the flow goes on once the source begins anew."""
    flow = EarlyFlow("bulk", {"size": 500})
    for datagram in flow.flight:
        flow.pair.inject("right", datagram, ("elsewhere", 1))
    flow.pair.command("left", "stop_flow", flow="f")
    while flow.pair.step():
        pass
    told = [e for e in flow.pair.events if e.node == "right"]
    assert "flow_finished" not in [e.kind for e in told]
    assert (told[-1].kind, told[-1].data["code"]) == ("connection_closed", ErrorCode.HANDSHAKE_TIMEOUT)
    flow.pair.events.clear()
    again = {"flow": "f", "workload": "bulk", "options": {"size": 500}, "role": "source", "peer": "right"}
    assert flow.pair.command("left", "start_flow", **again).ok
    source, target = flow.pair.run_until_finished("f")
    assert (source["ok"], target["ok"]) == (True, True)
