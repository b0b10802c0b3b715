"""``evojax-merge evaluate`` measures a checkpoint or a recipe."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from evojax_merge import api
from evojax_merge.checkpoints import (
    Checkpoint,
    default_parts,
    load,
    load_config,
    take_parts,
    with_carriers,
)
from evojax_merge.config import (
    build_task,
    carriers_of,
    check_own_code,
    compilation_cache,
    compose,
    foreign_factories,
    load_config_file,
    own_code_of,
    plain_of,
    read_config_file,
)
from evojax_merge.documents.terminal import announce_imports, say
from evojax_merge.measuring.compilations import keeping
from evojax_merge.recipes.coefficients import RECIPE_FILE
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.report.results import flaw_line, results_table, save_results


def run(
    console: Console,
    *,
    model: str,
    overrides: list[str],
    config_dir: Path | None,
    split: str | None,
    dtype: str | None,
    out: Path | None,
    force: bool,
    trust: bool,
) -> None:
    """Run the command.

    Args:
        console: Where the command says what it did.
        model: The checkpoint, the recipe or the run.
        overrides: The task; of a run, by default its own.
        config_dir: A directory of further configuration.
        split: Which items are measured; by default, those of the search.
        dtype: The dtype to compute in; by default, that of the checkpoint.
        out: A directory that keeps the results item by item.
        force: Whether checkpoints may have changed since the recipe was made, and code of the
            user's own since the run was begun.
        trust: Whether what a recipe or a run names from outside this package may be run.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: is a file; give a directory")
    _check_model_keys(overrides)
    given, started = Path(model).absolute(), Path()
    run_config = given / api.CONFIG_FILE
    is_run = run_config.is_file() and not (given / "config.json").exists()
    recipe = None
    if is_run or (given.is_file() and given.suffix != ".safetensors"):
        recipe = given / RECIPE_FILE if is_run else given
    if recipe is not None and dtype is not None:
        raise ValueError("--dtype: a recipe has a dtype of its own")
    if is_run and not overrides:  # by its own measure
        if trust:
            announce_imports(console, foreign_factories(read_config_file(run_config)))
        config = load_config_file(run_config, trust=trust)
        started = api.started_from(config)
    else:
        config = compose(overrides, config_dir)
    # Carriers of an experiment are for what it merges, and not for what is measured here.
    carriers = carriers_of(config) if _names_carriers(overrides) else {}
    if recipe is not None and carriers:
        raise ValueError("model.carriers: a recipe names its own; leave it out")
    with contextlib.chdir(started), keeping(compilation_cache(config)):
        if is_run and not overrides and not force:
            check_own_code(given, own_code_of(plain_of(config)))
        task = build_task(config)
        if split is not None:
            task = task.on(split)
        if recipe is None:
            measured: Any = load(_checkpoint(model, carriers), dtype)
        else:
            measured = _merged(recipe, force, trust, console)
        # Pictures are opened where the paths of the data are relative to.
        name = None if recipe is None else recipe.stem
        evaluation = api.evaluate(measured, task, name, keep_pictures=out is not None)
    console.print(results_table([evaluation.result], task.name))
    if line := flaw_line([evaluation.result]):
        say(console, line)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        save_results([evaluation.result], out / "results.json")
        lines = [json.dumps(row, ensure_ascii=False, default=str) for row in evaluation.details]
        (out / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if evaluation.pictures:
            from evojax_merge.report.pictures import save_pictures

            notes = {"model": evaluation.result.name}
            if recipe is not None:
                notes["recipe"] = recipe.read_text(encoding="utf-8")
            save_pictures(evaluation.pictures, out / "images", notes)


def _names_carriers(overrides: Sequence[str]) -> bool:
    return any(re.match(r"\+*model\.carriers\b", one) for one in overrides)


def _check_model_keys(overrides: Sequence[str]) -> None:
    """Check that no key says which models are merged, since none are.

    Raises:
        ValueError: One does.
    """
    for one in overrides:
        key = re.match(r"[+~]*(model[\w.]*)", one)
        if key is not None and not _names_carriers([one]):
            raise ValueError(
                f"{key[1]}: evaluate measures the model that is given first; of the keys of model "
                "it takes model.carriers alone"
            )


def _checkpoint(source: str, carriers: Mapping[str, str]) -> Checkpoint:
    """What is measured of a checkpoint, with parts from elsewhere where they are named."""
    whole = load_config(source)
    chosen = take_parts(whole, default_parts(whole))
    if not carriers:
        return chosen
    others = {part: load_config(path) for part, path in carriers.items()}
    return with_carriers(chosen, others, [chosen])


def _merged(path: Path, force: bool, trust: bool, console: Console) -> Any:
    """The merge of a recipe; where the recipe is a data-flow one, its path, run as in a search."""
    recipe = load_recipe(path)
    if trust:
        announce_imports(console, api.foreign_operators(recipe))
    if isinstance(recipe, PathRecipe):
        return api.route(recipe, trust_operator=trust, force=force)
    return api.merge(path, trust_operator=trust, force=force)
