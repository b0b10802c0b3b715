"""Operators untuned and evolved, on the bundled experiments, at equal evaluations.

python -m experiments.operators.compare [--experiments digits_clip vision] [--operators svc iso_c]
    [--seeds 0 1 2] [--evaluations 100] [--out runs/operators] [--results FILE]

Every search also makes a random search of as many evaluations in the same space. Spaces are those
of the experiments, with the coefficients of the operator. What is finished is not run again. All
that is there goes into `results.json`, and is printed as tables.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from evojax_merge import api
from evojax_merge.config import build_task, compose
from evojax_merge.report.items import save_items
from evojax_merge.report.results import save_results
from experiments.operators.methods import AVERAGE, Method, methods
from experiments.operators.rows import EXPERIMENTS, TEST, UNTUNED, VALIDATION, collect, folder_of
from experiments.operators.tables import tables

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS)
    parser.add_argument(
        "--operators", nargs="+", choices=list(methods(2)), default=list(methods(2))
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/operators"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    console = Console()
    for experiment in options.experiments:
        known = methods(len(compose([f"+experiment={experiment}"]).model.sources))
        measure_untuned(options.out, experiment, {name: known[name] for name in options.operators})
        for seed in options.seeds:
            for name in options.operators:
                if name != AVERAGE:
                    config = searching(experiment, known[name], seed, options.evaluations)
                    search(options.out, experiment, name, seed, config, console)
    rows = list(collect(options.out))
    options.results.write_text(json.dumps(rows, indent=1) + "\n")
    print(tables(rows))


def measure_untuned(out: Path, experiment: str, chosen: Mapping[str, Method]) -> None:
    """Score operators at their published values, unless it was done before."""
    config = compose([f"+experiment={experiment}"])
    task = build_task(config)
    splits = [
        task.on(split) for split in (VALIDATION, TEST)
    ]  # for all, so that programs are compiled once
    for name, method in chosen.items():
        folder = folder_of(out, experiment, name, UNTUNED)
        if (folder / "results.json").is_file():
            continue
        model = api.merge(
            method.operator,
            list(config.model.sources),
            config.model.base,
            dtype=config.model.dtype,
            **method.values,
            **method.arguments,
        )
        found = [api.evaluate(model, one, UNTUNED) for one in splits]
        folder.mkdir(parents=True, exist_ok=True)
        items = {one.result.split: {UNTUNED: one.items} for one in found}
        save_items(items, folder / "items.json")
        save_results([one.result for one in found], folder / "results.json")


def searching(experiment: str, method: Method, seed: int, evaluations: int) -> DictConfig:
    """The configuration of a search that starts at an operator's published values."""
    config = compose(
        [
            f"+experiment={experiment}",
            f"operator={method.operator}",
            f"seed={seed}",
            f"search.evaluations={evaluations}",
            "baselines.sources=false",
            "baselines.published=false",
            "baselines.random_search=true",
            "export=false",
        ]
    )
    OmegaConf.update(config, "space.coefficients", method.genes(), merge=False)
    return config


def search(
    out: Path, experiment: str, name: str, seed: int, config: DictConfig, console: Console
) -> None:
    """Evolve an operator's coefficients, and draw as many at random, unless it was done before."""
    folder = folder_of(out, experiment, name, seed)
    if not (folder / "results.json").is_file():
        console.print(f"{experiment}: {name}, seed {seed}")
        api.evolve(config, folder, Console(quiet=True))


if __name__ == "__main__":
    main()
