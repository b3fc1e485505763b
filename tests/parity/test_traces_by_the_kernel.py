"""A trace on a link of a lab whose kernel has netem: played into it, kept by other changes, looked after."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from node.links.settings import Impairments
from orchestrator.backends.netns import NetnsBackend, NetnsDeployment
from orchestrator.errors import BackendError
from orchestrator.executor import Executor
from orchestrator.tc import commands, readback
from orchestrator.topology.model import LinkEndpoint
from orchestrator.wiring import processes
from tests.support.topologies import impaired, line

pytestmark = [pytest.mark.netem, pytest.mark.timetravel]

RUN = "0badcafe"
END = LinkEndpoint("a", "eth1")
TRACE = impaired(trace="steps 0s 10Mbit; 300ms 2Mbit 20ms; 2s 5Mbit 10ms", queue="100p")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


def now(deployment: NetnsDeployment) -> Impairments:
    """Return what the kernel has for what ``a`` sends, without what was asked of it."""
    link = deployment.lab.record.link_at(END)
    said = [
        Executor().run(argv, namespace=Path(link.namespace)).stdout
        for argv in (commands.show("b"), commands.show_classes("b"))
    ]
    return readback.parse(*said)


def test_a_trace_goes_on_while_other_impairments_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        deployment = await NetnsBackend().deploy(line(TRACE), run_id=RUN, directory=tmp_path / "run")
        link = deployment.lab.record.link_at(END).name
        try:
            assert await deployment.lab.impairments(END) == TRACE
            # The kernel does it: there is no link to tell about.
            assert await deployment.begin() == []
            await deployment.sleep(500_000_000)
            assert now(deployment) == impaired(delay="20ms", rate="2Mbit", queue="100p")

            lossy = TRACE.replace({"loss": "1%"})
            assert await deployment.set_impairments(END, lossy) == lossy
            assert now(deployment) == impaired(delay="20ms", rate="2Mbit", queue="100p", loss="1%")
            await deployment.sleep(2_000_000_000)
            assert now(deployment) == impaired(delay="10ms", rate="5Mbit", queue="100p", loss="1%")
            assert "sent" in (await deployment.lab.counters(link))["forward"]

            # It begins anew with the run.
            assert await deployment.begin() == []
            assert now(deployment).rate == 10_000_000
            plain = impaired(delay="7ms")
            assert await deployment.set_impairments(END, plain) == plain
            await deployment.sleep(2_500_000_000)
            assert now(deployment) == plain
        finally:
            await deployment.destroy()
        assert processes.of_run(RUN, namespaces=(), known=()) == []

    asyncio.run(scenario())


def kill(name: str) -> None:
    """Kill the processes of the lab that have a name."""
    for pid in processes.of_run(RUN, namespaces=(), known=()):
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").split()[0] == name:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["shaper", "tc"])
def test_a_trace_that_is_followed_no_more_is_told(tmp_path: Path, victim: str) -> None:
    async def scenario() -> None:
        deployment = await NetnsBackend().deploy(line(TRACE), run_id=RUN, directory=tmp_path / "run")
        link = deployment.lab.record.link_at(END).name
        try:
            await deployment.begin()
            kill(victim)
            await deployment.sleep(500_000_000)
            with pytest.raises(BackendError, match=f"link {link}: .*its trace"):
                await deployment.lab.counters(link)
        finally:
            await deployment.destroy()

    asyncio.run(scenario())
