"""`narrows matrix`: every combination in turns, kept, and as a page that is well-formed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import narrows
from tests.support.experiments import LINE
from tests.support.table_pages import linked, page_of

_LAB = (
    LINE.replace("name: line", "name: line\nparameters: {rtt: 5ms}").replace("delay: 5ms", 'delay: "${rtt}"')
    + """
workloads:
  film: {kind: bulk, from: a, to: b, size: 50kB}
expect:
  - film: completion <= 1s
"""
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "a<b>.lab.yml"
    made.write_text(_LAB)
    return made


def test_every_combination_is_a_cell_and_failures_stop_nothing(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    words = (
        "matrix",
        file,
        "--backend",
        "simulation",
        "--set",
        "rtt=5ms,400ms",
        "--resume",
        place,
        "-f",
        "json",
    )
    ended = narrows(*words, "--with", "fec=none,xor", "--with", "arq=selective-repeat,stop-and-wait")
    table = ended.json()
    assert ended.code == 1
    letters = {(cell["row"], cell["column"]): cell["letter"] for cell in table["cells"]}
    assert len(letters) == 8
    # FEC and stop-and-wait do not go together; with 800 ms of round trip nothing is done in a second.
    expected = {
        (delay, fec, arq): "U" if (fec, arq) == ("xor", "stop-and-wait") else letter
        for delay, letter in (("5ms", "P"), ("400ms", "F"))
        for fec in ("none", "xor")
        for arq in ("selective-repeat", "stop-and-wait")
    }
    found = {
        (cell["parameters"]["rtt"], cell["transport"]["fec"], cell["transport"]["arq"]): cell["letter"]
        for cell in table["cells"]
    }
    assert found == expected
    page = page_of((place / "matrix.html").read_text(encoding="utf-8"))
    assert sorted(page.classes) == sorted(letters.values())
    assert "a<b>" in page.text, "names are escaped"
    assert page.links
    assert all((run / "result.json").is_file() for run in linked(place / "matrix.html"))
    assert "stop-and-wait, which has no other packets" in page.text


def test_what_is_finished_is_not_run_again(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    words = ("matrix", file, "--backend", "simulation", "--resume", place, "-j", "1")
    first = narrows(*words, "--with", "congestion=cubic", "-f", "json")
    again = narrows(*words, "--with", "congestion=cubic,bbr", "--repeat", "2", "-f", "json")
    assert (first.code, again.code) == (0, 0)
    (cell,) = first.json()["cells"]
    cubic, bbr = again.json()["cells"]
    assert cubic["runs"][0] == cell["runs"][0]
    assert [run["seed"] for run in cubic["runs"]] == [run["seed"] for run in bbr["runs"]] == [1, 2]
    assert "finished before" in again.stderr
    assert again.stderr.index("bbr  turn 1") < again.stderr.index("cubic  turn 2"), "turns go round"
    assert cubic["goodput"]["low"] <= cubic["goodput"]["mean"] <= cubic["goodput"]["high"]
    assert json.loads((place / "matrix.json").read_text()) == again.json()
    # Another file is another cell, though its name is the same.
    file.write_text(_LAB.replace("50kB", "60kB"))
    changed = narrows(*words, "--with", "congestion=cubic", "-f", "json").json()
    assert changed["cells"][0]["runs"][0]["directory"] != cell["runs"][0]["directory"]


def test_nothing_that_can_run_is_127(file: Path, tmp_path: Path) -> None:
    ended = narrows(
        *(
            "matrix",
            file,
            "--backend",
            "simulation",
            "--results",
            tmp_path,
            "--transport",
            "tcp",
            "-f",
            "json",
        )
    )
    assert ended.code == 127
    (cell,) = ended.json()["cells"]
    assert (cell["column"], cell["letter"]) == ("tcp", "U")
    assert cell["runs"][0]["reasons"]


def test_two_files_of_one_name_are_two_rows(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_text(_LAB)
    ended = narrows(
        "matrix", file, other, "--backend", "simulation", "--transport", "tcp", "--resume", tmp_path / "kept"
    )
    assert ended.code == 127
    assert len(page_of((tmp_path / "kept" / "matrix.html").read_text()).classes) == 2


def test_axis_that_varies_nothing_is_refused(file: Path) -> None:
    ended = narrows("matrix", file, "--with", "congestion")
    assert ended.code == 2
    assert "congestion=cubic,bbr" in ended.stderr


@pytest.mark.parametrize(
    ("option", "word", "said"),
    [
        ("--with", "congestion=cubic,foo", "there is no congestion controller 'foo'; use one of bbr, cubic"),
        ("--with", "fek=xor", "unknown key 'fek' in a set of transport options; did you mean 'fec'?"),
        ("--with", "arq=gobackn", "did you mean 'go-back-n'?"),
        ("--transport", "strait,tpc", "found 'tpc'; did you mean 'tcp'?"),
    ],
)
def test_a_setting_that_no_transport_has_is_no_combination(
    file: Path, tmp_path: Path, option: str, word: str, said: str
) -> None:
    ended = narrows("matrix", file, "--results", tmp_path / "results", option, word)
    assert (ended.code, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert not (tmp_path / "results").exists()
