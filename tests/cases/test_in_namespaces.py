"""Some cases over real sockets between namespaces: on a kernel without netem, too."""

from __future__ import annotations

import pytest

from orchestrator.experiment.cases import CaseFile
from orchestrator.pytest_plugin import Lab
from tests.cases.suite import CASES, case_on

#: Short ones, about what differs most between simulated and real labs.
CHOSEN = ("amplificationlimit", "handshake", "ipv6", "retry", "zerortt")


# On a kernel with netem tests/parity runs all cases.
@pytest.mark.any_kernel
@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.backends("netns")
@pytest.mark.parametrize("case", [case_on(case, "netns") for case in CASES if case.name in CHOSEN])
def test_the_case_passes_in_namespaces_and_says_who_shaped(lab: Lab, case: CaseFile) -> None:
    result = lab.passes(qlog=False)
    assert result.manifest.impairment in ("kernel", "userspace")
