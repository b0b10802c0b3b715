"""What is known of a model that no family computes: its configuration, names and shapes."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Self

Shapes = Mapping[str, tuple[int, ...]]

_TABLE = re.compile(
    r"(.+\.)?(embed_tokens|wte|word_embeddings|shared|embed_in|tok_embeddings|token_embedding)"
    r"\.weight"
)
"""The names of input embeddings, which have a row for each token."""

HEAD = re.compile(r"(.+\.)?(lm_head|embed_out|proj_out|cls\.predictions\.decoder)\.weight")
"""The names of output embeddings, which may be tied to the input's."""

_HEADS = ("lm_head.weight", "embed_out.weight", "proj_out.weight", "cls.predictions.decoder.weight")

_BIAS = re.compile(r"(.+\.)?(lm_head|embed_out|cls\.predictions(\.decoder)?)\.bias")

_BOOKKEEPING = frozenset(
    {
        "_commit_hash", "_diffusers_version", "_name_or_path", "auto_map", "dtype", "torch_dtype",
        "transformers_version", "use_cache",
    }
)  # fmt: skip
"""The entries of ``config.json`` that change nothing that a model computes."""


@dataclasses.dataclass(frozen=True)
class NamedConfig:
    """A model known by the names and the shapes of its tensors.

    Attributes:
        kind: The ``model_type``, or the class that a diffusers folder names.
        tensors: The name and shape of each tensor, sorted, numbers in names by their values. A
            table of tokens has 0 rows here, since ``vocab_size`` counts them.
        tables: The names of the tensors with a row for each token, the input embedding first.
        vocab_size: The number of rows of the tables, or None where there is none.
        vocabulary_at: The keys that lead to the number of tokens in ``config.json``, such as
            ``("text_config", "vocab_size")``. It is empty where the file does not say.
        tie_word_embeddings: Whether an output embedding that repeats the input's is no parameter.
        settings: The rest of ``config.json``, as far as it decides what is computed.
    """

    kind: str
    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    tables: tuple[str, ...]
    vocab_size: int | None
    vocabulary_at: tuple[str, ...]
    tie_word_embeddings: bool
    settings: Mapping[str, Any] = dataclasses.field(hash=False)

    @classmethod
    def from_hf(cls, hf_config: Mapping[str, Any]) -> Self:
        """Refuse a configuration without files.

        Raises:
            ValueError: It always does, since only the files hold names and shapes.
        """
        raise ValueError(
            f"models of the type {kind_of(hf_config)!r} are known by their stored tensors only; "
            "open a checkpoint's directory"
        )

    @classmethod
    def from_files(cls, hf_config: Mapping[str, Any], stored: Shapes) -> Self:
        """Read ``config.json`` and the shapes of the stored parameters by name.

        Raises:
            ValueError: A name cannot be the path of a leaf.
        """
        for name in stored:
            if "{" in name or not all(name.split(".")):
                raise ValueError(f"the tensor {name!r} has a name that no module gives it")
        at, rows = _vocabulary(hf_config)
        tables = _tables(stored, rows)
        shapes = sorted(stored.items(), key=lambda item: natural(item[0]))
        return cls(
            kind=kind_of(hf_config) or "",
            tensors=tuple((n, (0, *s[1:]) if n in tables else tuple(s)) for n, s in shapes),
            tables=tables,
            vocab_size=stored[tables[0]][0] if tables else None,
            vocabulary_at=at if tables else (),
            tie_word_embeddings=bool(tables) and _tied(hf_config) is not False,
            settings=_settings(hf_config, at),
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every stored parameter, copies included."""
        return {
            name: (self.vocab_size, *shape[1:])
            if name in self.tables and self.vocab_size is not None
            else shape
            for name, shape in self.tensors
        }

    @property
    def aliases(self) -> dict[str, str]:
        """The other names that may stand for the input embedding -> its name.

        An encoder-decoder has one table for both sides. An output embedding may be a copy where the
        configuration does not say otherwise. Its numbers decide whether it is one.
        """
        if not self.tie_word_embeddings:
            return {}
        table, held = self.tables[0], dict(self.tensors)
        names = [*_HEADS, *(name for name in held if HEAD.fullmatch(name))]
        if prefix := re.fullmatch(r"(.*)shared\.weight", table):
            names += [f"{prefix[1]}{side}.embed_tokens.weight" for side in ("encoder", "decoder")]
        shape = held[table]
        return {name: table for name in dict.fromkeys(names) if held.get(name, shape) == shape}

    def hf_fields(self) -> dict[str, Any]:
        """Return the entries of ``config.json`` that a merge may have changed."""
        fields: dict[str, Any] = {}
        if len(self.vocabulary_at) == 1:
            fields["vocab_size"] = self.vocab_size
        elif self.vocabulary_at:
            part = self.vocabulary_at[0]
            fields[part] = {**self.settings[part], "vocab_size": self.vocab_size}
        copies = self.aliases.keys() & dict(self.tensors).keys()
        if copies and _tied(self.settings) is None:
            fields["tie_word_embeddings"] = True  # what repeats the table is not written
        return fields


def kind_of(hf_config: Mapping[str, Any]) -> str | None:
    """Return the ``model_type``, or the class of a diffusers folder, or None without either."""
    for key in ("model_type", "_class_name"):
        if isinstance(kind := hf_config.get(key), str) and kind:
            return kind
    return None


def natural(name: str) -> list[tuple[int, str]]:
    """Make a key that sorts names by their parts, numbers by their values.

    With it ``h.2.weight`` comes before ``h.10.weight``.
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]


def _vocabulary(hf_config: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
    """Find the keys of the number of tokens in ``config.json``, and the number."""
    for at in ((), ("text_config",)):
        part = hf_config.get(at[0]) if at else hf_config
        if isinstance(part, Mapping) and isinstance(rows := part.get("vocab_size"), int):
            return (*at, "vocab_size"), rows
    return (), None


def _tables(stored: Shapes, rows: int | None) -> tuple[str, ...]:
    """Find the tensors with a row for each token, the input embedding first."""
    inputs = [name for name in stored if _TABLE.fullmatch(name) and len(stored[name]) == 2]
    counts = {stored[name][0] for name in inputs}
    if rows is None and len(counts) == 1:
        (rows,) = counts
    inputs = [name for name in inputs if stored[name][0] == rows]
    if not inputs:
        return ()
    inputs.sort(key=lambda name: (not name.endswith("shared.weight"), natural(name)))
    outputs = [
        name
        for name in sorted(stored, key=natural)
        if (HEAD.fullmatch(name) or _BIAS.fullmatch(name)) and stored[name][:1] == (rows,)
    ]
    return (*inputs, *outputs)


def _tied(hf_config: Mapping[str, Any]) -> bool | None:
    """Tell whether ``config.json`` ties the output embedding. It returns None if it is silent."""
    text = hf_config.get("text_config")
    inner = text.get("tie_word_embeddings") if isinstance(text, Mapping) else None
    said = hf_config.get("tie_word_embeddings", inner)
    return None if said is None else bool(said)


def _settings(hf_config: Mapping[str, Any], vocabulary: tuple[str, ...]) -> dict[str, Any]:
    kept = {key: value for key, value in hf_config.items() if key not in _BOOKKEEPING}
    if len(vocabulary) == 1:
        del kept["vocab_size"]
    elif vocabulary:
        part = vocabulary[0]
        kept[part] = {key: own for key, own in kept[part].items() if key != "vocab_size"}
    return kept
