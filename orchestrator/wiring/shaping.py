"""Impairments of a link that is up: set them as a whole, and read back what took.

``kernel``: a bridge joins the two interfaces of the link namespace, netem is on the egress of each. (A
redirect by tc instead of the bridge was no faster, and needs cls_matchall, which small kernels lack.)
A trace is played into it step by step (`trace_player`).
``userspace``: the relay of node.shaper joins them and shapes; a link that nothing impairs is joined
by a bridge until something does. A link whose impairments the kernel does not have (``kernel_problem``) is
shaped by the relay also where the kernel shapes the others; once it is, it stays so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from node.links.settings import NONE, Impairments
from node.shaper.client import ShaperClient, ShaperControlError
from orchestrator.backends.base import Impairment
from orchestrator.errors import BackendError
from orchestrator.executor import Commands, Process, run_batch
from orchestrator.tc import commands as tc
from orchestrator.tc import comparison, readback
from orchestrator.topology.model import LinkEndpoint
from orchestrator.wiring import namespaces, rtnetlink
from orchestrator.wiring.commands import DEVICE_A, DEVICE_B, Line, join_lines, link_up_lines, part_lines
from orchestrator.wiring.state import LinkRecord
from orchestrator.wiring.trace_player import TracePlayer

#: Starts a long-lived process: what it is, argv, namespace.
Spawn = Callable[[str, list[str], Path], Process]

FORWARD = "forward"
REVERSE = "reverse"
#: A hundred Python processes that start at once on two busy cores take some 20 seconds.
_RELAY_READY_SECONDS = 60.0
_EGRESS = {FORWARD: DEVICE_B, REVERSE: DEVICE_A}


def direction_from(link: LinkRecord, endpoint: LinkEndpoint) -> str:
    """Return the direction of what ``endpoint`` sends: ``forward`` from the link's a, else ``reverse``."""
    assert str(endpoint) in (link.a, link.b), f"{endpoint} is no end of {link.name}"
    return FORWARD if str(endpoint) == link.a else REVERSE


def kernel_netem_problem(commands: Commands) -> str:
    """Return why the kernel has no netem, by making one where it harms nobody; empty: it has it."""
    # unshare: a nameless namespace that is gone with the command, so a crash leaves nothing.
    done = commands.run(
        ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], check=False
    )
    return done.stderr.strip() or f"exit code {done.exit_code}" if done.exit_code else ""


def kernel_problem(commands: Commands, impairments: Impairments) -> str:
    """Return why the kernel (or its tc) cannot do a set that netem alone may not do; empty: it can.

    Found by setting it where it harms nobody: on the loopback of a namespace that is gone with the command.
    """
    lack = tc.kernel_lack(impairments)
    beyond = impairments.queue_bytes or _BEYOND_NETEM.intersection(impairments.to_mapping())
    if lack or not beyond:
        return lack
    return _tried(commands, impairments)


def _tried(commands: Commands, impairments: Impairments) -> str:
    if impairments not in _PROBLEMS:
        lines = [" ".join(line[1:]) for line in tc.set_impairments("lo", impairments)]
        done = commands.run(
            ["unshare", "--net", "tc", "-batch", "-"], stdin="\n".join(lines) + "\n", check=False
        )
        problem = ""
        if done.exit_code:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            problem = said[0] if said else f"exit code {done.exit_code}"
        _PROBLEMS[impairments] = problem
    return _PROBLEMS[impairments]


#: Impairments that kernels with netem, or their tc, may lack.
_BEYOND_NETEM = frozenset(("aqm", "ce-threshold", "ecn", "seed", "slot", "distribution", "trace"))
#: What this machine's kernel said to a set: it does not change its mind.
_PROBLEMS: dict[Impairments, str] = {}


class LinkShaping:
    """One link's impairments; all calls block, for milliseconds.

    Args:
        link: the link, which is there and not joined yet, or was joined by another of this class.
        impairment: who impairs, KERNEL or USERSPACE.
        commands: runs tc and ip.
        spawn: starts the relay, where there is need of one.
    """

    def __init__(self, link: LinkRecord, impairment: Impairment, commands: Commands, spawn: Spawn) -> None:
        self.link = link
        self._impairment = impairment
        self._commands = commands
        self._spawn = spawn
        self._namespace = Path(link.namespace)
        self._player = TracePlayer(link, spawn)
        #: Why the relay impairs this link though the kernel impairs the others; empty: it does not.
        self.why = ""

    def join(self, forward: Impairments, reverse: Impairments) -> None:
        """Bring up the two interfaces and join them, with these impairments from the first packet on.

        Raises:
            BackendError: it cannot be done, or what was read back is not what was asked.
        """
        wanted = {FORWARD: forward, REVERSE: reverse}
        if not self._kernel_can(forward, reverse) and (forward.items or reverse.items):
            self._obey(link_up_lines())
            self._start_relay(wanted)
            return
        if self._impairment is Impairment.KERNEL:
            self._set_kernel({name: set_ for name, set_ in wanted.items() if set_.items})
        self._obey([*link_up_lines(), *join_lines()])

    def set(self, direction: str, impairments: Impairments) -> Impairments:
        """Replace the whole set of a direction; return what was read back.

        Raises:
            BackendError: what was read back is not what was asked.
        """
        if self._relay_runs():
            self._set_relay(direction, impairments)
        elif self._kernel_can(impairments):
            self._set_kernel({direction: impairments})
        elif impairments.items:
            kept = {name: self.read(name) for name in (FORWARD, REVERSE)}
            self._start_relay({**kept, direction: impairments})
            self._obey(part_lines())
            if self._impairment is Impairment.KERNEL:
                self._set_kernel({FORWARD: NONE, REVERSE: NONE})
        return self.read(direction)

    def begin(self) -> None:
        """Let the run start: packets are numbered from one, and traces begin anew.

        Raises:
            BackendError: the relay, or the player of traces, does not answer.
        """
        self._player.begin()
        if self._relay_runs():
            try:
                with ShaperClient(self.link.control) as client:
                    client.begin()
            except ShaperControlError as error:
                raise BackendError(f"link {self.link.name}: {error}") from error

    @property
    def impairment(self) -> Impairment:
        """Who impairs this link: it may be the relay where the kernel impairs the others."""
        return Impairment.USERSPACE if self._relay_runs() else self._impairment

    def _obey(self, lines: Sequence[Line]) -> None:
        namespaces.inside({self._namespace: partial(rtnetlink.obey, lines)})

    def _kernel_can(self, *sets: Impairments) -> bool:
        if self._impairment is not Impairment.KERNEL:
            return False
        self.why = next(filter(None, (kernel_problem(self._commands, found) for found in sets)), "")
        return not self.why

    def read(self, direction: str) -> Impairments:
        """Return the impairments of a direction as the kernel, or the relay, has them.

        Raises:
            BackendError: they cannot be read.
        """
        if self.impairment is Impairment.KERNEL:
            got, asked = self._parse(direction), self._asked().get(direction)
            # Some things the kernel has and does not show (a seed), or shows otherwise (1.5bdp).
            return got if asked is None or comparison.differences(asked, got) else asked
        if not self._relay_runs():
            return NONE
        try:
            with ShaperClient(self.link.control) as client:
                return client.counters().impairments[direction]
        except ShaperControlError as error:
            raise BackendError(f"link {self.link.name}: {error}") from error

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what happened to packets: by direction, by name.

        Raises:
            BackendError: they cannot be read, or a trace has not been followed.
        """
        if self.impairment is Impairment.KERNEL:
            self._check_traces()
            found = {name: readback.counters(self._show(name)) for name in (FORWARD, REVERSE)}
            return {
                name: {
                    "sent": value.packets,
                    "lost": value.lost,
                    "overflowed": value.overflowed,
                    "marked": value.marked,
                }
                for name, value in found.items()
            }
        if not self._relay_runs():
            return {}
        try:
            with ShaperClient(self.link.control) as client:
                return {name: dict(value) for name, value in client.counters().counters.items()}
        except ShaperControlError as error:
            raise BackendError(f"link {self.link.name}: {error}") from error

    def _set_kernel(self, wanted: dict[str, Impairments]) -> None:
        former, halted = self._asked(), self._player.halt(wanted)
        goes_on = {
            name: halted[name] for name in halted if former.get(name, NONE).trace == wanted[name].trace
        }
        lines = [
            line[1:]
            for direction, impairments in wanted.items()
            for line in tc.set_impairments(
                _EGRESS[direction],
                impairments,
                mtu=self.link.mtu,
                reached=goes_on[direction].reached if direction in goes_on else None,
                former=former.get(direction),
            )
        ]
        run_batch(self._commands, "tc", lines, namespace=self._namespace)
        for direction, impairments in wanted.items():
            problems = comparison.differences(impairments, self._parse(direction))
            limit = readback.limit_problem(self._show(direction))
            if limit is not None:
                problems.append(limit)
            self._complain(direction, problems)
        told = {name: found.to_mapping() for name, found in {**former, **wanted}.items()}
        self._asked_file.write_text(json.dumps(told), encoding="utf-8")
        for direction, impairments in wanted.items():
            if impairments.trace.steps:
                self._player.play(direction, _EGRESS[direction], impairments, goes_on.get(direction))

    def _check_traces(self) -> None:
        for direction, asked in self._asked().items():
            if asked.trace.steps:
                self._player.check(direction, asked, self._parse(direction))

    @property
    def _asked_file(self) -> Path:
        return Path(self.link.control).with_suffix(".asked.json")

    def _asked(self) -> dict[str, Impairments]:
        """Return the sets that were last asked of the kernel, by direction."""
        try:
            told = json.loads(self._asked_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {name: Impairments.parse(found) for name, found in told.items()}

    def _show(self, direction: str) -> str:
        return self._commands.run(tc.show(_EGRESS[direction]), namespace=self._namespace).stdout

    def _parse(self, direction: str) -> Impairments:
        text, classes = self._show(direction), ""
        if readback.needs_classes(text):
            shown = tc.show_classes(_EGRESS[direction])
            classes = self._commands.run(shown, namespace=self._namespace).stdout
        return readback.parse(text, classes)

    def _set_relay(self, direction: str, impairments: Impairments) -> None:
        try:
            with ShaperClient(self.link.control) as client:
                got = client.set(direction, impairments)
        except ShaperControlError as error:
            raise BackendError(f"link {self.link.name}: {error}") from error
        self._complain(direction, comparison.differences(impairments, got))

    def _complain(self, direction: str, problems: list[str]) -> None:
        if problems:
            raise BackendError(
                f"link {self.link.name}, {direction}: the impairments did not take: {'; '.join(problems)}"
            )

    def _relay_runs(self) -> bool:
        return Path(self.link.control).exists()

    def _start_relay(self, wanted: dict[str, Impairments]) -> None:
        configuration = Path(self.link.control).with_suffix(".json")
        configuration.write_text(
            json.dumps(
                {
                    "interfaces": [DEVICE_A, DEVICE_B],
                    **{name: impairments.to_mapping() for name, impairments in wanted.items()},
                    "mtu": self.link.mtu,
                    "seed": self.link.seed,
                    "control": self.link.control,
                }
            ),
            encoding="utf-8",
        )
        argv = [sys.executable, "-m", "node.shaper", "relay", "--config", str(configuration)]
        process = self._spawn(f"shaper of {self.link.name}", argv, self._namespace)
        try:
            with ShaperClient.wait(
                self.link.control,
                timeout_seconds=_RELAY_READY_SECONDS,
                ended=lambda: process.poll() is not None,
            ) as client:
                report = client.counters()
        except ShaperControlError as error:
            raise BackendError(f"link {self.link.name}: {error}\n{process.tail()}") from error
        for direction, impairments in wanted.items():
            self._complain(direction, comparison.differences(impairments, report.impairments[direction]))
