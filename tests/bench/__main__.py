"""`make bench`: Strait, kernel TCP, aioquic and quic-portal, in turns; a table and a JSON file.

Only figures of one run may be compared with each other: machines, and moods of one machine, differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import quiet
from tests.bench.places import LOOPBACK, Place, Routed

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS_VENV = ROOT / ".cache" / "bench-venv"
GIB = 1 << 30
FIRST_BYTES = 4_000_000
ECHO_COUNT = 2_000
LIMIT_SECONDS = 60

#: Name → (module below tests.bench.peers, needs the peers' own environment, encrypted).
PEERS = {
    "strait": ("strait", False, True),
    "tcp": ("tcp", False, False),
    "aioquic": ("quic_python", True, True),
    "quic-portal": ("quic_portal", True, True),
}


def main() -> int:
    """Measure, print the table, write the file; the status is 1 when Strait could not be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated")
    parser.add_argument("--places", default="loopback,routed", help="comma-separated")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="aim of one bulk run")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "bench.json")
    asked = parser.parse_args()
    os.chdir(ROOT)
    names = asked.peers.split(",")
    if any(PEERS[name][1] for name in names):
        prepare_peers()
    before = quiet.check()
    print(f"machine before: {before}", flush=True)
    rows = []
    for place in places(asked.places.split(",")):
        rows += measure(place, names, asked.repetitions, asked.seconds)
    after = quiet.check()
    print(table(rows))
    noisy = not (before["quiet"] and after["quiet"])
    if noisy:
        print(f"NOISY: the machine was not quiet ({before} before, {after} after): compare with care")
    machine = {"system": platform.platform(), "python": platform.python_version(), "cpus": os.cpu_count()}
    report = {
        "machine": machine,
        "quiet": {"before": before, "after": after},
        "noisy": noisy,
        "rows": rows,
    }
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written: {asked.output}")
    return 0 if all(row["mbps"] for row in rows if row["peer"] == "strait") else 1


def prepare_peers() -> None:
    """The peers' packages, pinned, in an environment of their own."""
    lock = ROOT / ".ci" / "requirements" / "bench.txt"
    stamp = PEERS_VENV / "lock"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    print(f"installing {lock.relative_to(ROOT)} into {PEERS_VENV.relative_to(ROOT)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS_VENV], check=True)
    pip = [str(PEERS_VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(lock)], check=True)
    stamp.write_text(lock.read_text())


def places(names: list[str]) -> Iterator[Place]:
    """The places that this user may measure in; says which one is left out, and why."""
    for name in names:
        if name == "loopback":
            yield LOOPBACK
        elif os.geteuid() != 0:
            print(f"{name}: left out, network namespaces need root: `sudo make bench`")
        else:
            with Routed() as place:
                yield place


def measure(place: Place, names: list[str], repetitions: int, seconds: float) -> list[dict[str, object]]:
    """All peers in turns: A B C A B C, so that a bad minute hits everybody."""
    port = 17_000
    sizes: dict[str, int] = {}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    echoes: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for name in names:
        port += 10
        sizes[name] = FIRST_BYTES
        for _ in range(2):  # a short run says how much a long one may send
            first = one(place, name, "bulk", sizes[name], port := port + 3)
            if first is None:
                break
            sizes[name] = int(min(4 * GIB, max(FIRST_BYTES, first["bytes"] / first["seconds"] * seconds)))
    for _ in range(repetitions):
        for name in names:
            bulk = one(place, name, "bulk", sizes[name], port := port + 3)
            echo = one(place, name, "echo", ECHO_COUNT, port := port + 3)
            runs[name] += [bulk] if bulk else []
            echoes[name] += [echo] if echo else []
            said = f"{bulk['mbps']:.0f} Mbit/s" if bulk else "FAILED"
            print(f"{place.name}: {name}: {said}", flush=True)
    return [summary(place.name, name, runs[name], echoes[name]) for name in names]


def one(
    place: Place, name: str, mode: str, count: int, port: int, options: Sequence[str] = ()
) -> dict[str, float] | None:
    """One session of one peer: both processes' reports joined; None when it failed."""
    module, own_environment, _ = PEERS[name]
    python = str(PEERS_VENV / "bin" / "python") if own_environment else sys.executable
    command = [python, "-m", f"tests.bench.peers.{module}"]
    common = ["--host", place.host, "--port", str(port), "--mode", mode, "--count", str(count), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        server = subprocess.Popen([*place.server, *command, "server", *common], **pipes)  # type: ignore[call-overload]
        stack.callback(server.kill)
        time.sleep(0.9)  # the server's imports; a peer that is not there yet would cost a retransmission
        client = subprocess.Popen([*place.client, *command, "client", *common], **pipes)  # type: ignore[call-overload]
        stack.callback(client.kill)
        try:
            ours, trouble = client.communicate(timeout=LIMIT_SECONDS)
            theirs, more = server.communicate(timeout=10) if mode == "bulk" else ("", "")
        except subprocess.TimeoutExpired:
            print(f"{place.name}: {name}: no end in {LIMIT_SECONDS} s", flush=True)
            return None
    lines = [json.loads(line) for line in (ours + theirs).splitlines() if line.startswith("{")]
    if len(lines) != (2 if mode == "bulk" else 1):
        print(f"{place.name}: {name}: {(trouble + more).strip()[-400:]}", flush=True)
        return None
    if mode == "echo":
        return dict(lines[0])
    cpu = sum(line["cpu_seconds"] for line in lines)
    seconds = lines[0]["seconds"]
    mbps = count * 8 / seconds / 1e6
    return {"bytes": count, "seconds": seconds, "mbps": mbps, "cpu_per_gib": cpu / count * GIB}


def summary(
    place: str, name: str, runs: list[dict[str, float]], echoes: list[dict[str, float]]
) -> dict[str, object]:
    """Medians and spread of one peer at one place."""
    rates = [run["mbps"] for run in runs]
    return {
        "place": place,
        "peer": name,
        "encrypted": PEERS[name][2],
        "bytes": runs[0]["bytes"] if runs else 0,
        "mbps": statistics.median(rates) if rates else None,
        "mbps_lowest": min(rates, default=None),
        "mbps_highest": max(rates, default=None),
        "cpu_seconds_per_gib": statistics.median(run["cpu_per_gib"] for run in runs) if runs else None,
        "echo_p50_us": statistics.median(echo["p50_us"] for echo in echoes) if echoes else None,
        "echo_p99_us": statistics.median(echo["p99_us"] for echo in echoes) if echoes else None,
        "runs": runs,
    }


def table(rows: list[dict[str, object]]) -> str:
    """The figures as text, each also as a multiple of aioquic's."""
    base = {row["place"]: row["mbps"] for row in rows if row["peer"] == "aioquic"}
    head = f"{'place':10}{'peer':13}{'Mbit/s':>9}{'lowest':>9}{'highest':>9}{'× aioquic':>11}"
    lines = ["", head + f"{'CPU s/GiB':>11}{'echo p50 µs':>13}{'p99':>8}"]
    for row in rows:
        cells = [f"{row['place']:10}{row['peer']:13}"]
        reference = base.get(row["place"])
        ratio = row["mbps"] / reference if row["mbps"] and reference else None  # type: ignore[operator]
        for value, width, digits in (
            (row["mbps"], 9, 0),
            (row["mbps_lowest"], 9, 0),
            (row["mbps_highest"], 9, 0),
            (ratio, 11, 1),
            (row["cpu_seconds_per_gib"], 11, 2),
            (row["echo_p50_us"], 13, 0),
            (row["echo_p99_us"], 8, 0),
        ):
            cells.append(f"{'failed':>{width}}" if value is None else f"{value:>{width},.{digits}f}")
        lines.append("".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
