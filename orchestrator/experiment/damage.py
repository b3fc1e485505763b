"""Counts what slipped through: bytes that arrived differing from what was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from node.workloads.sources import GeneratedSource
from orchestrator.errors import TestbedError
from orchestrator.topology.model import WorkloadSpec

BLOCK_BYTES = 1 << 20
#: Reads ``size`` bytes at ``offset``; fewer at the end.
Reader = Callable[[int, int], bytes | memoryview]


def corrupted_bytes(flow: WorkloadSpec, received: Path) -> int | None:
    """Return how many bytes of a received file differ from what its flow sent.

    Bytes missing at the end, or too many there, count as differing.

    Returns:
        The count; None: what was sent is not known any more.
    """
    size, read = _sent(flow)
    if read is None:
        return None
    try:
        with received.open("rb") as file:
            return sum(_differences(read, size, iter(lambda: file.read(BLOCK_BYTES), b"")))
    except OSError as error:
        raise TestbedError(f"cannot compare {received} with what was sent: {error.strerror}") from error


def _sent(flow: WorkloadSpec) -> tuple[int, Reader | None]:
    name = flow.options.get("file")
    if isinstance(name, str):
        path = Path(name)
        if not path.is_file():
            return 0, None

        def read_file(offset: int, size: int) -> bytes:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(size)

        return path.stat().st_size, read_file
    size = flow.options.get("size")
    if not isinstance(size, int):
        return 0, None
    return size, GeneratedSource(size, str(flow.options.get("seed", flow.name))).read


def _differences(read: Reader, size: int, blocks: Iterator[bytes]) -> Iterator[int]:
    offset = 0
    for block in blocks:
        sent = bytes(read(offset, min(len(block), max(0, size - offset))))
        offset += len(block)
        yield len(block) - len(sent)
        if block[: len(sent)] != sent:
            yield sum(a != b for a, b in zip(sent, block, strict=False))
    yield max(0, size - offset)
