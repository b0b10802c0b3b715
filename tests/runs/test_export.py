"""What a search measured is what the run leaves behind, to the bit."""

import json

import jax
import numpy as np
import pytest

from evojax_merge import evolve, load
from evojax_merge.runs import parameter
from tests.checkpoints_factory import byte_tokenizer, random_tensors, tiny_config, write_checkpoint


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> list[str]:
    """A run on two fine-tunes of a tiny decoder, each layer apart."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = byte_tokenizer()
    config = tiny_config(vocab_size=len(tokenizer), num_hidden_layers=2)
    base = random_tensors(config, 0)
    for seed, name in enumerate(("base", "a", "b")):
        noise = random_tensors(config, seed)
        tensors = {key: base[key] + 0.1 * seed * noise[key] for key in base}
        write_checkpoint(folder / name, config, tensors=tensors, tokenizer=tokenizer)
    (folder / "items.jsonl").write_text('{"text": "words"}\n{"text": "others"}\n')
    return [
        "fitness=perplexity",
        f"fitness.data={folder / 'items.jsonl'}",
        f"model.base={folder / 'base'}",
        f"model.sources=[{folder / 'a'},{folder / 'b'}]",
        "space=parameter_layers",
        "seed=3",
        "search.evaluations=4",
        "strategy.population_size=4",
        "baselines.published=false",
        "baselines.sources=false",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "operator",
    [
        "karcher",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("dare_ties", "della", "slerp", "ties")),
    ],
)
def test_the_exported_weights_are_the_winning_candidates(settings, tmp_path, monkeypatch, operator):
    made = []
    make = parameter.make_evaluator

    def make_evaluator(experiment, space, *rest):
        made.append((space, make(experiment, space, *rest)))
        return made[-1][1]

    monkeypatch.setattr(parameter, "make_evaluator", make_evaluator)
    run = evolve([*settings, f"operator={operator}"], tmp_path)
    ((space, evaluator),) = made

    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    population = np.array([row["genotype"] for row in rows], np.float32)
    decoded = [jax.jit(space.decode)(genotype) for genotype in population]
    (winner,) = [
        index
        for index, values in enumerate(decoded)
        if all(np.array_equal(values[n], v) for n, v in run.recipe.coefficients.items())
    ]
    step = evaluator.chunk
    chunk = population[winner // step * step :][:step]
    chunk = np.concatenate([chunk, np.repeat(chunk[-1:], step - len(chunk), axis=0)])
    merged = evaluator.merge(chunk)
    exported = load(tmp_path / "export")
    layout = exported.family.layout(exported.config)
    found = jax.tree.map(
        lambda leaf, axis: np.take(np.asarray(leaf), winner % step, axis=axis),
        merged,
        layout.unrolled_axes(),
    )
    jax.tree.map(np.testing.assert_array_equal, found, layout.unroll(exported.params))
