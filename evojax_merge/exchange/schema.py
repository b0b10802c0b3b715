"""A mergekit YAML, read strictly: what is not known is refused by name, before anything is loaded.

Keys are those of mergekit 0.1.5, ``mergekit/config.py``. Not supported, and said so: LoRA adapters
of a model (``model+lora``), ``tokenizer.tokens``, ``residual_weight`` (which mergekit reads and
does not use), more than one module.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text
from evojax_merge.documents.yaml_text import load_yaml
from evojax_merge.exchange.errors import ExchangeError, nearest
from evojax_merge.exchange.methods import Method, method
from evojax_merge.exchange.settings import Setting, Settings, parse_setting

DTYPES = ("float32", "float16", "bfloat16")

_ROOT = (
    "merge_method",
    "models",
    "slices",
    "modules",
    "base_model",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
)
_UNSUPPORTED = {
    "residual_weight": "mergekit reads it and does nothing with it; remove it",
    "tokens": "rows of single tokens are not supported; remove it, and use source alone",
    "lora": "LoRA adapters are not merged into a model here; merge the adapter first",
    "override_architecture": "the model's own config.json decides; remove it",
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model of a slice: its layers (all of them for None), and its own parameters."""

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
    """Whose tokens the result has: ``base``, ``union``, or a model."""

    source: str
    pad_to_multiple_of: int | None = None


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A whole file.

    Attributes:
        method: How all tensors are merged.
        slices: From the first layer to the last; ``models`` makes one of all layers.
        scopes: Parameters of the module, if any, and of the file: in this precedence.
        base_model: For all slices that name none.
        dtype: Of the result, unless ``out_dtype`` is given.
        out_dtype: Likewise.
        tokenizer: None keeps that of the base, or of the first model without one.
        chat_template: ``auto``, the name of a template, or a template; None keeps the tokenizer's.
        models: Every model that is named, the base first.
    """

    method: Method
    slices: tuple[Slice, ...]
    scopes: tuple[Settings, ...]
    base_model: str | None
    dtype: str | None
    out_dtype: str | None
    tokenizer: TokenizerChoice | None
    chat_template: str | None

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that is named, the base first, the others in order."""
        named = [self.base_model]
        for part in self.slices:
            named += [part.base_model, *(entry.model for entry in part.sources)]
        if self.tokenizer and self.tokenizer.source not in ("base", "union"):
            named.append(self.tokenizer.source)
        return tuple(dict.fromkeys(name for name in named if name is not None))


def is_mergekit(path: str | Path) -> bool:
    """Whether a file is a YAML of mergekit, rather than a recipe of this package."""
    try:
        tree = load_yaml(read_text(Path(path)))
    except (OSError, DocumentError, yaml.YAMLError):
        return False
    own = isinstance(tree, Mapping) and "evojax_merge" in tree
    return isinstance(tree, Mapping) and not own and bool(tree.keys() & set(_ROOT))


def load_configuration(path: str | Path) -> Configuration:
    """Read a file; directories in it are relative to the working directory or to the file.

    Raises:
        ExchangeError: There is no such file, or see `parse_configuration`.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except (OSError, DocumentError) as error:
        raise ExchangeError(f"{path}: cannot be read ({error})") from None
    return parse_configuration(text, str(path), path.parent)


def parse_configuration(
    text: str, where: str = "mergekit YAML", beside: Path = Path()
) -> Configuration:
    """Read a mergekit YAML.

    Args:
        text: The YAML.
        where: What messages call it.
        beside: Where directories that are not in the working directory may be.

    Raises:
        ExchangeError: It is no YAML of mergekit, or has keys or values that are not supported.
    """
    try:
        tree = load_yaml(text)
    except yaml.YAMLError as error:
        raise ExchangeError(f"{where}: cannot be read as one YAML document: {error}") from None
    try:
        return _Reader(beside).configuration(_mapping(tree, "the file"))
    except ExchangeError as error:
        raise ExchangeError(f"{where}: {error}") from None


@dataclasses.dataclass
class _Reader:
    beside: Path

    def configuration(self, tree: Mapping[str, Any]) -> Configuration:
        _check_keys(tree, _ROOT, "")
        if "merge_method" not in tree:
            raise ExchangeError("lacks merge_method")
        chosen = method(tree["merge_method"], "merge_method")
        given = [key for key in ("models", "slices", "modules") if tree.get(key)]
        if len(given) != 1:
            raise ExchangeError(
                f"needs exactly one of models, slices and modules; it has {given or 'none'}"
            )
        base = self.model(tree["base_model"], "base_model") if tree.get("base_model") else None
        scopes = [_parameters(tree, "", chosen, of_model=False)]
        body, at = tree, ""
        if given == ["modules"]:
            modules = _mapping(tree["modules"], "modules")
            if list(modules) != ["default"]:
                raise ExchangeError(
                    f"modules: has {', '.join(map(str, modules))}; a decoder has one, `default`"
                )
            body, at = _mapping(modules["default"], "modules.default"), "modules.default."
            _check_keys(body, ("models", "slices", "parameters"), at)
            scopes.insert(0, _parameters(body, at, chosen, of_model=False))
            if bool(body.get("models")) == bool(body.get("slices")):
                raise ExchangeError("modules.default: needs either models or slices")
        slices: tuple[Slice, ...]
        if body.get("models"):
            slices = (self.whole(body["models"], f"{at}models", chosen, base),)
        else:
            parts = _list(body["slices"], f"{at}slices")
            slices = tuple(
                self.slice(part, f"{at}slices[{i}]", chosen, base) for i, part in enumerate(parts)
            )
        return Configuration(
            method=chosen,
            slices=slices,
            scopes=tuple(scopes),
            base_model=base,
            dtype=_dtype(tree, "dtype"),
            out_dtype=_dtype(tree, "out_dtype"),
            tokenizer=self.tokenizer(tree),
            chat_template=_text(tree, "chat_template"),
        )

    def whole(self, given: Any, where: str, chosen: Method, base: str | None) -> Slice:
        """All layers of some models; the base joins them if it is not named."""
        entries = [
            self.entry(entry, f"{where}[{i}]", chosen, base, sliced=False)
            for i, entry in enumerate(_list(given, where))
        ]
        if base is not None and all(entry.model != base for entry in entries):
            entries.append(Entry(base, None, {}, "base_model"))
        return Slice(tuple(entries), base, {}, where)

    def slice(self, given: Any, where: str, chosen: Method, base: str | None) -> Slice:
        tree = _mapping(given, where)
        _check_keys(tree, ("sources", "base_model", "parameters"), f"{where}.")
        if "sources" not in tree:
            raise ExchangeError(f"{where}: lacks sources")
        if tree.get("base_model"):
            base = self.model(tree["base_model"], f"{where}.base_model")
        sources = tuple(
            self.entry(entry, f"{where}.sources[{i}]", chosen, base, sliced=True)
            for i, entry in enumerate(_list(tree["sources"], f"{where}.sources"))
        )
        lengths = {entry.layers[1] - entry.layers[0] for entry in sources if entry.layers}
        if len(lengths) > 1:
            raise ExchangeError(f"{where}: its sources have different numbers of layers")
        parameters = _parameters(tree, f"{where}.", chosen, of_model=False)
        return Slice(sources, base, parameters, where)

    def entry(
        self, given: Any, where: str, chosen: Method, base: str | None, sliced: bool
    ) -> Entry:
        tree = _mapping(given, where)
        known = ("model", "layer_range", "parameters") if sliced else ("model", "parameters")
        _check_keys(tree, known, f"{where}.")
        lacking = [key for key in known[:-1] if key not in tree]
        if lacking:
            raise ExchangeError(f"{where}: lacks {' and '.join(lacking)}")
        name = self.model(tree["model"], f"{where}.model")
        parameters = _parameters(tree, f"{where}.", chosen, of_model=True)
        if parameters and name == base and chosen.base != "source":
            raise ExchangeError(
                f"{where}.parameters: this is the base model, whose parameters {chosen.name} does "
                "not use; remove them"
            )
        layers = _layers(tree["layer_range"], f"{where}.layer_range") if sliced else None
        return Entry(name, layers, parameters, where)

    def model(self, given: Any, where: str) -> str:
        """Directory or hub id of a model."""
        revision = None
        while isinstance(given, Mapping):
            _check_keys(given, ("model", "path", "revision"), f"{where}.")
            revision = given.get("revision", revision)
            given = given.get("model", given.get("path"))
        if not isinstance(given, str) or not given:
            raise ExchangeError(f"{where}: {given!r} is no model; give a directory or a hub id")
        path = Path(given).expanduser()
        beside = self.beside / path
        if path.is_dir() or beside.is_dir():
            if revision is not None:
                raise ExchangeError(f"{where}.revision: {given} is a directory, which has none")
            return given if path.is_dir() else str(beside)
        if "+" in given:
            raise ExchangeError(f"{where}: {given}: {_UNSUPPORTED['lora']}")
        return given if revision is None else f"{given}@{revision}"

    def tokenizer(self, tree: Mapping[str, Any]) -> TokenizerChoice | None:
        if tree.get("tokenizer_source") and tree.get("tokenizer"):
            raise ExchangeError("has both tokenizer_source and tokenizer; keep one")
        if tree.get("tokenizer_source"):
            return TokenizerChoice(self.origin(tree["tokenizer_source"], "tokenizer_source"))
        if not tree.get("tokenizer"):
            return None
        choice = _mapping(tree["tokenizer"], "tokenizer")
        _check_keys(choice, ("source", "pad_to_multiple_of"), "tokenizer.")
        multiple = choice.get("pad_to_multiple_of")
        if multiple is not None and (type(multiple) is not int or multiple < 1):
            raise ExchangeError(f"tokenizer.pad_to_multiple_of: {multiple!r} must be 1 or more")
        return TokenizerChoice(
            self.origin(choice.get("source", "union"), "tokenizer.source"), multiple
        )

    def origin(self, given: Any, where: str) -> str:
        return given if given in ("base", "union") else self.model(given, where)


def _parameters(
    tree: Mapping[str, Any], at: str, chosen: Method, *, of_model: bool
) -> dict[str, Setting]:
    """``of_model``: of one model, where a parameter common to all has no place."""
    where = f"{at}parameters"
    found = {}
    all_given = tree.get("parameters")
    for name, given in _mapping({} if all_given is None else all_given, where).items():
        parameter = chosen.parameter(str(name), where)
        if of_model and parameter.shared:
            raise ExchangeError(
                f"{where}.{name}: is one for all models of {chosen.name}; put it under the "
                "parameters of the slice or of the file"
            )
        setting = parse_setting(given, parameter.kind, f"{where}.{name}")
        if parameter.role == "fixed" and any(
            value != parameter.default for rule in setting for value in rule.values
        ):
            raise ExchangeError(
                f"{where}.{name}: only {parameter.default:g}, its default, is supported"
            )
        found[str(name)] = setting
    return found


def _check_keys(tree: Mapping[str, Any], known: tuple[str, ...], at: str) -> None:
    for key in tree:
        if key in known:
            continue
        if key in _UNSUPPORTED:
            raise ExchangeError(f"{at}{key}: {_UNSUPPORTED[key]}")
        raise ExchangeError(
            f"unknown key {at}{key}{nearest(str(key), known)}; known are {', '.join(known)}"
        )


def _mapping(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ExchangeError(f"{where}: must be a mapping, is {type(given).__name__}")
    return given


def _list(given: Any, where: str) -> list[Any]:
    if not isinstance(given, list) or not given:
        raise ExchangeError(f"{where}: must be a list that is not empty")
    return given


def _layers(given: Any, where: str) -> tuple[int, int]:
    if not isinstance(given, list) or len(given) != 2 or any(type(n) is not int for n in given):
        raise ExchangeError(f"{where}: {given!r} must be [first, stop], two whole numbers")
    first, stop = given
    if not 0 <= first < stop:
        raise ExchangeError(f"{where}: {given!r} must rise from 0 or more")
    return first, stop


def _text(tree: Mapping[str, Any], key: str) -> str | None:
    given = tree.get(key)
    if given is not None and not isinstance(given, str):
        raise ExchangeError(f"{key}: {given!r} is no text")
    return given or None


def _dtype(tree: Mapping[str, Any], key: str) -> str | None:
    given = _text(tree, key)
    name = given.removeprefix("torch.") if given else None
    if name is not None and name not in DTYPES:
        raise ExchangeError(f"{key}: {given!r} is not supported; use {', '.join(DTYPES)}")
    return name
