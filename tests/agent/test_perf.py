"""`narrows perf` and `narrows ping` over real sockets: letters, lines and names of iperf3 and ping."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner

from node.protocol.configuration import Configuration
from node.protocol.datagrams import SocketAddress
from node.protocol.time import MILLISECOND, SECOND
from orchestrator.cli.main import main
from orchestrator.perf import report
from orchestrator.perf.client import PerfError, PerfResult, measure, ping, resolve, serve
from orchestrator.perf.pings import PendingPings, PingResult
from orchestrator.perf.sessions import MAX_PARALLEL, Report, Wanted

T = TypeVar("T")
TIME_LIMIT = 60.0


def with_server(
    work: Callable[[SocketAddress], Awaitable[T]], *, word: str | None = None, host: str = "127.0.0.1"
) -> T:
    """Run a test against a server in the same process."""

    async def go() -> T:
        address: asyncio.Future[SocketAddress] = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(
            serve(host, 0, word=word, one_off=False, on_ready=address.set_result), name="server"
        )
        async with asyncio.timeout(TIME_LIMIT):
            try:
                return await work(await address)
            finally:
                server.cancel()
                await asyncio.gather(server, return_exceptions=True)

    return asyncio.run(go())


def perf(wanted: Wanted, *, host: str = "127.0.0.1", interval: float = 10.0) -> PerfResult:
    async def work(address: SocketAddress) -> PerfResult:
        return await measure(
            address,
            wanted,
            word=None,
            interval=interval,
            configuration=Configuration(),
            on_sample=lambda result: None,
        )

    return with_server(work, host=host)


@pytest.mark.parametrize("reverse", [False, True])
def test_all_streams_send_what_is_asked(reverse: bool) -> None:
    result = perf(Wanted(parallel=3, size=3_000_000, duration=0, reverse=reverse))
    assert result.sent == result.received == [1_000_000] * 3
    assert result.seconds > 0


def test_a_time_is_kept_and_sampled() -> None:
    result = perf(Wanted(duration=300 * MILLISECOND), interval=0.1)
    assert len(result.samples) >= 3
    assert sum(result.sent) == sum(result.received) > 0
    assert sum(size for sample in result.samples for size in sample.bytes) <= sum(result.sent)


def test_the_last_interval_is_told_by_a_busy_machine_too() -> None:
    told: list[float] = []

    def busy(result: PerfResult) -> None:
        told.extend(sample.end for sample in result.samples[len(told) :])
        free = time.monotonic() + 0.3
        while len(told) == 1 and time.monotonic() < free:
            pass

    async def work(address: SocketAddress) -> PerfResult:
        wanted = Wanted(duration=200 * MILLISECOND)
        return await measure(
            address, wanted, word=None, interval=0.1, configuration=Configuration(), on_sample=busy
        )

    with_server(work)
    assert told[0] >= 0.1
    assert told[-1] >= 0.2


def test_a_rate_is_not_exceeded() -> None:
    result = perf(Wanted(duration=300 * MILLISECOND, rate=8_000_000, length=10_000))
    # One write more than the rate allows at the end of the time.
    assert 10_000 <= sum(result.sent) <= 310_000


def test_ipv6() -> None:
    assert perf(Wanted(size=100_000, duration=0), host="::1").received == [100_000]


def test_the_json_has_the_names_of_iperf3() -> None:
    data: Any = json.loads(json.dumps(report.to_json(perf(Wanted(size=200_000, duration=0, parallel=2)))))
    assert set(data) == {"start", "intervals", "end"}
    assert data["start"]["test_start"]["num_streams"] == 2
    assert data["end"]["sum_sent"]["bytes"] == data["end"]["sum_received"]["bytes"] == 200_000
    assert data["end"]["sum_sent"]["bits_per_second"] > 0
    assert data["end"]["sum_sent"]["retransmits"] >= 0
    assert [set(stream) for stream in data["end"]["streams"]] == [{"sender", "receiver"}] * 2


def test_the_last_lines_are_those_of_iperf3() -> None:
    result = PerfResult(
        Wanted(), ("10.0.0.1", 4000), ("10.0.0.2", 5301), [], [1 << 20], [1 << 20], 1.0, 2.0, 7
    )
    lines = list(report.closing(result))
    assert [line.split() for line in lines[2:4]] == [
        ["[", "5]", "0.00-1.00", "sec", "1", "MBytes", "8.39", "Mbits/sec", "7", "sender"],
        ["[", "5]", "0.00-2.00", "sec", "1", "MBytes", "4.19", "Mbits/sec", "receiver"],
    ]


def test_a_server_with_another_word_does_not_answer() -> None:
    async def work(address: SocketAddress) -> None:
        await ping(
            address,
            count=1,
            interval=0.1,
            size=56,
            wait=0.3,
            word="another",
            on_answer=lambda number, taken: None,
            result=PingResult(),
        )

    with pytest.raises(PerfError, match="with the same --key"):
        with_server(work, word="one")


def test_pings_come_back() -> None:
    answers: list[int] = []
    result = PingResult()

    async def work(address: SocketAddress) -> None:
        await ping(
            address,
            count=5,
            interval=0.01,
            size=500,
            wait=20.0,
            word=None,
            on_answer=lambda number, taken: answers.append(number),
            result=result,
        )

    with_server(work)
    assert sorted(answers) == [1, 2, 3, 4, 5]
    lines = list(report.ping_lines("host", result))
    assert lines[1] == "--- host ping statistics ---"
    assert lines[2].startswith("5 packets transmitted, 5 received, 0% packet loss, time ")
    assert lines[3].startswith("rtt min/avg/max/mdev = ")


def test_ping_figures_are_those_of_ping() -> None:
    found = PingResult(transmitted=4)
    for taken in (1_000_000, 2_000_000, 3_000_000):
        found.add(taken)
    *_, lost, figures = report.ping_lines("host", found)
    assert lost.startswith("4 packets transmitted, 3 received, 25% packet loss")
    assert figures == "rtt min/avg/max/mdev = 1.000/2.000/3.000/0.816 ms"


def test_an_endless_ping_waits_for_no_more_than_can_still_come() -> None:
    """A hundred thousand, of which every third is lost and every fifth comes too late."""
    pending, kept = PendingPings(10), 0
    for number in range(100_000):
        pending.add(number, number)
        pending.forget(number)
        kept = max(kept, len(pending))
        back = number - 10
        if back >= 0 and back % 3:
            assert pending.take(back, back + (11 if back % 5 == 0 else 10)) == (None if back % 5 == 0 else 10)
    assert kept == 11
    # Twice is once, and what was forgotten does not come back.
    assert pending.take(99_995, 99_996) == 1
    assert pending.take(99_995, 99_996) is None
    pending.forget(200_000)
    assert len(pending) == 0
    assert pending.take(99_998, 99_999) is None


def test_ping_exits_with_1_when_nobody_answers() -> None:
    done = CliRunner().invoke(main, ["ping", "127.0.0.1", "-p", "9", "-c", "1", "-W", "0.1"])
    assert done.exit_code == 1
    assert "1 packets transmitted, 0 received, 100% packet loss" in done.output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["perf"], "give one of -s, -c HOST"),
        (["perf", "-s", "-c", "host"], "give one of -s, -c HOST"),
        (["perf", "-c", "127.0.0.1", "-t", "1", "-n", "1M"], "not both"),
        (["perf", "-c", "127.0.0.1", "-n", "1Q"], "must be a number with K, M, G or T"),
        (["perf", "-c", "127.0.0.1", "-l", "0"], "from 1 to 4M"),
        (["perf", "-c", "127.0.0.1", "-l", "5M"], "from 1 to 4M"),
        (["perf", "-c", "127.0.0.1", "-C", "vegas"], "vegas"),
        (["perf", "--lab", "x", "a"], "two hosts of the lab"),
        (["ping"], "give HOST, or two hosts"),
    ],
)
def test_wrong_command_lines_are_refused_in_words(line: list[str], said: str) -> None:
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 2, done.output
    assert said in done.output


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{}",
        Wanted(parallel=MAX_PARALLEL + 1).encode(),
        Wanted(length=0).encode(),
        Wanted(duration=0, size=0).encode(),
        Wanted(duration=-SECOND).encode(),
        Wanted(duration=86_400 * SECOND + 1).encode(),
        Wanted().encode().replace(b"10000000000", b"Infinity"),
    ],
)
def test_a_server_refuses_what_it_does_not_serve(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"request|at most|neither"):
        Wanted.decode(line)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"streams": 3, "seconds": 1}',
        b'{"streams": ["3"], "seconds": 1}',
        b'{"streams": [3], "seconds": Infinity}',
        b'{"streams": [3], "seconds": -1}',
        b'{"streams": [3]}',
    ],
)
def test_a_server_that_reports_nonsense_is_not_believed(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|report|streams|seconds"):
        Report.decode(data)


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(PerfError, match=r"nowhere\.invalid"):
        resolve("nowhere.invalid", 1)
