"""The control socket of a shaper: what it answers to which command (``node.shaper.lines`` is how).

``{"command": "set", "direction": "forward", "impairments": {"delay": "20ms"}}`` is answered with
``{"ok": true, "impairments": {…}}``: the set as the model now has it. ``{"command": "counters"}`` gives
``{"ok": true, "counters": {direction: {name: number}}, "impairments": {direction: {…}}, "warnings": […]}``,
``{"command": "begin"}`` lets packets be numbered from one (the run starts), ``{"command": "stop"}`` ends the
shaper; both are answered with ``{"ok": true}``. Anything else gets ``{"ok": false, "error": "…"}``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from node.links.settings import Impairments, ImpairmentsError
from node.shaper.directions import Direction
from node.shaper.lines import Answer, LineServer, refusal
from node.shaper.loop import Loop


class ControlServer(LineServer):
    """Answers commands about some directions.

    Args:
        path: where the Unix socket is made; an old one there is replaced.
        directions: what can be set and read.
    """

    def __init__(self, loop: Loop, path: str, directions: Mapping[str, Direction]) -> None:
        super().__init__(loop, path)
        self._directions = directions

    def answer(self, command: Mapping[str, object]) -> Answer:
        """Do what a command says."""
        match command.get("command"):
            case "set":
                return self._set(command)
            case "counters":
                behind = self._loop.lateness.counters()  # of both directions: they share the loop
                return {
                    "ok": True,
                    "counters": {name: found.counters() | behind for name, found in self._directions.items()},
                    "impairments": {
                        name: found.model.impairments.to_mapping() for name, found in self._directions.items()
                    },
                    "warnings": self._loop.warnings,
                }
            case "begin":
                for found in self._directions.values():
                    found.model.begin(now=time.monotonic_ns())
                    found.on_set()
                return {"ok": True}
            case "stop":
                self._loop.stop()
                return {"ok": True}
            case other:
                return refusal(f"unknown command {other!r}: use set, counters, begin or stop")

    def _set(self, command: Mapping[str, object]) -> Answer:
        name, mapping = command.get("direction"), command.get("impairments")
        direction = self._directions.get(name) if isinstance(name, str) else None
        if direction is None:
            return refusal(f"unknown direction {name!r}: use one of {', '.join(self._directions)}")
        if not isinstance(mapping, dict):
            return refusal(f"impairments: found {mapping!r}, must be an object")
        try:
            impairments = Impairments.parse(mapping)
        except ImpairmentsError as error:
            return refusal(str(error))
        direction.model.replace(impairments)
        direction.on_set()
        return {"ok": True, "impairments": direction.model.impairments.to_mapping()}
