"""What this machine can do is found by trying, and each lack comes with its remedy."""

from __future__ import annotations

import pytest

from orchestrator import doctor
from tests.lanes import machine


def test_every_lack_has_a_remedy_and_every_find_a_detail() -> None:
    findings = doctor.examine()
    assert len({finding.name for finding in findings}) == len(findings)
    for finding in findings:
        assert finding.detail, finding
        assert bool(finding.remedy) is not finding.ok, finding


@pytest.mark.netns
def test_a_machine_with_namespaces_uses_them() -> None:
    assert [finding for finding in doctor.namespace_findings() if not finding.ok] == []
    assert doctor.best_backend().backend == "netns"


@pytest.mark.netns
def test_netem_is_found_by_making_one() -> None:
    (netem,) = [finding for finding in doctor.examine() if finding.name == "netem"]
    assert netem.ok is (machine.why_no_netem() == "")


def test_without_rights_and_engine_there_is_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = doctor.Finding("rights", False, "user 1000", "run as root", "netns")
    monkeypatch.setattr(doctor, "namespace_findings", lambda: [missing])
    monkeypatch.setattr(doctor, "docker_findings", lambda: [missing])
    choice = doctor.best_backend()
    assert choice.backend == "simulation"
    assert "user 1000" in choice.why
