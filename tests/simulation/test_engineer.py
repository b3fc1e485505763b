"""Labs as an engineer writes who tries Narrows for the first time; figures are compared with theory."""

from __future__ import annotations

from pathlib import Path

from tests.support.experiments import simulate


def lab(netem: str, workloads: str, more: str = "") -> str:
    """Return a topology of two hosts and one link."""
    return f"""
name: engineer
time-limit: 3000s
topology:
  nodes: {{a: {{}}, b: {{}}}}
  links: [{{endpoints: ["a:eth1", "b:eth1"], netem: {{{netem}}}}}]
workloads: {{{workloads}}}
{more}
"""


FILM = "film: {kind: bulk, from: a, to: b, size: 10kB}"


def test_who_asks_twice_over_a_slow_link_and_probes_by_the_initial_rtt_breaks_no_rule(tmp_path: Path) -> None:
    """1452 bytes take 1.2 s at 10 kbit/s: longer than the first time-outs."""
    result = simulate(lab("delay: 30ms, rate: 10kbit", FILM), tmp_path, capture=True)
    assert result.wire.violations == 0, result.wire.details
