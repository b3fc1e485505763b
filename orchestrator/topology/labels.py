"""Labels: marks of a lab, ``key: value``, to find it by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from orchestrator.errors import TestbedError

#: Keys of containers' labels, but for ours: those begin with ``narrows``.
KEY = r"^(?!narrows)[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$"
MAX_VALUE = 255
LabelKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=63)]
LabelValue = Annotated[str, Field(max_length=MAX_VALUE)]


class LabelError(TestbedError):
    """A label is wrongly written."""


def parse_labels(words: Iterable[str]) -> dict[str, str]:
    """Return the labels written ``key=value``; a key alone has an empty value.

    Raises:
        LabelError: one is wrongly written.
    """
    found: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if re.fullmatch(KEY, key) is None or len(value) > MAX_VALUE:
            raise LabelError(
                f"label {word!r:.100}: write KEY=VALUE; a key has letters, digits and ._/- (at most 63) "
                "and does not begin with narrows"
            )
        found[key] = value
    return found


def fits(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether all that are wanted are there; an empty value: whatever it is."""
    return all(key in labels and value in ("", labels[key]) for key, value in wanted.items())
