"""The search that `device.py` measures: its size, its prompts, and its candidates."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from bandwidth import one_layer
from layers import stacked_in
from measure import Row, row

from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.family import DECODER
from evojax_merge.models.request import Generate
from evojax_merge.operators import Operator, init_statistics, merge
from evojax_merge.params.types import Array, Params
from evojax_merge.recipes.build import winner_program
from evojax_merge.spaces import ParameterSpace

SPREAD = {"prompts": 0.39, "answers": 0.52}
"""The standard deviations of the logarithms of the lengths, in characters, of the questions and
solutions of GSM8K's test items 251 to 1319. Those are the paper's items before translation."""


class Work(NamedTuple):
    """How much of everything a shape is measured with.

    Attributes:
        rows: Answers that are decoded at a time, the most telling number first.
        prompt: Tokens of a prompt.
        steps: Tokens that are decoded.
        room: Slots of the cache for answers.
        items: Prompts of a candidate.
        prompts: The median and the greatest length of those prompts, in tokens.
        answers: The median and the greatest length of their answers, in tokens.
    """

    rows: tuple[int, ...]
    prompt: int
    steps: int
    room: int
    items: int
    prompts: tuple[int, int]
    answers: tuple[int, int]


LARGE = Work((128, 32, 512, 1), 256, 64, 256, 1069, (150, 384), (180, 1024))
SMALL = Work((8, 1), 32, 16, 32, 24, (16, 32), (12, 48))
WORK = {"7b": LARGE, "1b": LARGE, "25m": SMALL, "1m": SMALL}


@dataclasses.dataclass(frozen=True)
class Counting:
    """Random prompts whose last token says how long the answer of a model that counts is.

    Attributes:
        request: What a model is to do.
        batches: All prompts, padded to one length, so that one program is compiled.
        lengths: Tokens of each answer, the end included.
    """

    request: Generate
    batches: tuple[tuple[np.ndarray, np.ndarray], ...]
    lengths: np.ndarray

    @classmethod
    def of(cls, config: DecoderConfig, work: Work) -> "Counting":
        """Prompts and answers with log-normal lengths of the spread of real ones."""
        rng = np.random.default_rng(0)

        def drawn(kind: str, median: int, most: int) -> np.ndarray:
            found = median * np.exp(SPREAD[kind] * rng.standard_normal(work.items))
            return np.clip(found, 4, most).astype(int)

        prompts, answers = drawn("prompts", *work.prompts), drawn("answers", *work.answers)
        longest = int(prompts.max())
        tokens = random_tokens(config, 2, (work.items, longest))
        end = config.vocab_size - 1
        tokens[:, -1] = end - answers
        start = (longest - prompts).astype(np.int32)
        tokens[np.arange(longest) < start[:, None]] = 0
        # A model with zeros for a head says 0, which ends its answer as well.
        request = Generate(max_new_tokens=work.answers[1], eos_ids=(end, 0), pad_id=0)
        return cls(request, ((tokens, start),), answers)

    def __len__(self) -> int:
        return len(self.lengths)

    def score(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Whether each answer is as long as was drawn."""
        written = (outputs[0] != self.request.pad_id).sum(axis=-1)
        return (written == self.lengths).astype(np.float32)


class Search(NamedTuple):
    """The merges of a search in parameter space, with one set of coefficients per source."""

    config: DecoderConfig
    operator: Operator
    space: ParameterSpace
    materials: Any

    @classmethod
    def of(
        cls, config: DecoderConfig, operator: Operator, base: Params, sources: tuple[Params, ...]
    ) -> "Search":
        """The search over these models. Statistics of large models are those of no elements."""
        layout = DECODER.layout(config)
        names = [f"source {index}" for index in range(len(sources))]
        trees = [base, *sources]
        if operator.name == "dare_ties":  # it needs none, so that one layer tells their structure
            trees = [jax.tree.map(np.asarray, one_layer(tree, stacked_in(tree))) for tree in trees]
        own = trees[0] if operator.needs_base else None
        statistics = init_statistics(operator, own, tuple(trees[1:]), stacked=layout.stacked)
        materials = (base if operator.needs_base else None, sources, statistics)
        return cls(config, operator, ParameterSpace(operator, layout, names), materials)

    def evaluator(self, tasks: dict[str, Any]) -> Evaluator:
        """What a search measures candidates with, one at a time."""

        def merge_fn(materials: Any, genotype: Array) -> Params:
            base, sources, statistics = materials
            coefficients = self.space.expand(self.space.decode(genotype))
            stacked = self.space.layout.stacked
            return merge(self.operator, base, sources, coefficients, statistics, 0, stacked=stacked)

        return Evaluator(
            DECODER,
            self.config,
            merge_fn,
            self.materials,
            tasks,
            mesh=make_mesh(1, devices=jax.devices()[:1]),
            dims=self.space.dims,
            population_size=1,
        )

    def both(self, evaluator: Evaluator, genotype: np.ndarray) -> tuple[Params, Params]:
        """A candidate by the program of a search, and by that of an export."""
        found = evaluator.merge(genotype[None])
        coefficients = self.space.expand(self.space.decode_one(jnp.asarray(genotype)))
        coefficients = jax.tree.map(np.asarray, coefficients)
        dtype = jax.tree.leaves(self.materials[1][0])[0].dtype
        run = winner_program(self.operator, dtype, frozenset(self.space.layout.stacked))
        base, sources, statistics = evaluator.materials
        exported = run(base, sources, coefficients, statistics, np.uint32(0))
        return found, self.space.layout.unroll(exported)


def compile_without_answers(evaluator: Evaluator, genotypes: np.ndarray) -> None:
    """Compile what a candidate takes, and run it with a model that ends every answer at once."""
    merged = evaluator.merge(genotypes)
    head = merged["lm_head"]["weight"]
    silent = jax.device_put(jnp.zeros(head.shape, head.dtype), head.sharding)
    evaluator._params = {**merged, "lm_head": {"weight": silent}}
    evaluator._run("search", evaluator._batches["search"])


def bits_row(name: str, found: Params, exported: Params) -> Row:
    """How many elements of a candidate, as a population of one, are not those of a model."""
    count = jax.jit(lambda a, b: jnp.sum(a != b[None], dtype=jnp.int32))
    leaves = list(zip(jax.tree.leaves(found), jax.tree.leaves(exported), strict=True))
    different = sum(int(count(a, b)) for a, b in leaves)
    total = sum(leaf.size for _, leaf in leaves)
    return row(f"search and export differ: {name}", different, f"of {total / 1e6:.4g} M elements")


def random_tokens(config: DecoderConfig, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Tokens of the vocabulary, without the first three."""
    rng = np.random.default_rng(seed)
    return rng.integers(3, config.vocab_size, shape).astype(np.int32)
