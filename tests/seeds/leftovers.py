"""What is left when all connections are over: no timer, nothing in an endpoint, no object."""

from __future__ import annotations

import gc
import weakref
from collections import deque
from collections.abc import Callable

from node.protocol.endpoint import Endpoint
from tests.support.pair import Pair

#: Attributes of an endpoint that may hold something when all connections are over: why.
MAY_STAY = {
    "drops": "counters, one a reason",
    "identity": "who the endpoint is",
    "configuration": "what it is told",
    "_paths._paths": "paths that it was told to remember, so many at most",
    "_resets._recent": "when it sent resets lately, 64 times at most",
    "_arena": "its views of buffers, so many at most",
}


def expect_nothing_left(pair: Pair, *, before: Callable[[], None]) -> None:
    """Fail if a pair whose connections are over has a timer, a connection, or anything of one.

    Args:
        before: lets go the references to connections that the test itself holds.
    """
    assert pair.next_time() is None, "leak: a timer that never ends"
    connections = [weakref.ref(c) for c in (pair.connection, pair.accepted) if c is not None]
    for name, endpoint in (("left", pair.left), ("right", pair.right)):
        assert endpoint.connections == (), f"leak: a connection at the {name} endpoint"
        assert not held(endpoint), f"leak: the {name} endpoint holds {held(endpoint)}"
    before()
    gc.collect()
    left = [found for ref in connections if (found := ref()) is not None]
    assert not left, f"leak: {len(left)} connections are still referred to: {_referrers(left[0])}"


def held(endpoint: Endpoint) -> dict[str, object]:
    """Return the containers of an endpoint, and of its parts, that are not empty."""
    found: dict[str, object] = {}
    for name, value in vars(endpoint).items():
        if name in MAY_STAY:
            continue
        found |= _full({name: value})
        if type(value).__module__.startswith("node.protocol") and hasattr(value, "__dict__"):
            found |= _full({f"{name}.{inner}": one for inner, one in vars(value).items()})
    return found


def _full(attributes: dict[str, object]) -> dict[str, object]:
    """Return the containers among these that are not empty."""
    return {
        name: value
        for name, value in attributes.items()
        if name not in MAY_STAY and isinstance(value, dict | list | set | deque) and value
    }


def _referrers(found: object) -> str:
    return ", ".join(type(one).__name__ for one in gc.get_referrers(found)[:4])
