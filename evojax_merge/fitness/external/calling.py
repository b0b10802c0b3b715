"""How candidates get to a function of the user's own, and what happens if it fails."""

import dataclasses
import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evojax_merge.checkpoints import CheckpointError, Model, export
from evojax_merge.documents.own_code import OwnCode
from evojax_merge.fitness.external.answers import AnswerError, numbers_of
from evojax_merge.fitness.external.folders import candidate_folder, folder_for
from evojax_merge.params.types import Float, Params

_TOLD = ("split", "data")
"""What a function is told besides the directory, by the names of its parameters."""

_PATIENCE = 16
"""How many candidates may have no finite number before the first one that has."""


class MeasureError(ValueError):
    """A measure of the user's own does not work."""


class MeasureWarning(UserWarning):
    """A measure of the user's own failed on a candidate."""


class Measured:
    """A function of the user's own, for all splits and objectives of a task.

    Args:
        own: The function: (directory, perhaps ``split`` and ``data``) -> its numbers.
        key: The configuration's key of the task, with which messages begin.
        directory: The directory that candidates are written into, if the user asks for one.

    Raises:
        MeasureError: The function cannot be called so.
    """

    def __init__(self, own: OwnCode, key: str, directory: Path | None) -> None:
        self.own, self.key, self.directory = own, key, directory
        self._told = _told(own, key)
        self._works, self._failed = False, 0

    def has_worked(self) -> None:
        """Take a failure for the candidate's, since the function has worked before."""
        self._works = True

    def __call__(
        self, model: Model, split: str, data: Path | None, wanted: Mapping[str, int]
    ) -> Float[np.ndarray, " numbers"]:
        """The numbers of a model, written as a checkpoint; nan for all where that fails.

        Args:
            model: The model.
            split: The split that is measured.
            data: The file or folder of that split, if there is one.
            wanted: How many numbers each objective has.

        Raises:
            MeasureError: It fails on the first candidate, or gives something else than numbers.
            OSError: A candidate cannot be written.
        """
        nothing = np.full(sum(wanted.values()), np.nan, np.float32)
        told: dict[str, Any] = {"split": split, "data": data}
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
        with candidate_folder(folder_for(size, self.directory)) as folder:
            try:
                directory = export(model, folder / "candidate")
            except CheckpointError as error:
                return self._broken(f"a candidate cannot be written: {error}", nothing, error)
            try:
                given = self.own.function(directory, **{name: told[name] for name in self._told})
            except Exception as error:
                return self._broken(f"fails: {self.own.failed(error)}", nothing, error)
        try:
            numbers = numbers_of(given, wanted, self.key)
        except AnswerError as error:
            raise MeasureError(f"{self.key}: {self.own.spec} {error}") from None
        if not np.isfinite(numbers).any() and not self._works:
            self._failed += 1
            if self._failed >= _PATIENCE:
                raise MeasureError(
                    f"{self.key}: {self.own.spec} gave no finite number for {_PATIENCE} candidates "
                    "one after another; see to the function"
                )
            return numbers
        self._works = True
        return numbers

    def _broken(
        self, message: str, nothing: Float[np.ndarray, " numbers"], error: Exception
    ) -> Float[np.ndarray, " numbers"]:
        message = f"{self.key}: {self.own.spec}: {message}"
        if not self._works:
            raise MeasureError(
                f"{message}; it has not worked on any candidate yet: see to it, and begin again"
            ) from error
        warnings.warn(f"{message}; the candidate counts as the worst", MeasureWarning, stacklevel=2)
        return nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A call of a function for each candidate, which a request hands over.

    Attributes:
        measured: The function.
        template: The model that candidates are, without their parameters.
        split: The split that is measured.
        data: The file or folder of that split, if there is one.
        wanted: How many numbers each objective has.
    """

    measured: Measured
    template: Model
    split: str
    data: Path | None
    wanted: Mapping[str, int]

    def __call__(self, params: Params) -> Float[np.ndarray, " numbers"]:
        model = dataclasses.replace(self.template, params=params)
        return self.measured(model, self.split, self.data, self.wanted)


def template_of(model: Any) -> Model:
    """A model that candidates for a reference are written as, once they have parameters.

    Args:
        model: The reference: a checkpoint, or a model that was loaded.
    """
    return Model(
        family=model.family,
        config=model.config,
        hf_config=model.hf_config,
        params={},
        tokenizer=None,
        directory=model.directory,
        dtype=np.dtype(np.float32),
        tokenizer_directory=getattr(model, "tokenizer_directory", None),
        carrier=model.carrier,
        parts=model.parts,
    )


def _told(own: OwnCode, key: str) -> Sequence[str]:
    """Which of the things that a function may be told it takes."""
    try:
        parameters = list(inspect.signature(own.function).parameters.values())
    except (TypeError, ValueError):  # of what is not written in Python
        return ()
    kinds = inspect.Parameter
    others = parameters[1:] if parameters[:1] and parameters[0].kind != kinds.KEYWORD_ONLY else None
    if parameters[:1] and parameters[0].kind == kinds.VAR_POSITIONAL:
        others = parameters[1:]
    required = [
        one.name
        for one in others or ()
        if one.default is one.empty
        and one.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
        and one.name not in _TOLD
    ]
    if others is None or required:
        names = ", ".join(map(str, parameters))
        raise MeasureError(
            f"{key}: {own.spec} takes ({names}); a measure takes the directory of a candidate "
            f"and, if it likes, {' and '.join(_TOLD)}"
        )
    if any(one.kind == kinds.VAR_KEYWORD for one in others):
        return _TOLD
    return [one.name for one in others if one.name in _TOLD]
