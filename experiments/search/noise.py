"""How much of what tells candidates apart a minibatch keeps, along a search measured in full.

    python -m experiments.search.noise [--generations 50] [--seed 0] [--repeats 8]

CR-FM-NES on the quickstart, every candidate on all 512 search items; then each generation is scored
again by minibatches of them, drawn alike or by how far candidates differed on the items, from other
seeds. Shown is the variance of the error of candidates' differences, as a share of the variance of
the candidates' own means, and the error of their level. The search is kept and not run again.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from evojax_merge.config import build, compose
from evojax_merge.params.types import Float
from evojax_merge.runs.pairing import pair
from evojax_merge.runs.preparation import set_up
from evojax_merge.savers import Minibatch
from evojax_merge.search.loop import init_state, step

SIZES = (64, 128)
ENDS = (10, 20, 30, 40, 50)
"""Generations at which a part of the search ends that is shown by itself."""

Results = Float[np.ndarray, "generations pop items"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=ENDS[-1])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/search/noise"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / f"cr_fm_nes_{options.seed}_{options.generations}.npy"
    if not kept.exists():
        np.save(kept, measured(options.seed, options.generations))
    results = np.load(kept).astype(np.float32)
    Console(width=120).print(table(results, options.repeats))


def measured(seed: int, generations: int) -> Results:
    """What every candidate of a search answers."""
    chosen = ["+experiment=quickstart", "strategy=cr_fm_nes", "savers.minibatch.enabled=false"]
    experiment = build(compose([*chosen, f"seed={seed}", f"search.evaluations={10 * generations}"]))
    setup = set_up(experiment)
    (stage,) = setup.stages
    setup.load(Path("runs"), print)
    strategy, score, _ = pair(stage.problem({}), stage.strategy, stage.savers)
    state, found = init_state(strategy, jax.random.key(seed), 1), []
    for _ in range(generations):
        state, _, evaluation = step(state, strategy, score)
        found.append(evaluation.items)
    return np.array(found, np.int8)


def errors(results: Results, size: int, informative: bool, seed: int) -> Float[np.ndarray, "g 2"]:
    """Variance of the error of differences, and squared error of the level, of each generation."""
    rule = Minibatch(results.shape[2], size=size, informative=informative, seed=seed)
    found = []
    for generation, items in enumerate(results):
        scores = rule(
            generation, len(items), lambda who, rows, items=items: items[np.ix_(who, rows)]
        )
        assert scores.fitness is not None
        away = scores.fitness - items.mean(axis=1)
        found.append((away.var(), away.mean() ** 2))
        rule.learn(generation, scores.items, scores.fitness)
    return np.array(found)


def table(results: Results, repeats: int) -> Table:
    """A row for each size and way to draw."""
    ends = [end for end in ENDS if end <= len(results)]
    parts = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    own = results.mean(axis=2).var(axis=1)
    shown = Table("items", "drawn", title="share of the variance (error of the level, points)")
    for part in parts:
        shown.add_column(f"generations {part.start + 1}-{part.stop}")
    for size in SIZES:
        for informative in (False, True):
            runs = [errors(results, size, informative, seed) for seed in range(repeats)]
            mean = np.mean(runs, axis=0)
            cells = [
                f"{mean[p, 0].mean() / own[p].mean():.2f} ({100 * mean[p, 1].mean() ** 0.5:.1f})"
                for p in parts
            ]
            shown.add_row(str(size), "by information" if informative else "alike", *cells)
    return shown


if __name__ == "__main__":
    main()
