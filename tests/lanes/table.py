"""The lanes: what each needs of the machine, how it is had, and which tests it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.lanes import machine, setup

#: Tests without any demand on the machine.
ANYWHERE = "not (netns or netem or docker or uml)"
#: Directories with a lane of their own; every other one belongs to the lane `rules`.
OWN_LANE = ("unit", "property", "simulation")
#: Real seconds for a lane, after which it is ended: the longest took six minutes, and seven hundred seconds
#: on a busy machine.
LANE_LIMIT_SECONDS = 1500
#: Real seconds for a guest with a whole lane: the lane's own limit comes before it, and says what was run.
GUEST_LIMIT_SECONDS = LANE_LIMIT_SECONDS + 120
#: Seconds for one test in there, after which it writes where it is: nobody can ask it from here. They are
#: virtual where time is, and none of its tests comes to a tenth of them.
GUEST_TEST_SECONDS = 900


def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Lane:
    """One group of tests with one demand on the machine."""

    name: str
    #: What it is for, one line.
    purpose: str
    #: pytest's -m expression.
    marker: str
    #: Directories below tests/.
    directories: tuple[str, ...] = (".",)
    #: Why this machine cannot run it, with the remedy; empty where it can.
    why_not: Callable[[], str] = _nothing
    #: Makes what is needed; does nothing where it is there.
    set_up: Callable[[], object] = _nothing
    #: All of it runs inside User-Mode Linux.
    in_guest: bool = False
    #: May run beside another lane: it leaves nothing of this machine changed, and asks nothing of its time.
    beside: bool = False


def directories_with_tests() -> list[str]:
    """Names of the directories below tests/ that hold tests."""
    below = machine.ROOT / "tests"
    return sorted({path.relative_to(below).parts[0] for path in below.glob("*/**/test_*.py")})


def _docker_and_kernel() -> None:
    setup.docker()
    setup.guest_kernel()


def lanes() -> tuple[Lane, ...]:
    """All lanes in the order of running: the long ones first, so that the short ones fill in at the end."""
    once = "" if machine.why_no_namespaces() else " or any_kernel"
    rules = tuple(name for name in directories_with_tests() if name not in OWN_LANE)
    return (
        Lane(
            "namespaces",
            "real sockets between network namespaces",
            "netns and not (netem or docker or uml)",
            why_not=machine.why_no_namespaces,
        ),
        Lane(
            "netem",
            "tc netem of this machine's kernel",
            "netem and not (docker or uml or timetravel)",
            why_not=machine.why_no_netem,
        ),
        Lane(
            "docker",
            "containers",
            "docker and not uml",
            why_not=setup.why_docker_cannot_be_had,
            set_up=setup.docker,
        ),
        Lane(
            "docker-netem",
            "containers in User-Mode Linux with tc netem",
            "docker and uml",
            why_not=lambda: setup.why_docker_cannot_be_had() or machine.why_no_docker_in_guest(),
            set_up=_docker_and_kernel,
        ),
        Lane(
            "kernel-netem",
            "tc netem in User-Mode Linux, virtual time",
            f"(netns or netem) and not (docker or uml{once})",
            why_not=machine.why_no_guest_kernel,
            set_up=setup.guest_kernel,
            in_guest=True,
            beside=True,
        ),
        Lane("simulation", "whole runs on virtual time", ANYWHERE, ("simulation",), beside=True),
        # Two processes and more in places: it comes when the lanes of real time are through.
        Lane("rules", "architecture, contracts, golden files", ANYWHERE, rules, beside=True),
        Lane(
            "parity",
            "simulation against tc netem, one lab on both",
            "uml and timetravel",
            why_not=machine.why_no_time_travel,
            beside=True,
        ),
        Lane("unit", "parts alone", ANYWHERE, ("unit",), beside=True),
        Lane("property", "Hypothesis", ANYWHERE, ("property",), beside=True),
    )
