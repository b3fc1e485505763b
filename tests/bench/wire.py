"""``python -m tests.bench.wire``: frames that the wire probe judges in a second of CPU, and its memory.

A transfer of ``--megabytes`` over two simulated links, every frame captured where it enters and leaves each;
or, with ``--run``, the directory of any run. Memory is the peak of what is resident, above what was before.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.experiment.kept import find_run
from orchestrator.probes.wire import verify

LAB = """
name: wire-bench
seed: 1
topology:
  nodes: {{a: {{kind: host}}, r: {{kind: router}}, b: {{kind: host}}}}
  links:
    - {{endpoints: ["a:eth1", "r:eth1"], netem: {{delay: 2ms, rate: 1Gbit, queue: 1000p}}}}
    - {{endpoints: ["r:eth2", "b:eth1"], netem: {{delay: 3ms, loss: 0.1%}}}}
workloads:
  file: {{kind: bulk, from: a, to: b, size: {megabytes}MB}}
"""
MIB = 1 << 20


def main() -> int:
    """Measure and print; the status is 1 when a right node was accused."""
    parser = argparse.ArgumentParser(prog="tests.bench.wire", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--run", type=Path, help="directory of a run that is there already")
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    if asked.run is not None:
        return measure(asked.run, asked.repetitions)
    with tempfile.TemporaryDirectory(prefix="wire-bench-") as directory:
        return measure(simulate(Path(directory), asked.megabytes), asked.repetitions)


def simulate(directory: Path, megabytes: int) -> Path:
    """Run the transfer in a process of its own, whose memory is not ours, and return the run's directory."""
    lab = directory / "bench.lab.yml"
    lab.write_text(LAB.format(megabytes=megabytes))
    command = [sys.executable, "-m", "orchestrator", "run", str(lab), "--backend", "simulation"]
    subprocess.run([*command, "--results", str(directory)], check=True, stdout=subprocess.DEVNULL)
    return next(directory.glob("wire-bench-*"))


def measure(directory: Path, repetitions: int) -> int:
    """Judge a run's captures so often, and print what each time took."""
    run = find_run(directory)
    size = sum(path.stat().st_size for paths in run.collected.captures.values() for path in paths)
    before, violations = peak_kib(), 0
    for _ in range(repetitions):
        start = time.process_time()
        report = verify(run.plan, run.collected)
        took = time.process_time() - start
        violations += report.violation_count
        grown, count = (peak_kib() - before) / 1024, report.distinct
        print(
            f"{report.frames:,} frames, {count:,} datagrams: {took:.2f} s of CPU, "
            f"{report.frames / took:,.0f} frames a second; "
            f"{grown:.0f} MiB above the {before / 1024:.0f} before, "
            f"{grown * MIB / count:,.0f} bytes a datagram (captures: {size / MIB:.0f} MiB)",
            flush=True,
        )
    return 1 if violations else 0


def peak_kib() -> int:
    """The most memory that this process has had resident, KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
