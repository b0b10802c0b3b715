"""One model is measured with no more memory than it takes."""

import gc

import jax

from evojax_merge import load
from evojax_merge.fitness import PerplexityTask
from evojax_merge.measuring import measure as module
from tests.gradient.models import write_decoders, write_items


def test_a_model_is_held_once_besides(tmp_path, monkeypatch):
    write_decoders(tmp_path)
    model = load(tmp_path / "a")
    items = write_items(tmp_path / "items.jsonl", [{"text": "a text"}])
    task = PerplexityTask(data=items).bind(model)
    held = []

    def taken():
        gc.collect()
        return sum(array.nbytes for array in jax.live_arrays())

    def measured(programs, alone, task):
        held.append(taken())
        assert isinstance(alone["layers"], tuple)
        return run(programs, alone, task)

    run = module._measure
    monkeypatch.setattr(module, "_measure", measured)
    before = taken()
    module.measure(model, task)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
    assert held[0] - before <= 1.1 * size
