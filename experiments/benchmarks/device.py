"""One machine with an accelerator, measured in under nine minutes, with nothing downloaded.

    make bench-device                     (a GPU of 140 GB)
    make bench-device SHAPE=25m           (a CPU)

Parts, in the order in which they run:

- ``merges``: candidates of five operators, as shares of the bandwidth of a copy.
- ``candidate``: a candidate of the paper's search, merged and asked 1,069 random prompts, with
  lengths of prompts and answers that spread as those of GSM8K do (`device_search.SPREAD`). Their
  medians, 150 and 180 tokens, are assumed. Also the bits of its export.
- ``rows``: prefill and a decode step for several batches (at 7 B: 128, 32, 512 and 1), as shares
  of a matrix product's FLOP/s and of a copy's bandwidth. A step is held to read the weights and
  the slots in use once.
- ``torch``: transformers' ``generate`` on a model of that shape on the same device.
- ``kernel``: a decode step with the kernel and with plain products, on the same tokens.
- ``bits``: candidates of six operators against the exports of their recipes.
- ``tests``: the project's tests of compiled operators, and parity where mergekit is installed.
- ``vllm``: vLLM on that shape, where it is installed.

All weights and tokens are random. Each part is a process of its own. What fails, or is not done in
its time, is said in the table with what was measured before, and the next part runs. A part may
take what is left but for the least that later ones need.
"""

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from measure import Row, command, row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUDGET = 510.0
"""Seconds for all parts, of the nine minutes."""


class Part(NamedTuple):
    """The seconds without which a part is not begun, and the most that it may take."""

    least: float
    most: float


PARTS = {
    "merges": Part(30, 70),
    "candidate": Part(150, 220),
    "rows": Part(90, 170),
    "torch": Part(30, 80),
    "kernel": Part(30, 80),
    "bits": Part(25, 60),
    "tests": Part(30, 240),
    "vllm": Part(60, 120),
}
PEERS = ("torch", "vllm")
SHAPES = ("7b", "1b", "25m", "1m")
DETAILS = (": accessed", ": temporary", ": compilation", ": statistics")
"""Rows that are kept, but not printed."""


def benchmark(shape: str, names: list[str], budget: float) -> list[Row]:
    """All rows, and those of what was left out, which have a problem in the place of a value."""
    end = time.monotonic() + budget
    rows: list[Row] = []
    lacking = [name for name in names if name == "vllm" and find_spec("vllm") is None]
    names = [name for name in names if name not in lacking]
    for index, name in enumerate(names):
        reserved = sum(PARTS[later].least for later in names[index + 1 :])
        left = end - time.monotonic()
        limit = min(PARTS[name].most, left - reserved)
        print(f"== {name}, at most {max(0, limit):.0f} s of {left:.0f}", flush=True)
        if limit < PARTS[name].least:
            rows.append(problem(name, f"left out: {limit:.0f} s were left for it"))
        else:
            rows += run_part(name, shape, limit)
    rows += [problem(name, "left out: it is not installed") for name in lacking]
    ours = (one["hardware"] for one in rows if one.get("part") not in (None, *PEERS))
    machine = next(ours, rows[0]["hardware"])
    return compared([one | {"command": command(), "hardware": machine} for one in rows])


def run_part(name: str, shape: str, limit: float) -> list[Row]:
    """The rows of a part, from a process that is killed with all it started when time is up."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.jsonl"
        out.touch()
        options = ["--part", name, "--shape", shape, "--out", str(out)]
        process = subprocess.Popen(
            [sys.executable, str(HERE / "device.py"), *options],
            env=environment(name),
            start_new_session=True,
        )
        try:
            status = process.wait(limit)
            ended = f"it ended with status {status}" if status else None
        except subprocess.TimeoutExpired:
            ended = f"it was ended after {limit:.0f} s"
        finally:
            end_group(process)
        lines = [json.loads(line) for line in out.read_text().splitlines()]
    rows = [line | {"part": name} for line in lines if "begun" not in line]
    begun = [line["begun"] for line in lines if "begun" in line]
    return rows if ended is None else [*rows, problem(", ".join([name, *begun[-1:]]), ended)]


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process, and what it started and left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment(name: str) -> dict[str, str]:
    """Of a part: this repository's package, and the device's memory for who needs it."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    found = os.environ | {"PYTHONPATH": path}
    if name in PEERS:
        return found | {"JAX_PLATFORMS": "cpu"}
    memory = {"bits": "0.5", "tests": "0.1"}.get(name, "0.92")
    held = {"XLA_PYTHON_CLIENT_PREALLOCATE": "true", "XLA_PYTHON_CLIENT_MEM_FRACTION": memory}
    return found | held


def child(name: str, shape: str, out: Path) -> None:
    """What runs in that process: each row is written as soon as it is there."""
    try:
        for step, run in steps_of(name, shape):
            write(out, [{"begun": step}])
            try:
                write(out, run())
            except Exception as error:  # out of memory, or whatever a compiler says
                write(out, [problem(f"{name}, {step}", text_of(error))])
    except Exception as error:  # before or between steps
        write(out, [problem(name, text_of(error))])


def steps_of(name: str, shape: str) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """A part's steps. What runs them is imported here, since the driver must hold no memory."""
    parts = importlib.import_module("device_parts")
    if name in PEERS:
        return getattr(importlib.import_module("device_peers"), name)(shape, parts.WORK[shape])
    parts.check_device(shape)
    return getattr(parts, name)(shape, parts.WORK[shape])


def write(out: Path, rows: list[Row]) -> None:
    """Add rows to a file, one a line."""
    with out.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in rows)


def problem(name: str, text: str) -> Row:
    """A row that says why there is no figure."""
    return row(name, 0.0, "") | {"problem": text}


def text_of(error: Exception) -> str:
    """The first line of an error."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:200]


def compared(rows: list[Row]) -> list[Row]:
    """The rows of our generation beside that of each peer for the same batch."""
    own = {one["name"]: one for one in rows}
    found = []
    for one in rows:
        peer, _, count = one["name"].rpartition(", ")
        ours = own.get(f"generate, {count}")
        if one.get("part") in PEERS and ours and one["value"] and "problem" not in ours:
            ratio = ours["value"] / one["value"]
            joined = ours | {"peer": peer, "peer_value": one["value"], "ratio": ratio}
            found.append(joined | {"name": f"generate, {count}, against {peer}"})
    return rows + found


def table(rows: list[Row]) -> str:
    """A small table for people."""
    lines = ["| | | share or ratio | of |", "|---|---|---|---|"]
    for one in rows:
        if one["name"].endswith(DETAILS):
            continue
        if "problem" in one:
            lines.append(f"| {one['name']} | {one['problem']} | | |")
            continue
        beside = f"{one['ratio']:.3g}" if one["peer"] else ""
        other = f"{one['peer']}: {one['peer_value']:.4g}" if one["peer"] else ""
        lines.append(f"| {one['name']} | {one['value']:.4g} {one['unit']} | {beside} | {other} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=BUDGET, help="for all parts")
    parser.add_argument("--out", type=Path, default=HERE / "device.json")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        child(options.part, options.shape, options.out)
        return
    rows = benchmark(options.shape, options.parts, options.seconds)
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"\n{rows[0]['hardware']}, {rows[0]['date']}\n\n{table(rows)}\n\n{options.out.name}")


if __name__ == "__main__":
    main()
