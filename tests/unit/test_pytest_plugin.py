"""The pytest plugin as its users meet it: tests of their own, with labs."""

from __future__ import annotations

from pathlib import Path

import pytest

PLUGIN = ("-p", "orchestrator.pytest_plugin", "-p", "no:cacheprovider")
LAB = """
name: pair
parameters: {loss: 0%}
seed: 3
time-limit: 20s
topology:
  nodes: {a: {kind: host}, b: {kind: host}}
  links:
    - {endpoints: ["a:eth1", "b:eth1"], netem: {delay: 5ms, loss: "${loss}"}}
workloads:
  file: {kind: bulk, from: a, to: b, size: 20kB}
expect:
  - file: completion <= 1s
"""
PASSES = """
import pytest

@pytest.mark.topology("pair.lab.yml")
def test_it(lab):
    result = lab.passes()
    assert result.flows[0].intact
"""
FAILS = """
import pytest

@pytest.mark.topology("pair.lab.yml", parameters={"loss": "100%"})
def test_it(lab):
    lab.passes(seed=9)
"""


ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of its own; its tests run in a process of theirs."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (pytester.path / "pair.lab.yml").write_text(LAB)
    return pytester


def test_a_test_runs_its_topology_and_leaves_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(PASSES)
    kept = project.path / "kept"
    result = project.runpytest_subprocess(*PLUGIN, "--narrows-results", str(kept), "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_it?simulation?*PASSED*"])
    assert not list(kept.rglob("*.pcapng"))


def test_a_test_that_fails_says_why_and_keeps_everything(project: pytest.Pytester) -> None:
    project.makepyfile(FAILS)
    kept = project.path / "kept"
    result = project.runpytest_subprocess(*PLUGIN, "--narrows-results", str(kept))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*the run ended with FAIL:",
            "*- file: *",
            "*- labs -*",
            "pair on simulation, impaired by simulated, seed 9: FAIL",
            f"*captures, traces, keys and logs: {kept}/*",
            "*again: narrows run *pair.lab.yml --set loss=100% --backend simulation --seed 9",
        ]
    )
    assert list(kept.rglob("result.json"))
    assert list(kept.rglob("*.pcapng"))
    assert list(kept.rglob("*.sqlog"))


def test_the_command_line_chooses_seed_and_back_ends_and_keeps(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.topology("pair.lab.yml")
        def test_it(lab):
            assert lab.run().manifest.seed == 42
            assert lab.backend == "simulation"
        """
    )
    kept = project.path / "kept"
    options = ("--narrows-backend=simulation", "--narrows-seed=42", "--narrows-keep", "--narrows-no-qlog")
    result = project.runpytest_subprocess(*PLUGIN, *options, "--narrows-results", str(kept))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["narrows: back end simulation, seed 42"])
    assert list(kept.rglob("*.pcapng"))
    assert not list(kept.rglob("*.sqlog"))


def test_a_marker_names_back_ends_and_the_command_line_chooses_among_them(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.backends("simulation", "netns")
        @pytest.mark.topology("pair.lab.yml")
        def test_both(lab):
            pass

        @pytest.mark.backends("docker")
        @pytest.mark.topology("pair.lab.yml")
        def test_other(lab):
            pass
        """
    )
    result = project.runpytest_subprocess(*PLUGIN, "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_both?simulation?", "*test_both?netns?", "*test_other?docker?"])
    result = project.runpytest_subprocess(*PLUGIN, "--narrows-backend=simulation", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*runs on docker, and --narrows-backend names none of it*"])


def test_what_a_back_end_cannot_do_skips_with_the_reason(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.backends("compose")
        @pytest.mark.topology("pair.lab.yml")
        def test_it(lab):
            lab.run()
        """
    )
    result = project.runpytest_subprocess(*PLUGIN, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*back end compose cannot run here*"])


def test_a_topology_may_stand_in_the_test(project: pytest.Pytester) -> None:
    text = "\n".join(f"    {line}" for line in LAB.strip().splitlines())
    project.makepyfile(
        f'import pytest\n\n@pytest.mark.topology("""\n{text}\n""", parameters={{"loss": "1%"}})\n'
        "def test_it(lab):\n    assert lab.topology.links[0].forward.loss == 0.01\n"
    )
    project.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_a_lab_that_is_up_obeys_plain_calls(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.topology("pair.lab.yml")
        def test_it(lab):
            with lab.deployed() as up:
                assert up.netem("a:eth1", loss="5%").to_mapping() == {"delay": "5ms", "loss": "5%"}
                assert up.netem("a:eth1", delay=None).to_mapping() == {"loss": "5%"}
                assert up.netem("b:eth1", rate="1Mbit").to_mapping() == {"delay": "5ms", "rate": "1Mbit"}
                assert up.request("a", "status").ok
                before = up.deployment.now()
                up.sleep(3)
                assert up.deployment.now() - before == 3_000_000_000
        """
    )
    project.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_faults_last_as_long_as_their_block_over_what_netem_says(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from orchestrator.faults.base import FaultError
        from orchestrator.pytest_plugin import LabUsageError

        @pytest.mark.topology("pair.lab.yml")
        def test_it(lab):
            with lab.deployed() as up:
                with up.fault("cut", "a:eth1"):
                    assert up.netem("a:eth1", delay="7ms").to_mapping() == {"delay": "7ms", "loss": "100%"}
                    with up.fault("disable", "b:eth1", "netem=delay"):
                        pass
                assert up.netem("a:eth1").to_mapping() == {"delay": "7ms"}
                with up.fault("crash", "b"):
                    assert not up.request("b", "status").ok
                assert up.request("b", "status").ok
                with up.fault("rebind", "a", "port=true"):
                    pass
                for words, said in (("cutt", "did you mean 'cut'"), ("flap", "down: Field required")):
                    with pytest.raises(FaultError, match=said), up.fault(words, "a:eth1"):
                        pass
                with pytest.raises(LabUsageError, match="use lab.run"), up.fault("start", "file"):
                    pass
        """
    )
    project.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_a_deployed_lab_leaves_its_files_where_the_report_says(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.topology("pair.lab.yml")
        def test_it(lab):
            with lab.set(loss="1%").deployed() as up:
                assert up.plan.links[0].forward.loss == 0.01
                assert up.collect() is up.collect()
            assert False, "after its end"
        """
    )
    kept = project.path / "kept"
    result = project.runpytest_subprocess(*PLUGIN, "--narrows-results", str(kept))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*after its end",
            "pair on simulation, seed 3: deployed as *",
            f"*captures, traces, keys and logs: {kept}/*",
        ]
    )
    assert list(kept.rglob("*.pcapng"))


def test_the_tests_of_a_module_share_one_run_and_each_report_names_it(project: pytest.Pytester) -> None:
    text = """
        import pytest

        pytestmark = [pytest.mark.topology("pair.lab.yml"), pytest.mark.backends("simulation")]

        @pytest.fixture(scope="module")
        def result(module_lab):
            return module_lab.passes()

        def test_one(result, module_lab):
            assert module_lab.results == [result]

        def test_other(result, module_lab):
            assert module_lab.results == [result]
            assert result.flows[0].bytes == EXPECTED

        def test_alone():
            assert EXPECTED == 20_000
        """
    project.makepyfile(
        test_good=text.replace("EXPECTED", "20_000"), test_bad=text.replace("EXPECTED", "19_999")
    )
    kept = project.path / "kept"
    result = project.runpytest_subprocess(*PLUGIN, "--narrows-results", str(kept), "-v")
    result.assert_outcomes(passed=4, failed=2)
    # Of those that failed, one used the lab.
    assert str(result.stdout).count("pair on simulation, impaired by simulated, seed 3: PASS") == 1
    (directory,) = {path.parents[1].name for path in kept.rglob("result.json")}
    assert directory.startswith("test_bad.py")


def test_a_project_may_have_a_fixture_of_that_name(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.fixture
        def lab():
            return "our own"

        def test_it(lab):
            assert lab == "our own"
        """
    )
    project.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "found"),
    [
        ("", "has no topology: mark it with"),
        ('@pytest.mark.topology("no.lab.yml")', "no.lab.yml:1:1: cannot be read"),
        ('@pytest.mark.topology("pair.lab.yml", parameters={"lss": "1%"})', "lss"),
        ('@pytest.mark.topology("pair.lab.yml", loss="1%")', "the marker topology has loss; write"),
        ('@pytest.mark.topology("pair.lab.yml", "1%")', "the marker topology has '1%'; write"),
    ],
)
def test_wrong_use_is_told(project: pytest.Pytester, marker: str, found: str) -> None:
    project.makepyfile(f"import pytest\n\n{marker}\ndef test_it(lab):\n    pass\n")
    result = project.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{found}*"])


def test_an_end_that_is_none_is_told_with_those_there_are(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.topology("pair.lab.yml")
        def test_it(lab):
            with lab.deployed() as up:
                up.netem("a:eth9", loss="5%")
        """
    )
    result = project.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no link ends at 'a:eth9': use one of a:eth1, b:eth1"])


def test_the_plugin_is_found_by_pytest_itself() -> None:
    root = Path(__file__).parents[2]
    assert (
        '"orchestrator.pytest_plugin" = "orchestrator.pytest_plugin"' in (root / "pyproject.toml").read_text()
    )
