"""A few cases in containers, whose agents are told by file what namespaces are told by the same plan."""

from __future__ import annotations

import pytest

from orchestrator.experiment.cases import CaseFile
from orchestrator.pytest_plugin import Lab
from tests.cases.suite import CASES, case_on

CHOSEN = ("handshake", "ipv6", "retry")


@pytest.mark.docker
@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.backends("docker")
@pytest.mark.parametrize("case", [case_on(case, "docker") for case in CASES if case.name in CHOSEN])
def test_the_case_passes_in_containers(lab: Lab, case: CaseFile) -> None:
    result = lab.passes(qlog=False)
    assert result.manifest.impairment in ("kernel", "userspace")
