"""Impairments of a lab's links with actions laid over them, so that each can go without harm to the others.

For each direction: what the topology says (or what ``narrows netem set`` made of it), and over it the
actions that are on, first come lowest. What holds is all of them applied in that order; it is worked out
anew whenever one comes or goes, and handed to whoever impairs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from node.links.settings import NONE, Impairments, ImpairmentsError
from orchestrator.errors import BackendError
from orchestrator.faults.base import LinkFault
from orchestrator.topology.model import LinkEndpoint

#: Makes impairments hold for what leaves an endpoint.
Apply = Callable[[LinkEndpoint, Impairments], Awaitable[object]]


@dataclass(slots=True)
class Layer:
    """An action that is on, and where it still is."""

    fault: LinkFault
    endpoints: list[LinkEndpoint]


class FaultedLinks:
    """The links of one lab.

    Args:
        base: what holds without any action, by sending endpoint.
        apply: makes impairments hold.
    """

    def __init__(self, base: Mapping[LinkEndpoint, Impairments], apply: Apply) -> None:
        self.base = dict(base)
        self.layers: list[Layer] = []
        self._apply = apply
        self._lock = asyncio.Lock()

    async def add(self, fault: LinkFault) -> None:
        """Lay an action over all that is there.

        Raises:
            BackendError: a link does not take it; then it is not there.
        """
        async with self._lock:
            layer = Layer(fault, list(fault.endpoints))
            self.layers.append(layer)
            try:
                await self._refresh(fault.endpoints)
            except BackendError:
                self.layers.remove(layer)
                for endpoint in fault.endpoints:
                    # The one that refused may refuse again; what is told is why it refused first.
                    with suppress(BackendError):
                        await self._refresh([endpoint])
                raise

    async def remove(self, fault: LinkFault) -> None:
        """Take an action off; nothing happens if it is not there."""
        async with self._lock:
            for layer in [layer for layer in self.layers if layer.fault is fault]:
                self.layers.remove(layer)
                await self._refresh(layer.endpoints)

    async def refresh(self, endpoints: Iterable[LinkEndpoint]) -> None:
        """Make hold what these endpoints should do, whatever somebody who was killed has left them doing."""
        async with self._lock:
            await self._refresh(endpoints)

    async def lift(self, names: frozenset[str], endpoints: Iterable[LinkEndpoint]) -> int:
        """Take actions of these names off these endpoints; return how many were touched."""
        lifted = frozenset(endpoints)
        async with self._lock:
            touched = [
                layer for layer in self.layers if layer.fault.name in names and lifted & set(layer.endpoints)
            ]
            for layer in touched:
                layer.endpoints = [end for end in layer.endpoints if end not in lifted]
            self.layers = [layer for layer in self.layers if layer.endpoints]
            await self._refresh(end for end in self.base if end in lifted)
            return len(touched)

    def effective(self, endpoint: LinkEndpoint) -> Impairments:
        """Return what holds for what leaves ``endpoint``.

        Raises:
            BackendError: an action makes no sense over what lies below it.
        """
        found = self.base.get(endpoint, NONE)
        for layer in self.layers:
            if endpoint in layer.endpoints:
                try:
                    found = layer.fault.transform(endpoint, found)
                except ImpairmentsError as error:
                    raise BackendError(f"{layer.fault.name} at {endpoint}: {error}") from error
        return found

    async def _refresh(self, endpoints: Iterable[LinkEndpoint]) -> None:
        for endpoint in endpoints:
            await self._apply(endpoint, self.effective(endpoint))
