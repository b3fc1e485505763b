"""What ``narrows perf`` says: iperf3's lines and iperf3's JSON; and ping's last lines."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from node import __version__
from node.protocol.time import MICROSECOND, MILLISECOND, SECOND
from orchestrator.perf.client import PerfResult, Sample
from orchestrator.perf.pings import PingResult

LINE = " ".join("-" * 25)
_HEAD = "[ ID] Interval           Transfer     Bitrate         Retr  Cwnd"
#: iperf3 numbers streams by their sockets, which begin here.
_FIRST_ID = 5


def opening(result: PerfResult) -> Iterator[str]:
    """Yield what is said when the connection is there."""
    (local, port), (remote, remote_port) = result.local, result.remote
    for number in range(result.wanted.parallel):
        ends = f"local {local} port {port} connected to {remote} port {remote_port}"
        yield f"[{_id(number):3}] {ends}"
    yield _HEAD


def interval_lines(sample: Sample) -> Iterator[str]:
    """Yield what is said of an interval."""
    seconds = sample.end - sample.start
    for number, size in enumerate(sample.bytes):
        alone = len(sample.bytes) == 1
        tail = f"{sample.retransmits:5}  {_size(sample.congestion_window)}" if alone else ""
        yield _line(_id(number), sample.start, sample.end, size, seconds, tail)
    if len(sample.bytes) > 1:
        tail = f"{sample.retransmits:5}  {_size(sample.congestion_window)}"
        yield _line("SUM", sample.start, sample.end, sum(sample.bytes), seconds, tail)


def closing(result: PerfResult) -> Iterator[str]:
    """Yield what is said at the end."""
    yield LINE
    yield "[ ID] Interval           Transfer     Bitrate         Retr"
    rows: list[tuple[int | str, int, int]] = [
        (_id(number), sent, received)
        for number, (sent, received) in enumerate(zip(result.sent, result.received, strict=False))
    ]
    if len(rows) > 1:
        rows.append(("SUM", sum(result.sent), sum(result.received)))
    for name, sent, received in rows:
        whole = name == "SUM" or len(rows) == 1
        again = f"{result.retransmits:5}" if whole else "     "
        yield _line(name, 0.0, result.seconds, sent, result.seconds, f"{again}             sender")
        seconds = result.received_seconds
        yield _line(name, 0.0, seconds, received, seconds, "                  receiver")
    yield ""
    yield "narrows perf Done."


def to_json(result: PerfResult) -> dict[str, object]:
    """Return iperf3's JSON: the same names for the same things, as far as there are such things."""
    wanted = result.wanted
    connected = [
        {
            "socket": _id(number),
            "local_host": result.local[0],
            "local_port": result.local[1],
            "remote_host": result.remote[0],
            "remote_port": result.remote[1],
        }
        for number in range(wanted.parallel)
    ]
    start = {
        "connected": connected,
        "version": f"narrows {__version__}",
        "system_info": " ".join(platform.uname()),
        "connecting_to": {"host": result.remote[0], "port": result.remote[1]},
        "test_start": {
            "protocol": "STRAIT",
            "num_streams": wanted.parallel,
            "blksize": wanted.length,
            "omit": 0,
            "duration": round(wanted.duration / SECOND, 3),
            "bytes": wanted.size,
            "blocks": 0,
            "reverse": int(wanted.reverse),
            "target_bitrate": wanted.rate,
        },
        "congestion": result.congestion,
    }
    sender = not wanted.reverse
    streams = [
        {
            "sender": _sum(sent, result.seconds, retransmits=result.retransmits, sender=sender)
            | {"socket": _id(number)},
            "receiver": _sum(received, result.received_seconds, sender=sender) | {"socket": _id(number)},
        }
        for number, (sent, received) in enumerate(zip(result.sent, result.received, strict=False))
    ]
    end = {
        "streams": streams,
        "sum_sent": _sum(sum(result.sent), result.seconds, retransmits=result.retransmits, sender=sender),
        "sum_received": _sum(sum(result.received), result.received_seconds, sender=sender),
        "sender_congestion": result.congestion,
    }
    return {"start": start, "intervals": [_interval(sample, sender) for sample in result.samples], "end": end}


def ping_lines(target: str, result: PingResult) -> Iterator[str]:
    """Yield ping's last lines."""
    sent, received = result.transmitted, result.received
    loss = 100 * (sent - received) / sent if sent else 0.0
    yield ""
    yield f"--- {target} ping statistics ---"
    took = f"time {round(result.seconds * 1000)}ms"
    yield f"{sent} packets transmitted, {received} received, {loss:.6g}% packet loss, {took}"
    if received:
        times = (result.least, result.average, result.most, result.deviation)
        figures = "/".join(f"{value / MILLISECOND:.3f}" for value in times)
        yield f"rtt min/avg/max/mdev = {figures} ms"


def _interval(sample: Sample, sender: bool) -> dict[str, object]:
    seconds = sample.end - sample.start
    common = {"start": sample.start, "end": sample.end, "seconds": seconds, "omitted": False}

    def part(size: int) -> dict[str, object]:
        rate = size * 8 / seconds if seconds else 0.0
        return {**common, "bytes": size, "bits_per_second": rate, "sender": sender}

    tcp = {
        "retransmits": sample.retransmits,
        "snd_cwnd": sample.congestion_window,
        "rtt": sample.rtt // MICROSECOND,
    }
    streams = [{"socket": _id(number), **part(size), **tcp} for number, size in enumerate(sample.bytes)]
    return {"streams": streams, "sum": {**part(sum(sample.bytes)), "retransmits": sample.retransmits}}


def _sum(size: int, seconds: float, *, sender: bool, retransmits: int | None = None) -> dict[str, object]:
    figures: dict[str, object] = {
        "start": 0,
        "end": seconds,
        "seconds": seconds,
        "bytes": size,
        "bits_per_second": size * 8 / seconds if seconds else 0.0,
        "sender": sender,
    }
    return figures if retransmits is None else {**figures, "retransmits": retransmits}


def _id(number: int) -> int:
    return _FIRST_ID + 2 * number


def _line(name: int | str, start: float, end: float, size: int, seconds: float, tail: str) -> str:
    rate = size * 8 / seconds if seconds else 0.0
    times = f"{start:6.2f}-{end:<6.2f} sec"
    return f"[{name:>3}] {times}  {_size(size)}  {_rate(rate)}{tail}".rstrip()


def _size(size: float) -> str:
    for unit in ("Bytes", "KBytes", "MBytes", "GBytes"):
        if size < 1000 or unit == "GBytes":
            break
        size /= 1024
    return f"{size:5.3g} {unit:6}"


def _rate(rate: float) -> str:
    for unit in ("bits/sec", "Kbits/sec", "Mbits/sec", "Gbits/sec"):
        if rate < 1000 or unit == "Gbits/sec":
            break
        rate /= 1000
    return f"{rate:5.3g} {unit:9}"
