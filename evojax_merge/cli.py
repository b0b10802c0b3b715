"""The command line: evolve, resume, apply, convert, evaluate."""

import argparse
import functools
import json
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape

from evojax_merge import api
from evojax_merge.config import build_task, check_sweep, compose, conf_directory, expand_overrides
from evojax_merge.evolution.interruption import Interrupted
from evojax_merge.exchange import is_mergekit
from evojax_merge.path_recipe import PathRecipe, load_recipe
from evojax_merge.report.front import Front
from evojax_merge.report.results import results_table, save_results
from evojax_merge.report.sweep import ERROR_FILE
from evojax_merge.weights_recipe import WeightsRecipe

USAGE = """\
usage: evojax-merge evolve [--config-dir DIR] [-m] [KEY=VALUE ...]
       evojax-merge resume RUN_DIR
       evojax-merge apply RECIPE --out DIR [--overwrite] [--trust-operator] [--force] [--seed N]
       evojax-merge apply RUN_DIR --select knee|INDEX|TASK=WEIGHT,... --out DIR
       evojax-merge convert RECIPE --out FILE.yml
       evojax-merge evaluate MODEL [--config-dir DIR] [--split SPLIT] [--out DIR] [--force]
                              [KEY=VALUE ...]

evolve    search for the best merge of some models; -m sweeps comma-separated values
resume    continue a run after any interruption
apply     build the checkpoint that a recipe, or a YAML of mergekit, describes
convert   write a recipe as a YAML of mergekit
evaluate  measure a checkpoint or a recipe, e.g. fitness=generation fitness.data=items.jsonl

KEY=VALUE chooses and changes configuration: model.base=DIR 'model.sources=[DIR,DIR]'
operator=ties space=parameter_groups strategy=cma_es fitness=generation fitness.data=items.jsonl
seed=1 search.evaluations=500 +experiment=NAME. All keys: conf/config.yaml and its groups in
"""

TRACEBACK = "HYDRA_FULL_ERROR"
"""Environment variable that brings the traceback of an error back, as in Hydra."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 2 on an error of the user's, with 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    console = Console()
    warnings.showwarning = functools.partial(_show_warning, console)
    command, rest = (given[0], given[1:]) if given else ("--help", [])
    commands = {
        "evolve": _evolve,
        "resume": _resume,
        "apply": _apply,
        "convert": _convert,
        "evaluate": _evaluate,
    }
    if command not in commands:
        asked = command in ("-h", "--help", "help")
        print(USAGE + f"{conf_directory()}", file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    traceback = os.environ.get(TRACEBACK)
    os.environ[TRACEBACK] = "1"  # else Hydra exits by itself, with its own message
    try:
        commands[command](rest, console)
    except Interrupted as interrupted:
        console.print(f"[bold]stopped by {interrupted}[/]; everything completed is saved")
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        if traceback:
            raise
        _fail(str(error))
    finally:
        if traceback is None:
            del os.environ[TRACEBACK]


def _show_warning(console: Console, message: Warning | str, *where: Any) -> None:
    console.print(f"[bold red]warning:[/] {escape(str(message))}", soft_wrap=True)


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    print(f"({TRACEBACK}=1 shows where it came from)", file=sys.stderr)
    sys.exit(2)


def _evolve(arguments: list[str], console: Console) -> None:
    parser = argparse.ArgumentParser("evojax-merge evolve", add_help=False)
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--multirun", "-m", action="store_true")
    known, rest = parser.parse_known_args(arguments)
    overrides = [word for word in rest if "=" in word or word.startswith("~")]
    flags = [word for word in rest if word not in overrides]
    if not flags:  # a misspelt key is named before Hydra starts
        (check_sweep if known.multirun else compose)(overrides, known.config_dir)
    flags += ["--multirun"] * known.multirun
    flags += ["--config-dir", str(Path(known.config_dir).absolute())] if known.config_dir else []
    sys.argv = [
        "evojax-merge",
        *flags,
        *expand_overrides(overrides),
    ]  # Hydra wants its flags before any override
    failures: list[Exception] = []

    @hydra.main(config_path=str(conf_directory()), config_name="config", version_base="1.3")
    def job(config: DictConfig) -> None:
        settings = HydraConfig.get()
        directory = Path(settings.runtime.output_dir)
        directory.mkdir(parents=True, exist_ok=True)
        chosen = list(settings.overrides.task)
        (directory / "overrides.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
        swept = settings.mode == RunMode.MULTIRUN
        newest = _point_latest(directory.parent if swept else directory)
        try:
            api.evolve(config, directory, console)
        except Interrupted:
            console.print(f"continue with: evojax-merge resume {directory}", soft_wrap=True)
            raise
        except (ValueError, OSError) as error:  # one job of a sweep that fails does not end it
            failures.append(error)
            if swept:
                (directory / ERROR_FILE).write_text(f"{error}\n", encoding="utf-8")
                console.print(f"failed: {' '.join(chosen)}\n{error}", soft_wrap=True, markup=False)
            elif not (directory / "checkpoints").exists():  # refused: there was no run
                shutil.rmtree(directory)
                _point_latest(newest, directory.parent / "latest")
            return
        console.print(f"everything is in {directory}", soft_wrap=True)

    job()
    if failures:
        raise failures[0]


def _point_latest(target: Path | None, link: Path | None = None) -> Path | None:
    """Make ``latest`` beside a run point at it; gives what it pointed at before.

    Args:
        target: The run, or the sweep's folder; None: no link.
        link: Where the link is; by default beside the target.
    """
    if link is None:
        assert target is not None
        link = target.parent / "latest"
    partial = link.parent / f".latest-{os.getpid()}"
    previous = link.parent / link.readlink() if link.is_symlink() else None
    try:
        partial.unlink(missing_ok=True)
        if target is None:
            link.unlink(missing_ok=True)
        else:
            partial.symlink_to(target.name)
            partial.replace(link)
    except OSError:  # a file system without links, or a directory of that name: only a convenience
        partial.unlink(missing_ok=True)
    return previous


def _resume(arguments: list[str], console: Console) -> None:
    parser = argparse.ArgumentParser("evojax-merge resume")
    parser.add_argument("directory", metavar="RUN_DIR")
    directory = parser.parse_args(arguments).directory
    try:
        api.resume(directory, console)
    except Interrupted:
        console.print(f"continue with: evojax-merge resume {directory}", soft_wrap=True)
        raise


def _apply(arguments: list[str], console: Console) -> None:
    parser = argparse.ArgumentParser("evojax-merge apply")
    parser.add_argument("recipe", type=Path, help="recipe.yaml, YAML of mergekit, or a run")
    parser.add_argument(
        "--select", help="of a run with a front: knee, an index, or weights as math=0.7,ja=0.3"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in DIR")
    parser.add_argument(
        "--trust-operator", action="store_true", help="run an operator from outside this package"
    )
    parser.add_argument(
        "--force", action="store_true", help="merge checkpoints that changed since the recipe"
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="of random masks, for a YAML of mergekit"
    )
    options = parser.parse_args(arguments)
    if options.out.exists() and any(options.out.iterdir()) and not options.overwrite:
        raise ValueError(f"{options.out}: is not empty; give another directory, or --overwrite")
    options.recipe = _recipe_of(options.recipe, options.select)
    if is_mergekit(options.recipe):
        api.apply_mergekit(
            options.recipe, options.out, seed=options.seed or 0, overwrite=options.overwrite
        )
    elif options.seed is not None:
        raise ValueError(f"--seed: {options.recipe} is a recipe, which has a seed of its own")
    else:
        model = api.merge(
            options.recipe, trust_operator=options.trust_operator, force=options.force
        )
        api.export(model, options.out, overwrite=options.overwrite)
    console.print(f"exported to {options.out}", soft_wrap=True)


def _recipe_of(given: Path, select: str | None) -> Path:
    """The recipe of a run, or of a member of its front."""
    if select is None:
        return given / "recipe.yaml" if given.is_dir() else given
    if not given.is_dir():
        raise ValueError(f"--select {select}: chooses a merge of a run; {given} is no directory")
    front = Front.load(given)
    return given / front.members[front.select(select)].recipe


def _convert(arguments: list[str], console: Console) -> None:
    parser = argparse.ArgumentParser("evojax-merge convert")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.yml")
    options = parser.parse_args(arguments)
    if options.out.exists():
        raise ValueError(f"{options.out}: exists; give another name")
    recipe = load_recipe(options.recipe)
    if isinstance(recipe, PathRecipe):
        raise ValueError(
            f"{options.recipe}: mergekit has no data-flow merges; `evojax-merge apply` writes this "
            "one as an ordinary checkpoint"
        )
    if isinstance(recipe, WeightsRecipe):
        raise ValueError(
            f"{options.recipe}: these weights are no merge of mergekit's; `evojax-merge apply` "
            "writes them as an ordinary checkpoint"
        )
    options.out.write_text(api.to_mergekit(recipe), encoding="utf-8")
    console.print(f"written to {options.out}", soft_wrap=True)


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


def _evaluate(arguments: list[str], console: Console) -> None:
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
    result = evaluation.result
    title = f"{task.name}, {result.items} items of the {task.split} split"
    console.print(results_table([result], title))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        save_results([result], options.out / "results.json")
        lines = [json.dumps(row, ensure_ascii=False, default=str) for row in evaluation.details]
        (options.out / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
