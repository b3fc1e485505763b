"""The agent: one NodeCore on a real socket, a control server, files and signals."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from node.agent.configuration import AgentConfiguration
from node.agent.control import ControlServer
from node.agent.files import FlowFiles, KeyLog
from node.agent.measuring import Measuring
from node.agent.shaping import OwnInterfaces
from node.agent.traffic import COMMANDS as TRAFFIC_COMMANDS
from node.agent.traffic import Traffic
from node.agent.transports import OtherTransports
from node.agent.udp import UdpDriver, new_event_loop
from node.control.messages import Command, NodeEvent, Reply
from node.core import NodeCore
from node.shaper.process import fine_timers

if TYPE_CHECKING:
    from node.agent.tracing import TraceFiles

_logger = logging.getLogger(__name__)

#: Seconds that a stopping agent waits for its last packets to leave, and for its clients to read on.
STOP_TIME_LIMIT = 1.0
EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_CANNOT_START = 3


class Agent:
    """Everything of one node that touches the world.

    Args:
        configuration: what it is to be.
    """

    def __init__(self, configuration: AgentConfiguration) -> None:
        self._configuration = configuration
        self._stop = asyncio.Event()
        self._crashed = False
        self._starts_anew = False
        self._key_log = KeyLog(configuration.key_log) if configuration.key_log is not None else None
        self._traces = _traces_of(configuration)
        files = FlowFiles(configuration.files_directory, configuration.results_directory)
        self.core = NodeCore(
            configuration.node,
            rng=random.SystemRandom(),
            source_of=files.source_of,
            sink_of=files.sink_of,
            key_log=self._key_log,
            tracer_of=self._traces.tracer_of if self._traces is not None else None,
            epoch=time.time_ns(),
            process=os.getpid,
        )
        host, port = configuration.node.listen
        self.driver = UdpDriver(
            self.core,
            host=host,
            port=port,
            on_drained=self._publish,
            gso=configuration.gso,
            no_udp_checksum=configuration.no_udp_checksum,
        )
        self._others = OtherTransports(
            configuration.node, source_of=files.source_of, sink_of=files.sink_of, publish=self._publish_of
        )
        self._interfaces = OwnInterfaces()
        self._measuring = Measuring()
        self._traffic = Traffic(host)
        self._control: ControlServer | None = None

    async def run(self) -> int | None:
        """Run until told to stop by a signal or a command, or until a callback raises.

        Returns:
            The exit code: EXIT_OK, or EXIT_CRASHED after an error that nothing expected.
            None: it is to be started anew, with the configuration as it is by now.

        Raises:
            OSError: the control address is taken.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._start_anew)
        try:
            if self._configuration.control is not None:
                self._control = ControlServer(self._configuration.control, self._obey)
                await self._control.start()
            if self._traces is not None:
                self._traces.start()
            self.driver.start()
            host, port = self.driver.address
            _logger.info("%s listens at %s:%d", self._configuration.node.name, host, port)
            await self._stop.wait()
        finally:
            await self._shut_down()
        if self._crashed:
            return EXIT_CRASHED
        return None if self._starts_anew else EXIT_OK

    def _start_anew(self) -> None:
        """End in good order, to be started with what the configuration says by then: SIGHUP."""
        self._starts_anew = True
        self._stop.set()

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """End the agent when a callback of the event loop raised.

        asyncio would log it and go on with a core that stopped half way through a step: a node that
        seems to live, and does nothing right. An end is noticed at once, and the log says why.
        """
        error = context.get("exception")
        _logger.critical("%s", context.get("message"), exc_info=error)
        # "socket" is in the context only where accept() ran out of descriptors, which passes.
        if error is None or "socket" in context or self._crashed:
            return
        self._crashed = True
        if self._control is not None:
            message = f"crashed: {type(error).__name__}: {error}{_place(error)}; its log has the traceback"
            name = self._configuration.node.name
            self._control.publish(NodeEvent(name, "node_failed", self.driver.now(), {"message": message}))
        self._stop.set()

    def _obey(self, command: Command) -> Reply | Awaitable[Reply]:
        if self._interfaces.handles(command.name):
            return self._interfaces.handle(command)
        if self._measuring.handles(command.name):
            return self._measuring.handle(command)
        if command.name in TRAFFIC_COMMANDS:
            return self._traffic.handle(command)
        if command.name == "rebind":
            return self._rebind(command.arguments)
        other = self._others.obey(command)
        if other is not None:
            return other
        reply = self.core.handle_command(command, now=self.driver.now())
        self.driver.drain()
        if command.name == "statistics" and reply.ok:
            return Reply(True, self._others.merged(reply.data))
        if command.name == "stop":
            self._stop.set()
        if command.name == "status" and reply.ok:
            return Reply(True, {**self._others.merged(reply.data), **self._driver_status()})
        return reply

    def _rebind(self, arguments: Mapping[str, Any]) -> Reply:
        """Go on from another local address or port; ``migrate``: and tell the connections."""
        host, port = self.driver.address
        wanted = str(arguments.get("host", host)), 0 if arguments.get("new_port", True) else port
        try:
            self.driver.rebind(host=wanted[0], port=wanted[1])
        except OSError as error:
            return Reply(False, error=f"rebind to {wanted[0]}:{wanted[1]}: {error.strerror or error}")
        reply = Reply(True)
        if arguments.get("migrate"):
            reply = self.core.handle_command(Command("migrate"), now=self.driver.now())
        self.driver.drain()
        return Reply(reply.ok, {**reply.data, "listen": list(self.driver.address)}, reply.error)

    def _driver_status(self) -> dict[str, object]:
        return {
            "listen": list(self.driver.address),
            "udp": {**_abilities(self.driver), **asdict(self.driver.counters)},
        }

    def _publish(self) -> None:
        self._publish_of(self.core)

    def _publish_of(self, core: NodeCore) -> None:
        while (event := core.next_event()) is not None:
            self._log(event)
            if self._control is not None:
                self._control.publish(event)

    def _log(self, event: NodeEvent) -> None:
        if event.kind == "warning":
            _logger.warning("%s", event.data.get("message"))
        elif event.kind != "flow_progress":
            _logger.info("%s %s", event.kind, dict(event.data))

    async def _shut_down(self) -> None:
        """Say goodbye to peers and clients, put the interfaces back, close everything; in bounded time."""
        # A core that raised is in no state to say anything.
        if not self.core.stopping and not self._crashed:
            self.core.handle_command(Command("stop"), now=self.driver.now())
            self.driver.drain()
        if not self._crashed:
            self._others.stop()
            await self.driver.flush(STOP_TIME_LIMIT)
        await self._measuring.close()
        await self._interfaces.close()
        self._traffic.close()
        if self._control is not None:
            await self._control.close(STOP_TIME_LIMIT)
        self.driver.close()
        if self._key_log is not None:
            self._key_log.close()
        if self._traces is not None:
            self._traces.close()


def _abilities(driver: UdpDriver) -> dict[str, object]:
    return {"gso": driver.gso, "gro": driver.gro, "ecn": driver.ecn}


def _traces_of(configuration: AgentConfiguration) -> TraceFiles | None:
    directory, node = configuration.qlog_directory, configuration.node
    if directory is None:
        return None
    # Not with this module: few agents are asked for traces.
    from node.agent.tracing import TraceFiles

    return TraceFiles(directory, name=node.name, local=node.listen)


def _place(error: BaseException) -> str:
    """Return where an error was raised, for whoever sees no traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" (in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def run_agent(configuration: AgentConfiguration) -> int | None:
    """Run an agent until it is stopped; return the exit code of its process; None: it is to start anew."""
    logging.basicConfig(
        level=configuration.log_level.upper(),
        stream=sys.stderr,
        format=f"%(asctime)s {configuration.node.name} %(levelname)s %(message)s",
    )
    fine_timers()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            return runner.run(_run(configuration))
        except OSError as error:
            # A taken address is the user's affair: one line says it, a traceback would hide it.
            _logger.error("cannot start: %s", error)  # noqa: TRY400
            return EXIT_CANNOT_START


async def _run(configuration: AgentConfiguration) -> int | None:
    return await Agent(configuration).run()
