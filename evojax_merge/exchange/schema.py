"""A mergekit YAML is read strictly. What is not known is refused by name before anything loads.

Keys are those of mergekit 0.1.5, ``mergekit/config.py``. What mergekit knows and passes over is
passed over here too, and noted. What it takes for something else is taken so. Two things are not
supported, and the errors say so: another architecture than the model's own, and several modules.
"""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text
from evojax_merge.documents.nearest import nearest
from evojax_merge.documents.yaml_text import load_documents, load_yaml
from evojax_merge.exchange.chat_templates import check_template
from evojax_merge.exchange.configuration import Configuration, Entry, Slice, TokenizerChoice
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.knowledge import KEYS
from evojax_merge.exchange.methods import Method, method
from evojax_merge.exchange.models import ModelNames
from evojax_merge.exchange.settings import Setting, parse_setting, value
from evojax_merge.exchange.tokens import read_rows
from evojax_merge.exchange.yaml_anchors import anchored_keys

DTYPES = ("float32", "float16", "bfloat16")

_MOST_PADDING = 65_536
"""The greatest multiple to which rows are padded. A number typed wrong could fill a disk."""

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


def is_mergekit(path: str | Path) -> bool:
    """Tell whether a file is a YAML of mergekit, rather than a recipe of this package."""
    try:
        trees = load_documents(read_text(Path(path)))
    except (OSError, DocumentError, yaml.YAMLError):
        return False
    given = [tree for tree in trees if tree is not None]
    return bool(given) and all(
        isinstance(tree, Mapping) and "evojax_merge" not in tree and bool(tree.keys() & set(_ROOT))
        for tree in given
    )


def read_file(path: str | Path) -> str:
    """Read the text of a file.

    Raises:
        ExchangeError: The file cannot be read.
    """
    try:
        return read_text(Path(path))
    except DocumentError as error:
        raise ExchangeError(f"{path}: {error}") from None
    except OSError as error:
        raise ExchangeError(f"{path}: cannot be read ({error.strerror})") from None


def load_configuration(path: str | Path) -> Configuration:
    """Read a file of one document.

    Directories in it are relative to the working directory or to the file.

    Raises:
        ExchangeError: There is no such file, or `parse_configuration` refuses it.
    """
    return parse_configuration(read_file(path), str(path), Path(path).parent)


def parse_configuration(
    text: str, where: str = "mergekit YAML", beside: Path = Path()
) -> Configuration:
    """Read a mergekit YAML of one document.

    Args:
        text: The text of the YAML.
        where: What messages call the YAML.
        beside: The directory where those that are not in the working directory may be.

    Raises:
        ExchangeError: The text is no YAML of mergekit, or has keys or values that are not
            supported.
    """
    try:
        tree = load_yaml(text)
        anchored = frozenset[str]().union(*anchored_keys(text))
    except yaml.YAMLError as error:
        raise ExchangeError(f"{where}: cannot be read as one YAML document: {error}") from None
    return read_configuration(tree, where, beside, anchored)


def read_configuration(
    tree: Any,
    where: str,
    beside: Path = Path(),
    anchored: Collection[str] = (),
    made: Mapping[str, Path] = MappingProxyType({}),
) -> Configuration:
    """Read the tree of one document.

    Args:
        tree: The content of the document.
        where: What messages call the document.
        beside: The directory where those that are not in the working directory may be.
        anchored: The keys that hold what others repeat.
        made: The directories of models that other documents make, by name.

    Raises:
        ExchangeError: The tree is no merge of mergekit's, or has keys or values that are not
            supported.
    """
    try:
        reader = _Reader(ModelNames(beside, made), frozenset(anchored))
        return reader.configuration(_mapping(tree, "the file"))
    except ExchangeError as error:
        raise ExchangeError(f"{where}: {error}") from None


@dataclasses.dataclass
class _Reader:
    models: ModelNames
    anchored: frozenset[str]
    notes: list[str] = dataclasses.field(default_factory=list)

    def configuration(self, given_tree: Mapping[str, Any]) -> Configuration:
        tree: Mapping[str, Any] = {
            key: own for key, own in given_tree.items() if not self.holds_anchors(key)
        }
        self.check_keys(tree, _ROOT, "")
        if "merge_method" not in tree:
            raise ExchangeError("lacks merge_method")
        chosen = method(tree["merge_method"], "merge_method")
        given = [key for key in ("models", "slices", "modules") if tree.get(key)]
        if len(given) != 1:
            raise ExchangeError(
                f"needs exactly one of models, slices and modules; it has {given or 'none'}"
            )
        base = None
        if tree.get("base_model"):
            base = self.models.read(tree["base_model"], "base_model")
        scopes = [self.parameters(tree, "", chosen)]
        body, at = tree, ""
        if given == ["modules"]:
            modules = _mapping(tree["modules"], "modules")
            if list(modules) != ["default"]:
                raise ExchangeError(
                    f"modules: has {', '.join(map(str, modules))}; a decoder has one, `default`"
                )
            body, at = _mapping(modules["default"], "modules.default"), "modules.default."
            self.check_keys(body, ("models", "slices", "parameters"), at)
            scopes.insert(0, self.parameters(body, at, chosen))
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
        tokenizer, template = self.tokenizer(tree), _text(tree, "chat_template")
        if template is not None:
            check_template(template)
        return Configuration(
            method=chosen,
            slices=slices,
            scopes=tuple(scopes),
            base_model=base,
            dtype=_dtype(tree, "dtype"),
            out_dtype=_dtype(tree, "out_dtype"),
            tokenizer=tokenizer,
            chat_template=template,
            adapters=self.models.adapters,
            notes=tuple(self.notes),
        )

    def holds_anchors(self, key: Any) -> bool:
        """Tell whether a key is no word of mergekit's and holds what others repeat."""
        if key not in self.anchored or key in _ROOT or key in KEYS:
            return False
        self.notes.append(f"{key} is ignored but for what it lends to other keys")
        return True

    def whole(self, given: Any, where: str, chosen: Method, base: str | None) -> Slice:
        """Make the slice of all layers of some models. The base joins them if it is not named."""
        entries = [
            self.entry(entry, f"{where}[{i}]", chosen, base, sliced=False)
            for i, entry in enumerate(_list(given, where))
        ]
        if base is not None and all(entry.model != base for entry in entries):
            entries.append(Entry(base, None, {}, "base_model"))
        return Slice(tuple(entries), base, {}, where)

    def slice(self, given: Any, where: str, chosen: Method, base: str | None) -> Slice:
        tree = _mapping(given, where)
        self.check_keys(tree, ("sources", "base_model", "parameters"), f"{where}.")
        if "sources" not in tree:
            raise ExchangeError(f"{where}: lacks sources")
        if tree.get("base_model"):
            base = self.models.read(tree["base_model"], f"{where}.base_model")
        sources = tuple(
            self.entry(entry, f"{where}.sources[{i}]", chosen, base, sliced=True)
            for i, entry in enumerate(_list(tree["sources"], f"{where}.sources"))
        )
        lengths = {entry.layers[1] - entry.layers[0] for entry in sources if entry.layers}
        if len(lengths) > 1:
            raise ExchangeError(f"{where}: its sources have different numbers of layers")
        if lengths == {0}:
            self.notes.append(f"{where} has no layers")
        return Slice(sources, base, self.parameters(tree, f"{where}.", chosen), where)

    def entry(
        self, given: Any, where: str, chosen: Method, base: str | None, sliced: bool
    ) -> Entry:
        tree = _mapping(given, where)
        known = ("model", "layer_range", "parameters") if sliced else ("model", "parameters")
        self.check_keys(tree, known, f"{where}.")
        lacking = [key for key in known[:-1] if key not in tree]
        if lacking:
            raise ExchangeError(f"{where}: lacks {' and '.join(lacking)}")
        name = self.models.read(tree["model"], f"{where}.model")
        idle = name == base and chosen.base != "source"
        parameters = self.parameters(tree, f"{where}.", chosen, "base" if idle else "model")
        layers = self.layers(tree["layer_range"], f"{where}.layer_range") if sliced else None
        return Entry(name, layers, parameters, where)

    def layers(self, given: Any, where: str) -> tuple[int, int]:
        if not isinstance(given, list) or len(given) != 2:
            raise ExchangeError(f"{where}: {given!r} must be [first, stop], two whole numbers")
        first, stop = (
            int(value(one, "int", f"{where}[{i}]", self.notes)) for i, one in enumerate(given)
        )
        if not 0 <= first <= stop:
            raise ExchangeError(f"{where}: {given!r} must rise from 0 or more")
        return first, stop

    def tokenizer(self, tree: Mapping[str, Any]) -> TokenizerChoice | None:
        given = tree.get("tokenizer")
        if tree.get("tokenizer_source") and given is not None:
            raise ExchangeError("has both tokenizer_source and tokenizer; keep one")
        if tree.get("tokenizer_source"):
            return TokenizerChoice(self.origin(tree["tokenizer_source"], "tokenizer_source"))
        if given is None:
            return None
        choice = _mapping(given, "tokenizer")
        self.check_keys(choice, ("source", "tokens", "pad_to_multiple_of"), "tokenizer.")
        multiple = choice.get("pad_to_multiple_of")
        if multiple is not None:
            multiple = int(value(multiple, "int", "tokenizer.pad_to_multiple_of", self.notes))
            if multiple < 1:
                raise ExchangeError(f"tokenizer.pad_to_multiple_of: {multiple} must be 1 or more")
            if multiple > _MOST_PADDING:
                raise ExchangeError(
                    f"tokenizer.pad_to_multiple_of: {multiple} must be {_MOST_PADDING} or less; "
                    "tables would have as many rows"
                )
        rows = read_rows(choice.get("tokens"), "tokenizer.tokens", self.models, self.notes)
        source = choice.get("source")
        origin = self.origin("union" if source is None else source, "tokenizer.source")
        return TokenizerChoice(origin, multiple, rows)

    def origin(self, given: Any, where: str) -> str:
        return given if given in ("base", "union") else self.models.read(given, where)

    def parameters(
        self,
        tree: Mapping[str, Any],
        at: str,
        chosen: Method,
        of: Literal["all", "model", "base"] = "all",
    ) -> dict[str, Setting]:
        """Read parameters ``of`` all models, of one, or of the base.

        A parameter of all models has no place among those of one, and a parameter of each model has
        none among those of a base that the method subtracts. mergekit passes over both.
        """
        where = f"{at}parameters"
        found = {}
        given = tree.get("parameters")
        for key, own in _mapping({} if given is None else given, where).items():
            name = str(key)
            parameter = chosen.parameter(name)
            if parameter is None and name not in KEYS:
                raise ExchangeError(chosen.lacks(name, where))
            reason = None
            if parameter is None:
                reason = f"{chosen.name} has no such parameter"
            elif of != "all" and parameter.shared:
                reason = f"it is one for all models of {chosen.name}, given with the file or slice"
            elif of == "base":
                reason = f"{chosen.name} has none of its base model"
            if parameter is None or reason:
                self.notes.append(f"{where}.{name} is ignored ({reason})")
                continue
            setting = parse_setting(own, parameter.kind, f"{where}.{name}", self.notes)
            if parameter.role == "fixed" and any(
                number != parameter.default for rule in setting for number in rule.values
            ):
                raise ExchangeError(
                    f"{where}.{name}: only {parameter.default:g}, its default, is supported"
                )
            if parameter.role == "idle" and parameter.kind == "float":
                self.notes.append(f"{where}.{name} makes no difference to {chosen.name}")
            found[name] = setting
        return found

    def check_keys(self, tree: Mapping[str, Any], known: tuple[str, ...], at: str) -> None:
        for key in tree:
            if key in known:
                continue
            if key not in KEYS:
                raise ExchangeError(
                    f"unknown key {at}{key}{nearest(key, known)}; known are {', '.join(known)}"
                )
            self.notes.append(f"{at}{key} is ignored (it means nothing there)")


def _mapping(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ExchangeError(f"{where}: must be a mapping, is {type(given).__name__}")
    return given


def _list(given: Any, where: str) -> list[Any]:
    if not isinstance(given, list) or not given:
        raise ExchangeError(f"{where}: must be a list that is not empty")
    return given


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
