"""The names of models in a file: directories, hub ids, and adapters on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evojax_merge.documents.nearest import nearest
from evojax_merge.exchange.errors import ExchangeError

_KEYS = ("model", "path", "revision", "lora")
_UNSUPPORTED = {"override_architecture": "the model's own config.json decides; remove it"}


class ModelNames:
    """The reader of the names of models in one file.

    Attributes:
        adapters: The model and the LoRA adapter of each ``model+adapter`` that was read, by its
            name.
    """

    def __init__(self, beside: Path, made: Mapping[str, Path]) -> None:
        """Args:
        beside: The directory where those that are not in the working directory may be.
        made: The directories of models that other documents of the file make, by name.
        """
        self._beside = beside
        self._made = made
        self.adapters: dict[str, tuple[str, str]] = {}

    def read(self, given: Any, where: str) -> str:
        """Read the name of a model: a directory, a hub id, or ``model+adapter``.

        Raises:
            ExchangeError: The value is no name of a model.
        """
        if isinstance(given, Mapping) and given.get("lora") is not None:
            rest = {key: own for key, own in given.items() if key != "lora"}
            return self._adapted(
                self._plain(rest, where), self._plain(given["lora"], f"{where}.lora")
            )
        if isinstance(given, str) and self._directory(given) is None:
            # A directory may have the sign in its name.
            cuts = [i for i, letter in enumerate(given) if letter == "+"]
            known = [
                i for i in cuts if self._directory(given[:i]) and self._directory(given[i + 1 :])
            ]
            if known or len(cuts) == 1:
                at = (known or cuts)[0]
                model, adapter = given[:at], given[at + 1 :]
                return self._adapted(self._plain(model, where), self._plain(adapter, where))
            if cuts:
                raise ExchangeError(f"{where}: {given}: give model+adapter, one adapter on a model")
        return self._plain(given, where)

    def _adapted(self, model: str, adapter: str) -> str:
        name = f"{model}+{adapter}"
        self.adapters[name] = model, adapter
        return name

    def _plain(self, given: Any, where: str) -> str:
        revision = None
        while isinstance(given, Mapping):
            for key in given:
                if key in _UNSUPPORTED and given[key] is None:
                    continue
                if key in _UNSUPPORTED:
                    raise ExchangeError(f"{where}.{key}: {_UNSUPPORTED[key]}")
                if key not in _KEYS:
                    raise ExchangeError(
                        f"unknown key {where}.{key}{nearest(key, _KEYS)}; known are "
                        f"{', '.join(_KEYS)}"
                    )
            revision = given.get("revision", revision)
            given = given.get("model", given.get("path"))
        if not isinstance(given, str) or not given:
            raise ExchangeError(f"{where}: {given!r} is no model; give a directory or a hub id")
        directory = self._directory(given)
        if directory is not None and revision is not None:
            raise ExchangeError(f"{where}.revision: {given} is a directory, which has none")
        if directory is not None:
            return directory
        return given if revision is None else f"{given}@{revision}"

    def _directory(self, given: str) -> str | None:
        """Find the directory of this name, if there is one or will be."""
        if given in self._made:
            return str(self._made[given])
        path = Path(given).expanduser()
        if path.is_dir():
            return given
        return str(self._beside / path) if (self._beside / path).is_dir() else None
