"""The files that are written beside the weights of an export: its card, and its recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evojax_merge.cards import card
from evojax_merge.cards.markdown import block, code
from evojax_merge.cards.metadata import CARD, front_matter, metadata
from evojax_merge.checkpoints import Checkpoint, CheckpointError, Model
from evojax_merge.checkpoints.target import is_single
from evojax_merge.exchange import to_mergekit
from evojax_merge.exchange.application import CONFIG_FILE as MERGEKIT_FILE
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.recipes.coefficients import RECIPE_FILE, Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.recipes.portable import ingredients_of, moved_path_recipe, moved_recipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.results import Result

_REBUILD = """\
`{recipe}` rebuilds this model to the bit. Relative paths in it lead from this directory.

```sh
evojax-merge apply {recipe} --out DIR
```"""

_MERGEKIT = """

`{file}` describes the same merge for mergekit{but}:

```sh
mergekit-yaml {file} DIR
```"""


def described(
    recipe: Recipe | PathRecipe | WeightsRecipe,
    model: Model | Checkpoint,
    target: str | Path,
    results: Sequence[Result] = (),
) -> dict[str, str]:
    """The card, the recipe and, where it can say the same, the YAML of mergekit, by file name.

    Args:
        recipe: The recipe that the model was built by, with paths that lead from here.
        model: The merge, or the checkpoint whose configuration it carries.
        target: The directory of the export, or its file.
        results: What was measured of it and of others, the split that counts first.
    """
    hf_config = model.hf_config if model.carrier is None else model.carrier.hf_config
    if isinstance(recipe, WeightsRecipe):
        return {CARD: _weights_card(recipe, hf_config, results)}
    directory = Path(target).parent if is_single(target) else Path(target)
    sources = [one.path for one in ingredients_of(recipe)]
    rebuild = _REBUILD.format(recipe=RECIPE_FILE)
    if isinstance(recipe, Recipe):
        files = {RECIPE_FILE: moved_recipe(recipe, directory).to_yaml()}
        if text := _mergekit(recipe, directory):
            files[MERGEKIT_FILE] = text
            but = " (which draws other random masks)" if "random masks" in text else ""
            rebuild += _MERGEKIT.format(file=MERGEKIT_FILE, but=but)
    else:
        files = {RECIPE_FILE: moved_path_recipe(recipe, directory).to_yaml()}
    merged = card.models(recipe)
    if local := card.local_models(sources):
        merged += f"\n\n{local}"
    how: dict[str, str] = {}
    if isinstance(recipe, Recipe):
        how["Coefficients"] = f"{card.operator(recipe)}\n\n{card.coefficients(recipe)}"
    else:
        how["Path through the layers"] = card.path(recipe)
        for name, one in recipe.pool.items():
            if isinstance(one, Recipe):
                how[f"Coefficients of {code(name)}"] = (
                    f"{card.operator(one)}\n\n{card.coefficients(one)}"
                )
    sections = {
        "What was merged": merged,
        **how,
        "Results": card.results(results) if results else "",
        "Rebuilding it": rebuild,
    }
    return {CARD: _card(recipe, hf_config, sources, sections), **files}


def described_merge(
    text: str, sources: Sequence[str], hf_config: Mapping[str, Any], name: str, seed: int
) -> dict[str, str]:
    """The card of a merge that a YAML of mergekit describes.

    Args:
        text: The YAML.
        sources: The models that it names.
        hf_config: The ``config.json`` of the merge.
        name: What the card calls the merge.
        seed: The seed of random masks.
    """
    lines = "\n".join(f"- {card.model(source)}" for source in sources)
    rebuild = (
        f"`{MERGEKIT_FILE}` is the file that the merge was made by:\n\n{block(text, 'yaml')}\n\n"
        f"```sh\nevojax-merge apply {MERGEKIT_FILE} --seed {seed} --out DIR\n```"
    )
    merged = "\n\n".join(filter(None, [lines, card.local_models(sources)]))
    head = front_matter(metadata(hf_config, sources, ["mergekit"]))
    body = card.joined({"What was merged": merged, "Rebuilding it": rebuild})
    return {CARD: f"{head}\n# {code(name)}\n\n{card.MADE}\n\n{body}"}


def _weights_card(
    recipe: WeightsRecipe, hf_config: Mapping[str, Any], results: Sequence[Result]
) -> str:
    """The card of a model whose weights themselves were searched, which are its only recipe."""
    sources = [recipe.model.path]
    merged = f"The weights themselves were searched, for models such as {card.model(sources[0])}."
    sections = {
        "What was merged": "\n\n".join(filter(None, [merged, card.local_models(sources)])),
        "Results": card.results(results) if results else "",
    }
    return _card(recipe, hf_config, sources, sections)


def _card(
    recipe: Recipe | PathRecipe | WeightsRecipe,
    hf_config: Mapping[str, Any],
    sources: Sequence[str],
    sections: Mapping[str, str],
) -> str:
    head = front_matter(metadata(hf_config, sources))
    found = recipe.notes.get("evaluations")
    made = card.MADE
    if type(found) is int:
        made += f" It was found by a search over {found} candidates."
    return f"{head}\n# {card.title(recipe)}\n\n{made}\n\n{card.joined(sections)}"


def _mergekit(recipe: Recipe, directory: Path) -> str | None:
    """A recipe as a YAML of mergekit that leads from a directory; None where it cannot say it."""
    try:
        return to_mergekit(recipe, directory)
    except (ExchangeError, CheckpointError):
        return None
