"""pytest plugin: topologies as fixtures of a project's own tests.

::

    @pytest.mark.topology("line.lab.yml")
    def test_a_file_arrives(lab):
        result = lab.run()
        assert result.verdict is Verdict.PASS, result.reasons

``lab`` runs on every back end that ``--narrows-backend`` names, or the marker ``backends``; one that cannot
run here skips the test with the reason. A test that fails keeps its captures, traces, keys and logs, and its
report says where they are, with which seed, and how to do the run again. See docs/pytest.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from node.control.messages import Reply
    from node.links.settings import Impairments
    from orchestrator.backends.base import Deployment
    from orchestrator.results import RunResult
    from orchestrator.topology.model import Topology
    from orchestrator.topology.plan import DeploymentPlan

T = TypeVar("T")

_DEFAULT_BACKEND = "simulation"
_LABS = pytest.StashKey[list["Lab"]]()


class LabUsageError(Exception):
    """A test uses the plugin wrongly; the message says how to use it."""


@dataclass(slots=True)
class DeployedLab:
    """A lab that is up, for tests that are no coroutines.

    Attributes:
        plan: what it was made from.
        deployment: the interface of its back end, all coroutines: hand these to ``do``.
    """

    plan: DeploymentPlan
    deployment: Deployment
    _runner: asyncio.Runner
    _set: dict[str, Impairments] = field(default_factory=dict)

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on the lab's own event loop, and return what it returns."""
        return self._runner.run(coroutine)

    def request(self, node: str, command: str, **arguments: object) -> Reply:
        """Hand a command to a node's agent and return its reply (node.control.messages)."""
        from node.control.messages import Command

        return self.do(self.deployment.request(node, Command(command, arguments)))

    def netem(self, endpoint: str, **changes: str | None) -> Impairments:
        """Change the named impairments of what leaves ``endpoint``, leave the others; return all, read back.

        ``netem("left:eth1", loss="5%", delay=None)`` takes the delay out; ``_`` in a name stands for ``-``.
        """
        links = {str(end): link for link in self.plan.links for end in (link.a, link.b)}
        if endpoint not in links:
            raise LabUsageError(f"no link ends at {endpoint!r}: use one of {', '.join(links)}")
        link = links[endpoint]
        ours, end = (link.forward, link.a) if endpoint == str(link.a) else (link.reverse, link.b)
        wanted = self._set.get(endpoint, ours).replace(
            {name.replace("_", "-"): value for name, value in changes.items()}
        )
        found = self.do(self.deployment.set_impairments(end, wanted))
        self._set[endpoint] = found
        return found

    def sleep(self, seconds: float) -> None:
        """Let the lab's clock advance: virtual time in simulation."""
        self.do(self.deployment.sleep(round(seconds * 1_000_000_000)))


@dataclass(slots=True)
class Lab:
    """What a test does with its topology.

    Attributes:
        topology: as loaded, with the marker's parameters.
        backend: name of the back end.
        seed: of the run; None: the topology's own.
        directory: where runs keep their files.
        results: of the runs so far.
    """

    topology: Topology
    backend: str
    seed: int | None
    directory: Path
    qlog: bool = True
    #: How to load the topology again, for people.
    source: str = ""
    results: list[RunResult] = field(default_factory=list)

    def run(self, *, seed: int | None = None, capture: bool = True, qlog: bool | None = None) -> RunResult:
        """Make the lab, run its flows, remove it, and return the result; nothing is asserted.

        Args:
            seed: for this run.
            capture: whether every link is captured and every frame checked.
            qlog: whether connections are traced; None: as ``--narrows-no-qlog`` says.

        Raises:
            TestbedError: the lab could not be made. Where this machine lacks something for it, or the
                back end cannot do what the topology asks, the test is skipped with that reason.
        """
        from orchestrator.errors import EnvironmentMissingError, NotSupportedError
        from orchestrator.experiment.runner import run

        chosen = seed if seed is not None else self.seed
        try:
            result = asyncio.run(
                run(
                    self.topology,
                    self.backend,
                    directory=self.directory,
                    seed=chosen,
                    capture=capture,
                    qlog=self.qlog if qlog is None else qlog,
                )
            )
        except (EnvironmentMissingError, NotSupportedError) as error:
            pytest.skip(str(error))
        self.results.append(result)
        return result

    def passes(self, **options: Any) -> RunResult:
        """Run, and fail the test with the reasons unless the verdict is PASS; options as of ``run``."""
        from orchestrator.results import Verdict

        result = self.run(**options)
        if result.verdict is not Verdict.PASS:
            pytest.fail("the run ended with FAIL:\n" + "\n".join(f"  - {why}" for why in result.reasons))
        return result

    @contextmanager
    def deployed(self) -> Iterator[DeployedLab]:
        """Make the lab without running its flows; remove it at the end of the block. Errors as of ``run``."""
        from orchestrator.errors import EnvironmentMissingError, NotSupportedError
        from orchestrator.experiment.manifest import new_run_id
        from orchestrator.experiment.selection import select_backend
        from orchestrator.topology.planning import make_plan

        plan = make_plan(self.topology, seed=self.seed)
        try:
            backend = select_backend(self.backend, plan)
        except (EnvironmentMissingError, NotSupportedError) as error:
            pytest.skip(str(error))
        run_id = new_run_id()
        place = self.directory / f"{plan.name}-{run_id}"
        place.mkdir(parents=True)
        with asyncio.Runner() as runner:
            deployment = runner.run(backend.deploy(plan, run_id=run_id, directory=place, capture=False))
            try:
                yield DeployedLab(plan, deployment, runner)
            finally:
                runner.run(deployment.destroy())

    def told(self) -> str:
        """Return what a report says of a failed test's runs."""
        lines = []
        for result in self.results:
            made = result.manifest
            again = f"narrows run {self.source} --backend {made.backend} --seed {made.seed}"
            lines += [
                f"{made.lab} on {made.backend}, impaired by {made.impairment}, seed {made.seed}: "
                f"{result.verdict.value}",
                *(f"  - {why}" for why in result.reasons),
                f"  captures, traces, keys and logs: {result.directory}",
                f"  again: {again}",
            ]
        return "\n".join(lines)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("narrows", "labs of Narrows")
    group.addoption(
        "--narrows-backend",
        action="append",
        metavar="NAME",
        help="back end for tests with `lab`; may be given several times (default: simulation)",
    )
    group.addoption("--narrows-seed", type=int, metavar="N", help="seed in place of the topologies' own")
    group.addoption(
        "--narrows-results",
        type=Path,
        metavar="DIR",
        help="where failed tests keep their files (default: below pytest's temporary directory)",
    )
    group.addoption(
        "--narrows-keep",
        action="store_true",
        help="keep the files of tests that passed, too (default: remove)",
    )
    group.addoption("--narrows-no-qlog", action="store_true", help="do not trace connections")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line(
        "markers",
        "topology(file, parameters=None): the topology of the fixture `lab`: a file, from the test's own "
        "directory on, or its text",
    )
    config.addinivalue_line(
        "markers", "backends(*names): back ends that `lab` runs on, each a test of its own"
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what labs run on, where a command line chose it."""
    chosen, seed = config.getoption("--narrows-backend"), config.getoption("--narrows-seed")
    if not chosen and seed is None:
        return None
    named = ", ".join(chosen or [_DEFAULT_BACKEND])
    return f"narrows: back end {named}, seed {'as written' if seed is None else seed}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each back end."""
    # A project may have a fixture `lab` of its own: that one asks for no back end of ours.
    if "narrows_backend" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("backends")
    chosen = metafunc.config.getoption("--narrows-backend")
    marked = list(marker.args) if marker is not None else []
    # The command line chooses among what a test allows.
    names = [name for name in marked if name in chosen] if marked and chosen else marked or chosen
    if marked and chosen and not names:
        skipped = pytest.param(
            marked[0],
            marks=pytest.mark.skip(
                reason=f"runs on {', '.join(marked)}, and --narrows-backend names none of it"
            ),
        )
        metafunc.parametrize("narrows_backend", [skipped])
        return
    metafunc.parametrize("narrows_backend", names or [_DEFAULT_BACKEND])


@pytest.fixture
def narrows_backend(request: pytest.FixtureRequest) -> str:
    """Name of the back end of this test's lab; parametrised."""
    return str(request.param)


@pytest.fixture
def lab(
    request: pytest.FixtureRequest, narrows_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Lab, None, None]:
    """The lab of the test's marker ``topology``."""
    config = request.config
    topology, source = _topology(request)
    place: Path | None = config.getoption("--narrows-results")
    directory = tmp_path_factory.mktemp("lab") if place is None else place / _file_name(request.node.nodeid)
    made = Lab(
        topology,
        narrows_backend,
        config.getoption("--narrows-seed"),
        directory,
        qlog=not config.getoption("--narrows-no-qlog"),
        source=source,
    )
    request.node.stash.setdefault(_LABS, []).append(made)
    yield made
    failed = request.node.stash.get(_FAILED, False)
    if not failed and not config.getoption("--narrows-keep"):
        shutil.rmtree(directory, ignore_errors=True)


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test what its labs left."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
        told = "\n".join(lab.told() for lab in item.stash.get(_LABS, []) if lab.results)
        if told and call.when == "call":
            report.sections.append(("labs", told))
    return report


def _topology(request: pytest.FixtureRequest) -> tuple[Topology, str]:
    """Return the topology that the test's marker names, and how people name it."""
    from orchestrator.topology.load import load, parse

    marker = request.node.get_closest_marker("topology")
    if marker is None or not marker.args:
        raise LabUsageError(
            f"{request.node.nodeid} uses `lab` and has no topology: mark it with "
            '@pytest.mark.topology("my.lab.yml")'
        )
    odd = [*map(repr, marker.args[1:]), *(name for name in marker.kwargs if name != "parameters")]
    if odd:
        raise LabUsageError(
            f"{request.node.nodeid}: the marker topology has {odd[0]}; "
            'write @pytest.mark.topology("my.lab.yml", parameters={"rtt": "40ms"})'
        )
    named = str(marker.args[0])
    parameters: Mapping[str, object] = marker.kwargs.get("parameters") or {}
    settings = {name: str(value) for name, value in parameters.items()}
    if "\n" in named:
        text = dedent(named).encode()
        file, directory = f"<topology of {request.node.name}>", request.path.parent
        return parse(text, file=file, directory=directory, parameters=settings), "FILE"
    path = request.path.parent / named
    given = "".join(f" --set {name}={value}" for name, value in settings.items())
    return load(path, settings), os.path.relpath(path) + given


def _file_name(nodeid: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in nodeid)
    # Cut and cleaned names may be alike, and who passes removes his directory.
    return f"{kept[-120:].strip('-')}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"
