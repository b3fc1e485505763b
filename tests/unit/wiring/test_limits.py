"""A lab that this machine has no room for is refused before anything of it is made."""

from __future__ import annotations

import resource
import subprocess
import sys

from orchestrator.topology.load import parse
from orchestrator.topology.planning import make_plan
from orchestrator.wiring.limits import Needs, Room, needs_of, shortages

STAR = """
name: star
topology:
  defaults: {netem: {delay: 1ms}}
  generate: {star: {shape: star, size: 999}}
"""


def test_a_thousand_nodes_need_what_they_need() -> None:
    plan = make_plan(parse(STAR.encode(), file="star.lab.yml"))
    bare = needs_of(plan, capture=False, relays=False)
    assert (bare.processes, bare.namespaces) == (1000, 1000 + 999)
    assert bare.open_files >= 3 * 999
    whole = needs_of(plan, capture=True, relays=True)
    assert whole.processes == 1000 + 2 * 999
    # The kernel keeps two rings a link; all of them together stay below two GiB.
    assert whole.memory_mib - bare.memory_mib < 2048 + 2 * 999 * 10


def test_each_shortage_is_told_with_its_remedy() -> None:
    needs = Needs(open_files=5000, processes=3000, namespaces=2000, memory_mib=100)
    told = shortages(needs, Room(open_files=4096, processes=3000, namespaces=100, memory_mib=100))
    assert told == [
        "5,000 open files are needed, 4,096 are to be had: raise it with `ulimit -Hn` as root, "
        "or LimitNOFILE= of the service that starts this",
        "2,000 network namespaces are needed, 100 are to be had: raise user.max_net_namespaces with sysctl",
    ]


def test_the_soft_limit_of_open_files_is_raised_and_the_hard_one_respected() -> None:
    """In a process of its own: limits are the whole process's."""
    program = """
import resource
from orchestrator.wiring.limits import Needs, make_room

resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1000))
make_room(Needs(900, 1, 1, 1))
print(resource.getrlimit(resource.RLIMIT_NOFILE))
try:
    make_room(Needs(1001, 1, 1, 1))
except Exception as error:
    print(type(error).__name__, error)
"""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 1000
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert first == "(900, 1000)"
    assert second == "EnvironmentMissingError this machine has no room for this lab:"
    assert third.startswith("1,001 open files are needed, 1,000 are to be had: raise it")
