"""Back ends that cannot do what a timeline asks say so before anything is made."""

from __future__ import annotations

import pytest

from node.transports.base import TRANSPORTS
from orchestrator.backends.base import BACKENDS
from orchestrator.errors import NotSupportedError
from orchestrator.experiment.selection import missing_abilities, select_backend
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from tests.support.experiments import LINE


def plan(timeline: str, lab: str = LINE) -> DeploymentPlan:
    return make_plan(parse(f"{lab}timeline: [{timeline}]".encode(), file="test"))


CRASH = plan("{at: 1s, crash: b}")
RETURN = plan("{at: 1s, crash: b, for: 1s}")
RESTART = plan("{at: 1s, pause: b}, {at: 2s, restart: b}")
CUT = plan("{at: 1s, cut: b, for: 1s}, {at: 3s, rebind: {node: a}}")
NAT = plan("{at: 1s, cut: b}", LINE.replace("router", "nat"))


@pytest.mark.parametrize(
    ("backend", "asked", "lacking"),
    [
        ("docker", RETURN, ["bring a crashed node back"]),
        ("docker", RESTART, ["bring a crashed node back"]),
        ("docker", CRASH, []),
        ("docker", NAT, []),
        ("compose", CRASH, ["crash or pause nodes"]),
        ("compose", NAT, ["make NAT routers"]),
        ("compose", CUT, []),
        ("netns", RETURN, []),
        ("simulation", RESTART, []),
    ],
)
def test_what_a_back_end_lacks_is_known_from_the_plan(
    backend: str, asked: DeploymentPlan, lacking: list[str]
) -> None:
    assert missing_abilities(BACKENDS[backend](), asked) == lacking


CARRIED = """
workloads:
  tcp: {kind: bulk, from: a, to: b, size: 1kB, transport: tcp}
  quic: {kind: bulk, from: a, to: b, size: 1kB, transport: quic}
"""


def test_in_compose_the_nodes_have_what_transports_need_not_the_orchestrator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its container has neither aioquic nor the right to every congestion controller; theirs have both."""
    for protocol in ("tcp", "quic"):
        monkeypatch.setattr(TRANSPORTS[protocol], "missing", staticmethod(lambda settings: "it: get it"))
    monkeypatch.setattr(BACKENDS["compose"], "check", lambda backend: [])
    carried = make_plan(parse(f"{LINE.partition('workloads')[0]}{CARRIED}".encode(), file="test"))
    assert select_backend("compose", carried).name == "compose"
    with pytest.raises(NotSupportedError, match="it: get it"):
        select_backend("netns", carried)


def test_back_end_that_lacks_it_is_refused_with_advice() -> None:
    with pytest.raises(NotSupportedError, match="docker cannot bring a crashed node back, as the timeline"):
        select_backend("docker", RESTART)
