"""Bytes that differ are counted, wherever they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from node.workloads.sources import GeneratedSource
from orchestrator.experiment.damage import BLOCK_BYTES, corrupted_bytes
from tests.support.topologies import bulk

SIZE = BLOCK_BYTES + 1000


@pytest.fixture
def sent() -> bytearray:
    return bytearray(GeneratedSource(SIZE, "s").read(0, SIZE))


def counted(received: bytes | bytearray, tmp_path: Path) -> int | None:
    path = tmp_path / "received"
    path.write_bytes(received)
    flow = bulk(SIZE)
    return corrupted_bytes(dataclasses.replace(flow, options={**flow.options, "seed": "s"}), path)


def test_equal_bytes_count_nothing(tmp_path: Path, sent: bytearray) -> None:
    assert counted(sent, tmp_path) == 0


def test_differing_bytes_are_counted_in_every_block(tmp_path: Path, sent: bytearray) -> None:
    for position in (0, 17, BLOCK_BYTES - 1, BLOCK_BYTES, SIZE - 1):
        sent[position] ^= 0x40
    assert counted(sent, tmp_path) == 5


def test_missing_and_extra_bytes_count(tmp_path: Path, sent: bytearray) -> None:
    assert counted(sent[:-7], tmp_path) == 7
    assert counted(sent[:10], tmp_path) == SIZE - 10
    assert counted(sent + b"123", tmp_path) == 3


def test_file_that_was_sent_is_compared_with(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"abcdef")
    (tmp_path / "received").write_bytes(b"abXdeY")
    flow = dataclasses.replace(bulk(0), options={"file": str(tmp_path / "film")})
    assert corrupted_bytes(flow, tmp_path / "received") == 2


def test_file_that_is_gone_gives_no_count(tmp_path: Path) -> None:
    (tmp_path / "received").write_bytes(b"x")
    flow = dataclasses.replace(bulk(0), options={"file": str(tmp_path / "gone")})
    assert corrupted_bytes(flow, tmp_path / "received") is None
