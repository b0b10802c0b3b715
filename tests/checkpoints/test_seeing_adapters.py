"""LoRA adapters of models that see: every spelling of their names is read onto every base."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from evojax_merge.checkpoints import (
    Checkpoint,
    CheckpointError,
    default_parts,
    load,
    load_adapter,
    load_adapter_config,
    load_config,
    take_parts,
)
from evojax_merge.models.seeing.config import PARTS
from evojax_merge.params.low_rank import materialise
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Params
from tests.adapters_factory import PREFIX, adapter_tensors, task_vectors, write_adapter
from tests.llava_factory import Spelling, llava_config, write_llava

CONFIG = llava_config()
TARGETS = ("q_proj", "down_proj", "lm_head")
TRANSFORMERS_5 = ("model.language_model.", "lm_head")
SPELLINGS = (
    TRANSFORMERS_5,
    ("language_model.model.", "language_model.lm_head"),
    ("language_model.", "lm_head"),
    ("model.", "lm_head"),  # trained on the language model by itself
)


@pytest.fixture(scope="module", params=["hub", "file", "memory"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The language model of a LLaVA."""
    spelling: Spelling = request.param
    folder = tmp_path_factory.mktemp(spelling)
    write_llava(folder, CONFIG, spelling=spelling)
    whole = load_config(folder)
    return take_parts(whole, default_parts(whole))


def respelled(
    tensors: Mapping[str, np.ndarray], spelling: tuple[str, str]
) -> dict[str, np.ndarray]:
    """Factors under the names that PEFT gives them for a LLaVA."""
    layers, head = spelling
    plain = {name.removeprefix(PREFIX): leaf for name, leaf in tensors.items()}
    return {
        PREFIX
        + (
            name.replace("lm_head", head) if "lm_head" in name else layers + name.split(".", 1)[1]
        ): (leaf)
        for name, leaf in plain.items()
    }


def text_tensors() -> dict[str, np.ndarray]:
    return adapter_tensors(CONFIG["text_config"], targets=TARGETS)


def merged(directory: Path, base: Checkpoint) -> Params:
    adapter = load_adapter(load_adapter_config(directory, base), load(base))
    return materialise(load(base).params, adapter.params)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=["5", "4", "short", "alone"])
def test_every_spelling_is_read(
    base: Checkpoint, spelling: tuple[str, str], tmp_path: Path
) -> None:
    text = text_tensors()
    config = {"target_modules": list(TARGETS)}
    write_adapter(tmp_path, respelled(text, spelling), **config)
    found, before = (flatten(tree) for tree in (merged(tmp_path, base), load(base).params))
    added = task_vectors(text, lambda module: 6 / 4)
    for layer in range(2):
        for name in ("self_attn.q_proj", "mlp.down_proj"):
            expected = added[f"model.layers.{layer}.{name}.weight"]
            path = f"layers.{name}.weight"
            difference = np.asarray(found[path][layer]) - before[path][layer]
            np.testing.assert_allclose(difference, expected, rtol=0, atol=1e-5)
    difference = np.asarray(found["lm_head.weight"]) - before["lm_head.weight"]
    np.testing.assert_allclose(difference, added["lm_head.weight"], rtol=0, atol=1e-5)


def test_ranks_are_found_by_the_names_of_the_adapter(base: Checkpoint, tmp_path: Path) -> None:
    module = "model.language_model.layers.0.self_attn.q_proj"
    text = adapter_tensors(CONFIG["text_config"], ranks={"model.layers.0.self_attn.q_proj": 2})
    write_adapter(tmp_path, respelled(text, TRANSFORMERS_5), rank_pattern={module: 2})
    assert {pair.rank for pair in load_adapter_config(tmp_path, base).pairs} == {2, 4}


def test_one_matrix_under_two_spellings_is_refused(base: Checkpoint, tmp_path: Path) -> None:
    text = text_tensors()
    both = respelled(text, SPELLINGS[0]) | respelled(text, SPELLINGS[1])
    write_adapter(tmp_path, both)
    with pytest.raises(CheckpointError, match=r"adapts .* twice, under two spellings"):
        load_adapter_config(tmp_path, base)


@pytest.mark.parametrize("tower", ["model.vision_tower.", "vision_tower.vision_model."])
def test_adapters_of_parts_that_are_not_merged_are_one_error(
    base: Checkpoint, tower: str, tmp_path: Path
) -> None:
    tensors = respelled(text_tensors(), TRANSFORMERS_5)
    for layer in range(3):
        _add(tensors, f"{tower}encoder.layers.{layer}.self_attn.q_proj", 24, 24)
    _add(tensors, "model.multi_modal_projector.linear_1", 32, 24)
    write_adapter(tmp_path, tensors)
    with pytest.raises(CheckpointError, match="adapts the vision_tower and the projector") as error:
        load_adapter_config(tmp_path, base)
    assert "add vision_tower, projector to model.parts" in str(error.value)
    assert "\n" not in str(error.value)


def test_adapters_of_all_parts_are_read_where_all_are_merged(
    base: Checkpoint, tmp_path: Path
) -> None:
    assert base.carrier is not None
    whole = take_parts(base.carrier, PARTS)
    tensors = respelled(text_tensors(), TRANSFORMERS_5)
    _add(tensors, "model.vision_tower.encoder.layers.1.self_attn.q_proj", 24, 24)
    _add(tensors, "model.multi_modal_projector.linear_1", 32, 24)
    write_adapter(tmp_path, tensors)
    found, before = (flatten(tree) for tree in (merged(tmp_path, whole), load(whole).params))
    changed = {
        path for path, leaf in found.items() if not np.array_equal(np.asarray(leaf), before[path])
    }
    assert changed == {
        "language_model.layers.self_attn.q_proj.weight",
        "language_model.layers.mlp.down_proj.weight",
        "language_model.lm_head.weight",
        "vision_tower.layers.self_attn.q_proj.weight",
        "projector.linear_1.weight",
    }


def _add(tensors: dict[str, np.ndarray], module: str, rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    for side, shape in (("A", (4, columns)), ("B", (rows, 4))):
        value = rng.standard_normal(shape).astype(np.float32)
        tensors[f"{PREFIX}{module}.lora_{side}.weight"] = value
