"""``evojax-merge apply`` builds the checkpoint that a recipe, or a mergekit YAML, describes."""

from argparse import Namespace
from pathlib import Path

from rich.console import Console

from evojax_merge.documents.terminal import Parser, announce_imports, say
from evojax_merge.exchange import apply_mergekit, is_mergekit
from evojax_merge.measuring.compilations import default_cache, keeping
from evojax_merge.recipes.coefficients import RECIPE_FILE


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows the name of the command.
        console: Where the command says what it did.
    """
    parser = Parser("evojax-merge apply")
    parser.add_argument("recipe", type=Path, help="recipe.yaml, YAML of mergekit, or a run")
    parser.add_argument(
        "--select", help="of a run with a front: knee, an index, or weights as math=0.7,ja=0.3"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="directory, or NAME.safetensors for a pipeline of Stable Diffusion in one file",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="PROMPTS",
        help="draw the prompts of a text file, one a line, or of JSON Lines, and export nothing",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is in DIR")
    parser.add_argument(
        "--trust-operator",
        "--trust-config",
        action="store_true",
        help="import and run the operator that a recipe or a run names from outside this package",
    )
    parser.add_argument(
        "--force", action="store_true", help="merge checkpoints that changed since the recipe"
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="of random masks, for a YAML of mergekit"
    )
    parser.add_argument(
        "--strict", action="store_true", help="refuse what a YAML of mergekit is warned of"
    )
    options = parser.parse_args(arguments)
    if options.images is None and options.out is None:
        parser.error("the following arguments are required: --out, or --images")
    with keeping(default_cache()):
        (_write if options.images is None else _draw)(options, console)


def _write(options: Namespace, console: Console) -> None:
    """Build the model that is described, and write it."""
    if _occupied(options.out) and not options.overwrite:
        directory = options.out.is_dir()
        kind = "is not empty; give another directory" if directory else "exists; give another name"
        raise ValueError(f"{options.out}: {kind}, or --overwrite")
    options.recipe = _recipe_of(options.recipe, options.select)
    if options.recipe.resolve().is_relative_to(options.out.resolve()):
        raise ValueError(
            f"{options.out}: holds {options.recipe}, which would go with all else in it; give "
            "another directory"
        )
    if is_mergekit(options.recipe):
        apply_mergekit(
            options.recipe,
            options.out,
            seed=options.seed or 0,
            overwrite=options.overwrite,
            strict=options.strict,
        )
    elif options.strict:
        raise ValueError(f"--strict: {options.recipe} is a recipe, which is always read strictly")
    elif options.seed is not None:
        raise ValueError(f"--seed: {options.recipe} is a recipe, which has a seed of its own")
    else:
        from evojax_merge import api
        from evojax_merge.recipes.path import load_recipe

        if options.trust_operator:
            announce_imports(console, api.foreign_operators(load_recipe(options.recipe)))
        api.apply(
            options.recipe,
            options.out,
            trust_operator=options.trust_operator,
            force=options.force,
            overwrite=options.overwrite,
        )
    say(console, f"exported to {options.out}")


def _draw(options: Namespace, console: Console) -> None:
    """Draw pictures by the model of a recipe, as the recipe says."""
    from evojax_merge import api
    from evojax_merge.fitness.drawing.notes import DrawingNotes
    from evojax_merge.recipes.path import load_recipe
    from evojax_merge.report.pictures import save_pictures

    place = options.recipe if options.recipe.is_dir() else options.recipe.parent
    recipe = _recipe_of(options.recipe, options.select)
    if is_mergekit(recipe):
        raise ValueError(f"--images: {recipe} is a YAML of mergekit, and pictures need a recipe")
    loaded = load_recipe(recipe)
    notes = DrawingNotes.of(loaded.notes, str(recipe))
    if options.trust_operator:
        announce_imports(console, api.foreign_operators(loaded))
    model = api.merge(recipe, trust_operator=options.trust_operator, force=options.force)
    pictures = api.draw(model, options.images, notes)
    folder = options.out or place / "images" / options.images.stem
    texts = {"model": str(recipe), "recipe": recipe.read_text(encoding="utf-8")}
    save_pictures(pictures, folder, texts)
    say(console, f"{len(pictures)} pictures in {folder}")


def _occupied(target: Path) -> bool:
    """Tell whether there is a file, or a directory that holds something."""
    return any(target.iterdir()) if target.is_dir() else target.exists()


def _recipe_of(given: Path, select: str | None) -> Path:
    """The recipe of a run, or of a member of its front."""
    if select is None:
        return given / RECIPE_FILE if given.is_dir() else given
    if not given.is_dir():
        raise ValueError(f"--select {select}: chooses a merge of a run; {given} is no directory")
    from evojax_merge.report.front import Front

    front = Front.load(given)
    return given / front.members[front.select(select)].recipe
