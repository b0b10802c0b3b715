"""Candidates on meshes of eight devices, which a process of its own makes of one processor.

``python -m tests.measuring.on_meshes merges 2x4 ties`` prints how the weights that an operator
merges on a mesh differ from those on one device; ``answers 2x4`` does so for what candidates
generate.
"""

import functools
import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from evojax_merge import operators
from evojax_merge.fitness.base import GenerateBatch, LoglikelihoodBatch
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.family import DECODER
from evojax_merge.models.request import Generate, Loglikelihood
from evojax_merge.operators import init_statistics, merge
from evojax_merge.params.low_rank import LowRank
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.spaces import ParameterSpace
from tests.checkpoints_factory import tiny_config
from tests.operators.conftest import FACTORIES

MESHES = ("8x1", "1x4", "2x4")

ROUNDING = 1e-5
"""What is further apart than this is no matter of rounding."""

CONFIG = DecoderConfig.from_hf(
    tiny_config(
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=8,
        num_key_value_heads=4,
        num_hidden_layers=2,
        vocab_size=64,
    )
)
LAYOUT = DECODER.layout(CONFIG)
NAMES = ("a", "b", "c")


class Asked(NamedTuple):
    """A task that is only asked, and scores nothing."""

    request: Any
    batches: Any
    name: str = "asked"

    def __len__(self) -> int:
        return len(self.batches[0][0])


def models(count: int) -> tuple[Any, list[Any]]:
    """A base, and fine-tunes of it."""
    base, *others = (DECODER.init_params(CONFIG, jax.random.key(seed)) for seed in range(count + 1))
    tuned = [jax.tree.map(lambda b, d: b + 0.3 * d, base, other) for other in others]
    return base, tuned


def adapter(seed: int) -> Any:
    """Factors for every weight that is stacked; other leaves are left as they are."""
    rng = np.random.default_rng(seed)

    def factors(shape: tuple[int, ...]) -> LowRank:
        layers, rows, columns = shape
        draw = functools.partial(rng.standard_normal, dtype=np.float32)
        return LowRank(draw((layers, rows, 4)), draw((layers, 4, columns)), draw(layers))

    base, _ = models(0)
    return unflatten(
        {p: factors(leaf.shape) if leaf.ndim == 3 else leaf for p, leaf in flatten(base).items()}
    )


def evidence(operator: Any, count: int) -> Any:
    """What an operator asks for of each source, drawn at random."""
    if operator.evidence is None:
        return None
    rng = np.random.default_rng(1)

    def of(shape: tuple[int, ...]) -> Any:
        if operator.evidence.kind == "fisher":
            return rng.standard_normal(shape).astype(np.float32) ** 2
        wide = shape[-1]
        rows = rng.standard_normal((*shape[:-2], 2 * wide, wide)).astype(np.float32)
        return np.swapaxes(rows, -1, -2) @ rows

    weights = [path for path, leaf in LAYOUT.leaves.items() if leaf.reads is not None]
    paths = LAYOUT.leaves if operator.evidence.kind == "fisher" else weights
    return [{path: of(LAYOUT.shapes[path]) for path in paths} for _ in range(count)]


def evaluator(operator: Any, shape: str, sources: Any = None, **given: Any) -> Any:
    """What merges and asks candidates, and the length of their genotypes."""
    count = min(operator.sources[1] or 3, 3)
    base, own = models(count)
    sources = tuple(own if sources is None else sources)
    adapted = given.pop("adapted", False)
    base = base if operator.needs_base or adapted else None
    space = ParameterSpace(operator, LAYOUT, NAMES[: len(sources)])
    statistics = init_statistics(
        operator, base, sources, evidence(operator, len(sources)), stacked=LAYOUT.stacked
    )

    def merge_fn(materials: Any, genotype: Any) -> Any:
        base, sources, statistics = materials
        coefficients = space.expand(space.decode(genotype))
        return merge(
            operator, base, sources, coefficients, statistics, 7, "float32", stacked=LAYOUT.stacked
        )

    pop, model = map(int, shape.split("x"))
    mesh = make_mesh(pop, model, jax.devices()[: pop * model])
    made = Evaluator(
        DECODER,
        CONFIG,
        merge_fn,
        (base, sources, statistics),
        given.pop("tasks", {}) or {"search": asked(Generate(4, (), 0))},
        mesh=mesh,
        dims=space.dims,
        population_size=8,
        **given,
    )
    return made, space


def asked(request: Any) -> Asked:
    """A request of six prompts of different lengths."""
    tokens = np.random.default_rng(0).integers(3, 64, (6, 12)).astype(np.int32)
    start = np.array([0, 3, 5, 0, 1, 2], np.int32)
    if isinstance(request, Loglikelihood):
        target = np.zeros(tokens.shape, bool)
        target[:, 8:] = True
        return Asked(request, (LoglikelihoodBatch(tokens, start, target),))
    return Asked(request, (GenerateBatch(tokens, start),))


def genotypes(space: Any) -> np.ndarray:
    """Eight genotypes within the bounds."""
    share = np.random.default_rng(1).uniform(0.2, 0.8, (8, space.dims))
    return (space.lower + share * (space.upper - space.lower)).astype(np.float32)


def weights(made: Any, space: Any) -> list[np.ndarray]:
    """The merged weights of all candidates, each leaf with the candidates first."""
    every, step = [], made.chunk * made.workload.genotypes.shape[0] // made.chunk
    for first in range(0, 8, step):
        merged = made.merge(genotypes(space)[first : first + step])
        axes = made.workload.candidates.axes
        moved = jax.tree.map(
            lambda leaf, axis: np.moveaxis(np.asarray(leaf), axis, 0), merged, axes
        )
        every.append(jax.tree.leaves(moved))
    return [np.concatenate(leaves) for leaves in zip(*every, strict=True)]


def merges(operator: Any, meshes: Sequence[str], **given: Any) -> dict[str, Any]:
    """How merged weights differ on each mesh, and the collectives of the program."""
    alone = weights(*evaluator(operator, "1x1", **given))
    found = {}
    for shape in meshes:
        made, space = evaluator(operator, shape, **given)
        there = weights(made, space)
        apart = np.concatenate([np.abs(a - b).ravel() for a, b in zip(alone, there, strict=True)])
        text = made.workload.merge.lower(
            made.workload.buffer, made.workload.materials, made.workload.genotypes, np.int32(1)
        )
        collectives = [
            kind
            for kind in ("all-reduce", "all-gather", "all-to-all", "collective-permute")
            if f" {kind}(" in text.compile().as_text()
        ]
        split = made._params["layers"][0]["self_attn"]["q_proj"]["weight"]
        part = split.addressable_shards[0].data.size * len(split.sharding.device_set) / split.size
        found[shape] = {
            "apart": float(apart.max()),
            "further": float((apart > ROUNDING).mean()),
            "collectives": collectives,
            "held": part,
        }
    return found


def answers(meshes: Sequence[str]) -> dict[str, Any]:
    """How answers and likelihoods differ on each mesh."""
    tasks = {
        "plain": asked(Generate(16, (2,), 0)),
        "continuous": asked(Generate(16, (2,), 0, slots=3)),
        "beams": asked(Generate(8, (2,), 0, beams=2)),
        "likelihood": asked(Loglikelihood()),
    }

    def run(shape: str) -> dict[str, np.ndarray]:
        made, space = evaluator(operators.dare_ties(), shape, tasks=tasks)
        step, every = made.workload.genotypes.shape[0], genotypes(space)
        parts = [
            {name: made.outputs(every[first : first + step], name)[0] for name in tasks}
            for first in range(0, 8, step)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in tasks}

    alone, found = run("1x1"), {}
    for shape in meshes:
        there = run(shape)
        found[shape] = {name: float(np.abs(alone[name] - there[name]).max()) for name in tasks}
    return found


def every() -> dict[str, Any]:
    """Each operator by name, with what differs from the usual sources."""
    made = {factory.__name__: (factory(), {}) for factory in FACTORIES}
    made |= {
        "choice": (operators.choice({"a": operators.ties(), "b": operators.linear()}), {}),
        "fisher": (operators.fisher(data="none"), {}),
        "regmean": (operators.regmean(data="none"), {}),
    }
    adapters = {"sources": [adapter(1), adapter(2)], "adapted": True}
    made["ties of adapters"] = operators.ties(), adapters
    made["knots of adapters"] = operators.knots(), adapters
    return made


if __name__ == "__main__":
    what, shapes, *names = sys.argv[1:]
    if what == "answers":
        print(json.dumps(answers(shapes.split(","))))
    else:
        for name, (operator, given) in every().items():
            if name in names:
                print(json.dumps({name: merges(operator, shapes.split(","), **given)}), flush=True)
