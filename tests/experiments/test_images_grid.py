"""What the images experiment compares runs with means the same weights as a run."""

import numpy as np
from safetensors import safe_open

from evojax_merge.config import compose
from experiments.images import grid, probe

UNET = grid.SOURCES / "fast" / "diffusion_pytorch_model.safetensors"


def test_groups_are_those_of_the_command() -> None:
    space = compose(["+experiment=images"])["space"]
    assert set(space["groups"]) == set(grid.GROUPS)


def test_every_group_and_every_part_has_tensors_and_weights_of_its_own() -> None:
    with safe_open(UNET, "np") as file:
        paths = list(file.keys())
    by_group = grid.grouped(range(6))
    assert {by_group(path) for path in paths} == {(0, 1), (2, 3), (4, 5)}
    assert by_group("time_embedding.linear_1.weight") == (0, 1)
    assert by_group("down_blocks.0.resnets.0.time_emb_proj.bias") == (0, 1)
    assert {probe.part_of(path) for path in paths} == set(probe.PARTS)
    moved = probe.changed("convolutions up", (1.0, 1.0), (0.0, 2.0))
    assert moved("up_blocks.1.resnets.0.conv1.weight") == (0.0, 2.0)
    assert moved("up_blocks.0.resnets.0.time_emb_proj.weight") == (1.0, 1.0)


def test_weights_of_a_recipe_come_in_the_order_of_the_groups(tmp_path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "segments:\n"
        "- {name: rest, weight: [5, 6]}\n"
        "- {name: embedding, weight: [1, 2]}\n"
        "- {name: attention, weight: [3, 4]}\n"
    )
    assert grid.weights_of(recipe) == [1, 2, 3, 4, 5, 6]


def test_the_sign_test_counts_items_that_one_alone_has_right() -> None:
    one, other = np.array([1.0, 1, 1, 1, 1, 0, 1]), np.array([0.0, 0, 0, 0, 0, 1, 1])
    assert grid.compared(one, other) == "wins 5, loses 1 (p = 0.22)"
    assert grid.compared(one, one) == "wins 0, loses 0 (p = 1)"
