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

import hashlib
import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Literal

import pytest

from orchestrator.pytest_labs import DeployedLab, Lab, LabUsageError

if TYPE_CHECKING:
    from orchestrator.topology.model import Topology

__all__ = ["DeployedLab", "Lab", "LabUsageError"]

_DEFAULT_BACKEND = "simulation"
#: The labs of a test, or of the tests of a module; and whether a test failed that has them.
_LABS = pytest.StashKey[list[Lab]]()
_FAILED = pytest.StashKey[bool]()


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
        "directory on, its text, or an object; of `module_lab`, where it is a module's pytestmark",
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
    scope: Literal["module", "function"] = "module" if "module_lab" in metafunc.fixturenames else "function"
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
        metafunc.parametrize("narrows_backend", [skipped], scope=scope)
        return
    metafunc.parametrize("narrows_backend", names or [_DEFAULT_BACKEND], scope=scope)


@pytest.fixture
def narrows_backend(request: pytest.FixtureRequest) -> str:
    """Name of the back end of this test's lab; parametrised."""
    return str(request.param)


@pytest.fixture
def lab(
    request: pytest.FixtureRequest, narrows_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """The lab of the test's marker ``topology``."""
    with _lab(request, narrows_backend, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="module")
def module_lab(
    request: pytest.FixtureRequest, narrows_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """The lab of the module's marker ``topology``: a run of it, or its being up, can serve several tests."""
    with _lab(request, narrows_backend, tmp_path_factory) as made:
        yield made


@contextmanager
def _lab(
    request: pytest.FixtureRequest, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    config = request.config
    read = _Topologies(request)
    topology, source = read({})
    place: Path | None = config.getoption("--narrows-results")
    name = _file_name(f"{request.node.nodeid} {backend}")
    directory = tmp_path_factory.mktemp("lab") if place is None else place / name
    made = Lab(
        topology,
        backend,
        config.getoption("--narrows-seed"),
        directory,
        qlog=not config.getoption("--narrows-no-qlog"),
        source=source,
        load=read,
    )
    request.node.stash.setdefault(_LABS, []).append(made)
    yield made
    failed = request.node.stash.get(_FAILED, False)
    if not failed and not config.getoption("--narrows-keep"):
        shutil.rmtree(directory, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test what its labs left."""
    report = yield
    if report.failed:
        # A lab of the module belongs to those of its tests that use it.
        uses_module = "module_lab" in getattr(item, "fixturenames", ())
        owners = [node for node in item.listchain() if node is item or uses_module]
        told = []
        for owner in owners:
            owner.stash[_FAILED] = True
            told += [lab.told() for lab in owner.stash.get(_LABS, [])]
        text = "\n".join(filter(None, told))
        if text and call.when != "teardown":
            report.sections.append(("labs", text))
    return report


class _Topologies:
    """Loads the topology that a marker names, with parameters beside the marker's.

    Raises:
        LabUsageError: there is no marker, or it says what it cannot.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        marker = request.node.get_closest_marker("topology")
        if marker is None or not marker.args:
            raise LabUsageError(
                f"{request.node.nodeid} uses `{request.fixturename}` and has no topology: mark it with "
                '@pytest.mark.topology("my.lab.yml")'
                + (", as pytestmark" if request.scope == "module" else "")
            )
        odd = [*map(repr, marker.args[1:]), *(name for name in marker.kwargs if name != "parameters")]
        if odd:
            raise LabUsageError(
                f"{request.node.nodeid}: the marker topology has {odd[0]}; "
                'write @pytest.mark.topology("my.lab.yml", parameters={"rtt": "40ms"})'
            )
        self._what = marker.args[0]
        self._name = request.node.name
        self._directory = request.path.parent
        self._parameters: Mapping[str, object] = marker.kwargs.get("parameters") or {}

    def __call__(self, parameters: Mapping[str, str]) -> tuple[Topology, str]:
        """Return the topology, and how people name it."""
        from orchestrator.topology.load import load, parse
        from orchestrator.topology.model import Topology

        settings = {name: str(value) for name, value in {**self._parameters, **parameters}.items()}
        if isinstance(self._what, Topology):
            if settings:
                raise LabUsageError(f"{self._name}: a topology that is an object has no parameters")
            return self._what, "FILE"
        named = str(self._what)
        if "\n" in named:
            text, file = dedent(named).encode(), f"<topology of {self._name}>"
            return parse(text, file=file, directory=self._directory, parameters=settings), "FILE"
        path = self._directory / named
        given = "".join(f" --set {name}={value}" for name, value in settings.items())
        return load(path, settings), os.path.relpath(path) + given


def _file_name(nodeid: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in nodeid)
    # Cut and cleaned names may be alike, and who passes removes his directory.
    return f"{kept[-120:].strip('-')}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"
