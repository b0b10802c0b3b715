"""What a mergekit YAML asks for, once it has been read: slices of models, and how they merge."""

import dataclasses
from collections.abc import Mapping

from evojax_merge.exchange.methods import Method
from evojax_merge.exchange.settings import Settings
from evojax_merge.exchange.tokens import TokenRow


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model of a slice, with its layers (None for all) and its own parameters.

    The second number of ``layers`` is that of the first one left out. Both are the same where there
    are none.
    """

    model: str
    layers: tuple[int, int] | None
    parameters: Settings
    where: str


@dataclasses.dataclass(frozen=True)
class Slice:
    """Some layers of the result, and the models that they are merged from."""

    sources: tuple[Entry, ...]
    base_model: str | None
    parameters: Settings
    where: str


@dataclasses.dataclass(frozen=True)
class TokenizerChoice:
    """The choice of the result's tokens.

    Attributes:
        source: The source of the tokens: ``base``, ``union``, or a model.
        pad_to_multiple_of: The number whose multiple the rows of the tables are padded to, if any.
        rows: The origins of the rows of single tokens, by token.
    """

    source: str
    pad_to_multiple_of: int | None = None
    rows: Mapping[str, TokenRow] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The configuration of a whole merge.

    Attributes:
        method: The method that merges all tensors.
        slices: The slices from the first layer to the last. ``models`` makes one of all layers.
        scopes: The parameters of the module, if any, and those of the file, in this precedence.
        base_model: The base of all slices that name none.
        dtype: The dtype of the result, unless ``out_dtype`` is given.
        out_dtype: The dtype of the result, if it is given.
        tokenizer: The choice of tokens. None keeps those of the base, or without a base those of
            the first model.
        chat_template: The chat template: ``auto``, a name, or a template. None keeps the
            tokenizer's.
        adapters: The model and the LoRA adapter of each ``model+adapter``, by its name.
        notes: Texts about what was passed over, or taken for something else.
    """

    method: Method
    slices: tuple[Slice, ...]
    scopes: tuple[Settings, ...]
    base_model: str | None
    dtype: str | None
    out_dtype: str | None
    tokenizer: TokenizerChoice | None
    chat_template: str | None
    adapters: Mapping[str, tuple[str, str]]
    notes: tuple[str, ...]

    @property
    def uses(self) -> tuple[str, ...]:
        """Every model whose files are read."""
        choice = self.tokenizer
        donors = [] if choice is None else [choice.source, *(r.model for r in choice.rows.values())]
        parts = [part for pair in self.adapters.values() for part in pair]
        return tuple(dict.fromkeys([*self.models, *parts, *(name for name in donors if name)]))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that is merged, the base first, the others in order."""
        named = [self.base_model]
        for part in self.slices:
            named += [part.base_model, *(entry.model for entry in part.sources)]
        return tuple(dict.fromkeys(name for name in named if name is not None))
