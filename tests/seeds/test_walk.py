"""Thousands of seeds in each run of all tests, and a walker that does not pass over what fails."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.endpoint import Endpoint
from node.protocol.identity import Identity
from tests.seeds import walk
from tests.seeds.leftovers import expect_nothing_left, held
from tests.seeds.settings import FIXED, further_settings, transfer_settings
from tests.support.pair import Pair

#: Chosen by measurement: 25 and 7 ms of CPU each, so together three quarters of a minute. They are the same
#: in each run: `python -m tests.seeds` walks others.
SEEDS = {"transfer": 1000, "ends": 750, "messages": 500}
#: Behind the seeds that tests/simulation runs.
FIRST = 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(SEEDS))
def test_thousands_of_seeds_arrive_end_and_leave_nothing(kind: str) -> None:
    failures = [
        failure
        for found in walk.walk(kind, range(FIRST, FIRST + SEEDS[kind]))
        for failure in found
    ]  # fmt: skip
    assert not failures, "\n".join(map(str, failures))


def test_every_setting_is_drawn_or_fixed_for_a_reason() -> None:
    """A setting that no seed draws is one that no seed proves."""
    drawn: list[Configuration] = []
    for seed in range(200):
        rng = Random(seed)
        drawn += further_settings(transfer_settings(rng), transfer_settings(rng), rng)
    for field in dataclasses.fields(Configuration):
        values = {repr(getattr(settings, field.name)) for settings in drawn}
        assert (len(values) == 1) == (field.name in FIXED), f"{field.name}: {sorted(values)[:3]}"


# the walker can fail


def test_what_fails_and_what_hangs_is_named_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(seed: int) -> None:
        assert seed != 3, "wrong bytes"
        while seed == 5:
            pass

    monkeypatch.setitem(walk.KINDS, "broken", run)
    monkeypatch.setattr(walk, "HANG_SECONDS", 1)
    first, second = walk.run_chunk("broken", range(2, 8))
    assert (first.kind, first.seed) == ("broken", 3)
    assert first.reason.startswith("AssertionError: wrong bytes")
    assert "test_walk.py" in first.reason
    assert (second.seed, second.reason.partition(":")[0]) == (5, "HangError")


def closed_pair() -> Pair:
    pair = Pair()
    pair.established()
    pair.connection.close(now=pair.now)
    pair.drain()
    while pair.step():
        pass
    return pair


def forget(pair: Pair) -> None:
    del pair.connection
    pair.accepted = None


def test_a_connection_that_is_still_referred_to_is_a_leak() -> None:
    pair = closed_pair()
    kept = pair.connection
    with pytest.raises(AssertionError, match="1 connections are still referred to"):
        expect_nothing_left(pair, before=lambda: forget(pair))
    assert kept.closed


def test_a_pair_in_the_middle_of_its_life_has_something_left() -> None:
    pair = Pair()
    pair.established()
    with pytest.raises(AssertionError, match="a timer that never ends"):
        expect_nothing_left(pair, before=lambda: forget(pair))


def test_nothing_is_left_of_a_pair_that_is_over() -> None:
    pair = closed_pair()
    expect_nothing_left(pair, before=lambda: forget(pair))


def test_what_an_endpoint_holds_is_seen_whatever_it_is_called() -> None:
    endpoint = Endpoint(Identity(bytes(range(32))), Configuration(), rng=Random(1))
    assert held(endpoint) == {}
    endpoint.expect(1, Configuration())
    assert list(held(endpoint)) == ["_attempts._expected"]
