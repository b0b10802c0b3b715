"""How much of its answers a merge has in common with a model that it should stay close to."""

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int, Int32, Integer

from evojax_merge.checkpoints import Checkpoint, load, load_config
from evojax_merge.documents.arguments import check_option, check_text
from evojax_merge.fitness.answering import Answers
from evojax_merge.fitness.base import FRACTION, Measure
from evojax_merge.fitness.beside import BesideTask, BoundBeside
from evojax_merge.fitness.kept import Kept, Rows, params_hash
from evojax_merge.fitness.rouge import rouge_l

COMPARED = {"tokens": "tokens in common (ROUGE-L)", "whole": "equal answers"}
"""What answers are compared by, and what the result is called."""


class AgreementTask(BesideTask):
    """The agreement of answers with those of another model, which writes them once.

    Args:
        model: The directory or hub id of the other model.
        compare: What is compared: with ``tokens`` the result is the share of tokens in common in
            the same order, as in ROUGE-L; with ``whole`` it is 1 where answers are the same.
        keep: The directory that the other model's answers are kept in, ``default`` for that of
            statistics, or None to keep none.
        name: What results tables call the task.
        of: The name of the task whose answers are compared, see `BesideTask`.

    Raises:
        ValueError: There is no other model, or nothing of that name to compare.
    """

    def __init__(
        self,
        model: str | None,
        compare: str = "tokens",
        keep: str | None = "default",
        name: str = "agreement",
        of: str | None = None,
    ) -> None:
        super().__init__(name, of)
        if model is None:
            raise ValueError(
                f"{name}: there is no model to agree with; give model.base, or its directory as "
                f"fitness.tasks.{name}.model"
            )
        self.model = check_text(f"{name}: model", model, empty=False)
        check_option(f"{name}: compare", compare, tuple(COMPARED))
        self._compare, self._keep = compare, keep
        self.measure = Measure(COMPARED[compare], FRACTION)

    def bound(self, source: Any, model: Any) -> "BoundAgreement":
        other = load_config(self.model, getattr(model, "described", False))
        if other.family != model.family:
            raise ValueError(
                f"{self.name}: {self.model} is a {other.family.name}, and the answers are those of "
                f"a {model.family.name}; name a model of the same kind"
            )
        encoded = getattr(source, "encoded", [[0]])  # which items that are assumed have not
        most = max(map(max, encoded))
        if most >= other.config.vocab_size:
            raise ValueError(
                f"{self.name}: the prompts have token {most}, and the vocabulary of {self.model} "
                f"ends at {other.config.vocab_size - 1}; name a model with the same tokenizer"
            )
        return BoundAgreement(source, other, self._compare, self._keep)


class BoundAgreement(BoundBeside):
    """The answers of the other model, and the judge of how much others have in common with them."""

    def __init__(self, source: Any, other: Checkpoint, compare: str, keep: str | None) -> None:
        super().__init__(source)
        self._other, self._compare = other, compare
        self._kept = Kept(keep if source.request.image_token_id is None else None, "answers")
        self._known: list[tuple[int, ...]] | None = None
        self._judged: dict[tuple[tuple[int, ...], bytes], float] = {}

    def prepare(self) -> None:
        """Have the other model write its answers, unless they are kept from another time."""
        if self._known is not None:
            return
        model = load(self._other)
        request = dataclasses.replace(self.request, prefix=0, slots=None)  # which change nothing
        settings = {"format": 1, "request": dataclasses.asdict(request)}
        items = [
            hashlib.sha256(np.asarray(ids, np.int64).tobytes()).hexdigest()
            for ids in self.source.encoded
        ]

        def answers(places: list[int]) -> Rows:
            return {"tokens": _written(model, self.source)[places]}

        rows = self._kept("answers", params_hash(model.params), settings, items, answers)
        tokens = rows["tokens"]
        lengths = self._lengths(tokens[None])[0]
        self._known = [tuple(own[:end].tolist()) for own, end in zip(tokens, lengths, strict=True)]

    def beside(self, source: Any, rows: Int[np.ndarray, " chosen"]) -> "BoundAgreement":
        part = super().beside(source, rows)
        if self._known is not None:
            part._known = [self._known[row] for row in rows]
        return part

    def _results(
        self,
        tokens: Integer[np.ndarray, "pop batch new"],
        lengths: Int[np.ndarray, "pop batch"],
        rows: Int[np.ndarray, " batch"],
    ) -> Float32[np.ndarray, "pop batch"]:
        assert self._known is not None, "`prepare` comes first"
        found = np.zeros(lengths.shape, np.float32)
        for place, row in enumerate(rows):
            for candidate, length in enumerate(lengths[:, place]):
                own = np.ascontiguousarray(tokens[candidate, place, :length], np.int32)
                found[candidate, place] = self._agreement(self._known[row], own)
        return found

    def _agreement(self, known: tuple[int, ...], own: Int32[np.ndarray, " length"]) -> float:
        key = known, own.tobytes()
        if key not in self._judged:
            written = tuple(own.tolist())
            same = known == written  # also where both are empty
            shared = self._compare == "tokens" and not same
            self._judged[key] = rouge_l(known, written) if shared else float(same)
        return self._judged[key]


def _written(model: Any, source: Answers) -> Int32[np.ndarray, "items new"]:
    """What a model writes for each item."""
    layout = model.family.layout(model.config)
    axes = layout.unrolled_axes()
    program = jax.jit(
        model.family.ability(source.request).program(model.config, source.request, axes)
    )
    alone = jax.jit(lambda params: jax.tree.map(jnp.expand_dims, layout.unroll(params), axes))
    params = alone(model.params)
    found = np.zeros((len(source), source.request.max_new_tokens), np.int32)
    for rows, batch in zip(source.rows, source.batches, strict=True):
        found[rows] = np.asarray(program(params, *batch))[0]
    return found
