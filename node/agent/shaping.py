"""A node's commands about its own interfaces, for labs where nothing stands between two nodes.

Where the orchestrator owns the links (namespaces, Docker back end) it shapes and captures in the middle of
them. In Compose it cannot: there each agent shapes, routes and captures its own side, told by these commands:

- ``interfaces`` (names): which interface has the address that each host name resolves to, and whether this
  kernel has netem (by trying);
- ``configure`` (commands): ``ip`` argument lists for links, addresses, neighbours and routes;
- ``shape`` (interface, then either ``tc``: argument lists for what leaves it, by the kernel's netem; or
  ``impairments`` and ``seed``: for what arrives on it, by the user-space shaper); the whole set is replaced;
- ``begin_shaping``: the run starts, so shapers number packets from one;
- ``capture`` (interface, file) and ``end_captures``;
- ``inject`` (interface, frame in hex): send one Ethernet frame.

Argument lists are made by the orchestrator; only ``tc qdisc`` and ``ip link|address|neigh|route`` are run.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from node.control.messages import Command, Reply

if TYPE_CHECKING:
    import tempfile

    # Else imported where it is used: only in Compose do agents shape, and a hundred may start at once.
    from node.links.settings import Impairments

#: Seconds that one ``tc``, ``ip`` or ``ethtool`` may take: they take milliseconds, but a machine may be busy.
TOOL_TIME_LIMIT = 20.0
#: Seconds that one of our own programs gets to start: Python takes 0.1 s, many at once some seconds.
START_TIME_LIMIT = 30.0
POLL_SECONDS = 0.01
#: Seconds that a capture gets to write out what it holds, and a shaper to take its rule away.
END_TIME_LIMIT = 20.0
#: Splits bursts before they reach the link, and computes checksums before a capture sees the packets.
OFFLOADS_OFF = ("tx-udp-segmentation", "off", "tso", "off", "gso", "off", "tx", "off")

IP_COMMANDS = (("ip", "link"), ("ip", "address"), ("ip", "neigh"), ("ip", "route"))
TC_COMMANDS = (("tc", "qdisc"),)


class ShapingError(Exception):
    """A command about this node's interfaces could not be carried out; the message says why."""


class OwnInterfaces:
    """Carries out the commands of this module.

    Args:
        directory: where the configurations of shapers lie; None: in one made for the first shaper. Most
            agents never start one, and a directory made in advance outlives an agent that is killed.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._made: tempfile.TemporaryDirectory[str] | None = None
        self._captures: dict[str, Process] = {}
        self._shapers: dict[str, Process] = {}
        self._handlers: dict[str, Callable[[Mapping[str, object]], Awaitable[Mapping[str, object]]]] = {
            "interfaces": self._interfaces,
            "configure": self._configure,
            "shape": self._shape,
            "begin_shaping": self._begin_shaping,
            "capture": self._capture,
            "end_captures": self._end_captures,
            "inject": self._inject,
        }

    def handles(self, name: str) -> bool:
        """Return whether a command of this name is carried out here."""
        return name in self._handlers

    async def handle(self, command: Command) -> Reply:
        """Carry out a command; what goes wrong stands in the reply."""
        try:
            data = await self._handlers[command.name](command.arguments)
        except (ShapingError, OSError) as error:
            return Reply(ok=False, error=f"{command.name}: {error}")
        return Reply(ok=True, data=data)

    async def close(self) -> None:
        """End all captures and shapers that were started here."""
        await self._end_captures({})
        for process in self._shapers.values():
            await _end(process)
        self._shapers.clear()
        if self._made is not None:
            self._made.cleanup()
            self._made = self._directory = None

    async def _interfaces(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        names = arguments.get("names")
        if not isinstance(names, list):
            raise ShapingError(f"names: found {names!r}, must be a list of host names")
        owners: dict[str, str] = {}
        for entry in json.loads(await _run(["ip", "-j", "-4", "address", "show"])):
            owners.update({address["local"]: entry["ifname"] for address in entry["addr_info"]})
        found = {str(name): owners.get(await _resolve(str(name)), "") for name in names}
        for name, owner in found.items():
            if not owner:
                raise ShapingError(f"{name} is not the name of one of this node's own addresses")
        return {"interfaces": found, "netem": await _has_netem()}

    async def _configure(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        for command in _commands(arguments.get("commands"), allowed=IP_COMMANDS):
            await _run(command)
        return {}

    async def _shape(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        interface = _text(arguments, "interface")
        # All is read before anything is changed: what is refused leaves the interface as it was.
        if "tc" in arguments:
            commands = _commands(arguments["tc"], allowed=TC_COMMANDS)
            await _run(["ethtool", "-K", interface, *OFFLOADS_OFF])
            for command in commands:
                await _run(command)
            return {"qdiscs": await _run(["tc", "-j", "qdisc", "show", "dev", interface])}
        impairments = _impairments(arguments.get("impairments"))
        await _run(["ethtool", "-K", interface, *OFFLOADS_OFF])
        return await self._shape_arriving(interface, impairments, seed=str(arguments.get("seed", "0")))

    async def _shape_arriving(
        self, interface: str, impairments: Impairments, *, seed: str
    ) -> Mapping[str, object]:
        if self._directory is None:
            import tempfile  # with it come shutil and three compressors: not for agents that start no shaper

            self._made = tempfile.TemporaryDirectory(prefix="narrows-agent-")
            self._directory = Path(self._made.name)
        control = self._directory / f"shaper-{interface}.sock"
        running = self._shapers.get(interface)
        if running is None or running.returncode is not None:
            await self._start_shaper(interface, control, seed=seed)
        try:
            got = await asyncio.to_thread(_set_inbound, str(control), impairments)
        except ShapingError as error:
            raise ShapingError(f"{error}; {await self._last_words(interface)}") from error
        return {"impairments": got.to_mapping()}

    async def _begin_shaping(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        for interface in self._shapers:
            assert self._directory is not None, "a shaper without its directory"
            await asyncio.to_thread(_begin_inbound, str(self._directory / f"shaper-{interface}.sock"))
        return {}

    async def _start_shaper(self, interface: str, control: Path, *, seed: str) -> None:
        configuration = control.with_suffix(".json")
        configuration.write_text(json.dumps({"control": str(control), "seed": seed}))
        self._shapers[interface] = await _start(
            *["node.shaper", "nfqueue", "--interface", interface],
            *["--config", str(configuration), "--die-with-parent"],
        )

    async def _last_words(self, interface: str) -> str:
        return await _end(self._shapers.pop(interface)) or "the shaper said nothing"

    async def _capture(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        interface = _text(arguments, "interface")
        file = Path(_text(arguments, "file"))
        running = self._captures.pop(interface, None)
        if running is not None:
            # Of an orchestrator that ended before it could end its captures.
            await _end(running)
        file.parent.mkdir(parents=True, exist_ok=True)
        process = await _start(
            "node.capture", "--interface", interface, "--output", str(file), "--die-with-parent"
        )
        self._captures[interface] = process
        await _wait_for_header(file, process)
        return {}

    async def _end_captures(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        ended = {interface: await _end(process) for interface, process in self._captures.items()}
        self._captures.clear()
        return {"captures": ended}

    async def _inject(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        try:
            frame = bytes.fromhex(_text(arguments, "frame"))
        except ValueError as error:
            raise ShapingError(f"frame: not hex: {error}") from error
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((_text(arguments, "interface"), 0))
            raw.send(frame)
        return {}


async def _resolve(name: str) -> str:
    """Return the IPv4 address of a host name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, family=socket.AF_INET)
    except socket.gaierror as error:
        raise ShapingError(f"{name}: {error}") from error
    return str(found[0][4][0])


async def _has_netem() -> bool:
    """Return whether this kernel has netem, found by adding one that does nothing to ``lo``."""
    try:
        await _run(["tc", "qdisc", "add", "dev", "lo", "root", "netem"])
    except ShapingError:
        return False
    await _run(["tc", "qdisc", "del", "dev", "lo", "root"])
    return True


def _set_inbound(control: str, impairments: Impairments) -> Impairments:
    from node.shaper.client import ShaperClient, ShaperControlError

    try:
        with ShaperClient.wait(control) as shaper:
            return shaper.set("inbound", impairments)
    except ShaperControlError as error:
        raise ShapingError(str(error)) from error


def _begin_inbound(control: str) -> None:
    from node.shaper.client import ShaperClient, ShaperControlError

    try:
        with ShaperClient(control) as shaper:
            shaper.begin()
    except ShaperControlError as error:
        raise ShapingError(str(error)) from error


async def _start(module: str, *arguments: str) -> Process:
    """Start one of our own programs."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )


async def _wait_for_header(file: Path, process: Process) -> None:
    """Wait until a capture sees packets: its file has a header then."""
    deadline = asyncio.get_running_loop().time() + START_TIME_LIMIT
    while not await asyncio.to_thread(_has_content, file):
        if process.returncode is not None:
            raise ShapingError(f"the capture ended at once: {await _end(process)}")
        if asyncio.get_running_loop().time() >= deadline:
            raise ShapingError(f"the capture does not begin within {START_TIME_LIMIT:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


async def _end(process: Process) -> str:
    """End a program of ours, and return what it said on its standard error."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        _, said = await asyncio.wait_for(process.communicate(), END_TIME_LIMIT)
    except TimeoutError:
        process.kill()
        _, said = await process.communicate()
    return said.decode(errors="replace")


async def _run(command: Sequence[str]) -> str:
    """Run a tool and return its standard output.

    Raises:
        ShapingError: it is not there, took too long, or ended with an error.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env={**os.environ, "LC_ALL": "C"}
        )
    except FileNotFoundError as error:
        raise ShapingError(f"{command[0]} is not installed here") from error
    try:
        output, said = await asyncio.wait_for(process.communicate(), TOOL_TIME_LIMIT)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise ShapingError(f"{' '.join(command)}: took more than {TOOL_TIME_LIMIT:.0f} s") from error
    if process.returncode != 0:
        reason = said.decode(errors="replace").strip()
        raise ShapingError(f"{' '.join(command)}: exit code {process.returncode}: {reason}")
    return output.decode()


def _commands(value: object, *, allowed: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return ``value`` as argument lists, each of which begins as one of ``allowed``."""
    if not isinstance(value, list):
        raise ShapingError(f"found {value!r}, must be a list of argument lists")
    for command in value:
        if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
            raise ShapingError(f"found {command!r}, must be a list of words")
        if tuple(command[:2]) not in allowed:
            known = ", ".join(" ".join(words) for words in allowed)
            raise ShapingError(f"found {' '.join(command)!r}, must begin with one of: {known}")
    return value


def _impairments(value: object) -> Impairments:
    if not isinstance(value, Mapping):
        raise ShapingError("give tc: argument lists, or impairments: a mapping")
    from node.links.settings import Impairments, ImpairmentsError

    try:
        return Impairments.parse(value)
    except ImpairmentsError as error:
        raise ShapingError(str(error)) from error


def _text(arguments: Mapping[str, object], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ShapingError(f"{name}: found {value!r}, must be a text")
    return value
