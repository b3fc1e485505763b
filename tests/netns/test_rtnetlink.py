"""What rtnetlink does in the place of `ip`: the kernel must not be able to tell them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from orchestrator.errors import BackendError
from orchestrator.executor import Executor, run_batch
from orchestrator.wiring import namespaces, rtnetlink
from orchestrator.wiring.commands import Line, join_lines, link_up_lines, part_lines
from orchestrator.wiring.readiness import wait_until_running
from tests.netns.labs import new_run_id

pytestmark = pytest.mark.netns

#: Each form that orchestrator.wiring.commands writes.
_NODE = """\
link set dev lo up
address add 10.0.0.1/30 dev eth1
address add 10.9.9.9/32 dev eth1
address add fd6e::1/64 dev eth1 nodad
link set dev eth1 up
neigh replace 10.0.0.2 lladdr 02:00:00:00:00:09 dev eth1 nud permanent
neigh replace fd6e::2 lladdr 02:00:00:00:00:09 dev eth1 nud permanent
route replace 10.1.0.0/16 via 10.0.0.2 dev eth1
route replace 10.2.0.0/16 via 10.0.0.2 dev eth1
route replace 0.0.0.0/0 via 10.0.0.2 dev eth1
route replace fd00:1::/64 via fd6e::2 dev eth1
route replace fd00:2::/64 via fd6e::2 dev eth1
route delete 10.2.0.0/16 via 10.0.0.2 dev eth1
route delete fd00:2::/64 via fd6e::2 dev eth1
"""
#: Both ends have addresses of ours, for what the kernel would draw at random.
_PAIRS = [
    f"link add name {name} address 02:00:00:00:00:{index}1 type veth"
    f" peer name {name}p address 02:00:00:00:00:{index}2"
    for index, name in enumerate(("eth1", "a", "b"), start=1)
]
_VIEWS = ("-d link show", "address show", "neigh show", "route show", "-6 route show")


def _lines(text: str) -> list[Line]:
    return [tuple(line.split()) for line in text.splitlines()]


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    executor, run_id = Executor(), new_run_id()
    found = (f"nw-{run_id}-node-ip", f"nw-{run_id}-node-netlink")
    try:
        for name in found:
            executor.run(["ip", "netns", "add", name])
            # No addresses but ours: the kernel's own come when they come.
            silent = {"net/ipv6/conf/default/addr_gen_mode": "1"}
            namespaces.inside({namespaces.path_of(name): partial(namespaces.write_settings, silent)})
            run_batch(executor, "ip", _lines("\n".join(_PAIRS)), namespace=namespaces.path_of(name))
        yield found
    finally:
        for name in found:
            namespaces.remove(name)


def _seen(name: str) -> list[str]:
    return [_view(view.split(), namespaces.path_of(name)) for view in _VIEWS]


def _view(words: list[str], place: Path) -> str:
    text = re.sub(r"_timer +[\d.]+", "_timer", Executor().run(["ip", *words], namespace=place).stdout)
    # Routes of one prefix are listed in the order in which the kernel saw carriers come.
    return "\n".join(sorted(text.splitlines())) if "route" in words else text


def test_rtnetlink_leaves_what_ip_leaves(names: tuple[str, str]) -> None:
    peers = [("link", "set", "dev", peer, "up") for peer in ("eth1p", "ap", "bp")]
    lines = [*peers, *_lines(_NODE), *link_up_lines(), *join_lines()]
    by_ip, by_netlink = names
    run_batch(Executor(), "ip", lines, namespace=namespaces.path_of(by_ip))
    namespaces.inside({namespaces.path_of(by_netlink): partial(rtnetlink.obey, lines)})
    for name in names:
        # Only then is all of it there: the kernel follows carriers in its own time.
        running = partial(wait_until_running, ["eth1", "a", "b", "join", "eth1p", "ap", "bp"])
        namespaces.inside({namespaces.path_of(name): running})
    assert _seen(by_netlink) == _seen(by_ip)
    assert "bridge forward_delay 0 " in _seen(by_netlink)[0]
    for name in names:
        namespaces.inside({namespaces.path_of(name): partial(rtnetlink.obey, part_lines())})
        assert "join" not in _seen(name)[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("link set dev nowhere up", "ip link set dev nowhere up: No such device"),
        ("address add 10.0.0.1/30 dev nowhere", "ip address add 10.0.0.1/30 dev nowhere: no interface"),
        ("route replace 10.7.0.0/16 via 10.8.0.1 dev lo", "dev lo: Network is (unreachable|down)"),
    ],
)
def test_a_refused_line_is_named_with_the_reason(names: tuple[str, str], line: str, message: str) -> None:
    place = namespaces.path_of(names[1])
    with pytest.raises(BackendError, match=message):
        namespaces.inside({place: partial(rtnetlink.obey, _lines(line))})
    later = [*_lines(line), ("link", "set", "dev", "lo", "up")]
    namespaces.inside({place: partial(rtnetlink.obey, later, force=True)})
    assert "LOOPBACK,UP" in _seen(names[1])[0]
