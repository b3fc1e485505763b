"""The contract of a transport: a name, the workloads it carries, its settings, its endpoint at a node."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from node.carrier import Carrier
from node.protocol.errors import LocalProtocolError
from node.registry import Registry
from node.settings import NodeSettings

#: The transport of flows that name none.
STRAIT = "strait"
#: Workloads of one connection with streams, which every transport has.
STREAM_WORKLOADS = ("bulk", "echo", "files", "incast", "request-response")


class Transport(Protocol):
    """A way to carry flows."""

    name: ClassVar[str]
    #: Workloads that it can carry.
    workloads: ClassVar[tuple[str, ...]]
    #: Whether it can run in a simulation: its code takes time and chance as arguments.
    virtual_time: ClassVar[bool]
    #: Its settings beside ``protocol``, as a topology names them → what is allowed.
    settings: ClassVar[Mapping[str, tuple[object, ...]]]
    #: Whether what is missing is the kernel's: then it is not supported, and not merely to be installed.
    needs_kernel: ClassVar[bool]

    @staticmethod
    def missing(settings: Mapping[str, object]) -> str | None:
        """Return what this machine lacks for these settings, and what to do; None: nothing."""
        ...

    @staticmethod
    def carrier(node: NodeSettings, rng: random.Random, key_log: Callable[[str], None] | None) -> Carrier:
        """Return the endpoint of a node."""
        ...


TRANSPORTS: Registry[type[Transport]] = Registry("transport", "node.transports")


def check_settings(transport: type[Transport], workload: str, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the settings of a flow without ``protocol``.

    Raises:
        LocalProtocolError: the transport cannot carry the workload, or has no such setting; in words.
    """
    if workload not in transport.workloads:
        raise LocalProtocolError(
            f"{transport.name} carries no {workload} flows; use strait, or one of the kinds "
            f"{', '.join(transport.workloads)}"
        )
    chosen = {name: value for name, value in given.items() if name != "protocol"}
    for name, value in chosen.items():
        if name not in transport.settings:
            known = ", ".join(transport.settings) or "none"
            raise LocalProtocolError(f"{transport.name} has no setting {name!r}; use one of: {known}")
        allowed = transport.settings[name]
        if allowed and value not in allowed:
            listed = ", ".join(map(str, allowed))
            raise LocalProtocolError(f"{transport.name} has no {name} {value!r}; use one of {listed}")
    return chosen
