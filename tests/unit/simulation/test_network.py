"""Stations, routes and links, without transport."""

from __future__ import annotations

from node.protocol.time import MILLISECOND
from orchestrator.simulation.network import Network
from orchestrator.simulation.packet import Packet, to_frame
from orchestrator.simulation.scheduler import Scheduler
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan
from tests.support.topologies import impaired, line

THREE_HOPS = line(impaired(delay="1ms"), impaired(delay="2ms"), impaired(delay="4ms"))


class Arrivals:
    """A network whose host b notes what arrives, and when."""

    def __init__(self, plan: DeploymentPlan) -> None:
        self.plan = plan
        self.network = Network(plan, Scheduler())
        self.got: list[tuple[int, Packet]] = []
        self.network.stations["b"].deliver = lambda packet: self.got.append(
            (self.network.scheduler.now, packet)
        )

    def packet(self, payload: bytes = b"hello", *, port: int | None = None, ttl: int = 64) -> Packet:
        a, b = self.plan.node("a"), self.plan.node("b")
        return Packet((a.ipv4, a.port), (b.ipv4, b.port if port is None else port), payload, ttl=ttl)

    def send(self, packet: Packet) -> None:
        self.network.stations["a"].send(packet)
        self.network.scheduler.run()


def test_a_packet_crosses_all_hops_and_each_router_takes_one_from_its_ttl() -> None:
    arrivals = Arrivals(THREE_HOPS)
    arrivals.send(arrivals.packet())
    ((at, packet),) = arrivals.got
    assert (at, packet.payload, packet.ttl) == (7 * MILLISECOND, b"hello", 62)


def test_ttl_ends_a_packet_at_the_router_that_may_not_send_it_on() -> None:
    arrivals = Arrivals(THREE_HOPS)
    arrivals.send(arrivals.packet(ttl=3))
    assert len(arrivals.got) == 1
    arrivals.send(arrivals.packet(ttl=2))
    assert len(arrivals.got) == 1
    assert arrivals.network.stations["r2"].drops == {"time to live exceeded": 1}


def test_mtu_is_the_last_size_that_passes() -> None:
    arrivals = Arrivals(THREE_HOPS)
    arrivals.send(arrivals.packet(bytes(1472)))
    assert len(arrivals.got) == 1
    arrivals.send(arrivals.packet(bytes(1473)))
    assert len(arrivals.got) == 1
    assert arrivals.network.stations["a"].drops == {"longer than the MTU": 1}


def test_nobody_listens_at_other_ports() -> None:
    arrivals = Arrivals(THREE_HOPS)
    arrivals.send(arrivals.packet(port=9))
    assert arrivals.network.stations["b"].drops == {"no socket": 1}


def test_there_is_no_route_to_elsewhere() -> None:
    arrivals = Arrivals(THREE_HOPS)
    arrivals.send(Packet(("10.0.0.1", 1), ("192.0.2.1", 1), b""))
    assert arrivals.network.stations["a"].drops == {"no route": 1}


def test_a_node_hears_itself() -> None:
    arrivals = Arrivals(THREE_HOPS)
    b = arrivals.plan.node("b")
    arrivals.network.stations["b"].send(Packet((b.ipv4, 1), (b.ipv4, b.port), b"self"))
    arrivals.network.scheduler.run()
    assert [packet.payload for _, packet in arrivals.got] == [b"self"]


def test_an_injected_frame_travels_as_if_its_endpoint_had_sent_it() -> None:
    arrivals = Arrivals(THREE_HOPS)
    frame = to_frame(arrivals.packet(b"forged"), bytes(6), bytes(6))
    arrivals.network.inject(LinkEndpoint("a", "eth1"), frame)
    arrivals.network.inject(LinkEndpoint("a", "eth1"), b"no frame at all")
    arrivals.network.scheduler.run()
    assert [packet.payload for _, packet in arrivals.got] == [b"forged"]
    assert arrivals.network.stations["r1"].drops == {"not a valid packet": 1}


def test_damage_in_the_payload_arrives_and_damage_in_a_header_does_not() -> None:
    arrivals = Arrivals(line(impaired(corrupt="100%")))
    for _ in range(1000):
        arrivals.network.stations["a"].send(arrivals.packet(bytes(1000)))
    arrivals.network.scheduler.run()
    dropped = arrivals.network.stations["b"].drops["not a valid packet"]
    assert len(arrivals.got) + dropped == 1000
    # 36 of 1,042 bytes matter to the kernel.
    assert 10 <= dropped <= 70
    assert all(packet.payload.count(0) == 999 for _, packet in arrivals.got if packet.payload != bytes(1000))


def test_taps_see_what_enters_and_what_leaves() -> None:
    arrivals = Arrivals(line(impaired(delay="3ms", duplicate="100%")))
    seen: list[tuple[int, bool]] = []
    direction = arrivals.network.directions[LinkEndpoint("a", "eth1")]
    direction.taps.append(lambda now, delivered, packet: seen.append((now, delivered)))
    arrivals.send(arrivals.packet())
    assert seen == [(0, False), (3 * MILLISECOND, True), (3 * MILLISECOND, True)]


def test_each_direction_draws_its_own_chance_by_name() -> None:
    """Adding a node or a link leaves the draws of all others alone."""
    short = line(impaired(loss="50%"))
    long = line(impaired(loss="50%"), impaired())
    fates = []
    for plan in (short, long):
        network = Network(plan, Scheduler())
        direction = network.directions[LinkEndpoint("a", "eth1")]
        fates.append([bool(direction.model.enqueue(100, number)) for number in range(100)])
        assert fates[-1] != [
            bool(network.directions[LinkEndpoint("b", "eth1")].model.enqueue(100, number))
            for number in range(100)
        ]
    # The short line's direction ends at b, the long one's at r1: by name they differ.
    assert fates[0] != fates[1]
