"""An attacker on the path: packets that nodes sent, sent again, late, from elsewhere, backwards, cut.

It reads what passes its link from the running capture, whatever it is: set-up packets with cookies, early
data, DATA and SEALED. A node takes no packet twice (SPEC 4-2, 14-4, 15-5); what a copy may be answered with
is bounded by the bytes that came (3-3, 3.4, 4.3-3, 13.2-3). The wire probe, which counts a copy as come like
any duplicate of the network, says whether nodes keep that; this probe counts bytes that went elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from node.control.messages import Command
from node.dissectors.scapy_layer import DATA, DATA_ODD, EARLY, SETUP_KINDS
from node.dissectors.sealed import SEALED
from node.protocol.time import SECOND
from orchestrator.backends.base import Deployment
from orchestrator.probes.base import PROBES, ProbeResult
from orchestrator.probes.sniffing import Answers, Seen, Sniffer, framed
from orchestrator.probes.ways import interface_at
from orchestrator.probes.wire.headers import address_text
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan

#: Frames a second.
RATE = 200
#: Packets of a kind that are kept: the first, and then any.
_KEPT = 32
#: Looks at the capture in the whole time.
_LOOKS = 20
#: Packets that go backwards, one behind the other.
_BACKWARDS = 8
#: UDP port that no node uses: what comes there, the probe has asked for.
OWN_PORT = 7
#: SPEC 3-5.
_HALF_OPEN = 1024
_NAMES = {**SETUP_KINDS, DATA: "DATA", DATA_ODD: "DATA", EARLY: "EARLY", SEALED: "SEALED"}


@dataclass(slots=True)
class Kept:
    """Packets that were seen, by kind: the first of them, and of later ones as many by chance."""

    rng: Random
    by_kind: dict[str, list[Seen]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, seen: Seen) -> None:
        """Keep a packet, or not."""
        kind = _NAMES.get(seen.payload[0], "other") if seen.payload else "other"
        self.counts[kind] += 1
        kept = self.by_kind.setdefault(kind, [])
        if len(kept) < _KEPT:
            kept.append(seen)
        elif self.rng.randrange(self.counts[kind]) < _KEPT:
            kept[self.rng.randrange(_KEPT // 2, _KEPT)] = seen


#: What an attack makes of a packet: what is sent, and whether from an address of the attacker's.
Attack = Callable[["Kept", str, Random], Iterator[tuple[Seen, bytes, bool]]]


def _again(kept: Kept, kind: str, rng: Random) -> Iterator[tuple[Seen, bytes, bool]]:
    seen = rng.choice(kept.by_kind[kind])
    yield seen, seen.payload, False


def _from_elsewhere(kept: Kept, kind: str, rng: Random) -> Iterator[tuple[Seen, bytes, bool]]:
    seen = rng.choice(kept.by_kind[kind])
    yield seen, seen.payload, True


def _backwards(kept: Kept, kind: str, rng: Random) -> Iterator[tuple[Seen, bytes, bool]]:
    for seen in sorted(kept.by_kind[kind], key=lambda one: one.at, reverse=True)[:_BACKWARDS]:
        yield seen, seen.payload, False


def _cut(kept: Kept, kind: str, rng: Random) -> Iterator[tuple[Seen, bytes, bool]]:
    seen = rng.choice(kept.by_kind[kind])
    yield seen, seen.payload[: rng.randrange(len(seen.payload) + 1)], rng.random() < 0.5


def _bent(kept: Kept, kind: str, rng: Random) -> Iterator[tuple[Seen, bytes, bool]]:
    """One byte other than it was."""
    seen = rng.choice(kept.by_kind[kind])
    if seen.payload:
        at = rng.randrange(len(seen.payload))
        bent = seen.payload[at] ^ rng.randrange(1, 256)
        yield seen, seen.payload[:at] + bytes((bent,)) + seen.payload[at + 1 :], rng.random() < 0.5


ATTACKS: tuple[Attack, ...] = (_again, _from_elsewhere, _backwards, _cut, _bent)


@PROBES.register("replayed")
class ReplayedProbe:
    """Sends again what it sees on its link, from both ends of it, and counts what that is answered with."""

    name: ClassVar[str] = "replayed"

    async def run(
        self,
        deployment: Deployment,
        plan: DeploymentPlan,
        *,
        endpoint: LinkEndpoint,
        duration: int,
        rng: Random,
    ) -> ProbeResult:
        """Look and replay for ``duration`` ns; the verdict is on bytes that went elsewhere, and on state.

        Raises:
            ProbeError: the endpoint is not in the plan, or its link's capture cannot be read while it runs.
        """
        interface_at(plan, endpoint, probe=self.name)
        ends = _ends(plan, endpoint)
        link = next(iter(ends.values()))[1].link
        sniffer = Sniffer(deployment, [link], probe=self.name)
        answers = Answers(deployment, plan, probe=self.name)
        kept, sent = Kept(rng), Counter[str]()
        start = deployment.now()
        for look in range(_LOOKS):
            for seen in sniffer.read():
                if seen.sender in ends and seen.payload:
                    kept.take(seen)
            until = start + duration * (look + 1) // _LOOKS
            for kind, frame, here, counted in _attacks(kept, ends, rng):
                if deployment.now() >= until:
                    break
                answers.sent(counted[0], source=counted[1], target=counted[2])
                await deployment.inject(here, frame)
                sent[kind] += 1
                await deployment.sleep(SECOND // RATE)
            await deployment.sleep(max(0, until - deployment.now()))
        return await self._judge(deployment, plan, answers, sent)

    async def _judge(
        self, deployment: Deployment, plan: DeploymentPlan, answers: Answers, sent: Counter[str]
    ) -> ProbeResult:
        bounded, figures, notes = answers.count()
        hosts = [node.name for node in plan.nodes if node.port and node.kind.value == "host"]
        replies = [await deployment.request(name, Command("status")) for name in hosts]
        most = max((int(str(reply.data.get("connections", 0))) for reply in replies), default=0)
        figures |= {"frames_sent": float(sum(sent.values())), "connections_most": float(most)}
        figures |= {f"{kind.lower()}_copies": float(count) for kind, count in sorted(sent.items())}
        if not sent:
            notes.append("nothing passed the link, so nothing was sent again")
        passed = bounded and most <= len(plan.workloads) + _HALF_OPEN
        return ProbeResult(self.name, passed=passed, figures=figures, notes=tuple(notes))


_Ends = dict[bytes, tuple[LinkEndpoint, InterfacePlan, str]]


def _ends(plan: DeploymentPlan, endpoint: LinkEndpoint) -> _Ends:
    """Return MAC address → endpoint, its interface and the other end's MAC, for both ends of the link."""
    link = next(link for link in plan.links if endpoint in (link.a, link.b))
    interfaces = {
        LinkEndpoint(node.name, interface.name): interface
        for node in plan.nodes
        for interface in node.interfaces
    }
    return {
        bytes.fromhex(interfaces[here].mac.replace(":", "")): (here, interfaces[here], interfaces[there].mac)
        for here, there in ((link.a, link.b), (link.b, link.a))
    }


def _attacks(
    kept: Kept, ends: _Ends, rng: Random
) -> Iterator[tuple[str, bytes, LinkEndpoint, tuple[bytes, tuple[str, int], str]]]:
    """Yield for ever, once something was seen: kind, frame, where it goes out, and what is to be counted."""
    while kept.by_kind:
        kind = rng.choice(sorted(kept.by_kind))
        for seen, payload, elsewhere in rng.choice(ATTACKS)(kept, kind, rng):
            here, interface, hop = ends[seen.sender]
            target = address_text(seen.destination)
            source = address_text(seen.source), seen.source_port
            if elsewhere:
                near = "2001:db8::" if ":" in target else "192.0.2."
                source = f"{near}{rng.randrange(1, 255)}", OWN_PORT
                if rng.random() < 0.5:  # an address that there is a way back to
                    source = address_text(seen.source), OWN_PORT
            destination = target, seen.destination_port
            frame = framed(
                payload, macs=(interface.mac, hop), source=source, destination=destination, ecn=seen.ecn
            )
            yield kind, frame, here, (payload, source, target)
