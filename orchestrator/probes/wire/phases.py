"""Opens the DATA packets of one direction, whatever their key phase (SPEC 4.2)."""

from __future__ import annotations

from collections.abc import Callable

from node.dissectors.protection import Bytes, TagError, next_key, opener

_EVEN, _ODD = 0x41, 0x45
#: Phases whose keys are tried on a packet, beside the newest: late ones, and the one to come.
_LATE = 2


#: What opens proves: the nonce, the associated data, the CRC's and the parity's extent, the phases' keys.
PROVEN = ("3.1-2", "3.3-5", "4.1-2", "4.1-3", "4.2-1", "4.2-2", "11-1")


class PhaseReader:
    """The keys of one direction, derived phase by phase from the logged one.

    Args:
        profile, key: as the key log tells.
    """

    def __init__(self, profile: str, key: bytes) -> None:
        self._profile = profile
        self._keys = [key]
        self._openers: list[Callable[[Bytes, int], Bytes]] = [opener(profile, key)]
        #: Lowest and highest packet number seen of each phase.
        self._seen: dict[int, list[int]] = {}
        #: The highest phase seen; 0 before there is one.
        self._newest = 0
        #: The phase of the packet that was opened last.
        self.phase = 0

    def open(self, packet: Bytes, number: int) -> bytes:
        """Return the payload in clear.

        Raises:
            TagError: no key that can be meant opens it.
        """
        kind = packet[0]
        if not self._profile.startswith("aead"):
            if kind != _EVEN:
                raise TagError(f"type 0x{kind:02x} in a profile without key phases")
            return bytes(self._openers[0](packet, number))
        if kind == (_EVEN, _ODD)[self._newest % 2]:
            try:  # all but a few are of the newest phase, and no older one is tried before it
                return self._in_phase(packet, number, self._newest)
            except TagError:
                pass
        newest = self._newest
        error = TagError("no key phase of this type has begun")
        for phase in range(newest + 1, max(-1, newest - _LATE - 1), -1):
            if (_EVEN, _ODD)[phase % 2] != kind:
                continue
            try:
                return self._in_phase(packet, number, phase)
            except TagError as failed:
                error = failed
        raise error

    def _in_phase(self, packet: Bytes, number: int, phase: int) -> bytes:
        clear = bytes(self._opener(phase)(packet, number))
        seen = self._seen.get(phase)
        if seen is None:
            self._seen[phase] = [number, number]
            self._newest = max(self._seen)
        elif number > seen[1]:
            seen[1] = number
        elif number < seen[0]:
            seen[0] = number
        self.phase = phase
        return clear

    def disorder(self) -> str | None:
        """Return what is wrong with the order of phases: numbers rise with them (SPEC 4.2-4)."""
        if len(self._seen) < 2:
            return None
        for phase, (low, _) in self._seen.items():
            before = self._seen.get(phase - 1)
            if before is not None and before[1] > low:
                return f"packet {before[1]} in key phase {phase - 1}, after packet {low} in phase {phase}"
        return None

    def _opener(self, phase: int) -> Callable[[Bytes, int], Bytes]:
        if phase == len(self._openers):
            self._keys.append(next_key(self._keys[-1]))
            self._openers.append(opener(self._profile, self._keys[-1]))
        return self._openers[phase]
