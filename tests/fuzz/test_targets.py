"""The corpus of each fuzz target, always; and a few seconds of fuzzing where atheris is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fuzz.corpus import KEPT, inputs
from tests.fuzz.run import command, why_not
from tests.fuzz.targets import TARGETS, Target, pieces
from tests.lanes.machine import ROOT

#: Inputs that each target is given in each run of all tests: two to four seconds of work.
RUNS = {"endpoint": 200, "data-aead": 300, "data-crc32c": 300, "data-xor": 300, "fec": 300, "sealed": 1000}
MANY_RUNS = 20_000
LIMIT_SECONDS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_of_each_target_passes(name: str) -> None:
    """With every input cut short as well: what was kept stays mended."""
    for data in inputs(name):
        TARGETS[name].run(data)
        TARGETS[name].run(data[: len(data) // 2])
        TARGETS[name].run(data[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_each_target_is_fuzzed_for_a_moment(name: str, tmp_path: Path) -> None:
    if why_not():
        pytest.skip(why_not())
    argv = command(name, tmp_path, seconds=10, runs=RUNS.get(name, MANY_RUNS))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    found = [path.read_bytes().hex() for path in tmp_path.glob("*-*") if path.is_file()]
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{found}"
    assert "stat::number_of_executed_units" in done.stderr


def test_a_target_that_fails_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        assert data != bytes.fromhex("19")

    monkeypatch.setitem(TARGETS, "varint", Target(broken, 16))
    with pytest.raises(AssertionError):
        test_the_corpus_of_each_target_passes("varint")


def test_every_directory_of_kept_inputs_is_of_a_target() -> None:
    assert {path.name for path in KEPT.glob("*") if path.is_dir()} <= set(TARGETS)


def test_pieces_are_bounded_and_cover_what_is_there() -> None:
    assert pieces(b"\x00\x02ab\x00\x01c\x00") == [b"ab", b"c"]
    assert len(pieces(b"\x00\x00" * 1000)) == 40
