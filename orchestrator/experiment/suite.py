"""Runs many cases in several settings: simulations side by side, real labs one after the other."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator.backends.base import BACKENDS
from orchestrator.errors import TestbedError
from orchestrator.experiment.cases import CaseFile, CaseResult, Outcome, Setting, run_case, run_case_alone
from orchestrator.topology.model import CaseBreak

#: Version of the JSON below; it changes when a key changes its meaning or goes.
SUITE_VERSION = 1


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What became of all cases, in the order of cases and then of settings."""

    cases: tuple[CaseFile, ...]
    settings: tuple[Setting, ...]
    results: tuple[CaseResult, ...]
    #: Whether the cases ran with the wrong settings that they must notice.
    broken: bool = False

    def count(self, setting: Setting | None = None) -> Counter[Outcome]:
        """Return how many results there are of each kind, of one setting or of all."""
        return Counter(each.outcome for each in self.results if setting in (None, each.setting))

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data; docs/cases.md says what each key is."""
        return {
            "version": SUITE_VERSION,
            "broken": self.broken,
            "settings": [
                {
                    "title": setting.title,
                    **{outcome.value: self.count(setting)[outcome] for outcome in Outcome},
                }
                for setting in self.settings
            ],
            "results": [result.to_json() for result in self.results],
        }


@dataclass(frozen=True, slots=True)
class _Cell:
    """One run of the suite."""

    case: CaseFile
    setting: Setting
    broken: CaseBreak | None = None


async def run_suite(
    cases: Sequence[CaseFile],
    settings: Sequence[Setting],
    *,
    directory: Path,
    broken: bool = False,
    jobs: int | None = None,
    on_result: Callable[[CaseResult], None] = lambda _: None,
) -> SuiteResult:
    """Run each case in each setting.

    Args:
        cases: which ones.
        settings: where and how.
        directory: the results directory; each run makes its own below it.
        broken: run them with the wrong settings that they must notice instead; to notice is to pass.
        jobs: simulations at once; None: one for each CPU.
        on_result: called with each result when it is there.

    Raises:
        UnknownNameError: there is no such back end.
        BackendError: a lab could not be made.
    """
    cells = [
        _Cell(case, setting, each)
        for case in cases
        for setting in settings
        for each in (case.case.breaks if broken else (None,))
    ]
    virtual = {setting: BACKENDS[setting.backend]().capabilities().virtual_time for setting in settings}
    found: dict[int, CaseResult] = {}

    def take(index: int, result: CaseResult) -> None:
        wrong = cells[index].broken
        found[index] = result if wrong is None else judge_broken(result, wrong)
        on_result(found[index])

    beside = [index for index, cell in enumerate(cells) if virtual[cell.setting]]
    await _run_beside(cells, beside, directory, jobs or os.cpu_count() or 1, take)
    for index, cell in enumerate(cells):
        if not virtual[cell.setting]:
            take(index, await run_case(cell.case, cell.setting, directory, cell.broken))
    results = tuple(found[index] for index in range(len(cells)))
    return SuiteResult(tuple(cases), tuple(settings), results, broken)


async def _run_beside(
    cells: Sequence[_Cell],
    indices: Sequence[int],
    directory: Path,
    jobs: int,
    take: Callable[[int, CaseResult], None],
) -> None:
    """Run simulations, each in a process of its own, as many at once as there are jobs."""
    workers = min(jobs, len(indices))
    if workers <= 1:
        for index in indices:
            cell = cells[index]
            take(index, await run_case(cell.case, cell.setting, directory, cell.broken))
        return
    # A fresh interpreter each: nothing of this process (signal handlers, an event loop) goes into them.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    loop = asyncio.get_running_loop()

    async def one(index: int) -> None:
        cell = cells[index]
        run = partial(run_case_alone, cell.case, cell.setting, directory, cell.broken)
        try:
            take(index, await loop.run_in_executor(pool, run))
        except BrokenExecutor as error:
            raise TestbedError(
                "a process that runs cases was killed, as for want of memory; run fewer at once with --jobs "
                f"(it may have been that of {cells[index].case.name})"
            ) from error

    # So that no long one is left alone at the end.
    dearest_first = sorted(indices, key=lambda index: -cells[index].case.volume)
    try:
        await asyncio.gather(*map(one, dearest_first))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def run_broken(case: CaseFile, setting: Setting, directory: Path, wrong: CaseBreak) -> CaseResult:
    """Run a case with a wrong setting: it passes if the expectation is missed that must be."""
    return judge_broken(await run_case(case, setting, directory, wrong), wrong)


def judge_broken(result: CaseResult, wrong: CaseBreak) -> CaseResult:
    """Turn the result of a broken case around: to miss just what it must is to pass."""
    if result.outcome in (Outcome.UNSUPPORTED, Outcome.MISSING):
        return result
    told = ", ".join(f"{name}={value}" for name, value in wrong.parameters.items())
    missed = [
        name
        for text, flow, _, passed in result.expectations
        if not passed
        for name in (text, f"{flow}: {text}")
    ]
    if wrong.misses in missed:
        return dataclasses.replace(
            result, outcome=Outcome.PASSED, notes=(f"{told}: {wrong.misses} is missed, as it must",)
        )
    why = f"with {told} it had to miss {wrong.misses!r}, and missed {', '.join(missed[::2]) or 'nothing'}"
    return dataclasses.replace(result, outcome=Outcome.FAILED, reasons=(why, *result.reasons))
