"""The words of `narrows fault`: what is wrong with them, in users' words."""

from __future__ import annotations

import pytest

from orchestrator.faults.base import FaultError
from orchestrator.wiring.fault_words import read_words


def refusal(action: str, *words: str) -> str:
    with pytest.raises(FaultError) as caught:
        read_words(action, list(words), None)
    return str(caught.value)


def test_an_impairment_that_is_none_is_named_with_the_nearest() -> None:
    said = refusal("set", "a:eth1", "los=5%")
    assert said.startswith("'los' is no impairment; did you mean 'loss'?; use one of: aqm, burst, ")
    assert refusal("set", "a:eth1", "forward.delai=5ms").startswith("'delai' is no impairment; did you mean")


def test_a_key_that_is_none_is_named_with_the_nearest() -> None:
    said = refusal("traffic", "a", "to=b", "rte=5Mbit")
    assert said == "'rte' is no key; did you mean 'rate'?; use one of: from, rate, size, to"


@pytest.mark.parametrize("action", ["start", "stop"])
def test_flows_belong_to_runs(action: str) -> None:
    said = refusal(action, "film")
    assert said == "only a topology's timeline does this; a lab that is up has no flows of its own"
    assert "stop" not in refusal("explode", "a")
