"""What a shaper is told at its start: one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.links.settings import Impairments


class ShaperError(Exception):
    """The shaper cannot run; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class RelayConfiguration:
    """Two interfaces of one network namespace, joined."""

    #: Names of the two interfaces.
    interface_a: str
    interface_b: str
    #: What is done to packets from a to b, and from b to a.
    forward: Impairments
    reverse: Impairments
    #: Largest IP packet in bytes; a longer frame is a super-packet that an offload left whole.
    mtu: int
    #: Text that seeds the chance of both directions.
    seed: str
    #: Path of the control socket to make.
    control: str

    @classmethod
    def read(cls, path: Path) -> RelayConfiguration:
        """Read the file: ``interfaces`` (two names), ``control``; and if need be ``forward``, ``reverse``
        (impairments as in topology files), ``mtu``, ``seed``.

        Raises:
            ShaperError: the file cannot be read, or a key is wrong.
        """
        fields = _Fields(path)
        interfaces = fields.value("interfaces", list)
        if len(interfaces) != 2:
            raise ShaperError(f"{path}: interfaces: found {interfaces!r}, must be two names")
        return cls(
            interface_a=str(interfaces[0]),
            interface_b=str(interfaces[1]),
            forward=fields.impairments("forward"),
            reverse=fields.impairments("reverse"),
            mtu=fields.value("mtu", int, 1500),
            seed=str(fields.value("seed", (str, int), "0")),
            control=fields.value("control", str),
        )


@dataclass(frozen=True, slots=True)
class StepsConfiguration:
    """A player of traces; what it plays comes over its control socket."""

    #: Path of the control socket to make.
    control: str

    @classmethod
    def read(cls, path: Path) -> StepsConfiguration:
        """Read the file: ``control``.

        Raises:
            ShaperError: the file cannot be read, or a key is wrong.
        """
        return cls(_Fields(path).value("control", str))


@dataclass(frozen=True, slots=True)
class NfqueueConfiguration:
    """What one existing interface receives, shaped."""

    #: What is done to received packets.
    impairments: Impairments
    #: Text that seeds its chance.
    seed: str
    #: Path of the control socket to make.
    control: str
    #: Only packets of this protocol (``udp``, ``tcp``, …, as iptables names them); ``all``: every packet.
    protocol: str
    #: Number of the netfilter queue; None: chosen by the interface's index.
    queue: int | None
    #: Largest IP packet in bytes.
    mtu: int

    @classmethod
    def read(cls, path: Path) -> NfqueueConfiguration:
        """Read the file: ``control``; and if need be ``impairments`` (as in topology files), ``seed``,
        ``protocol``, ``queue``, ``mtu``.

        Raises:
            ShaperError: the file cannot be read, or a key is wrong.
        """
        fields = _Fields(path)
        queue = fields.value("queue", (int, type(None)), None)
        if queue is not None and not 0 <= queue <= 0xFFFF:
            raise ShaperError(f"{path}: queue: found {queue}, must be from 0 to 65535")
        return cls(
            impairments=fields.impairments("impairments"),
            seed=str(fields.value("seed", (str, int), "0")),
            control=fields.value("control", str),
            protocol=fields.value("protocol", str, "all"),
            queue=queue,
            mtu=fields.value("mtu", int, 1500),
        )


_REQUIRED = object()


class _Fields:
    """A JSON object whose keys are read with their types checked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ShaperError(f"{path}: cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise ShaperError(f"{path}: must be a JSON object")
        self._data: Mapping[str, object] = data

    # The value's type is what the caller names in ``kinds``; no annotation can say so for a tuple of types.
    def value(self, name: str, kinds: type | tuple[type, ...], default: object = _REQUIRED):  # type: ignore[no-untyped-def]
        found = self._data.get(name, default)
        if found is _REQUIRED:
            raise ShaperError(f"{self._path}: {name}: missing")
        if not isinstance(found, kinds) or isinstance(found, bool):
            raise ShaperError(f"{self._path}: {name}: found {found!r}, which is of the wrong type")
        return found

    def impairments(self, name: str) -> Impairments:
        mapping = self.value(name, dict, {})
        try:
            return Impairments.parse(mapping)
        except ValueError as error:
            raise ShaperError(f"{self._path}: {name}: {error}") from error
