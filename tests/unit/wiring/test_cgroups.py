"""What is left of the limits of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.wiring import cgroups

MIB = 1 << 20


def _group(place: Path, **files: object) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (place / name.replace("__", ".")).write_text(f"{value}\n", encoding="ascii")


@pytest.mark.parametrize(("inner", "outer", "left"), [(50, 200, 20), (500, 200, 100), ("max", 200, 100)])
def test_the_tightest_group_counts(tmp_path: Path, inner: object, outer: int, left: int) -> None:
    ours = tmp_path / "ours"
    ours.write_text("0::/service/lab\n", encoding="ascii")
    _group(tmp_path / "service", pids__max=outer, pids__current=100)
    _group(tmp_path / "service" / "lab", pids__max=inner, pids__current=30)
    assert cgroups.processes_left(tmp_path, ours) == left


def test_of_the_first_version_each_controller_has_its_own_groups(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.write_text("4:memory:/a\n3:cpu,cpuacct:/c\n2:pids:/b\n0::/\n", encoding="ascii")
    _group(tmp_path / "pids" / "b", pids__max=10, pids__current=4)
    _group(tmp_path / "memory" / "a", memory__limit_in_bytes=100 * MIB, memory__usage_in_bytes=90 * MIB)
    assert (cgroups.processes_left(tmp_path, ours), cgroups.memory_left(tmp_path, ours)) == (6, 10 * MIB)


def test_what_files_hold_of_memory_can_be_had_back(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.write_text("0::/\n", encoding="ascii")
    statistics = f"anon 5\ninactive_file {30 * MIB}\n"
    _group(tmp_path, memory__max=100 * MIB, memory__current=90 * MIB, memory__stat=statistics)
    assert cgroups.memory_left(tmp_path, ours) == 40 * MIB


def test_without_groups_nothing_limits(tmp_path: Path) -> None:
    assert cgroups.processes_left(tmp_path, tmp_path / "ours") is None
    assert cgroups.memory_left(tmp_path, tmp_path / "ours") is None
