"""The qlog files of a node: bounded, and no danger to it (SPEC 16-3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.protocol import trace
from node.protocol.time import MILLISECOND
from node.qlog import writer as module
from node.qlog.writer import QlogWriter
from tests.support import qvis

ID = bytes.fromhex("00000000000000aa")


def make(directory: Path, **bounds: int) -> tuple[QlogWriter, list[str]]:
    troubles: list[str] = []
    made = QlogWriter(
        directory, name="oslo", local=("10.0.0.1", 4433), reference=0, reference_time=1.0,
        on_trouble=troubles.append, **bounds,
    )  # fmt: skip
    return made, troubles


def sent(number: int, count: int = 1) -> trace.PacketSent:
    return trace.PacketSent("data", number, count, 1200, 1200)


def test_file_is_named_by_the_connection_and_loads(tmp_path: Path) -> None:
    writer, troubles = make(tmp_path / "qlog" / "oslo")
    tracer = writer.tracer_of(ID, True)
    assert tracer is not None
    tracer(MILLISECOND, sent(0, 3))
    assert writer.waiting
    writer.close()
    loaded = qvis.load(tmp_path / "qlog" / "oslo" / f"{ID.hex()}.sqlog")
    assert len(loaded.lookup("transport", "packet_sent")) == 3
    assert (loaded.vantage_point, troubles) == ("client", [])


def test_nothing_is_made_while_nothing_is_traced(tmp_path: Path) -> None:
    writer, _ = make(tmp_path / "qlog")
    writer.tracer_of(ID, True)
    writer.close()
    assert not (tmp_path / "qlog").exists()


def test_slices_make_the_same_file_as_one_write(tmp_path: Path) -> None:
    for name, most in (("once", 1 << 62), ("sliced", 1)):
        writer, _ = make(tmp_path / name)
        tracer = writer.tracer_of(ID, True)
        assert tracer is not None
        for number in range(20):
            tracer(number * MILLISECOND, sent(number))
            writer.write(most)
        writer.close()
    once, sliced = ((tmp_path / name / f"{ID.hex()}.sqlog").read_bytes() for name in ("once", "sliced"))
    assert once == sliced


def test_full_file_ends_with_the_reason_and_within_its_bound(tmp_path: Path) -> None:
    writer, troubles = make(tmp_path, file_bytes=10_000)
    tracer = writer.tracer_of(ID, False)
    assert tracer is not None
    for number in range(200):
        tracer(number, sent(number))
    writer.close()
    tracer(300, sent(300))
    writer.close()
    path = tmp_path / f"{ID.hex()}.sqlog"
    loaded = qvis.load(path)
    assert path.stat().st_size <= 10_000
    assert loaded.events[-1]["name"] == "strait:trace_cut"
    assert "full" in loaded.events[-1]["data"]["reason"]
    assert [event["name"] for event in loaded.events].count("strait:trace_cut") == 1
    assert troubles == []


def test_second_connection_is_traced_when_the_first_file_is_full(tmp_path: Path) -> None:
    writer, _ = make(tmp_path, file_bytes=4000)
    for number in (1, 2):
        tracer = writer.tracer_of(bytes([number]) * 8, True)
        assert tracer is not None
        for packet in range(100):
            tracer(packet, sent(packet))
        writer.close()
    assert len(list(tmp_path.glob("*.sqlog"))) == 2


def test_node_has_a_bound_over_all_files(tmp_path: Path) -> None:
    writer, troubles = make(tmp_path, node_bytes=5000)
    tracer = writer.tracer_of(ID, True)
    assert tracer is not None
    for number in range(200):
        tracer(number, sent(number))
    writer.close()
    assert (tmp_path / f"{ID.hex()}.sqlog").stat().st_size <= 5000
    other = writer.tracer_of(b"other id", True)
    if other is not None:
        other(300, sent(0))
        writer.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5000
    assert writer.tracer_of(b"a third!", True) is None
    assert len(troubles) == 1


def test_trouble_with_the_disk_ends_tracing_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "qlog").write_text("a file stands where the directory should")
    writer, troubles = make(tmp_path / "qlog")
    tracer = writer.tracer_of(ID, True)
    assert tracer is not None
    tracer(1, sent(0))
    writer.write()
    tracer(2, sent(1))
    writer.close()
    assert len(troubles) == 1
    assert "tracing has ended" in troubles[0]
    assert writer.tracer_of(b"x" * 8, True) is None


def test_flood_of_connections_makes_a_bounded_number_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 3)
    writer, _ = make(tmp_path)
    tracers = [writer.tracer_of(bytes([number]) * 8, False) for number in range(5)]
    assert [tracer is not None for tracer in tracers] == [True] * 3 + [False] * 2


def test_unread_events_are_bounded_and_the_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 50)
    writer, _ = make(tmp_path)
    tracer = writer.tracer_of(ID, True)
    assert tracer is not None
    for number in range(80):
        tracer(number, sent(number))
    writer.close()
    loaded = qvis.load(tmp_path / f"{ID.hex()}.sqlog")
    assert len(loaded.lookup("transport", "packet_sent")) == 50
    assert "faster" in loaded.events[-1]["data"]["reason"]


def test_two_peers_with_one_connection_id_get_two_files(tmp_path: Path) -> None:
    writer, _ = make(tmp_path)
    for _ in range(2):
        tracer = writer.tracer_of(ID, False)
        assert tracer is not None
        tracer(1, sent(0))
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{ID.hex()}-2.sqlog", f"{ID.hex()}.sqlog"]
