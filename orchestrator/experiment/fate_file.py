"""How fates of packets are written in the file of a recording, and read and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from node.links.fates import GivenCopy
from node.protocol.time import SECOND, Duration
from orchestrator.probes.wire.fates import Fate

#: No packet of ours is longer under way: a TCP segment's maximum lifetime (RFC 9293), five times over.
_LONGEST: Duration = 600 * SECOND
#: Bits of the largest Ethernet frame with IP in it.
_FRAME_BITS = 8 * (65_535 + 14)
#: Copies that a link makes of one packet: duplicates of duplicates are none of ours.
_MOST_COPIES = 16
_NO_SPACE = re.compile(r"\S")
#: How a copy is written: the delay, and what else is not as by default.
_FIELDS = ("corrupt_bit", "marked", "overtakes", "spacing")


class FateError(ValueError):
    """The fate of one packet in a file is none.

    Args:
        way: name of the end that sends.
        number: of the packet, from 1.
        problem: what was found, and what is allowed.
    """

    def __init__(self, way: str, number: int, problem: str) -> None:
        super().__init__(f"{way}, packet {number}: {problem}")
        self._way = way
        self._number = number

    def line(self, text: str) -> int:
        """Return the line of a file's text where the fate is."""
        decoder = json.JSONDecoder()
        try:
            start = text.index("[", text.index(json.dumps(self._way), text.rindex('"fates"'))) + 1
            for _ in range(self._number - 1):
                start = text.index(",", decoder.raw_decode(text, _to_value(text, start))[1]) + 1
        except ValueError:
            return 1  # somebody wrote the parts in another order
        return text.count("\n", 0, _to_value(text, start)) + 1


def fates_of(way: str, told: Any) -> list[Fate]:  # Any: JSON of whoever wrote the file
    """Return the fates of one direction.

    Raises:
        FateError: one of them is none.
        TypeError: there is no list of them.
    """
    if not isinstance(told, list):
        raise TypeError(f"the fates of {way} are no list")
    return [_fate(one, way, number) for number, one in enumerate(told, 1)]


def fates_to_text(fates: Sequence[Fate]) -> str:
    """Return the JSON of one direction's fates, a line for each packet."""
    return "[" + ",\n".join(json.dumps(_told(fate), separators=(",", ":")) for fate in fates) + "]"


def _told(fate: Fate) -> list[Any] | None:
    return None if fate is None else [_told_copy(copy) for copy in fate]


def _told_copy(copy: GivenCopy) -> Any:
    plain = GivenCopy(copy.delay)
    other = {name: getattr(copy, name) for name in _FIELDS if getattr(copy, name) != getattr(plain, name)}
    return [copy.delay, other] if other else copy.delay


def _fate(told: Any, way: str, number: int) -> Fate:
    if told is None:
        return None
    try:
        if not isinstance(told, list) or len(told) > _MOST_COPIES:
            raise ValueError(f"found {told!r:.60}, must be null or a list of at most {_MOST_COPIES} copies")
        return tuple(map(_copy, told))
    except ValueError as error:
        raise FateError(way, number, str(error)) from error


def _copy(told: Any) -> GivenCopy:
    delay, other = (told[0], told[1]) if isinstance(told, list) and len(told) == 2 else (told, {})
    if not isinstance(other, dict) or not other.keys() <= set(_FIELDS):
        raise ValueError(f"found {other!r:.60}, must be an object with {', '.join(_FIELDS)} at most")
    for name in ("marked", "overtakes"):
        if type(other.get(name, False)) is not bool:
            raise ValueError(f"{name}: found {other[name]!r:.40}, must be true or false")
    bit = other.get("corrupt_bit")
    return GivenCopy(
        _whole("delay", delay, _LONGEST, "ns"),
        corrupt_bit=None if bit is None else _whole("corrupt_bit", bit, _FRAME_BITS - 1, "th bit"),
        marked=other.get("marked", False),
        overtakes=other.get("overtakes", False),
        spacing=_whole("spacing", other.get("spacing", 0), _LONGEST, "ns"),
    )


def _whole(name: str, value: Any, most: int, unit: str) -> int:
    # Not bool, which is an int; and no float, NaN among them.
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name}: found {value!r:.40}, must be a whole number from 0 to {most} ({unit})")
    return int(value)


def _to_value(text: str, place: int) -> int:
    """Return the place of what comes after white space."""
    found = _NO_SPACE.search(text, place)
    return len(text) if found is None else found.start()
