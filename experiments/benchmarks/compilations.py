"""What is compiled by a first run of the quickstart, by a second one, a resume and a sweep.

    python experiments/benchmarks/compilations.py --evaluations 20

Each is a process of its own, all with one cache of compiled programs that is empty at first. The
resume continues the second run, from which the last generation and all that followed were taken.
The sweep has a cache of its own, and two seeds. A last run keeps nothing (compilation_cache=null).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from measure import Row, main, row

CHILD = """
import json, sys, time
import jax

began, programs, found, first = time.perf_counter(), [], [], []

def of_duration(event, seconds, **about):
    if event == "/jax/core/compile/backend_compile_duration":
        programs.append((about.get("fun_name"), seconds, bool(found)))
        found.clear()

def of_event(event, **about):
    if event == "/jax/compilation_cache/cache_hits":
        found.append(event)

jax.monitoring.register_event_duration_secs_listener(of_duration)
jax.monitoring.register_event_listener(of_event)

from evojax_merge import cli
from evojax_merge.fitness.generation import BoundGeneration

score = BoundGeneration.score

def scored(*given):
    first.append(time.perf_counter() - began)
    return score(*given)

BoundGeneration.score = scored
out, *arguments = sys.argv[1:]
cli.main(arguments)
account = {"wall": time.perf_counter() - began, "work": time.process_time(), "first": first[0]}
with open(out, "w") as file:
    json.dump({**account, "programs": programs}, file)
"""


def benchmark(evaluations: int, experiment: str) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        own = [f"+experiment={experiment}", f"search.evaluations={evaluations}"]

        def run(name: str, cache: str, *arguments: str) -> None:
            rows.extend(_rows(name, _measured(folder, cache, arguments)))

        def evolve(name: str, cache: str, *more: str) -> None:
            run(name, cache, "evolve", *own, f"hydra.run.dir={folder / name}", *more)

        evolve("first", "a")
        evolve("second", "a")
        _take_back(folder / "second")
        run("resume", "a", "resume", str(folder / "second"))
        sweep = f"hydra.sweep.dir={folder / 'sweep'}"
        run("sweep of two", "b", "evolve", "-m", *own, "seed=0,1", sweep)
        evolve("nothing kept", "c", "compilation_cache=null")
    return rows


def _measured(folder: Path, cache: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    out = folder / "account.json"
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / f"cache-{cache}")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-c", CHILD, str(out), *arguments]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def _take_back(run: Path) -> None:
    """Leave of a finished run what there was before its last generation."""
    steps = (run / "checkpoints" / "evolved").glob("[0-9]*")
    shutil.rmtree(max(steps, key=lambda step: int(step.name)))
    shutil.rmtree(run / "checkpoints" / "random_search", ignore_errors=True)
    shutil.rmtree(run / "export", ignore_errors=True)
    (run / "results.json").unlink()


def _rows(name: str, account: dict[str, Any]) -> list[Row]:
    compiled = [(what, seconds) for what, seconds, found in account["programs"] if not found]
    names = Counter(what for what, _ in compiled)
    print(f"{name}:", ", ".join(f"{what} x{n}" if n > 1 else what for what, n in names.items()))
    return [
        row(f"{name}: programs compiled", len(compiled), "programs"),
        row(f"{name}: programs found", len(account["programs"]) - len(compiled), "programs"),
        row(f"{name}: compiling", sum(seconds for _, seconds in compiled), "s"),
        row(f"{name}: until the first candidate", account["first"], "s"),
        row(f"{name}: in all", account["wall"], "s"),
        row(f"{name}: processor, in all", account["work"], "s"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=20, help="of the search")
    parser.add_argument("--experiment", default="quickstart")
    main(benchmark, parser)
