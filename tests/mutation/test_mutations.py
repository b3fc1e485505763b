"""Every broken rule of the list is noticed by the test it names; and the list itself can be trusted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lanes.machine import ROOT
from tests.mutation.mutations import MUTATIONS, Change, Mutation
from tests.mutation.run import applied, copy_sources, run, run_tests

NAMES = sorted({mutation.test for mutation in MUTATIONS})


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mutated")
    copy_sources(directory)
    return directory


@pytest.fixture(scope="module")
def unbroken(copy: Path) -> tuple[int, str]:
    """What the named tests alone say, once, where nothing is broken: others have their own lanes."""
    return run_tests(NAMES, copy, keep_compiled=True)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule.replace(" ", "-"))
def test_each_change_still_has_its_place_in_the_source(mutation: Mutation) -> None:
    texts = {change.file: (ROOT / change.file).read_text() for change in mutation.changes}
    for change in mutation.changes:
        assert applied(change, texts[change.file]) != texts[change.file]


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule.replace(" ", "-"))
@pytest.mark.usefixtures("unbroken")
def test_each_broken_rule_is_noticed(mutation: Mutation, copy: Path) -> None:
    outcome = run(mutation, copy)
    assert outcome.caught, str(outcome)


@pytest.mark.slow
def test_the_tests_pass_where_nothing_is_broken(unbroken: tuple[int, str]) -> None:
    """Else they would notice nothing."""
    status, said = unbroken
    assert status == 0, said[-2000:]
    # A test that is skipped would pass here and miss its mutation.
    ran = re.search(r"^(\d+) passed in ", said, re.MULTILINE)
    assert ran is not None, said[-2000:]
    assert int(ran[1]) >= len(NAMES)


def test_a_change_whose_place_is_gone_or_not_the_only_one_is_refused() -> None:
    change = Change("x.py", "if a:", "if False:")
    assert applied(change, "if a:\n") == "if False:\n"
    for text in ("", "if a:\nif a:\n"):
        with pytest.raises(ValueError, match="not once"):
            applied(change, text)


@pytest.mark.slow
def test_a_change_that_breaks_no_rule_is_not_said_to_be_caught(copy: Path) -> None:
    harmless = Change(
        "node/protocol/recovery/reordering.py", "\nPACKET_THRESHOLD = 3", "\nPACKET_THRESHOLD = 6 // 2"
    )
    test = "unit/protocol/test_recovery.py::test_three_later_packets_make_a_packet_lost_and_two_do_not"
    assert not run(Mutation("none", test, (harmless,)), copy).caught
    assert not run(Mutation("none", "unit/protocol/test_recovery.py::test_no_such", (harmless,)), copy).caught


@pytest.mark.slow
def test_a_change_that_is_wrong_itself_is_not_said_to_be_caught(copy: Path) -> None:
    """The test fails for a name that is not there, which says nothing of any rule."""
    gone = Change("node/protocol/setting_up.py", "half.responses += 1\n", "half.responses += self.gone\n")
    test = next(m.test for m in MUTATIONS if m.rule.startswith("more is sent than was received"))
    outcome = run(Mutation("none", test, (gone,)), copy)
    assert not outcome.caught, str(outcome)
    assert outcome.words.startswith("AttributeError")
