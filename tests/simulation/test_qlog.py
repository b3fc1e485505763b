"""qlog files of simulated nodes: what `narrows run --qlog` leaves (SPEC 16-2)."""

from __future__ import annotations

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
