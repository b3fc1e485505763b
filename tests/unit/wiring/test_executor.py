"""Commands end in time and fail with all that is known; a fake writes them down."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import EnvironmentMissingError
from orchestrator.executor import (
    COMMAND_TIMEOUT_SECONDS,
    CommandError,
    Completed,
    Executor,
    FakeExecutor,
    run_batch,
)


def test_a_failure_carries_argv_exit_code_and_stderr() -> None:
    with pytest.raises(CommandError, match="exit code 3: went wrong") as caught:
        Executor().run(["sh", "-c", "echo went wrong >&2; exit 3"])
    assert caught.value.exit_code == 3
    assert caught.value.stderr == "went wrong\n"
    assert caught.value.argv[0] == "sh"


def test_a_command_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(CommandError, match="took too long") as caught:
        Executor().run(["sleep", "1000"], timeout_seconds=0.01)
    assert caught.value.exit_code is None


def test_a_missing_program_is_named() -> None:
    with pytest.raises(EnvironmentMissingError, match="no program no-such-program"):
        Executor().run(["no-such-program"])


def test_standard_input_and_output_pass() -> None:
    assert Executor().run(["cat"], stdin="à\n").stdout == "à\n"


def test_a_batch_names_the_command_that_failed() -> None:
    lines = [("link", "show", "dev", "lo"), ("link", "show", "dev", "no-such-device")]
    with pytest.raises(CommandError, match="ip link show dev no-such-device: exit code 1"):
        run_batch(Executor(), "ip", lines)
    run_batch(Executor(), "ip", lines, force=True)


def test_a_batch_refuses_what_it_would_split() -> None:
    with pytest.raises(AssertionError, match="would be split"):
        run_batch(FakeExecutor(), "ip", [("link", "show", "a b")])


def test_a_process_is_watched_and_its_log_kept(tmp_path: Path) -> None:
    async def body() -> None:
        process = Executor().spawn(
            [
                sys.executable,
                "-c",
                "import os, time; print(os.environ['WORD'], flush=True); time.sleep(1000)",
            ],
            namespace=None,
            log=tmp_path / "log",
            environment={"WORD": "hello"},
            attached=True,
        )
        while process.tail() != "hello\n":
            assert process.poll() is None
            await asyncio.sleep(0.01)
        process.send(signal.SIGSTOP)
        assert await process.stop(grace_seconds=20.0) == -signal.SIGTERM
        assert process.exit_code == -signal.SIGTERM
        process.send(signal.SIGTERM)  # nothing to hear it, nothing happens

    asyncio.run(body())


def test_a_process_deaf_to_requests_is_killed(tmp_path: Path) -> None:
    async def body() -> None:
        process = Executor().spawn(
            ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"],
            namespace=None,
            log=tmp_path / "log",
            environment={},
            attached=True,
        )
        while not process.tail():
            assert process.poll() is None
            await asyncio.sleep(0.01)
        assert await process.stop(grace_seconds=0.05) == -signal.SIGKILL

    asyncio.run(body())


def test_a_fake_writes_down_what_would_run() -> None:
    fake = FakeExecutor(answer=lambda argv: "six" if argv[0] == "count" else "")
    assert fake.run(["count"]).stdout == "six"
    run_batch(fake, "ip", [("link", "add"), ("link", "set")], namespace=Path("/run/netns/a"))
    assert fake.script == [
        "count",
        "nsenter --net=/run/netns/a -- ip -batch -",
        "    link add",
        "    link set",
    ]


def test_a_batch_has_the_more_time_the_longer_it_is() -> None:
    """The namespaces of a thousand nodes took more than the minute that a single command has."""
    limits: list[float] = []

    class Watched(FakeExecutor):
        def run(self, argv: Sequence[str], **named: Any) -> Completed:
            limits.append(named["timeout_seconds"])
            return super().run(argv, **named)

    for count in (1, 2_000):
        run_batch(Watched(), "ip", [("netns", "add", str(number)) for number in range(count)])
    few, many = limits
    assert few < COMMAND_TIMEOUT_SECONDS + 1
    assert many > COMMAND_TIMEOUT_SECONDS + 0.1 * 2_000
