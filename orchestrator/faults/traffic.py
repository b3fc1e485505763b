"""Cross traffic: plain UDP at a steady rate, which heeds no loss."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from node.links.units import format_rate
from orchestrator.faults.base import FAULTS, Fault, FaultError, FaultLab, Lasting, View, order
from orchestrator.topology.quantities import NameText, RateText

#: UDP payload bytes of a packet, unless told otherwise: fits every link.
PAYLOAD_BYTES = 1200
#: Packets a second at most: no sender of ours keeps up with more, and a simulation would not come to an end.
MAX_PACKETS_PER_SECOND = 1_000_000


@FAULTS.register("traffic")
class Traffic(Fault):
    """Sends UDP packets from one host to another at a rate of payload bits, and counts what arrives."""

    name: ClassVar[str] = "traffic"
    summary: ClassVar[str] = "Send plain UDP from one host to another at a steady rate of payload."
    example: ClassVar[str] = "{from: a, to: b, rate: 1Mbit}"
    shape: ClassVar[Any] = {
        "from": NameText,
        "to": NameText,
        "rate": RateText,
        "size": Annotated[int, Field(ge=16, le=1400)] | None,
    }
    lasting: ClassVar[Lasting] = Lasting.MUST

    def __init__(self, value: Any, view: View) -> None:
        self._source = view.host(value["from"], path=("from",))
        self._target = view.host(value["to"], path=("to",))
        if self._source == self._target:
            raise FaultError("traffic from a node to itself", "give it two nodes", path=("to",))
        self._rate, self._size = int(value["rate"]), int(value.get("size") or PAYLOAD_BYTES)
        if self._rate > MAX_PACKETS_PER_SECOND * self._size * 8:
            most = format_rate(MAX_PACKETS_PER_SECOND * self._size * 8)
            raise FaultError(
                f"{format_rate(self._rate)} in packets of {self._size} bytes is more than "
                f"{MAX_PACKETS_PER_SECOND:,} packets a second",
                f"write at most {most}, or larger packets",
                path=("rate",),
            )

    def claims(self) -> tuple[str, ...]:
        """Return the pair: one stream of this kind at a time."""
        return (f"traffic {self._source} {self._target}",)

    def needs_up(self) -> tuple[str, ...]:
        """Return both hosts."""
        return self._source, self._target

    def lane(self) -> str:
        """Return the pair's lane."""
        return f"traffic {self._source} {self._target}"

    async def begin(self, lab: FaultLab) -> str:
        """Open the far end, then send."""
        name = f"{self._source}-{self._target}"
        opened = await order(lab, self._target, "take_traffic", stream=name)
        host, port = lab.main_address(self._target), opened["port"]
        await order(
            lab, self._source, "send_traffic",
            stream=name, host=host, port=port, rate_bps=self._rate, size=self._size,
        )  # fmt: skip
        return ""

    async def end(self, lab: FaultLab) -> str:
        """Stop, and tell what arrived."""
        name = f"{self._source}-{self._target}"
        sent = await order(lab, self._source, "end_traffic", stream=name)
        took = await order(lab, self._target, "end_traffic", stream=name)
        return f"{sent.get('packets')} packets sent, {took.get('packets')} arrived"

    def __str__(self) -> str:
        """Return where from, where to and how much."""
        return f"{self._source} → {self._target}, {format_rate(self._rate)}"
