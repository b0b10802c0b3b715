"""``evojax-merge apply`` builds the checkpoint that a recipe, or a mergekit YAML, describes."""

import functools
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from evojax_merge.commands.given_recipe import recipe_file
from evojax_merge.documents.terminal import announce_imports, say
from evojax_merge.exchange import apply_mergekit, is_mergekit
from evojax_merge.measuring.compilations import default_cache, keeping


def run(
    console: Console,
    *,
    recipe: Path,
    out: Path | None,
    select: str | None,
    images: Path | None,
    overwrite: bool,
    trust_operator: bool,
    force: bool,
    seed: int | None,
    strict: bool,
) -> None:
    """Run the command.

    Args:
        console: Where the command says what it did.
        recipe: The recipe, the YAML of mergekit or the run.
        out: Where the checkpoint is written, or the pictures.
        select: Which merge of a front is meant, see `evojax_merge.report.front.Front.select`.
        images: The prompts to draw instead of writing a checkpoint.
        overwrite: Whether to replace what is in ``out``.
        trust_operator: Whether an operator from outside this package may be imported.
        force: Whether checkpoints may have changed since the recipe was made.
        seed: The seed of the random masks of a YAML of mergekit.
        strict: Whether what a YAML of mergekit is warned of is refused.
    """
    trust = Trust(trust_operator, force)
    with keeping(default_cache()):
        if images is not None:
            _draw(recipe, select, images, out, trust, console)
            return
        assert out is not None  # the command line asks for one of the two
        _check_free(out, overwrite)
        chosen = _recipe_of(recipe, select)
        if chosen.resolve().is_relative_to(out.resolve()):
            raise ValueError(
                f"{out}: holds {chosen}, which would go with all else in it; give another directory"
            )
        if is_mergekit(chosen):
            from evojax_merge.cards import described_merge

            apply_mergekit(
                chosen,
                out,
                seed=seed or 0,
                overwrite=overwrite,
                strict=strict,
                describe=functools.partial(described_merge, name=out.name, seed=seed or 0),
            )
        else:
            if strict:
                raise ValueError(f"--strict: {chosen} is a recipe, which is always read strictly")
            if seed is not None:
                raise ValueError(f"--seed: {chosen} is a recipe, which has a seed of its own")
            _write(chosen, out, overwrite, trust, console)
    say(console, f"exported to {out}")


class Trust(NamedTuple):
    """What a user lets a recipe do.

    Attributes:
        operator: Whether an operator from outside this package may be imported.
        changed: Whether checkpoints may have changed since the recipe was made.
    """

    operator: bool
    changed: bool


def _check_free(out: Path, overwrite: bool) -> None:
    if _occupied(out) and not overwrite:
        directory = out.is_dir()
        kind = "is not empty; give another directory" if directory else "exists; give another name"
        raise ValueError(f"{out}: {kind}, or --overwrite")


def _write(recipe: Path, out: Path, overwrite: bool, trust: Trust, console: Console) -> None:
    """Build the model that a recipe describes, and write it."""
    from evojax_merge import api
    from evojax_merge.recipes.path import load_recipe

    if trust.operator:
        announce_imports(console, api.foreign_operators(load_recipe(recipe)))
    api.apply(recipe, out, trust_operator=trust.operator, force=trust.changed, overwrite=overwrite)


def _draw(
    given: Path, select: str | None, prompts: Path, out: Path | None, trust: Trust, console: Console
) -> None:
    """Draw pictures by the model of a recipe, as the recipe says."""
    from evojax_merge import api
    from evojax_merge.fitness.drawing.notes import DrawingNotes
    from evojax_merge.recipes.path import load_recipe
    from evojax_merge.report.pictures import save_pictures

    place = given if given.is_dir() else given.parent
    recipe = _recipe_of(given, select)
    if is_mergekit(recipe):
        raise ValueError(f"--images: {recipe} is a YAML of mergekit, and pictures need a recipe")
    loaded = load_recipe(recipe)
    notes = DrawingNotes.of(loaded.notes, str(recipe))
    if trust.operator:
        announce_imports(console, api.foreign_operators(loaded))
    model = api.merge(recipe, trust_operator=trust.operator, force=trust.changed)
    pictures = api.draw(model, prompts, notes)
    folder = out or place / "images" / prompts.stem
    texts = {"model": str(recipe), "recipe": recipe.read_text(encoding="utf-8")}
    save_pictures(pictures, folder, texts)
    say(console, f"{len(pictures)} pictures in {folder}")


def _occupied(target: Path) -> bool:
    """Tell whether there is a file, or a directory that holds something."""
    return any(target.iterdir()) if target.is_dir() else target.exists()


def _recipe_of(given: Path, select: str | None) -> Path:
    """The recipe of a run, or of a member of its front."""
    if select is None:
        return recipe_file(given)
    if not given.is_dir():
        raise ValueError(f"--select {select}: chooses a merge of a run; {given} is no directory")
    from evojax_merge.report.front import Front

    front = Front.load(given)
    return given / front.members[front.select(select)].recipe
