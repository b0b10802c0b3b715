"""``evojax-merge push`` uploads an export to the Hugging Face hub."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from evojax_merge.api.publishing import export_of
from evojax_merge.checkpoints.upload import Item, check_name, listed, upload
from evojax_merge.documents.terminal import cell, say
from evojax_merge.recipes.coefficients import RECIPE_FILE, RecipeError
from evojax_merge.recipes.path import load_recipe
from evojax_merge.recipes.portable import ingredients_of
from evojax_merge.recipes.weights import WeightsRecipe


def run(
    console: Console,
    *,
    directory: Path,
    repository: str,
    private: bool,
    revision: str | None,
    message: str | None,
    dry_run: bool,
) -> None:
    """Run the command.

    Args:
        console: Where the command says what it did.
        directory: The directory of an export, or of a run that has one.
        repository: Its name, ``owner/name``.
        private: Whether a new repository is private.
        revision: The branch; None for the main one.
        message: The message of the commit.
        dry_run: Whether files are only looked at and listed.
    """
    check_name(repository)
    export = export_of(directory)
    items = listed(export)
    total = sum(item.size for item in items)
    say(console, f"{export}: {len(items)} files, {total / 1e6:,.3f} MB")
    console.print(_table(items))
    if local := _local(export):
        say(
            console,
            f"{RECIPE_FILE} names directories of this machine, which others will read: "
            f"{', '.join(local)}",
            label="note:",
        )
    if dry_run:
        say(console, "nothing was uploaded (--dry-run)")
        return
    address = upload(export, repository, private=private, revision=revision, message=message)
    say(console, f"uploaded: {address}")


def _table(items: list[Item]) -> Table:
    table = Table()
    table.add_column("file", overflow="fold")
    table.add_column("MB", justify="right")
    for item in items:
        table.add_row(cell(item.name), cell(f"{item.size / 1e6:,.3f}"))
    return table


def _local(export: Path) -> list[str]:
    """The directories of this machine that the recipe of an export names."""
    try:
        recipe = load_recipe(export / RECIPE_FILE)
    except RecipeError:
        return []
    if isinstance(recipe, WeightsRecipe):
        return []
    return [one.path for one in ingredients_of(recipe) if Path(one.path).is_absolute()]
