"""``evojax-merge convert`` writes a recipe as a YAML of mergekit."""

from pathlib import Path

from rich.console import Console

from evojax_merge.commands.given_recipe import recipe_file
from evojax_merge.documents.terminal import say
from evojax_merge.exchange import to_mergekit
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe


def run(console: Console, *, recipe: Path, out: Path) -> None:
    """Run the command.

    Args:
        console: Where the command says what it did.
        recipe: The recipe to read, or the directory of the run or the export that has it.
        out: The file to write.
    """
    if out.exists():
        raise ValueError(f"{out}: exists; give another name")
    recipe = recipe_file(recipe)
    read = load_recipe(recipe)
    if isinstance(read, PathRecipe):
        raise ValueError(
            f"{recipe}: mergekit has no data-flow merges; `evojax-merge apply` writes this "
            "one as an ordinary checkpoint"
        )
    if isinstance(read, WeightsRecipe):
        raise ValueError(
            f"{recipe}: these weights are no merge of mergekit's; `evojax-merge apply` "
            "writes them as an ordinary checkpoint"
        )
    out.write_text(to_mergekit(read), encoding="utf-8")
    say(console, f"written to {out}")
