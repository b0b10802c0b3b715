"""The mapping ``tokenizer.tokens`` says where the rows of single tokens come from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from evojax_merge.documents.nearest import nearest
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.models import ModelNames
from evojax_merge.exchange.settings import value


class TokenRow(NamedTuple):
    """The origin of the row of one token.

    Attributes:
        model: The model whose table the row is from. It is None for a row of zeros, and where the
            entry is ``ordinary``.
        token: The token or the number of the row there. None stands for the token itself.
        force: Whether models that have the token get the row too.
        ordinary: Whether the token is only added, and its row is found as any other.
        where: The place of the entry in the file.
    """

    model: str | None
    token: str | int | None
    force: bool
    ordinary: bool
    where: str


def read_rows(given: Any, where: str, models: ModelNames, notes: list[str]) -> dict[str, TokenRow]:
    """Read the mapping.

    Args:
        given: The mapping as the YAML has it, or None without one.
        where: The place of the mapping in the file.
        models: The reader of names of models.
        notes: The list that gains a text for every value that is taken for another.

    Raises:
        ExchangeError: The value is no such mapping.
    """
    tree = _mapping({} if given is None else given, where)
    return {
        _token(key, where): _row(own, f"{where}.{key}", models, notes) for key, own in tree.items()
    }


def _row(given: Any, where: str, models: ModelNames, notes: list[str]) -> TokenRow:
    tree = _mapping(given, where)
    _check_keys(tree, ("source", "force"), where)
    force = bool(value(tree.get("force", False), "bool", f"{where}.force", notes))
    source = tree.get("source")
    if source is None:
        if force:
            raise ExchangeError(f"{where}: is forced to nothing; give a source, or leave out force")
        return TokenRow(None, None, False, True, where)
    kind = source.get("kind") if isinstance(source, Mapping) else None
    if kind == "zero":
        _check_keys(source, ("kind",), f"{where}.source")
        return TokenRow(None, None, force, False, where)
    if kind is None:
        return TokenRow(models.read(source, f"{where}.source"), None, force, False, where)
    if kind != "model_token":
        raise ExchangeError(
            f"{where}.source.kind: {kind!r} is not known; known are model_token and zero"
        )
    _check_keys(source, ("kind", "model", "token", "token_id"), f"{where}.source")
    token, number = source.get("token"), source.get("token_id")
    if (token is None) == (number is None):
        raise ExchangeError(f"{where}.source: needs either token or token_id")
    if token is not None and not isinstance(token, str):
        raise ExchangeError(f"{where}.source.token: {token!r} is no text; put it in quotes")
    if number is not None:
        number = int(value(number, "int", f"{where}.source.token_id", notes))
    model = models.read(source.get("model"), f"{where}.source.model")
    return TokenRow(model, token if number is None else number, force, False, where)


def _token(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise ExchangeError(f"{where}: the token {key!r} is no text; put it in quotes")
    return key


def _mapping(given: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise ExchangeError(f"{where}: must be a mapping, is {type(given).__name__}")
    return given


def _check_keys(tree: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in tree:
        if key not in known:
            raise ExchangeError(
                f"unknown key {where}.{key}{nearest(key, known)}; known are {', '.join(known)}"
            )
