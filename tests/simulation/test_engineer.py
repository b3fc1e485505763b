"""Labs as an engineer writes who tries Narrows for the first time; figures are compared with theory."""

from __future__ import annotations

from pathlib import Path

from orchestrator.results import RunResult
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


def loss_of(result: RunResult) -> list[tuple[int, int | None, int, float | None]]:
    """Return frames in, out and still under way, and the loss, of each direction."""
    return [(link.frames_in, link.frames_out, link.under_way, link.loss) for link in result.links]


def test_a_link_that_loses_everything_says_so(tmp_path: Path) -> None:
    result = simulate(lab("delay: 30ms, loss: 100%", FILM), tmp_path, capture=True)
    forward, reverse = loss_of(result)
    assert forward == (forward[0], 0, 0, 1.0)
    assert forward[0] > 0
    assert reverse == (0, 0, 0, 0.0)


def test_what_is_still_under_way_at_the_end_is_no_loss(tmp_path: Path) -> None:
    patient = "transport: {handshake-timeout: 300s, idle-timeout: 600s}"
    film = FILM.replace("}", f", {patient}}}")
    result = simulate(lab("delay: 30s", film), tmp_path, capture=True)
    assert [link.loss for link in result.links] == [0.0, 0.0]
    assert all(link.under_way > 0 for link in result.links)


def test_links_count_the_frames_of_every_transport(tmp_path: Path) -> None:
    result = simulate(lab("delay: 5ms", FILM.replace("}", ", transport: quic}")), tmp_path, capture=True)
    forward, reverse = result.links
    assert forward.frames_in > 7
    assert reverse.frames_in > 3
    assert (forward.loss, reverse.loss) == (0.0, 0.0)
    assert result.wire.frames == 0


def test_early_data_that_fills_the_window_waits_for_no_probe(tmp_path: Path) -> None:
    """The responder acknowledges nothing before a DATA packet has come; that goes when RESPONSE comes."""

    def seconds(transport: str) -> float:
        dials = (
            f"dials: {{kind: bulk, from: a, to: b, size: 100kB, connections: 3, transport: {{{transport}}}}}"
        )
        (flow,) = simulate(lab("delay: 25ms", dials), tmp_path).flows
        assert flow.statistics["source"]["probe_timeouts"] == 0
        return flow.seconds

    assert seconds("early-data: true") <= seconds("early-data: false") + 0.001
