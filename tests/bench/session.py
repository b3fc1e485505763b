"""What is measured, and how: the same for every peer. Standard library only: peers have their own packages.

A session is one connection with one stream. The client opens with a header (mode, number); then
*bulk*: a known pattern of so many bytes, which the receiver compares and confirms with eight bytes;
*echo*: so many 64-byte messages, each sent when the one before has come back.
Goodput is bytes over the time from the first write to the confirmation at the sender; CPU is getrusage of
each process over that span.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import struct
import time
from collections.abc import Awaitable, Callable

HEADER = struct.Struct("<cQ")
BULK, ECHO = b"B", b"E"
ECHO_BYTES = 64

#: A prime: no packet or buffer size divides it, so that a shifted or repeated piece is seen.
PERIOD = 65_521
BLOCK = random.Random("narrows bench").randbytes(PERIOD)
_TWICE = BLOCK * 2

Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes]]


class WrongBytesError(Exception):
    """What arrived is not what was sent."""


class Verifier:
    """Compares what arrives with the pattern. About 0.05 s a GiB, the same for every peer."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, data: bytes | bytearray) -> None:
        """Compare the next piece.

        Raises:
            WrongBytesError: it differs.
        """
        at = self.count % PERIOD
        for start in range(0, len(data), PERIOD):
            piece = data[start : start + PERIOD] if len(data) > PERIOD else data
            if piece != _TWICE[at : at + len(piece)]:
                raise WrongBytesError(f"near byte {self.count + start}")
        self.count += len(data)


class Span:
    """Wall-clock and CPU time since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = _cpu_seconds(), time.perf_counter()

    def report(self, role: str, count: int) -> None:
        """Print the JSON line of a bulk run."""
        seconds, cpu = time.perf_counter() - self._wall, _cpu_seconds() - self._cpu
        line = {"role": role, "mode": "bulk", "bytes": count, "seconds": seconds, "cpu_seconds": cpu}
        print(json.dumps(line), flush=True)


def report_echo(latencies: list[float]) -> None:
    """Print the JSON line of an echo run; seconds in, microseconds out."""
    ordered = sorted(latencies)
    picked = {f"p{q}_us": ordered[len(ordered) * q // 100] * 1e6 for q in (50, 90, 99)}
    print(json.dumps({"role": "client", "mode": "echo", "count": len(ordered), **picked}), flush=True)


def arguments() -> argparse.Namespace:
    """The command line that all peers share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--mode", choices=["bulk", "echo"], default="bulk")
    parser.add_argument("--count", type=int, default=100_000_000, help="bytes (bulk) or messages (echo)")
    parser.add_argument("--congestion", default="cubic", help="controller, of the peers that have a choice")
    return parser.parse_args()


async def client(asked: argparse.Namespace, send: Send, receive: Receive) -> None:
    """The sending side, over any peer's send and receive."""
    if asked.mode == "bulk":
        left, span = asked.count, Span()
        await send(HEADER.pack(BULK, asked.count))
        while left:
            size = min(left, PERIOD)
            await send(BLOCK if size == PERIOD else BLOCK[:size])
            left -= size
        got = b""
        while len(got) < 8:
            got += await _something(receive)
        span.report("client", int.from_bytes(got, "little"))
        return
    message, latencies = BLOCK[:ECHO_BYTES], []
    await send(HEADER.pack(ECHO, asked.count))
    for _ in range(asked.count):
        started, size = time.perf_counter(), 0
        await send(message)
        while size < ECHO_BYTES:
            size += len(await _something(receive))
        latencies.append(time.perf_counter() - started)
    report_echo(latencies)


async def server(send: Send, receive: Receive) -> None:
    """The receiving side, over any peer's send and receive."""
    head = b""
    while len(head) < HEADER.size:
        head += await _something(receive)
    span, verifier = Span(), Verifier()
    mode, count = HEADER.unpack_from(head)
    rest = head[HEADER.size :]
    if mode == BULK:
        verifier.take(rest)
        while verifier.count < count:
            verifier.take(await _something(receive))
        await send(verifier.count.to_bytes(8, "little"))
        span.report("server", verifier.count)
        return
    echoed = len(rest)
    if rest:
        await send(rest)
    while echoed < count * ECHO_BYTES:
        data = bytes(await _something(receive))
        echoed += len(data)
        await send(data)


def blocking(session: Callable[[Send, Receive], Awaitable[None]], send: Callable[[bytes], object],
             receive: Callable[[], bytes]) -> None:  # fmt: skip
    """Run a session over calls that block."""

    async def send_now(data: bytes) -> None:
        send(data)

    async def receive_now() -> bytes:
        return receive()

    async def run() -> None:
        await session(send_now, receive_now)

    asyncio.run(run())


async def _something(receive: Receive) -> bytes:
    data = await receive()
    if not data:
        raise ConnectionError("closed before the session's end")
    return data


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
