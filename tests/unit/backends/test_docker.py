"""The Docker back end where there is no engine."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import pytest

from orchestrator.backends.base import BACKENDS


def test_asking_for_an_engine_that_is_not_there_leaves_no_socket_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always", ResourceWarning)
        problems = BACKENDS["docker"]().check()
        gc.collect()
    assert any("no Docker engine answers" in problem.what for problem in problems)
    assert not leaked
