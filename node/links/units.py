"""Quantities as users write them, ``20ms`` ``10Mbit`` ``1%`` ``25p`` ``20MB``, to base units and back.

A unit is always asked for, and spellings that two tools read differently are refused: ``tc`` reads
``mbps`` as megabytes per second, everybody else as megabits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from node.protocol.time import MICROSECOND, MILLISECOND, SECOND, Duration

_DURATION = {
    "ns": 1,
    "us": MICROSECOND,
    "µs": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
}
_RATE = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_SIZE = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_RATE_NAMES = ((10**12, "Tbit"), (10**9, "Gbit"), (10**6, "Mbit"), (10**3, "kbit"), (1, "bit"))
_SIZE_NAMES = tuple((_SIZE[unit], unit) for unit in ("TB", "GB", "MB", "kB", "B"))
_DURATION_NAMES = tuple((_DURATION[unit], unit) for unit in ("s", "ms", "us", "ns"))
#: At most 18 digits on each side of the point: more is a mistake.
_NUMBER = re.compile(r"\s*([+-]?)(\d{1,18}(?:\.\d{1,18})?)\s*((?:[^\d\s.]\S*)?)\s*", re.ASCII)


class UnitError(ValueError):
    """A quantity cannot be read; the message says what was found and how to write it."""


def parse_duration(text: object) -> Duration:
    """Return ``20ms``, ``1.5s``, ``300us`` as whole ns (rounded).

    Raises:
        UnitError: no or unknown unit, negative, or not a number.
    """
    number, unit = _split(text, "a duration", "20ms, 1.5s or 300us")
    if unit == "m":
        raise UnitError(f"{text!r}: 'm' could be minutes or milliseconds; write {number}ms or {number}min")
    if unit not in _DURATION:
        raise _wrong_unit(text, number, unit, "duration", "ns, us, ms, s, min, h", f"ms or {number}s")
    return _whole(number * _DURATION[unit])


def format_duration(duration: Duration) -> str:
    """Return ns in the largest unit up to seconds that shows them exactly: ``20ms``, ``1500us``."""
    return _exact(duration, _DURATION_NAMES, zero="0ms")


def parse_rate(text: object) -> int:
    """Return ``10Mbit`` (or ``10Mbit/s``) as whole bit/s.

    Raises:
        UnitError: no, unknown or ambiguous unit, negative, or not a number.
    """
    number, unit = _split(text, "a rate", "10Mbit, 512kbit or 1Gbit")
    lower = unit.lower().removesuffix("/s")
    if lower in ("bps", "kbps", "mbps", "gbps", "tbps"):
        bits = lower.removesuffix("ps") + "it"
        proper = bits[0].upper() + bits[1:] if bits[0] in "mgt" else bits
        raise UnitError(
            f"{text!r}: {unit!r} is ambiguous (tc reads it as bytes per second, others as bits); "
            f"write {number}{proper} for bits"
        )
    if lower not in _RATE:
        raise _wrong_unit(text, number, unit, "rate", "bit, kbit, Mbit, Gbit, Tbit", "Mbit")
    return _whole(number * _RATE[lower])


def format_rate(rate_bps: int) -> str:
    """Return bit/s in the largest unit that shows them exactly: ``10Mbit``, ``1500kbit``."""
    return _exact(rate_bps, _RATE_NAMES, zero="0bit")


def parse_ratio(text: object) -> float:
    """Return ``1%`` as 0.01.

    Raises:
        UnitError: no per cent sign, not from 0 % to 100 %, or not a number.
    """
    number, unit = _split(text, "a percentage", "1% or 0.25%")
    if unit != "%":
        raise _wrong_unit(text, number, unit, "percentage", "%", "%")
    if number > 100:
        raise UnitError(f"{text!r} is more than 100%; write a percentage from 0% to 100%")
    return float(number / 100)


def format_ratio(ratio: float) -> str:
    """Return 0.01 as ``1%``, with as many digits as ``parse_ratio`` needs to get the same float."""
    percent = format((Decimal(repr(ratio)) * 100).normalize(), "f")
    return f"{percent}%"


def parse_packets(text: object) -> int:
    """Return ``25p`` as 25.

    Raises:
        UnitError: no ``p``, not whole, negative, or not a number.
    """
    number, unit = _split(text, "a number of packets", "25p")
    if unit not in ("p", "packets"):
        raise _wrong_unit(text, number, unit, "number of packets", "p", "p")
    if number != int(number):
        raise UnitError(f"{text!r} is not a whole number of packets; write {int(number)}p")
    return int(number)


def parse_mean_packets(text: object) -> float:
    """Return ``2.5p`` as 2.5: a mean need not be whole.

    Raises:
        UnitError: no ``p``, negative, or not a number.
    """
    number, unit = _split(text, "a number of packets", "3p or 2.5p")
    if unit not in ("p", "packets"):
        raise _wrong_unit(text, number, unit, "number of packets", "p", "p")
    return float(number)


def parse_whole(text: object, what: str, example: str) -> int:
    """Return ``42`` as 42.

    Raises:
        UnitError: it has a unit, is not whole, negative, or not a number.
    """
    number, unit = _split(text, what, example)
    if unit or number != int(number):
        raise UnitError(
            f"{text!r} is not {what}: that is a whole number without unit; write for example {example}"
        )
    return int(number)


def parse_factor(text: str, whole: object, what: str, example: str) -> float:
    """Return the number before a unit that was taken off, ``1.5`` of ``1.5bdp``.

    Raises:
        UnitError: it is not a number, or negative; the message quotes the ``whole`` value.
    """
    try:
        number, unit = _split(text, what, example)
    except UnitError:
        unit, number = text, Decimal(0)
    if unit:
        raise UnitError(f"{whole!r} is not {what}; write for example {example}")
    return float(number)


def parse_ratios(text: object, *, least: int, most: int, example: str) -> tuple[float, ...]:
    """Return ``1% 30%`` as (0.01, 0.3).

    Raises:
        UnitError: too few or many, or one of them is no percentage.
    """
    words = text.split() if isinstance(text, str) else []
    if not least <= len(words) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise UnitError(
            f"{text!r}: found {len(words)} percentages, must be {count}; write for example {example}"
        )
    return tuple(map(parse_ratio, words))


def parse_choice(text: object, what: str, choices: Sequence[str]) -> str:
    """Return ``text`` if it is one of ``choices``.

    Raises:
        UnitError: it is not; the message lists them.
    """
    if not isinstance(text, str) or text not in choices:
        raise UnitError(f"{text!r} is not {what}; use one of {', '.join(choices)}")
    return text


def format_packets(packets: int) -> str:
    """Return 25 as ``25p``."""
    return f"{packets}p"


def parse_size(text: object) -> int:
    """Return ``20MB`` (10⁶) or ``20MiB`` (2²⁰) as whole bytes.

    Raises:
        UnitError: no, unknown or ambiguous unit, negative, or not a number.
    """
    number, unit = _split(text, "a size", "20MB, 64KiB or 512B")
    if unit in ("k", "K", "M", "G", "T", "Kb", "kb", "Mb", "Gb", "Tb"):
        letter = unit[0].lower() if unit[0] in "kK" else unit[0]
        raise UnitError(
            f"{text!r}: {unit!r} is ambiguous; "
            f"write {number}{letter}B (powers of 1000) or {number}{letter.upper()}iB (powers of 1024)"
        )
    if unit not in _SIZE:
        raise _wrong_unit(text, number, unit, "size", "B, kB, MB, GB, KiB, MiB, GiB", "MB")
    return _whole(number * _SIZE[unit])


def format_size(size_bytes: int) -> str:
    """Return bytes in the largest decimal unit that shows them exactly: ``20MB``."""
    return _exact(size_bytes, _SIZE_NAMES, zero="0B")


def _split(text: object, what: str, examples: str) -> tuple[Decimal, str]:
    match = _NUMBER.fullmatch(str(text)) if isinstance(text, str | int | float) else None
    if match is None or isinstance(text, bool):
        raise UnitError(f"{text!r} is not {what}; write for example {examples}")
    sign, digits, unit = match.groups()
    number = Decimal(digits)
    if sign == "-" and number != 0:
        raise UnitError(f"{text!r} is negative; write {digits}{unit} or leave it out")
    return number, unit


def _wrong_unit(text: object, number: Decimal, unit: str, what: str, allowed: str, usual: str) -> UnitError:
    if not unit:
        return UnitError(f"{text!r} has no unit; write {number}{usual} (units of a {what}: {allowed})")
    return UnitError(f"{text!r}: {unit!r} is not a unit of a {what}; use one of {allowed}")


def _whole(number: Decimal) -> int:
    return int(number.to_integral_value())


def _exact(value: int, names: tuple[tuple[int, str], ...], *, zero: str) -> str:
    for factor, unit in names:
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return zero
