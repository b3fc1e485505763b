"""The simulated NAT router's table: ports, time-outs, and who is let in."""

from __future__ import annotations

from random import Random

from node.protocol.time import SECOND
from orchestrator.simulation.nat import NatTable

A, B, OUTER = ("10.0.0.1", 4433), ("10.0.0.9", 4433), "10.0.0.5"
SERVER, OTHER = ("10.0.0.6", 4433), ("10.0.0.7", 4433)


def table(*, random_ports: bool = False) -> NatTable:
    return NatTable(OUTER, timeout=10 * SECOND, random_ports=random_ports, rng=Random(1))


def test_port_is_kept_where_it_is_free_and_another_is_given_where_not() -> None:
    nat = table()
    assert nat.outward(A, SERVER, now=0) == (OUTER, 4433)
    seen = nat.outward(B, SERVER, now=0)
    assert seen is not None
    assert seen[0] == OUTER
    assert seen[1] != 4433
    assert nat.inward(SERVER, 4433, now=0) == A
    assert nat.inward(SERVER, seen[1], now=0) == B
    # To another destination the same port is free.
    assert nat.outward(B, OTHER, now=0) == (OUTER, 4433)


def test_only_who_was_spoken_to_gets_in() -> None:
    nat = table()
    nat.outward(A, SERVER, now=0)
    assert nat.inward(OTHER, 4433, now=0) is None
    assert nat.inward(SERVER, 4434, now=0) is None


def test_mapping_lasts_until_just_before_its_time_out_and_use_keeps_it() -> None:
    nat = table()
    nat.outward(A, SERVER, now=0)
    assert nat.inward(SERVER, 4433, now=10 * SECOND - 1) == A
    assert nat.inward(SERVER, 4433, now=20 * SECOND - 2) == A
    assert nat.inward(SERVER, 4433, now=30 * SECOND - 2) is None


def test_random_port_changes_when_the_mapping_was_forgotten() -> None:
    nat = table(random_ports=True)
    first = nat.outward(A, SERVER, now=0)
    assert nat.outward(A, SERVER, now=SECOND) == first
    assert nat.flush() == 1
    second = nat.outward(A, SERVER, now=SECOND)
    assert second != first
    assert first is not None
    assert nat.inward(SERVER, first[1], now=SECOND) is None
