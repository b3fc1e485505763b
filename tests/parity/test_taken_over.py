"""Where the kernel has netem but not all that is asked, the shaper takes over that link, and it is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.backends.netns import NetnsBackend
from orchestrator.pytest_plugin import Lab
from orchestrator.topology.model import LinkEndpoint
from tests.support import drop_lists
from tests.support.topologies import impaired, line

pytestmark = [pytest.mark.netem, pytest.mark.timetravel]


@pytest.mark.topology(drop_lists.topology())
@pytest.mark.backends("netns")
def test_a_list_of_drops_is_the_shapers_and_the_rest_the_kernels(lab: Lab) -> None:
    result = lab.run()
    drop_lists.check(result)
    assert result.manifest.impairment == "kernel"
    (note,) = [note for note in result.notes if "shaper" in note]
    assert note.startswith("a:eth1--r1:eth1: ")
    assert "by their number" in note


def test_a_link_is_taken_over_while_it_is_up_and_keeps_its_other_way(tmp_path: Path) -> None:
    kept, drops = impaired(delay="7ms", loss="1%"), impaired(drop="3")
    end, other = LinkEndpoint("a", "eth1"), LinkEndpoint("b", "eth1")

    async def scenario() -> None:
        plan = line(impaired(delay="1ms"))
        deployment = await NetnsBackend().deploy(plan, run_id="0badcafe", directory=tmp_path / "run")
        try:
            assert await deployment.set_impairments(other, kept) == kept
            assert await deployment.begin() == []
            assert await deployment.set_impairments(end, drops) == drops
            assert await deployment.lab.impairments(other) == kept
            assert len(await deployment.begin()) == 1
            # It stays with the shaper.
            assert await deployment.set_impairments(end, kept) == kept
            counters = await deployment.lab.counters("a:eth1--b:eth1")
            assert "reordered" in counters["forward"]
        finally:
            await deployment.destroy()

    asyncio.run(scenario())
