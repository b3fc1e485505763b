"""``python -m tests.netns.kill_walk``: kill the orchestrator at random moments, and see what is left over.

Each round starts ``narrows deploy``, ``narrows run`` or ``narrows destroy`` as a user does, kills it at a
moment drawn from the whole time that the verb was seen to take, and has ``narrows destroy --all`` clean up.
Prints one JSON object, and on stderr how far it is; the exit code is 1 if anything was left over:
namespaces, devices, processes, sockets, journals; or if a verb failed or outlasted its time, which ends the
walk. However it ends, its labs are destroyed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from orchestrator.wiring import cleanup
from orchestrator.wiring.journal import read_entries, run_ids
from tests.netns.labs import left_over

ROOT = Path(__file__).resolve().parent.parent.parent
#: What a verb takes on a machine that does all else at the same time.
_PATIENCE_SECONDS = 300.0
#: A link that the relay shapes where the kernel has no netem, one that nobody shapes, a router, a transfer.
_TOPOLOGY = """
name: walk
topology:
  nodes: {left: {}, middle: {kind: router}, right: {}}
  links:
    - {endpoints: ["left:eth1", "middle:eth1"], netem: {delay: 1ms}}
    - {endpoints: ["middle:eth2", "right:eth1"]}
workloads:
  - {name: file, kind: bulk, from: left, to: right, size: 200kB}
"""


class WalkError(Exception):
    """A verb that nobody killed did not do what it should."""


class Walk:
    """Rounds of one state directory of their own, so that labs of others are not touched.

    A context manager: at its end no lab of it is there, whatever happened.
    """

    def __init__(self, place: Path, seed: str, *, patience: float = _PATIENCE_SECONDS) -> None:
        self.left: list[str] = []
        #: Verb → kills; ``… with a lab`` → of these, when something of a lab was there.
        self.kills: Counter[str] = Counter()
        self._place = place
        self._patience = patience
        self._random = random.Random(seed)
        self._state = place / "state"
        self._state_before = os.environ.get("NARROWS_STATE")
        os.environ["NARROWS_STATE"] = str(self._state)
        self._file = place / "walk.lab.yml"
        self._file.write_text(_TOPOLOGY, encoding="utf-8")
        #: Verb → seconds that it took when it was last let be.
        self._takes: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Not by the verb, and with no limit of time: either may be what failed.
        try:
            cleanup.destroy_all(force=True)
        finally:
            os.environ.pop("NARROWS_STATE")
            if self._state_before is not None:
                os.environ["NARROWS_STATE"] = self._state_before

    def round(self) -> None:
        """Kill one verb once.

        Raises:
            WalkError: a verb that was let be failed, or outlasted its time.
        """
        verb = self._random.choice(("deploy", "run", "destroy"))
        if verb not in self._takes:
            self._takes[verb] = self._whole(verb)
            self._clean_up(f"{verb}, not killed")
        if verb == "destroy":
            self._do("deploy")
        # Beyond its end too: a verb that has just ended is as good a moment as any.
        moment = self._random.uniform(0.0, 1.1 * self._takes[verb])
        process = self._start(verb)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            self.kills[verb] += 1
        process.kill()
        process.wait()
        self._clean_up(f"{verb}, killed after {moment:.2f} s", verb)
        print(json.dumps({**self.kills, "left": len(self.left)}), file=sys.stderr, flush=True)

    def _whole(self, verb: str) -> float:
        """Let a verb come to its end; return how many seconds it took."""
        if verb == "destroy":
            self._do("deploy")
        began = time.monotonic()
        self._do(verb)
        return time.monotonic() - began

    def _clean_up(self, what: str, verb: str = "") -> None:
        found = run_ids()
        entries = sum(len(read_entries(run_id)) for run_id in found)
        if verb and entries:
            self.kills[f"{verb} with a lab"] += 1
        try:
            done = subprocess.run(
                [sys.executable, "-m", "orchestrator", "destroy", "--all"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
                timeout=self._patience,
            )
        except subprocess.TimeoutExpired as error:
            raise WalkError(f"{what}: destroy --all outlasted {self._patience} s") from error
        left = [] if done.returncode == 0 else [f"destroy --all: {done.returncode}: {done.stderr}"]
        left += [thing for run_id in found for thing in left_over(run_id)]
        left += [f"in the state directory: {path.name}" for path in self._state.glob("*")]
        left += self._processes()
        self.left += [f"{what}: {thing}" for thing in left]

    def _processes(self) -> list[str]:
        """Return those that know our state directory: whatever the verbs started, with a label or without."""
        mark = f"NARROWS_STATE={self._state}".encode()
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                knows = mark in Path("/proc", pid, "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if knows and int(pid) != os.getpid():
                found.append(f"process {pid}: {Path('/proc', pid, 'cmdline').read_bytes()!r}")
        return found

    def _do(self, verb: str) -> None:
        process = self._start(verb)
        try:
            code = process.wait(self._patience)
        except subprocess.TimeoutExpired as error:
            raise WalkError(f"{verb} outlasted {self._patience} s") from error
        finally:
            process.kill()
            process.wait()
        if code:
            raise WalkError(f"{verb}: exit code {code}: {(self._place / 'output').read_text()[-2000:]}")

    def _start(self, verb: str) -> subprocess.Popen[bytes]:
        words: dict[str, Sequence[str]] = {
            "deploy": ("deploy", "-t", str(self._file), "--backend", "netns"),
            "run": ("run", str(self._file), "--backend", "netns", "--results", str(self._place / "results")),
            "destroy": ("destroy", "--all"),
        }
        with (self._place / "output").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "orchestrator", *words[verb]],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )


def devices() -> set[str]:
    """Return the network devices of this namespace."""
    return set(os.listdir("/sys/class/net"))


def main() -> int:
    """Walk, and print what was found; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.netns.kill_walk", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", default="1")
    given = parser.parse_args()
    # As an exception, so that the labs are destroyed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    failed = ""
    rounds = 0
    before = devices()
    with tempfile.TemporaryDirectory(prefix="kill-walk-") as place, Walk(Path(place), given.seed) as walk:
        try:
            while sum(walk.kills[verb] for verb in ("deploy", "run", "destroy")) < given.kills:
                walk.round()
                rounds += 1
        except WalkError as error:
            failed = str(error)
    report = {
        "rounds": rounds,
        "seconds": round(time.monotonic() - began),
        **dict(sorted(walk.kills.items())),
        "new devices here": sorted(devices() - before),
        "left": walk.left,
        "failed": failed,
    }
    print(json.dumps(report, indent=1))
    return 1 if walk.left or failed else 0


if __name__ == "__main__":
    sys.exit(main())
