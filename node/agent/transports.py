"""Flows over other transports than Strait at a real node: a core for each, made when the first flow asks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from node.agent.udp import UdpDriver
from node.control.messages import Command, Reply
from node.core import NodeCore
from node.protocol.errors import LocalProtocolError
from node.protocol.time import SECOND, Instant
from node.registry import UnknownNameError
from node.settings import NodeSettings
from node.transports.base import STRAIT, TRANSPORTS
from node.workloads.base import SinkFactory, SourceFactory

if TYPE_CHECKING:
    from node.transports.tcp import TcpEndpoint


class OtherTransports:
    """The cores of other transports.

    Args:
        settings: who the node is.
        source_of, sink_of: make byte sources and sinks, as for the node's own core.
        publish: takes the events of a core.
    """

    def __init__(
        self,
        settings: NodeSettings,
        *,
        source_of: SourceFactory,
        sink_of: SinkFactory,
        publish: Callable[[NodeCore], None],
    ) -> None:
        self._settings = settings
        self._source_of = source_of
        self._sink_of = sink_of
        self._publish = publish
        self._running: dict[str, tuple[NodeCore, TcpDriver | UdpDriver]] = {}
        #: Flow → the transport it was started with last.
        self._flows: dict[str, str] = {}

    def obey(self, command: Command) -> Reply | None:
        """Obey a command about a flow over another transport; None: it is for the node's own core."""
        flow = str(command.arguments.get("flow"))
        if command.name == "start_flow":
            transport = command.arguments.get("transport")
            protocol = transport.get("protocol", STRAIT) if isinstance(transport, Mapping) else STRAIT
            if protocol == STRAIT:
                self._flows.pop(flow, None)
                return None
            try:
                self._start(str(protocol))
            except (LocalProtocolError, UnknownNameError, OSError) as error:
                return Reply(False, error=f"{protocol}: {error}")
            self._flows[flow] = str(protocol)
        elif "flow" not in command.arguments or flow not in self._flows:
            return None
        core, driver = self._running[self._flows[flow]]
        reply = core.handle_command(command, now=driver.now())
        driver.drain()
        return reply

    def stop(self) -> None:
        """End all flows and close all sockets."""
        for core, driver in self._running.values():
            core.handle_command(Command("stop"), now=driver.now())
            driver.drain()
            driver.close()
        self._running.clear()

    def merged(self, data: Mapping[str, object]) -> dict[str, object]:
        """Return the data of a ``status`` or ``statistics`` reply with what the other cores have to add."""
        whole = dict(data)
        name = "status" if "flows" in data else "statistics"
        for core, driver in self._running.values():
            reply = core.handle_command(Command(name), now=driver.now())
            for key in ("flows", "connections"):
                ours, theirs = whole.get(key), reply.data.get(key)
                if isinstance(ours, list) and isinstance(theirs, list):
                    whole[key] = [*ours, *theirs]
                elif isinstance(ours, int) and isinstance(theirs, int):
                    whole[key] = ours + theirs
        return whole

    def cores(self) -> Iterator[NodeCore]:
        """Yield the cores that there are."""
        for core, _ in self._running.values():
            yield core

    def _start(self, protocol: str) -> None:
        if protocol in self._running:
            return
        # Not with this module: most agents never carry any of these.
        from node.transports.quic import PORT_OFFSET
        from node.transports.tcp import TcpEndpoint

        transport, rng = TRANSPORTS[protocol], random.SystemRandom()
        carrier = transport.carrier(self._settings, rng, None)
        core = NodeCore(
            self._settings, rng=rng, source_of=self._source_of, sink_of=self._sink_of, carrier=carrier
        )

        def publish() -> None:
            self._publish(core)

        driver: TcpDriver | UdpDriver
        if isinstance(carrier, TcpEndpoint):
            driver = TcpDriver(core, carrier, on_drained=publish)
        else:
            host, port = self._settings.listen
            driver = UdpDriver(core, host=host, port=port + PORT_OFFSET, on_drained=publish)
            driver.start()
        self._running[protocol] = (core, driver)


class TcpDriver:
    """Drives a core whose endpoint has sockets of its own, under asyncio."""

    def __init__(self, core: NodeCore, endpoint: TcpEndpoint, *, on_drained: Callable[[], None]) -> None:
        self._core = core
        self._endpoint = endpoint
        self._on_drained = on_drained
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        endpoint.start(self._loop, self._step)

    @staticmethod
    def now() -> Instant:
        """Return the core's clock, ns."""
        return time.monotonic_ns()

    def drain(self) -> None:
        """Let the endpoint send, give out the core's events, and set the timer."""
        while self._core.transmit(now=self.now()) is not None:
            pass  # sockets take it; there is never a datagram
        self._on_drained()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._core.next_timeout()
        if due is not None and not self._closed:
            self._timer = self._loop.call_at(due / SECOND, self._step)

    def close(self) -> None:
        """Close all sockets."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._endpoint.close(now=self.now())

    def _step(self) -> None:
        if not self._closed:
            self._core.handle_timeout(now=self.now())
            self.drain()
