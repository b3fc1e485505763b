"""A node's ends of links, opened for whoever measures the links and is not in this network namespace.

Where the orchestrator owns the nodes' namespaces it opens the ends of links there by itself. In Compose it
cannot: there each agent sends the measuring frames of its own ends, and takes those that come, told by these
commands:

- ``open_ends`` (ends: own end → its link, see ``_open``); the reply tells ``kernel``: where two agents name
  different ones, their clocks have nothing in common;
- ``expect_streams`` (number, streams: end that sends → count, size, interval, together): from the reply on,
  what comes of these streams is taken;
- ``send_streams``: those that begin here; the reply comes when all is sent;
- ``end_streams`` (linger, ns): wait so long for what has not come; the reply tells ``departures`` by own end
  and ``arrivals`` by the end that sent, in ns after ``base``;
- ``watch_bursts``, ``send_bursts`` (ends: own end → address), ``read_bursts`` (ports: end that sent → UDP
  port): a burst for the kernel to split; which packets of it were seen at the own ends;
- ``close_ends``.

Nothing is judged here: what the figures are worth is for the orchestrator to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from node.control.messages import Command, Reply

if TYPE_CHECKING:
    # Else imported where it is used: only in Compose do agents measure, and a hundred may start at once.
    from node.measuring.bursts import Place, Seen
    from node.measuring.ends import End
    from node.measuring.session import Session
    from node.measuring.streams import Observed, Stream

#: Frames of one stream at most: strict calibration sends 1,500, and trains have 4,000.
MAX_FRAMES = 100_000
#: Waited at most for frames that are on their way, ns.
MAX_LINGER = 600 * 1_000_000_000
_SMALLEST_FRAME, _LARGEST_FRAME = 84, 65_535
_KERNEL = Path("/proc/sys/kernel/random/boot_id")


class MeasuringError(Exception):
    """A command about measuring could not be carried out; the message says why."""


class Measuring:
    """Carries out the commands of this module."""

    def __init__(self) -> None:
        self._ends: dict[str, End] = {}
        #: The other end of a link → the own one.
        self._opposite: dict[str, str] = {}
        self._session: Session | None = None
        self._running: asyncio.Task[dict[str, Observed]] | None = None
        self._handlers: dict[str, Callable[[Mapping[str, object]], Awaitable[Mapping[str, object]]]] = {
            "open_ends": self._open_ends,
            "expect_streams": self._expect_streams,
            "send_streams": self._send_streams,
            "end_streams": self._end_streams,
            "watch_bursts": self._watch_bursts,
            "send_bursts": self._send_bursts,
            "read_bursts": self._read_bursts,
            "close_ends": self._close_ends,
        }

    def handles(self, name: str) -> bool:
        """Return whether a command of this name is carried out here."""
        return name in self._handlers

    async def handle(self, command: Command) -> Reply:
        """Carry out a command; what goes wrong stands in the reply."""
        try:
            data = await self._handlers[command.name](command.arguments)
        except (MeasuringError, OSError) as error:
            return Reply(ok=False, error=f"{command.name}: {error}")
        return Reply(ok=True, data=data)

    async def close(self) -> None:
        """End what runs, and close all ends."""
        if self._session is not None and self._running is not None:
            self._session.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self._session = self._running = None
        ends, self._ends = self._ends, {}
        self._opposite.clear()
        if ends:
            await asyncio.to_thread(_close, ends)

    async def _open_ends(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        # What an orchestrator has left that ended before its time.
        await self.close()
        wanted = {name: _fields(found, name) for name, found in _mapping(arguments, "ends").items()}
        # One by one, so that what is open already is closed if a later one cannot be opened.
        for name, fields in wanted.items():
            self._ends[name] = await asyncio.to_thread(_open, fields)
            self._opposite[_text(fields, "opposite")] = name
        return {"kernel": (await asyncio.to_thread(_KERNEL.read_text)).strip()}

    async def _expect_streams(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        from node.measuring.session import Session

        if self._session is not None:
            raise MeasuringError("streams are under way: end them first")
        streams = {name: _stream(found, name) for name, found in _mapping(arguments, "streams").items()}
        strange = [name for name in streams if name not in self._ends and name not in self._opposite]
        if strange:
            raise MeasuringError(f"no open end has to do with {', '.join(strange)}")
        self._session = Session(
            streams,
            number=_whole(arguments, "number", 0, 255),
            sources={name: self._ends[name] for name in streams if name in self._ends},
            targets={name: self._ends[self._opposite[name]] for name in streams if name in self._opposite},
        )
        self._running = asyncio.create_task(asyncio.to_thread(self._session.run))
        await asyncio.to_thread(self._session.wait_ready)
        return {}

    async def _send_streams(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        session = self._session
        if session is None:
            raise MeasuringError("no streams are expected")
        session.begin()
        await asyncio.to_thread(session.wait_sent)
        return {}

    async def _end_streams(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        if self._session is None or self._running is None:
            raise MeasuringError("no streams are expected")
        self._session.end(_whole(arguments, "linger", 0, MAX_LINGER))
        running = self._running
        try:
            observed = await asyncio.shield(running)
        finally:
            self._session = self._running = None
        return _told(observed, sending=frozenset(self._ends), arriving=frozenset(self._opposite))

    async def _watch_bursts(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        from node.measuring.bursts import watch
        from node.measuring.waiting import with_each

        await asyncio.to_thread(with_each, watch, self._places())
        return {}

    async def _send_bursts(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        from node.measuring.bursts import send_burst

        ports = {}
        for name, address in _mapping(arguments, "ends").items():
            if name not in self._ends:
                raise MeasuringError(f"{name} is no open end")
            port = send_burst(self._ends[name], str(address))
            if port is not None:
                ports[name] = port
        return {"ports": ports}

    async def _read_bursts(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        from node.measuring.bursts import count_burst, count_oversize, frames_seen
        from node.measuring.waiting import with_each

        wanted = _mapping(arguments, "ports")
        ports = {name: _whole(wanted, name, 1, 0xFFFF) for name in wanted}
        found = await asyncio.to_thread(with_each, frames_seen, self._places())
        seen: dict[str, list[Seen]] = dict(zip(self._ends, (frames or [] for frames in found), strict=True))
        return {
            "sent": {
                name: count_burst(seen[name], port, outgoing=True)
                for name, port in ports.items()
                if name in self._ends
            },
            "came": {
                name: count_burst(seen[self._opposite[name]], port, outgoing=False)
                for name, port in ports.items()
                if name in self._opposite
            },
            "oversize": {
                name: count_oversize(seen[own], self._ends[own].mtu)
                for name, own in self._opposite.items()
                if name in ports
            },
        }

    async def _close_ends(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        await self.close()
        return {}

    def _places(self) -> list[Place]:
        return [(end.everything, end.interface) for end in self._ends.values()]


def _open(fields: Mapping[str, object]) -> End:
    """Open an end: ``interface``, ``address`` and ``opposite_address`` (IPv4; may be empty), ``mac`` and
    ``opposite_mac`` (hex), ``mtu``, ``opposite`` (the name of the other end), and ``ip``: whether the frames
    are to be IP packets.
    """
    from node.measuring.ends import open_end, open_ip_end

    interface, mtu = _text(fields, "interface"), _whole(fields, "mtu", 68, _LARGEST_FRAME)
    mac, peer = _mac(fields, "mac"), _mac(fields, "opposite_mac")
    address, other = str(fields.get("address", "")), str(fields.get("opposite_address", ""))
    if not fields.get("ip"):
        return open_end(interface, address=address, mac=mac, peer=peer, mtu=mtu)
    return open_ip_end(interface, address=address, peer_address=other, mac=mac, peer=peer, mtu=mtu)


def _close(ends: Mapping[str, End]) -> None:
    from node.measuring.ends import End
    from node.measuring.waiting import with_each

    with_each(End.close, ends.values())


def _told(
    observed: Mapping[str, Observed], *, sending: frozenset[str], arriving: frozenset[str]
) -> dict[str, object]:
    """Return what became of streams as data; times after the first one, so that a line is a short one."""
    times = [at for found in observed.values() for at in found.departures]
    times += [arrival.at for found in observed.values() for arrival in found.arrivals]
    base = min(times, default=0)
    return {
        "base": base,
        "departures": {
            end: [at - base for at in found.departures] for end, found in observed.items() if end in sending
        },
        "arrivals": {
            end: {
                "numbers": [arrival.number for arrival in found.arrivals],
                "at": [arrival.at - base for arrival in found.arrivals],
                "damaged": [place for place, arrival in enumerate(found.arrivals) if arrival.damaged],
                "oversize": found.oversize,
            }
            for end, found in observed.items()
            if end in arriving
        },
    }


def _stream(value: object, name: str) -> Stream:
    from node.measuring.streams import Stream

    fields = _fields(value, name)
    return Stream(
        count=_whole(fields, "count", 1, MAX_FRAMES),
        size=_whole(fields, "size", _SMALLEST_FRAME, _LARGEST_FRAME),
        interval=_whole(fields, "interval", 0, MAX_LINGER),
        together=_whole(fields, "together", 1, MAX_FRAMES),
    )


def _mapping(arguments: Mapping[str, object], name: str) -> Mapping[str, object]:
    return _fields(arguments.get(name), name)


def _fields(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise MeasuringError(f"{name}: found {value!r:.100}, must be an object")
    return value


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise MeasuringError(f"{name}: found {value!r:.100}, must be a text")
    return value


def _mac(fields: Mapping[str, object], name: str) -> bytes:
    try:
        found = bytes.fromhex(_text(fields, name))
    except ValueError:
        found = b""
    if len(found) != 6:
        raise MeasuringError(f"{name}: found {fields[name]!r:.100}, must be a MAC address in hex")
    return found


def _whole(fields: Mapping[str, object], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise MeasuringError(
            f"{name}: found {value!r:.100}, must be a whole number from {least:,} to {most:,}"
        )
    return value
