"""What a report says of user-space shapers that could not keep up."""

from __future__ import annotations

from orchestrator.experiment.shaper_notes import shaper_notes
from orchestrator.topology.load import parse
from orchestrator.topology.planning import make_plan

STAR = b"""
name: star
topology:
  generate: {star: {shape: star, size: 4}}
"""
LINKS = make_plan(parse(STAR, file="star.lab.yml")).links
PUNCTUAL = {"sent": 5, "looks": 5000, "late": 9, "late_us": 90_000, "refused": 0, "oversized": 0}


def notes(*changes: dict[str, int]) -> list[str]:
    """Return what is told where the first links counted something else."""
    counters = {}
    for link, changed in zip(LINKS, [*changes, *[{}] * (len(LINKS) - len(changes))], strict=True):
        counters[str(link.a)] = counters[str(link.b)] = PUNCTUAL | changed
    return list(shaper_notes(LINKS, counters))


def test_now_and_then_late_is_as_every_machine_is() -> None:
    assert notes() == []
    assert notes({"late": 49}) == []  # of 5000: below one in a hundred
    assert notes({"looks": 20, "late": 9}) == []  # too few to tell
    assert notes({"looks": 0, "late": 0}) == []


def test_a_link_without_counters_was_not_shaped_in_user_space() -> None:
    ends: dict[str, dict[str, int]] = {str(end): {} for link in LINKS for end in (link.a, link.b)}
    assert list(shaper_notes(LINKS, ends)) == []


def test_the_link_that_fell_behind_is_named_with_how_far() -> None:
    (found,) = notes({"late": 600, "late_us": 12_000_000})
    name = LINKS[0].name
    assert found.startswith(
        f"the user-space shaper fell behind at {name} (over 5 ms late in 12% of its looks, "
    )
    assert "there by 20 ms on average): this machine is too slow for these, or was busy" in found


def test_the_worst_three_are_named_and_the_others_counted() -> None:
    (found,) = notes({"late": 50}, {"late": 500}, {"late": 200}, {"late": 100})
    names = [link.name for link in LINKS]
    places = [found.index(names[number]) for number in (1, 2, 3)]
    assert places == sorted(places)
    assert names[0] not in found
    assert " and 1 more link:" in found


def test_frames_that_the_shaper_dropped_or_took_for_one_are_told_by_the_end_that_sent_them() -> None:
    refused, oversized = notes({"refused": 7}, {"oversized": 3})
    assert f"7 from {LINKS[0].a}, 7 from {LINKS[0].b}" in refused
    assert f"3 from {LINKS[1].a}, 3 from {LINKS[1].b}" in oversized
