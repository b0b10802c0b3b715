"""``evojax-merge evaluate``: measure a checkpoint or a recipe."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from evojax_merge import api
from evojax_merge.config import build_task, compose
from evojax_merge.path_recipe import PathRecipe, load_recipe
from evojax_merge.report.results import results_table, save_results


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows its name.
        console: Where it says what it did.
    """
    parser = argparse.ArgumentParser("evojax-merge evaluate")
    parser.add_argument("model", help="directory, hub id, or recipe.yaml")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--split", default=None, help="search, validation or test")
    parser.add_argument("--dtype", default=None, help="compute in this dtype")
    parser.add_argument(
        "--force", action="store_true", help="use checkpoints that changed since the recipe"
    )
    parser.add_argument("--out", type=Path, default=None, metavar="DIR")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    config = compose([*options.overrides, f"model.sources=[{options.model}]"], options.config_dir)
    task = build_task(config)
    if options.split is not None:
        task = task.on(options.split)
    name = Path(options.model).stem if Path(options.model).is_file() else None
    evaluation = api.evaluate(_model(options.model, options.dtype, options.force), task, name)
    console.print(results_table([evaluation.result], task.name))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        save_results([evaluation.result], options.out / "results.json")
        lines = [json.dumps(row, ensure_ascii=False, default=str) for row in evaluation.details]
        (options.out / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _model(named: str, dtype: str | None, force: bool) -> Any:
    """The model of a directory or hub id; of a recipe, the merge, or the path as it is searched."""
    if not Path(named).is_file():
        return api.load(named, dtype)
    if dtype is not None:
        raise ValueError("--dtype: a recipe has a dtype of its own")
    recipe = load_recipe(named)
    if isinstance(recipe, PathRecipe):
        return api.route(recipe, force=force)
    return api.merge(named, force=force)
