"""`python -m tests.lanes [LANE…]`: run the lanes that this machine can, and say what did not run and why."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tests.lanes import guest, process, setup, whereabouts
from tests.lanes.outcome import Outcome, read_report, table
from tests.lanes.queue import Queue
from tests.lanes.table import GUEST_LIMIT_SECONDS, GUEST_TEST_SECONDS, LANE_LIMIT_SECONDS, Lane, lanes


def main() -> int:
    """Run; the status is 1 when a lane that this machine can run did not pass."""
    every = lanes()
    parser = argparse.ArgumentParser(prog="tests.lanes", description=__doc__)
    names = " ".join(one.name for one in every)
    parser.add_argument("lane", nargs="*", help=f"all when none is named: {names}")
    parser.add_argument("--list", action="store_true", help="say what each lane needs, and run nothing")
    asked = parser.parse_args()
    unknown = set(asked.lane) - {one.name for one in every}
    if unknown:
        parser.error(f"no lane {', '.join(sorted(unknown))}; there are: {names}")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    # A dozen processes collect the tests and hundreds start ours: what one compiled serves the others.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if asked.list:
        for lane in every:
            print(f"{lane.name:14}{lane.purpose:46}{lane.why_not() or 'can run here'}")
        return 0
    setup.packages()
    every = lanes()  # anew: what a lane runs may depend on what has just been installed
    outcomes = run_all([one for one in every if not asked.lane or one.name in asked.lane])
    print(table(outcomes))
    return 0 if all(one.ok for one in outcomes) else 1


def run_all(chosen: list[Lane]) -> list[Outcome]:
    """Two lanes at a time, so that both cores of a small machine have work to the end."""
    reasons = {lane.name: lane.why_not() for lane in chosen}
    able = [lane for lane in chosen if not reasons[lane.name]]
    with ThreadPoolExecutor(len(chosen)) as making, ThreadPoolExecutor(1) as beside:
        # Docker's set-up takes a minute on a bare machine, a kernel's ten: other lanes run meanwhile.
        set_ups = {lane.name: making.submit(lane.set_up) for lane in able}
        queue = Queue(able, set_ups)
        with closed_by_ctrl_c(queue):
            other = beside.submit(work, queue, set_ups, foreground=False)
            outcomes = work(queue, set_ups, foreground=True) | other.result()
    return [outcomes.get(lane.name) or Outcome(lane.name, why_not=reasons[lane.name]) for lane in chosen]


@contextmanager
def closed_by_ctrl_c(queue: Queue) -> Iterator[None]:
    """Let Ctrl-C end who takes lanes from a queue: it ends their tests, too, and they would take the next.

    At once, not when the interrupt has come up here: the foreground first waits for its own tests to end.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # It is ignored in what a shell started with &.
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        queue.close()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def work(queue: Queue, set_ups: Mapping[str, Future[object]], *, foreground: bool) -> dict[str, Outcome]:
    """Run lanes until there are no more."""
    outcomes = {}
    while (lane := queue.take(foreground=foreground)) is not None:
        outcomes[lane.name] = run_lane(lane, set_ups[lane.name], foreground=foreground)
    return outcomes


def run_lane(
    lane: Lane,
    set_up: Future[object],
    *,
    foreground: bool,
    limit_seconds: float = LANE_LIMIT_SECONDS,
    grace_seconds: float = process.GRACE_SECONDS,
) -> Outcome:
    """Wait for what the lane needs, run its tests, read their report."""
    started = time.monotonic()
    try:
        set_up.result()
        argv, environment = pytest_command(lane)
    except setup.SetUpFailedError as error:
        return Outcome(lane.name, broken=f"set-up failed: {error}", seconds=time.monotonic() - started)
    print(f"== {lane.name}: {lane.purpose}", flush=True)
    _report(lane).unlink(missing_ok=True)
    # What runs beside the foreground prints when it is done.
    log = setup.REPORTS / f"{lane.name}.log"
    output = None if foreground else log.open("wb")
    where = ""

    def at_limit(pid: int) -> None:
        nonlocal where
        where = whereabouts.where(_current(lane))
        if not lane.in_guest:  # No signal but those that end it reaches a guest.
            whereabouts.ask(pid)

    done = process.run(
        argv,
        environment=environment,
        output=output,
        limit_seconds=limit_seconds,
        grace_seconds=grace_seconds,
        at_limit=at_limit,
    )
    if output is not None:
        output.close()
        print(log.read_text(errors="replace"), flush=True)
    seconds = time.monotonic() - started
    outcome = read_report(_report(lane), lane=lane.name, status=done.status, seconds=seconds)
    if done.too_long:
        outcome.broken = f"ran longer than {limit_seconds / 60:g} minutes, and was ended {where}"
    return outcome


def pytest_command(lane: Lane) -> tuple[list[str], dict[str, str]]:
    """Argument list and environment."""
    setup.REPORTS.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "pytest", "-q", "--durations=5", f"--junitxml={_report(lane)}"]
    argv += [*whereabouts.options(_current(lane)), "-m", lane.marker]
    if lane.in_guest:
        argv += ["-o", f"faulthandler_timeout={GUEST_TEST_SECONDS}"]
    argv += [f"tests/{name}" for name in lane.directories]
    if not lane.in_guest:
        return argv, dict(os.environ)
    return guest.command(argv, limit_seconds=GUEST_LIMIT_SECONDS, writable=[setup.REPORTS])


def _report(lane: Lane) -> Path:
    return setup.REPORTS / f"{lane.name}.xml"


def _current(lane: Lane) -> Path:
    return setup.REPORTS / f"{lane.name}.tests"


if __name__ == "__main__":
    sys.exit(main())
