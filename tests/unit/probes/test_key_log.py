"""Key logs are read in one place, lines of sealed datagrams included (SPEC 11)."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.probes.wire.key_log import read_key_logs
from orchestrator.probes.wire.report import WireReport

_SOURCE, _TARGET, _EPOCH, _KEY = "00" * 7 + "01", "00" * 7 + "02", "ab" * 16, "cd" * 32


def test_keys_of_sealed_datagrams_are_read_with_the_others(tmp_path: Path) -> None:
    """SPEC 11-3."""
    log = tmp_path / "keys.log"
    log.write_text(f"CLIENT_RANDOM 00 00\nSTRAIT_SEALED {_SOURCE} {_TARGET} {_EPOCH} {_KEY}\n")
    report = WireReport()
    logs = read_key_logs([log], report)
    assert logs.sealed == {(1, 2, bytes.fromhex(_EPOCH)): bytes.fromhex(_KEY)}
    assert (logs.connections, report.notes) == ({}, [])


@pytest.mark.parametrize(
    "words",
    [
        (_SOURCE, _TARGET, _EPOCH, _KEY[2:]),
        (_SOURCE, _TARGET, _EPOCH + "00", _KEY),
        (_SOURCE[2:], _TARGET, _EPOCH, _KEY),
        (_SOURCE, _TARGET, _EPOCH),
        (_SOURCE, _TARGET, "epoch", _KEY),
    ],
)
def test_a_line_of_sealed_datagrams_that_cannot_be_read_is_noted(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    log = tmp_path / "keys.log"
    log.write_text(f"STRAIT_SEALED {' '.join(words)}\n")
    report = WireReport()
    assert read_key_logs([log], report).sealed == {}
    assert len(report.notes) == 1
    assert "keys.log, line 1" in report.notes[0]
