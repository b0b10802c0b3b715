"""The layout of a model that sees: those of its parts, side by side."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from evojax_merge.models.decoder import params as decoder_params
from evojax_merge.models.layout import Layout, Leaf, Place, Stack
from evojax_merge.models.part import Part
from evojax_merge.models.seeing.config import LANGUAGE, PROJECTOR, TOWER, SeeingConfig

if TYPE_CHECKING:
    from evojax_merge.models.family import Family

Rename = Callable[[str], str]
"""A function from the name of a tensor in a part by itself to its name in the whole."""


def seeing_layout(
    config: SeeingConfig,
    tower: Mapping[str, Leaf],
    depth: int,
    projector: Mapping[str, Leaf],
    language_name: Rename,
) -> Layout:
    """Make the layout of the parts that are there.

    The projector counts as part of the tower's last layer, or of the language model's first where
    the tower is not there.

    Args:
        config: The model.
        tower: The leaves of the tower by their paths within it, named as in the whole. Their
            groups lack what tells them from those of the language model.
        depth: The number of layers of the tower.
        projector: The leaves of the projector by their paths within it, named as in the whole.
        language_name: The function that gives the name of a decoder's tensor in the whole.
    """
    leaves: dict[str, Leaf] = {}
    stacks: dict[str, Stack] = {}
    aliases: dict[str, str] = {}
    if TOWER in config.present:
        stacks[f"{TOWER}.layers"] = Stack(f"{TOWER}.layers", depth)
        for path, leaf in tower.items():
            own = leaf._replace(group=f"vision_{leaf.group}")
            leaves[f"{TOWER}.{path}"] = _within(TOWER, own, f"{TOWER}.layers")
    if LANGUAGE in config.present:
        stack, language = f"{LANGUAGE}.layers", decoder_params.layout(config.text)
        stacks[stack] = language.stacks[decoder_params.STACK]._replace(name=stack)
        for path, leaf in language.leaves.items():
            own = leaf._replace(tensor=language_name(leaf.tensor))
            leaves[f"{LANGUAGE}.{path}"] = _within(LANGUAGE, own, stack)
        for copy, copied in language.aliases.items():
            aliases[language_name(copy)] = language_name(copied)
    if PROJECTOR in config.present:
        beside = next(iter(stacks), None)
        place: Place = "first" if beside == f"{LANGUAGE}.layers" else "last"
        for path, leaf in projector.items():
            own = leaf._replace(place=place)
            leaves[f"{PROJECTOR}.{path}"] = _within(PROJECTOR, own, beside)
    return Layout(dict(sorted(leaves.items())), stacks, aliases)


def seeing_parts(
    config: SeeingConfig,
    decoder: "Family",
    text_key: str,
    own_hf_config: Callable[[Mapping[str, Any]], dict[str, Any]],
    inside: Callable[[Any], Any] | None = None,
) -> Mapping[str, Part]:
    """Return the parts of a model that are there, by name.

    Args:
        config: The model.
        decoder: The family of language models.
        text_key: The key of the language model's fields in ``config.json`` (see `Part`).
        own_hf_config: The function that makes the ``config.json`` of the language model alone.
        inside: The function that gives a text model what it has as the language model, if that
            is anything.
    """
    language = Part(
        LANGUAGE, LANGUAGE, text_key, decoder, config.text, own_hf_config, inside=inside
    )
    parts = {
        TOWER: Part(TOWER, TOWER, "vision_config"),
        PROJECTOR: Part(PROJECTOR, PROJECTOR),
        LANGUAGE: language,
    }
    return {name: part for name, part in parts.items() if name in config.present}


def _within(part: str, leaf: Leaf, stack: str | None) -> Leaf:
    reads = None if leaf.reads is None else f"{part}.{leaf.reads}"
    return leaf._replace(stack=stack, reads=reads)
