"""Right nodes are never accused: every two settings together, some seeds of pairs, and what was found."""

from __future__ import annotations

from random import Random

import pytest

from tests.wire_seeds import pairs, runs
from tests.wire_seeds.settings import SETTINGS, goes_together, pairs_of, pairwise

#: Rows that one test runs.
_TOGETHER = 16
#: Seeds of each kind of pair.
_SEEDS = range(40)
#: Seeds of pairs in which right ends were accused once, and what of.
FOUND_PAIRS = [
    # A packet that only filled a gap behind the largest was taken for a sample of the round trip.
    ("messages", 147),
    # Without delay a probe of sizes and its acknowledgement are of one instant, and were taken the other way.
    ("transfer", 2153),
]
#: The same of labs: a seed, and what was found.
FOUND_LABS = [
    # A node that stood still spoke on after CLOSE had come, which it had not read.
    116,
    # A reset came from an address that its node had moved to.
    243,
    288,
    # A responder had restarted and answered a copy of INITIATION again: packets were taken for the other's.
    1720,
    2894,
    # go-back-n stepped back for a packet that was acknowledged before the window let the others go again.
    2124,
    # What had gone another way, before a movement, went again by the estimates of the new path.
    2187,
    # An acknowledgement of nothing but an ACK was taken for a sample of the round trip, as the first one.
    2625,
    # CLOSE came to the address that its target had moved away from.
    3571,
]


@pytest.mark.parametrize("first", range(0, len(pairwise()), _TOGETHER))
def test_no_right_node_is_accused_whatever_two_settings_meet(first: int) -> None:
    rows = pairwise()[first : first + _TOGETHER]
    found = {first + i: runs.accused(row, first + i) for i, row in enumerate(rows)}
    assert {number: one[:3] for number, one in found.items() if one} == {}


@pytest.mark.parametrize("kind", sorted(pairs.KINDS))
def test_no_right_end_is_accused_in_seeds_over_captured_pairs(kind: str) -> None:
    found = {seed: pairs.accused(kind, seed) for seed in _SEEDS}
    assert {seed: one[:3] for seed, one in found.items() if one} == {}


@pytest.mark.parametrize(("kind", "seed"), FOUND_PAIRS)
def test_pairs_that_were_accused_once_are_not_again(kind: str, seed: int) -> None:
    pairs.run_seed(kind, seed)


@pytest.mark.parametrize("seed", FOUND_LABS)
def test_labs_that_were_accused_once_are_not_again(seed: int) -> None:
    runs.run_seed(seed)


def test_every_two_settings_that_go_together_are_in_a_row() -> None:
    covered = {pair for row in pairwise() for pair in pairs_of(row)}
    assert all(goes_together(row) for row in pairwise())
    rng = Random("any")
    drawn = ({name: rng.choice(values) for name, values in SETTINGS.items()} for _ in range(2000))
    missing = {pair for row in drawn if goes_together(row) for pair in pairs_of(row)} - covered
    assert not missing
