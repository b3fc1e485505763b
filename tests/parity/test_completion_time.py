"""One lab, twice: simulated, and with real sockets on tc netem in a kernel of virtual time.

In the guest CPU work takes no time (``inf-cpu``), as in the simulator. What is left between the two is
nothing but a difference in meaning, so the bounds are far below the 10 % that a real machine would need.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.lanes import guest, machine
from tests.parity.completion_times import EXACT, RANDOM, measure

pytestmark = [pytest.mark.uml, pytest.mark.timetravel, pytest.mark.slow]

#: Real seconds for the guest: it needs forty on a quiet machine.
GUEST_LIMIT_SECONDS = 400.0
#: Timers in whole ms, and real sockets that read in other gulps than the simulator's.
EXACT_TOLERANCE, EXACT_GRAIN_SECONDS = 0.01, 0.005
#: Means of a few runs that differ in what was lost when: as far apart as this, or as chance alone makes
#: them in one comparison of ten thousand.
RANDOM_TOLERANCE, STANDARD_ERRORS = 0.10, 4


@pytest.fixture(scope="module")
def simulated() -> Mapping[str, list[float]]:
    return measure("simulation")


@pytest.fixture(scope="module")
def real() -> Mapping[str, list[float]]:
    argv, environment = guest.command(
        [sys.executable, "-m", "tests.parity.completion_times", "netns"],
        limit_seconds=GUEST_LIMIT_SECONDS,
    )
    done = subprocess.run(
        argv, env=environment, cwd=machine.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", EXACT)
def test_completion_times_are_the_same(
    name: str, simulated: Mapping[str, list[float]], real: Mapping[str, list[float]]
) -> None:
    assert real[name] == pytest.approx(simulated[name], rel=EXACT_TOLERANCE, abs=EXACT_GRAIN_SECONDS)


@pytest.mark.parametrize("name", RANDOM)
def test_mean_completion_times_agree(
    name: str, simulated: Mapping[str, list[float]], real: Mapping[str, list[float]]
) -> None:
    runs = (real[name], simulated[name])
    means = [statistics.mean(found) for found in runs]
    error = math.sqrt(sum(statistics.variance(found) / len(found) for found in runs))
    assert means[0] == pytest.approx(means[1], rel=RANDOM_TOLERANCE, abs=STANDARD_ERRORS * error), runs
