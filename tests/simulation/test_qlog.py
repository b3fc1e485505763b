"""qlog files of simulated nodes: what `narrows run --qlog` leaves (SPEC 16-2)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import qvis
from tests.support.command import ROOT, narrows

LINE = ROOT / "topologies" / "line.lab.yml"


def run(topology: Path, directory: Path, *options: str, hash_seed: str = "0") -> dict[str, bytes]:
    """Run a topology in simulation; return its traces by node and name."""
    common = ("--backend", "simulation", "--no-capture", "-f", "json", "--results", directory)
    ended = narrows("run", topology, *common, *options, environment={"PYTHONHASHSEED": hash_seed})
    assert ended.code == 0, ended.stderr
    (made,) = directory.iterdir()
    return {str(path.relative_to(made)): path.read_bytes() for path in sorted(made.rglob("[0-9a-f]*.sqlog"))}


def test_both_ends_of_a_flow_write_a_trace_that_qvis_loads(tmp_path: Path) -> None:
    traces = run(LINE, tmp_path, "--qlog")
    assert [Path(name).parent.as_posix() for name in traces] == ["qlog/left", "qlog/right"]
    assert len({Path(name).name for name in traces}) == 1, "one connection, one name"
    (made,) = tmp_path.iterdir()
    client, server = (qvis.load(made / name) for name in traces)
    assert (client.vantage_point, server.vantage_point) == ("client", "server")
    arrived, lost = qvis.matched(client, server)
    assert arrived > 3000
    assert lost == len(client.lookup("recovery", "packet_lost"))
    assert {"strait:windows_updated", "transport:data_moved"} <= client.names() & server.names()
    for end, owner in ((client, "local"), (server, "remote")):
        (closed,) = end.lookup("connectivity", "connection_closed")
        assert closed["data"]["owner"] == owner


def test_qvis_itself_finds_the_events_streams_and_windows(tmp_path: Path) -> None:
    """Its own loader, out of a checkout that QVIS_SOURCE names; TYPESCRIPT names the compiler's package."""
    source, compiler = os.environ.get("QVIS_SOURCE"), os.environ.get("TYPESCRIPT")
    node = shutil.which("node")
    if source is None or compiler is None or node is None:
        pytest.skip(
            "qvis's source is not here: set QVIS_SOURCE to a checkout of quiclog/qvis and TYPESCRIPT to the "
            "directory of the npm package typescript, and have node in PATH"
        )
    traces = run(LINE, tmp_path, "--qlog")
    (made,) = tmp_path.iterdir()
    script, data = ROOT / "tests/support/qvis.cjs", Path(source, "src/src/lib/data")
    ended = subprocess.run(
        [node, script, data, Path(compiler).resolve(), *(made / name for name in traces)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["complaints"] == []
    client, server = said["files"]
    assert (client["vantage_point"], server["vantage_point"]) == ("client", "server")
    assert client["streams"] == server["streams"]
    assert len(client["streams"]) == 1
    assert client["sent"] - client["lost"] == server["received"] > 3000
    assert client["received"] > 100
    assert client["windows"] > 100
    assert client["in_flight"] > client["windows"]
    for name, found in zip(traces, said["files"], strict=True):
        assert found["events"] == len(qvis.load(made / name).events)


def test_traces_are_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    first, second = (run(LINE, tmp_path / seed, "--qlog", hash_seed=seed) for seed in ("1", "2"))
    assert first == second


@pytest.mark.parametrize(
    ("key", "option", "files"), [("", "", 0), ("qlog: true\n", "", 2), ("qlog: true\n", "--no-qlog", 0)]
)
def test_topology_or_command_line_decides(key: str, option: str, files: int, tmp_path: Path) -> None:
    topology = tmp_path / "traced.lab.yml"
    topology.write_text(key + LINE.read_text())
    assert len(run(topology, tmp_path / "results", *option.split())) == files
