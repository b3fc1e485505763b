"""Files of an agent: nothing outside its directory is read, nothing half-written keeps its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.agent.files import FileSink, FlowFiles, KeyLog, MappedFile, resolve_below
from node.workloads.base import WorkloadError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a file, a link out of it, a link inside, and a FIFO."""
    (tmp_path / "secret").write_bytes(b"secret")
    base = tmp_path / "files"
    (base / "sub").mkdir(parents=True)
    (base / "sub" / "data").write_bytes(b"0123456789")
    (base / "out").symlink_to(tmp_path / "secret")
    (base / "in").symlink_to(base / "sub" / "data")
    os.mkfifo(base / "fifo")
    return base


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "out", "sub/../../secret", "", "a\0b", None, 7])
def test_nothing_outside_the_directory_is_read(directory: Path, name: object) -> None:
    with pytest.raises(WorkloadError):
        resolve_below(directory, name)


@pytest.mark.parametrize("name", ["sub/data", "./sub/data", "in", "sub/../sub/data"])
def test_files_below_the_directory_are_read(directory: Path, name: str) -> None:
    source = FlowFiles(directory, None).source_of({"file": name})
    assert source.size == 10
    assert bytes(source.read(3, 4)) == b"3456"
    source.close()


def test_no_directory_means_no_files() -> None:
    with pytest.raises(WorkloadError, match="no files_directory"):
        FlowFiles(None, None).source_of({"file": "x"})


@pytest.mark.parametrize("name", ["fifo", "sub", "absent"])
def test_what_is_no_file_is_refused_at_once(directory: Path, name: str) -> None:
    with pytest.raises(WorkloadError, match=name):
        FlowFiles(directory, None).source_of({"file": name})


def test_an_empty_file_is_a_source(directory: Path) -> None:
    (directory / "empty").touch()
    assert MappedFile(directory / "empty").size == 0


def test_views_outlive_their_source(directory: Path) -> None:
    source = MappedFile(directory / "sub" / "data")
    view = source.read(0, 10)
    source.close()
    assert bytes(view) == b"0123456789"


def test_a_received_file_has_its_name_only_when_whole(tmp_path: Path) -> None:
    sink = FlowFiles(None, tmp_path / "results").sink_of({"flow": "f"})
    sink.write(b"abc")
    assert not (tmp_path / "results" / "f").exists()
    sink.write(memoryview(b"def"))
    sink.finish()
    assert (tmp_path / "results" / "f").read_bytes() == b"abcdef"
    assert os.listdir(tmp_path / "results") == ["f"]


def test_an_aborted_file_leaves_nothing(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "f")
    sink.write(b"abc")
    sink.abort()
    assert os.listdir(tmp_path) == []


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / ".f.part").symlink_to(victim)
    sink = FileSink(tmp_path / "f")
    sink.write(b"abc")
    sink.finish()
    assert victim.read_bytes() == b"mine"


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "f")
    with open("/dev/full", "wb", buffering=0) as full:
        os.dup2(full.fileno(), sink._descriptor)
    with pytest.raises(WorkloadError, match="No space left on device"):
        sink.write(b"abc")
    sink.abort()
    assert os.listdir(tmp_path) == []


def test_the_key_log_is_appended_at_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.log"
    for line in ("one", "two\n"):
        log = KeyLog(path)
        log(line)
        assert path.read_text().endswith(line.rstrip("\n") + "\n")
        log.close()
    assert path.read_text() == "one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
