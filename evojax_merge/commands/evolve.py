"""``evojax-merge evolve``: search for the best merge of some models."""

import argparse
import os
import shutil
import sys
from pathlib import Path

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from evojax_merge import api
from evojax_merge.config import check_sweep, compose, conf_directory, expand_overrides
from evojax_merge.evolution.interruption import Interrupted
from evojax_merge.report.sweep import ERROR_FILE


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows its name.
        console: Where it says what it did.
    """
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
