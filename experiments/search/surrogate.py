"""Evaluations that CMA-ES takes with a surrogate and without, on noisy functions in a box.

python -m experiments.search.surrogate [--dims 8] [--seeds 15] [--out runs/search/surrogate.json]
"""

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from evojax_merge.strategies import CMAES, EvosaxStrategy, Setting, Surrogate
from experiments.search.ratios import Runs, ratio

PLAIN = functools.partial(EvosaxStrategy, algorithm=CMAES)
STRATEGIES = {"cma_es": PLAIN, "surrogate": functools.partial(Surrogate, inner=PLAIN)}
NOISES = (0.0, 0.03)
TARGETS = {0.0: 0.01, 0.03: 0.03}
"""Noise -> what is to be reached; both in units of what the start lacks to the optimum."""
MOST = {6: 360, 8: 480, 12: 720}
CONDITION = 1000.0


def functions(dims: int) -> dict[str, Callable[[Any], Any]]:
    """Functions of the distance from their optimum, in a box of unit edges, to be minimised."""
    scales = jnp.float32(CONDITION ** (np.arange(dims) / (dims - 1)))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(dims, dims)))[0]
    turned = jnp.float32(rotation.T)

    def ellipsoid(x: Any) -> Any:
        return (scales * jnp.square(x)).sum(-1)

    def rosenbrock(x: Any) -> Any:
        z = 1 + 4 * x
        steep = 100 * jnp.square(z[..., 1:] - jnp.square(z[..., :-1]))
        return (steep + jnp.square(1 - z[..., :-1])).sum(-1)

    return {
        "sphere": lambda x: jnp.square(x).sum(-1),
        "ellipsoid": ellipsoid,
        "rotated ellipsoid": lambda x: ellipsoid(x @ turned),
        "rosenbrock": rosenbrock,
        "bumpy sphere": lambda x: (jnp.square(8 * x) + 1 - jnp.cos(16 * jnp.pi * x)).sum(-1),
    }


def evaluations_to_target(
    make: Callable[..., Any], function: Callable[[Any], Any], dims: int, noise: float, seeds: int
) -> np.ndarray:
    """Of each seed, which also places the optimum; infinite where it was not reached."""
    strategy = make(Setting(np.zeros(dims), np.ones(dims)))
    size = strategy.population_size

    def search(seed: Any) -> Any:
        key_optimum, key_init, key_run = jax.random.split(jax.random.key(seed), 3)
        optimum = jax.random.uniform(key_optimum, (dims,), minval=0.15, maxval=0.85)
        lacking = function(0.5 - optimum)

        def generation(state: Any, key: Any) -> tuple[Any, Any]:
            key_ask, key_tell, key_noise = jax.random.split(key, 3)
            population, state = strategy.ask(key_ask, state)
            fitness = -function(population - optimum) / lacking
            told = fitness + noise * jax.random.normal(key_noise, fitness.shape)
            return strategy.tell(key_tell, population, told, state), fitness.max()

        keys = jax.random.split(key_run, MOST[dims] // size)
        _, best = jax.lax.scan(generation, strategy.init(key_init), keys)
        reached = best >= -TARGETS[noise]
        return jnp.where(reached.any(), (jnp.argmax(reached) + 1) * size, jnp.inf)

    return np.asarray(jax.jit(lambda each: jax.lax.map(search, each))(jnp.arange(seeds)))


def runs(evaluations: list[float], dims: int) -> Runs:
    """The runs of one strategy; those that did not arrive have none."""
    found = np.array(evaluations)
    return Runs(np.minimum(found, MOST[dims]), np.isfinite(found), MOST[dims])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, nargs="+", default=[8], choices=MOST)
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("runs/search/surrogate.json"))
    options = parser.parse_args()
    console, rows = Console(), []
    heads = (f"{name}, quartiles" for name in STRATEGIES)
    table = Table("genes", "function", "noise", *heads, "ratio (95 % interval)")
    for dims in options.dims:
        for name, function in functions(dims).items():
            for noise in NOISES:
                found = {
                    key: evaluations_to_target(make, function, dims, noise, options.seeds).tolist()
                    for key, make in STRATEGIES.items()
                }
                rows.append({"dims": dims, "function": name, "noise": noise, **found})
                # Ranks, not interpolation: an infinite one may stand beside the middle.
                places = [options.seeds // 4, options.seeds // 2, -(options.seeds // 4) - 1]
                quartiles = [np.sort(each)[places] for each in found.values()]
                cells = [" / ".join(f"{each:g}" for each in own) for own in quartiles]
                cells.append(str(ratio(*(runs(found[key], dims) for key in reversed(STRATEGIES)))))
                table.add_row(str(dims), name, f"{noise:g}", *cells)
                console.print(dims, name, noise, *cells)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows) + "\n")
    console.print(table)


if __name__ == "__main__":
    main()
