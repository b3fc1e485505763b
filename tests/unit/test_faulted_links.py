"""Actions laid over links: each goes without harm to the others, and what lies below stays as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from node.links.settings import Impairments
from orchestrator.errors import BackendError
from orchestrator.faulted_links import FaultedLinks
from orchestrator.faults.base import FAULTS, FaultError, LinkFault, View
from orchestrator.topology.model import LinkEndpoint, NodeKind

A, B = LinkEndpoint("a", "eth1"), LinkEndpoint("b", "eth1")
VIEW = View({"a": NodeKind.HOST, "b": NodeKind.HOST}, ((A, B),), frozenset())
BASE = Impairments.parse({"delay": "20ms", "loss": "1%", "rate": "10Mbit", "queue": "25p"})


class Kernel:
    """Keeps what was set, and refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.has: dict[LinkEndpoint, Impairments] = {}
        self.refuses: LinkEndpoint | None = None

    async def set(self, endpoint: LinkEndpoint, impairments: Impairments) -> None:
        if endpoint == self.refuses:
            raise BackendError("no")
        self.has[endpoint] = impairments


def action(name: str, value: object) -> LinkFault:
    fault = FAULTS[name](value, VIEW)
    assert isinstance(fault, LinkFault)
    return fault


def links() -> tuple[FaultedLinks, Kernel]:
    kernel = Kernel()
    return FaultedLinks({A: BASE, B: BASE}, kernel.set), kernel


def of(kernel: Kernel, endpoint: LinkEndpoint = A) -> Mapping[str, str]:
    return kernel.has[endpoint].to_mapping()


def test_heal_brings_back_what_a_set_in_between_made() -> None:
    async def check() -> None:
        faulted, kernel = links()
        await faulted.add(action("cut", ["a"]))
        assert of(kernel)["loss"] == "100%"
        assert of(kernel)["delay"] == "20ms"
        await faulted.add(action("set", {"link": "a:eth1", "netem": {"delay": "50ms"}}))
        assert of(kernel)["loss"] == "100%"
        assert await faulted.lift(frozenset({"cut"}), [A, B]) == 1
        assert of(kernel) == {**BASE.to_mapping(), "delay": "50ms"}

    asyncio.run(check())


def test_one_of_two_cuts_ends_and_the_link_stays_cut() -> None:
    async def check() -> None:
        faulted, kernel = links()
        first, second = action("cut", ["a"]), action("one-way-cut", ["a:eth1"])
        await faulted.add(first)
        await faulted.add(second)
        await faulted.remove(first)
        assert of(kernel)["loss"] == "100%"
        assert of(kernel, B) == BASE.to_mapping()
        await faulted.remove(second)
        assert of(kernel) == BASE.to_mapping()
        await faulted.remove(second)

    asyncio.run(check())


def test_disabled_impairments_come_back_with_their_settings() -> None:
    async def check() -> None:
        faulted, kernel = links()
        off = action("disable", {"link": ["a"], "netem": ["rate", "loss"]})
        await faulted.add(off)
        # The queue makes no sense without its rate: it goes with it.
        assert of(kernel) == {"delay": "20ms"}
        await faulted.remove(off)
        assert of(kernel) == BASE.to_mapping()
        everything = action("disable", {"link": ["a"]})
        await faulted.add(everything)
        assert of(kernel) == {}

    asyncio.run(check())


def test_action_that_a_link_refuses_leaves_nothing_behind() -> None:
    async def check() -> None:
        faulted, kernel = links()
        kernel.refuses = B
        with pytest.raises(BackendError):
            await faulted.add(action("cut", ["a"]))
        assert of(kernel) == BASE.to_mapping()
        assert not faulted.layers

    asyncio.run(check())


def test_partition_cuts_only_links_between_groups() -> None:
    c = LinkEndpoint("c", "eth1")
    view = View(
        {"a": NodeKind.HOST, "b": NodeKind.HOST, "c": NodeKind.HOST},
        ((A, B), (LinkEndpoint("b", "eth2"), c)),
        frozenset(),
    )
    fault = FAULTS["partition"]([["a", "b"], ["c"]], view)
    assert isinstance(fault, LinkFault)
    assert fault.endpoints == (LinkEndpoint("b", "eth2"), c)
    alone = FAULTS["partition"]([["a"]], view)
    assert isinstance(alone, LinkFault)
    assert alone.endpoints == (A, B)


def test_what_a_killed_command_left_on_a_link_is_put_right() -> None:
    """It was killed after the link was cut, and before it was written down that it was."""

    async def check() -> None:
        killed, kernel = links()
        await killed.add(action("cut", ["a"]))
        later = FaultedLinks({A: BASE, B: BASE}, kernel.set)
        await later.remove(action("cut", ["a"]))
        assert of(kernel)["loss"] == "100%"
        await later.refresh([A, B])
        assert of(kernel) == BASE.to_mapping()

    asyncio.run(check())


@pytest.mark.parametrize(
    "name", ["a:eth1", "b:eth1", "a:eth1--b:eth1", "b:eth1--a:eth1", "a--b", "b--a", "a"]
)
def test_a_link_is_named_by_an_end_by_both_by_two_nodes_or_by_a_node_of_it(name: str) -> None:
    fault = action("set", {"link": name, "netem-forward": {"loss": "5%"}})
    # Forward is from the link's first end, in whichever order it is named.
    assert fault.endpoints == (A,)


@pytest.mark.parametrize(
    ("name", "advice"), [("a--bb", "did you mean 'a--b'?"), ("a:eth2", "did you mean 'a:eth1'?")]
)
def test_a_link_that_is_not_there_is_told_with_those_that_are(name: str, advice: str) -> None:
    with pytest.raises(FaultError, match=name) as caught:
        action("cut", [name])
    assert advice in caught.value.advice
