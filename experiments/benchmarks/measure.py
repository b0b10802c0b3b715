"""What every benchmark shares: timing, the machine's description, and the row that is kept."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def seconds(fn: Callable[[], Any], repeats: int) -> float:
    """Median wall time of ``fn()``, which must not return before its result is there."""
    return seconds_in_turn((fn,), repeats)[0]


def seconds_in_turn(fns: Sequence[Callable[[], Any]], repeats: int) -> list[float]:
    """Median wall time of each function; they take turns, so that other load meets all alike."""
    return [wall for wall, _ in costs_in_turn(fns, repeats)]


def costs_in_turn(fns: Sequence[Callable[[], Any]], repeats: int) -> list[tuple[float, float]]:
    """Median wall time of each function, and median processor time of all its threads."""
    times: list[list[tuple[float, float]]] = [[] for _ in fns]
    for _ in range(repeats):
        for fn, taken in zip(fns, times, strict=True):
            start, worked = time.perf_counter(), time.process_time()
            fn()
            taken.append((time.perf_counter() - start, time.process_time() - worked))
    return [
        (median(wall), median(work)) for wall, work in (zip(*own, strict=True) for own in times)
    ]


def row(
    name: str, value: float, unit: str, peer: str = "", peer_value: float = 0.0, ratio: float = 0.0
) -> Row:
    """One figure; ``ratio`` says how many times better than the peer it is."""
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": peer,
        "peer_value": peer_value,
        "ratio": ratio,
        "command": command(),
        "hardware": hardware(),
        "date": date.today().isoformat(),
    }


def command() -> str:
    """The command line from the repository's root, but for where its rows are written."""
    words = [os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return " ".join(["python", *words])


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def hardware() -> str:
    """Accelerator where JAX uses one, processor, number of cores in use, system."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1] for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = models[0].strip() if models else cpu
    host = f"{cores()} cores of {cpu}, {platform.system()}"
    jax = sys.modules.get("jax")  # not imported for this: it would count as the peer's memory
    if jax is None or jax.default_backend() == "cpu":
        return host
    return f"{jax.devices()[0].device_kind}, {host}"


def main(
    benchmark: Callable[..., list[Row]], parser: argparse.ArgumentParser | None = None
) -> None:
    """Run a benchmark from its script, print its rows and write them where ``--out`` says.

    Args:
        benchmark: Called with the parser's arguments.
        parser: Of what it takes besides ``--out`` and ``--cores``; by default nothing.
    """
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    parser.add_argument("--cores", type=int, help="use no more, ours and the peer")
    arguments = vars(parser.parse_args())
    out, held_to = arguments.pop("out"), arguments.pop("cores")
    if held_to:  # before JAX starts its threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:held_to])
    rows = benchmark(**arguments)
    print(f"{'name':44} {'value':>10} {'unit':8} {'peer':>10} {'ratio':>8}  of")
    for entry in rows:
        print(
            f"{entry['name']:44} {entry['value']:10.4g} {entry['unit']:8} "
            f"{entry['peer_value']:10.4g} {entry['ratio']:8.3g}  {entry['peer']}"
        )
    if out:
        out.write_text(json.dumps(rows, indent=2) + "\n")


def layer_shapes(hidden: int, mlp: int) -> dict[str, tuple[int, ...]]:
    """Weights of a layer of a Llama whose key and value heads are as many as its query heads."""
    return {
        "input_layernorm": (hidden,),
        **{f"self_attn.{name}_proj": (hidden, hidden) for name in "qkvo"},
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }
