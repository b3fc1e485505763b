"""The type of options that are durations, written as in topology files: ``20ms``."""

from __future__ import annotations

import click

from node.links.units import UnitError, parse_duration


class Duration(click.ParamType[int]):
    """Nanoseconds, from a number with its unit."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return ``value`` in ns; a usage error if it is no duration."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except UnitError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()
