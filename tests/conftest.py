"""A marker is a demand on the machine; where it is not met, the test says why it skips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.lanes import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Deadlines are timed assertions; on a shared machine they only tell how busy it is.
settings.register_profile("narrows", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("narrows")


def why_no_exact_times(item: pytest.Item) -> str:
    """Exact times are had in a guest with virtual time, or by a test that boots one itself."""
    boots_one = item.get_closest_marker("uml") is not None
    return machine.why_no_time_travel() if boots_one else machine.why_no_virtual_time()


DEMANDS: dict[str, Callable[[pytest.Item], str]] = {
    "netns": lambda _: machine.why_no_namespaces(),
    "netem": lambda _: machine.why_no_netem(),
    "docker": lambda _: machine.why_no_docker(),
    "uml": lambda _: machine.why_no_guest_kernel(),
    "timetravel": why_no_exact_times,
}


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Know the setting of the cache also where the cache is off: an unknown one is an error."""
    if not pluginmanager.hasplugin("cacheprovider"):
        parser.addini("cache_dir", "where the cache goes: nowhere")


@pytest.fixture(scope="session", autouse=True)
def state_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Labs of tests are not listed beside those that the user of this machine has up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NARROWS_STATE", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_itemcollected(item: pytest.Item) -> None:
    """A real back end of the fixture `lab` is a demand, too: its tests run in that lane."""
    parameters = (
        item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    )
    backend = parameters.get("narrows_backend")
    if backend in ("netns", "docker"):
        item.add_marker("netns")
    if backend == "docker":
        item.add_marker("docker")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, with the reason and the remedy."""
    for marker, why_not in DEMANDS.items():
        if item.get_closest_marker(marker) is not None:
            reason = why_not(item)
            if reason:
                pytest.skip(reason)
