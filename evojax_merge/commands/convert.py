"""``evojax-merge convert`` writes a recipe as a YAML of mergekit."""

from pathlib import Path

from rich.console import Console

from evojax_merge.documents.terminal import Parser, say
from evojax_merge.exchange import to_mergekit
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows the name of the command.
        console: Where the command says what it did.
    """
    parser = Parser("evojax-merge convert")
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
    options.out.write_text(to_mergekit(recipe), encoding="utf-8")
    say(console, f"written to {options.out}")
