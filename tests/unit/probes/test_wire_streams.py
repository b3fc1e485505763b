"""Bytes of streams: what goes again is compared with what is kept, and only the newest are kept."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.probes.wire import streams
from orchestrator.probes.wire.streams import StreamBytes

KEPT = 64


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_KEPT", KEPT)


def sent(size: int) -> tuple[StreamBytes, bytes]:
    """Return a stream of which so much was seen in order, and its bytes."""
    stream, data = StreamBytes(), Random(size).randbytes(size)
    for start in range(0, size, 8):
        assert stream.add(start, data[start : start + 8], fin=False) is None
    return stream, data


def test_other_bytes_are_caught_as_far_back_as_any_are_kept() -> None:
    """Of 128 bytes the newest 64 stay; the first kept one counts, and the last forgotten one does not."""
    stream, data = sent(2 * KEPT)
    assert stream.add(KEPT - 1, bytes((data[KEPT - 1] ^ 1,)), fin=False) is None
    problem = stream.add(KEPT - 1, bytes((data[KEPT - 1] ^ 1, data[KEPT] ^ 1)), fin=False)
    assert problem is not None
    assert problem[:2] == ("6-3", f"different bytes from offset {KEPT} on")
    assert stream.holds(KEPT, data[KEPT:])
    assert not stream.holds(0, data[:KEPT])


def test_below_twice_what_is_kept_nothing_is_forgotten() -> None:
    stream, data = sent(2 * KEPT - 8)
    problem = stream.add(0, bytes((data[0] ^ 1,)), fin=False)
    assert problem is not None
    assert problem[0] == "6-3"


@pytest.mark.parametrize("seed", range(20))
def test_pieces_that_overlap_and_come_late_are_as_they_would_be_if_all_were_kept(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(seed)
    data = rng.randbytes(20 * KEPT)
    stream, whole, at = StreamBytes(), StreamBytes(), 0
    while at < len(data) - KEPT:
        start = max(0, at + rng.randrange(-KEPT // 2, KEPT // 4))
        piece = bytearray(data[start : start + rng.randrange(KEPT // 2)])
        if piece and rng.random() < 0.1:
            piece[rng.randrange(len(piece))] ^= 1
        found = stream.add(start, bytes(piece), fin=False)
        with monkeypatch.context() as patched:
            patched.setattr(streams, "_KEPT", len(data))
            assert whole.add(start, bytes(piece), fin=False) == found
        at = max(at, start + len(piece))
