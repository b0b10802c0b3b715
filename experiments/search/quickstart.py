"""How many item-evaluations each strategy needs for what CMA-ES finds in 1,000 candidates.

    python -m experiments.search.quickstart [--contestants cma_es random ...] [--seeds 0 1 2 3 4]

The space is the quickstart's (8 weights), the fitness accuracy on the first 128 of its Japanese
word problems, or on as many of the same kind as ``--items`` says; the quickstart has 512. After
every 1,280 of them (ten times their number, a generation of plain CMA-ES) the genotype that the
strategy recommends, the mean of its distribution or the best that it saw, is measured on the 256
validation items (``--held-out`` gives more of their kind), which costs the search nothing and tells
it nothing. The target is the median, over the seeds, of what plain CMA-ES with the paper's settings
recommends after 1,000 candidates.
What is finished is not run again; several processes may share a directory.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from evojax_merge.config import build, compose
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.runs.pairing import pair
from evojax_merge.runs.preparation import set_up
from evojax_merge.search.loop import init_state, step
from experiments.quickstart.data import Split, evaluation_problems, write_problems
from experiments.search.curves import Point, Search, against, ends, load, save_all

RACING = "savers.racing.enabled=true"
MINIBATCH = "savers.minibatch.enabled=true"
UNIFORM = "savers.minibatch.informative=false"
ANCHORS = "savers.anchors.enabled=true"
EXPERTS = "strategy.initial_population=experts"
TEXT = "fitness.reference_text='答えは{answer}です。'"
GRADIENT = ["strategy=gradient", TEXT]
MEMETIC = ["strategy=memetic", TEXT]

PLAIN = "cma_es"
CONTESTANTS: dict[str, list[str]] = {
    PLAIN: ["strategy=cma_es", "savers.memory=false"],
    "optuna_cma": ["strategy=optuna_cma"],
    "mergekit_evolve": ["strategy=cma_es", "space.coefficients.weight.start=0.5"],
    "random": ["strategy=random"],
    "snes": ["strategy=snes"],
    "snes_racing": ["strategy=snes", RACING],
    "differential_evolution": ["strategy=differential_evolution"],
    "pso": ["strategy=pso"],
    "pso_experts": ["strategy=pso", EXPERTS],
    "differential_evolution_experts": ["strategy=differential_evolution", EXPERTS],
    "coordinate": ["strategy=coordinate"],
    "cma_es_minibatch": ["strategy=cma_es", MINIBATCH],
    "cr_fm_nes_minibatch": ["strategy=cr_fm_nes", MINIBATCH],
    "cma_es_uniform": ["strategy=cma_es", MINIBATCH, UNIFORM],
    "cr_fm_nes_uniform": ["strategy=cr_fm_nes", MINIBATCH, UNIFORM],
    "fresh_eighth": ["strategy=cma_es", RACING, "savers.racing.rungs=[1]"],
    "fresh_quarter": ["strategy=cma_es", RACING, "savers.racing.rungs=[2]"],
    "cr_fm_nes_fresh_quarter": ["strategy=cr_fm_nes", RACING, "savers.racing.rungs=[2]"],
    "racing": ["strategy=cma_es", RACING],
    "racing_half": ["strategy=cma_es", RACING, "savers.racing.rungs=[4,8]"],
    "racing_test": ["strategy=cma_es", RACING, "savers.racing.stopping=test"],
    "anchors": ["strategy=cma_es", ANCHORS],
    "racing_anchors": ["strategy=cma_es", RACING, ANCHORS],
    "cr_fm_nes": ["strategy=cr_fm_nes"],
    "cr_fm_nes_racing": ["strategy=cr_fm_nes", RACING],
    "surrogate": ["strategy=surrogate"],
    "gradient": GRADIENT,
    "memetic": MEMETIC,
    "memetic_racing": [*MEMETIC, RACING],
}
SPLITS: tuple[Split, Split] = ("search", "validation")
FILES = ("data", "validation")
ITEMS, HELD_OUT = 128, 256
EVALUATIONS = 1000
LOOK = 10
"""A look at the validation items after so many times the search items: as often for all, as each
has its share of luck.
"""
CAP = 12 * LOOK
"""The same, after which a search is stopped, unless it is carried to 1,000 candidates."""
STALLED = 20
"""Generations without a measurement after which a search has ended: it proposes what is known."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contestants", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="validation items")
    parser.add_argument("--candidates", type=int, default=EVALUATIONS, help="after which any ends")
    parser.add_argument("--chunk", type=int, help="candidates on a device at a time")
    parser.add_argument("--look", type=int, help="items between looks; ten times --items")
    parser.add_argument("--cap", type=int, help="items of a search that is not in --full")
    parser.add_argument(
        "--full",
        nargs="*",
        choices=CONTESTANTS,
        default=[PLAIN],
        help=f"which are carried on to {EVALUATIONS} times --items",
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--targets", type=float, nargs="+", help="shares of the validation items")
    options = parser.parse_args()
    out = options.out or Path("runs/search") / f"items{options.items}"
    data = prepare(out, options, parser.error)
    look = options.look or LOOK * options.items
    cap, whole = options.cap or CAP * options.items, EVALUATIONS * options.items
    limits = Limits(look, options.candidates, options.chunk)
    problems: dict[str, Any] = {}
    for seed in options.seeds:
        for name in options.contestants:
            search = Search(name, seed, whole if name in options.full else cap)
            if not search.path(out).exists():
                search = search._replace(curve=run(search, data, limits, problems))
                search.save(out)
                last = search.curve[-1]
                print(name, seed, last.items, f"{last.validation:.4f}", flush=True)
    searches = load(out)
    save_all(searches, out / "quickstart.json")
    targets = options.targets
    if targets is None:
        found = [s.curve[-1].validation for s in searches if s.name == PLAIN and s.cap == whole]
        targets = [float(np.median(found))]
    console = Console(width=140)
    console.print(ends(searches, targets[0], whole))
    if any(search.name == PLAIN for search in searches):
        console.print(against(searches, PLAIN, cap, targets))


def prepare(
    out: Path, options: argparse.Namespace, refuse: Callable[[str], Any]
) -> tuple[Path, Path]:
    """The files of the search and held-out items, written if they are not there; runs of other
    numbers in the same directory would be taken for these.
    """
    settings = {name: getattr(options, name) for name in ("items", "held_out", "candidates")}
    file, data = out / "settings.txt", (out / "search.jsonl", out / "validation.jsonl")
    there = out.exists() and any(out.iterdir())
    if there and (not file.exists() or file.read_text() != f"{settings}\n"):
        refuse(f"{out} has runs of other settings than {settings}; give another --out")
    if not there:
        with tempfile.TemporaryDirectory(dir=made(out.parent)) as folder:
            whole = Path(folder) / out.name
            whole.mkdir()
            for path, split, count in zip(data, SPLITS, list(settings.values())[:2], strict=True):
                write_problems(whole / path.name, evaluation_problems(split, count=count))
            (whole / file.name).write_text(f"{settings}\n")
            with contextlib.suppress(OSError):  # another process was faster
                whole.rename(out)
    return data


def made(folder: Path) -> Path:
    """A folder that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Limits(NamedTuple):
    """Of every search.

    Attributes:
        look: Items between two looks at the held-out ones.
        candidates: After which it ends.
        chunk: Candidates on a device at a time; None: two, or one where a search has many items.
    """

    look: int
    candidates: int
    chunk: int | None


def run(
    search: Search, data: tuple[Path, Path], limits: Limits, problems: dict[str, Any]
) -> tuple[Point, ...]:
    """One search, to its cap or its end; where it stood at every look."""
    seed, cap, overrides = search.seed, search.cap, CONTESTANTS[search.name]
    look, most, chunk = limits
    if chunk is None:
        chunk = 2 if look <= LOOK * ITEMS else 1
    shared = ["+experiment=quickstart", f"seed={seed}", f"search.evaluations={most}"]
    if MINIBATCH not in overrides:
        shared.append("savers.minibatch.enabled=false")
    shared += [
        *(f"fitness.{key}={path.resolve()}" for key, path in zip(FILES, data, strict=True)),
        f"search.chunk={chunk}",
    ]
    experiment = build(compose([*shared, *overrides]))
    setup = set_up(experiment)
    (stage,) = setup.stages
    likelihood = str(TEXT in overrides)
    if likelihood not in problems:  # the merge is the same for all seeds: it has no random masks
        setup.load(Path("runs"), print)
        problems[likelihood] = stage.problem({})
    problem = problems[likelihood]
    strategy, score, _ = pair(problem, stage.strategy, stage.savers)
    state = init_state(strategy, jax.random.key(seed), 1)
    curve: list[Point] = []
    items, seconds, candidates, idle = 0, 0.0, 0, 0
    while items < cap and candidates < most and idle < STALLED:
        began = time.process_time()
        state, population, evaluation = step(state, strategy, score)
        seconds += time.process_time() - began
        measured = int(evaluation.item_evaluations.sum())
        idle = 0 if measured else idle + 1
        candidates += len(population)
        before, items = items, items + measured
        last = items >= cap or candidates >= most or idle == STALLED
        if last or items // look > before // look:
            held_out = incumbent(problem, strategy, state)
            curve.append(Point(candidates, items, round(seconds, 2), held_out))
    return tuple(curve)


def incumbent(problem: Any, strategy: Any, state: Any) -> float:
    """Held-out score of what the strategy recommends, or else of the best that it saw."""
    found = strategy.recommend(state.strategy)
    genotype = state.archive.genotypes[0] if found is None else found
    evaluation: Evaluation = problem.evaluator(np.asarray(genotype)[None], "validation")
    return float(evaluation.fitness[0])


if __name__ == "__main__":
    main()
