"""``evojax-merge evaluate`` measures checkpoints and recipes, and compares them."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from evojax_merge import api
from evojax_merge.commands.subjects import Subject, check_subject, open_subject, subjects_of
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
from evojax_merge.report.pairs import compare, differences_table, save_differences
from evojax_merge.report.pictures import folder_of
from evojax_merge.report.results import (
    Result,
    choice_line,
    flaw_line,
    is_chosen_by,
    results_table,
    save_results,
)
from evojax_merge.report.run_files import CONFIG_FILE, RESULTS_FILE


def run(
    console: Console,
    *,
    models: list[str],
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
        models: The checkpoints, recipes and runs. The first one is what others are compared with.
        overrides: The task; by default, that of the first run among the models.
        config_dir: A directory of further configuration.
        split: Which items are measured; by default, those of the search, or those that a task says
            are to be reported.
        dtype: The dtype to compute in; by default, that of each checkpoint.
        out: A directory that keeps the results item by item.
        force: Whether checkpoints may have changed since a recipe was made, and code of the
            user's own since a run was begun.
        trust: Whether what a recipe or a run names from outside this package may be run.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: is a file; give a directory")
    out = None if out is None else out.absolute()
    _check_model_keys(overrides)
    subjects = subjects_of(models)
    if dtype is not None and any(one.recipe is not None for one in subjects):
        raise ValueError("--dtype: a recipe has a dtype of its own")
    measuring = None if overrides else next((one.run for one in subjects if one.run), None)
    config, started = _configured(measuring, overrides, config_dir, trust, console)
    # Carriers of an experiment are for what it merges, and not for what is measured here.
    carriers = carriers_of(config) if _names_carriers(overrides) else {}
    if carriers and any(one.recipe is not None for one in subjects):
        raise ValueError("model.carriers: a recipe names its own; leave it out")
    if len(subjects) > 1:
        for one in subjects:  # so that none is refused when others were measured
            check_subject(one, carriers)
    with contextlib.chdir(started), keeping(compilation_cache(config)):
        if measuring is not None and not force:
            check_own_code(measuring, own_code_of(plain_of(config)))
        task = build_task(config)
        # What stands for a published benchmark is reported, and not what a search would go by.
        split = split or getattr(task, "reported_split", None)
        if split is not None:
            task = task.on(split)
        evaluations = []
        for one in subjects:
            # Pictures are opened where the paths of the data are relative to.
            evaluations.append(
                api.evaluate(
                    open_subject(one, carriers, dtype, force=force, trust=trust, console=console),
                    task,
                    one.name,
                    keep_pictures=out is not None,
                )
            )
    results = [one.result for one in evaluations]
    if measuring is not None and is_chosen_by(task):  # the winner of that run was
        results = [
            dataclasses.replace(result, chosen_on_these_items=one.run == measuring)
            for one, result in zip(subjects, results, strict=True)
        ]
    console.print(results_table(results, task.name))
    if line := choice_line(results):
        say(console, line)
    if line := flaw_line(results):
        say(console, line)
    differences = compare(evaluations)
    if differences:
        console.print(differences_table(differences))
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    save_results(results, out / RESULTS_FILE)
    if differences:
        save_differences(differences, out / "differences.json")
    folders = [out] if len(subjects) == 1 else _folders(out, results)
    for one, evaluation, folder in zip(subjects, evaluations, folders, strict=True):
        _keep(one, evaluation, folder)


def _configured(
    measuring: Path | None,
    overrides: Sequence[str],
    config_dir: Path | None,
    trust: bool,
    console: Console,
) -> tuple[Any, Path]:
    """The configuration of the task, and the directory that its paths are relative to.

    Args:
        measuring: The directory of the run whose own measure is used, if any.
        overrides: The task otherwise.
        config_dir: A directory of further configuration.
        trust: Whether what the run names from outside this package may be run.
        console: Where that is said.
    """
    if measuring is None:
        return compose(overrides, config_dir), Path()
    file = measuring / CONFIG_FILE
    if trust:
        announce_imports(console, foreign_factories(read_config_file(file)))
    config = load_config_file(file, trust=trust)
    return config, api.started_from(config)


def _folders(out: Path, results: Sequence[Result]) -> list[Path]:
    """A folder for each model, by its name."""
    names = [folder_of(one.name) for one in results]
    if len(set(names)) < len(names):
        names = [f"{number}_{name}" for number, name in enumerate(names, start=1)]
    return [out / name for name in names]


def _keep(one: Subject, evaluation: api.Evaluation, folder: Path) -> None:
    """Keep what was measured of a model, item by item."""
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False, default=str) for row in evaluation.details]
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if evaluation.pictures:
        from evojax_merge.report.pictures import save_pictures

        notes = {"model": evaluation.result.name}
        if one.recipe is not None:
            notes["recipe"] = one.recipe.read_text(encoding="utf-8")
        save_pictures(evaluation.pictures, folder / "images", notes)


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
                f"{key[1]}: evaluate measures the models that are given first; of the keys of "
                "model it takes model.carriers alone"
            )
