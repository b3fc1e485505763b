"""What the wire probe says of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

#: So many violations are described; all are counted. One mistake often shows in every packet that follows.
MAX_DESCRIBED = 100
MAX_NOTES = 50


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule."""

    link: str
    #: Number of the frame in the link's capture, as Wireshark counts; 0: not about one frame.
    frame: int
    #: When the frame was captured, in ns of the capture's clock.
    at: int
    #: The rule, by its number in SPEC.md.
    rule: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.link} frame {self.frame}: SPEC {self.rule}: {self.found}; expected {self.expected}"


@dataclass(slots=True)
class LinkReport:
    """What was seen on one link."""

    #: Frames with Strait packets.
    frames: int = 0
    #: Frames of anything else (ARP, ICMP …).
    other: int = 0
    #: Frames whose headers the link damaged, as the plan asks.
    damaged: int = 0
    #: Frames of which the capture kept too little to check.
    cut: int = 0
    #: Frames that the capture lost.
    dropped: int = 0
    #: A capture of this link that was not ended in order.
    truncated: bool = False
    #: Sending end → frames that entered the link there.
    entered: dict[str, int] = field(default_factory=dict)
    #: Sending end → frames that left the link at the other end.
    left: dict[str, int] = field(default_factory=dict)
    #: Sending end → bytes of all frames that left the link, or entered it if no more is known.
    carried_bytes: dict[str, int] = field(default_factory=dict)

    def take_frames(
        self,
        tallies: Mapping[tuple[bool, bytes], Sequence[int]],
        senders: Mapping[bytes, str],
    ) -> None:
        """Add the frames of a capture.

        Args:
            tallies: how many and their bytes, by whether they left the link, and the MAC address that they
                come from.
            senders: MAC address → sending end.
        """
        exits = any(left for left, _ in tallies)
        for (left, mac), (count, size) in tallies.items():
            sender = senders.get(mac)
            if sender is None:
                continue
            counted = self.left if left else self.entered
            counted[sender] = counted.get(sender, 0) + count
            if left is exits:
                self.carried_bytes[sender] = self.carried_bytes.get(sender, 0) + size


@dataclass(slots=True)
class WireReport:
    """The verdict on all captures of a run."""

    #: Frames with Strait packets, on all links together.
    frames: int = 0
    #: Different datagrams in them.
    distinct: int = 0
    #: The first violations, in order of time.
    violations: list[Violation] = field(default_factory=list)
    #: All of them.
    violation_count: int = 0
    #: Datagrams and headers that a link damaged, as the plan asks, and that no receiver may accept.
    damaged: int = 0
    #: Of these, datagrams whose integrity check is right nevertheless.
    slipped: int = 0
    #: Datagrams that a probe put on the wire.
    injected: int = 0
    #: Connections seen.
    connections: int = 0
    #: Whether every link was captured whole. If not, windows and acknowledgements were not checked.
    complete: bool = True
    #: Whether it was captured what left links, and not only what entered them.
    exits_captured: bool = True
    #: What was counted beside (``facts``): by name.
    facts: dict[str, float] = field(default_factory=dict)
    links: dict[str, LinkReport] = field(default_factory=dict)
    #: What could not be checked, and why.
    notes: list[str] = field(default_factory=list)
    #: What read the frames of each distinct datagram.
    dissected_by: str = "scapy"

    @property
    def passed(self) -> bool:
        """Whether no rule was broken."""
        return self.violation_count == 0

    def add(self, violation: Violation) -> None:
        """Count a violation, and keep it if it is among the first."""
        self.violation_count += 1
        if len(self.violations) < MAX_DESCRIBED:
            self.violations.append(violation)

    def note(self, text: str) -> None:
        """Say once what could not be checked."""
        if text not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON-able data; ``violations`` is their number."""
        described = asdict(self)
        described["first_violations"] = described.pop("violations")
        described["violations"] = described.pop("violation_count")
        return described
