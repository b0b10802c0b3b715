"""A candidate that is split over devices is the one that a single device holds."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from evojax_merge.measuring.mesh import least_split, make_mesh
from evojax_merge.models.family import DECODER, MLP
from evojax_merge.models.split import check_split, shardings
from tests.measuring.on_meshes import CONFIG, LAYOUT, MESHES, every
from tests.processes import WITHOUT_TORCH

ROUNDED = {
    "adarank": 1e-7,
    "della": 2e-7,
    "della_linear": 2e-7,
    "knots": 1e-7,
    "regmean": 1e-7,
    "svc": 1e-7,
    "knots of adapters": 1e-5,
    "ties of adapters": np.inf,
}
"""How far merged weights of some operators are apart on several devices, as docs/pods.md says.

Products of factors are rounded otherwise there. Of those of adapters an element at a threshold may
be kept on one mesh alone.
"""

SUMMED = ("adarank", "knots", "regmean", "svc")
"""The operators that multiply matrices, parts of which devices must tell each other."""


def on_meshes(*arguments):
    """What `tests.measuring.on_meshes` prints, line by line."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.measuring.on_meshes", *arguments],
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
        | {"PATH": "", "PYTHONPATH": ":".join([WITHOUT_TORCH, *sys.path])},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_merges(meshes, *names):
    lines = on_meshes("merges", ",".join(meshes), *names)
    assert len(lines) == len(names)
    for line in lines:
        ((name, found),) = line.items()
        assert tuple(found) == meshes
        for mesh, one in found.items():
            assert one["apart"] <= ROUNDED.get(name, 0.0), (name, mesh)
            assert one["further"] < 1e-3, (name, mesh)
            assert one["held"] == 1.0, (name, mesh)
            if not name.startswith(SUMMED):
                assert not one["collectives"], (name, mesh)


def test_a_split_candidate_has_the_same_bits():
    check_merges(("2x4",), "dare_ties")


@pytest.mark.slow
@pytest.mark.parametrize("name", every())
def test_merged_weights_of_every_operator_are_the_same_on_every_mesh(name):
    check_merges(MESHES, name)


@pytest.mark.slow
def test_answers_are_the_same_on_every_mesh():
    (found,) = on_meshes("answers", ",".join(MESHES))
    assert tuple(found) == MESHES
    for mesh, one in found.items():
        assert one["plain"] == one["continuous"] == one["beams"] == 0.0, mesh
        assert one["likelihood"] < 1e-4, mesh


def test_a_split_does_not_go_through_heads():
    check_split(LAYOUT, 4)
    with pytest.raises(ValueError, match=r"mesh\.model is 3, and the 4 heads .*mesh\.model=2, or"):
        check_split(LAYOUT, 3)
    with pytest.raises(ValueError, match=r"mesh\.model is 8, and the 4 heads .*mesh\.model=4, or"):
        check_split(LAYOUT, 8)


def test_every_leaf_is_found_where_it_stands():
    mesh = jax.sharding.AbstractMesh((2, 4), ("pop", "model"), axis_types=(AxisType.Auto,) * 2)
    base = DECODER.abstract_params(CONFIG)
    statistics = {"layers.mlp.down_proj.weight": (base["layers"]["mlp"]["down_proj"]["weight"],)}
    table = {"layers.self_attn.q_proj.weight": np.zeros((2, 256))}
    materials = base, (base,), statistics, table, np.uint32(0)
    (origin, (source,), ranks, tables, seed) = jax.tree.map(
        lambda sharding: sharding.spec, shardings(materials, LAYOUT, mesh)
    )
    for tree in (origin, source):
        assert tree["layers"]["self_attn"]["q_proj"]["weight"] == P(None, "model")
        assert tree["layers"]["self_attn"]["o_proj"]["weight"] == P(None, None, "model")
        assert tree["layers"]["input_layernorm"]["weight"] == P()
        assert tree["embed_tokens"]["weight"] == P("model")
    assert ranks["layers.mlp.down_proj.weight"] == (P(None, None, "model"),)
    assert tables["layers.self_attn.q_proj.weight"] == P()
    assert seed == P()
    held = jax.eval_shape(
        lambda tree: jax.tree.map(jnp.expand_dims, LAYOUT.unroll(tree), LAYOUT.unrolled_axes()),
        base,
    )
    spread = shardings(held, LAYOUT, mesh, LAYOUT.unrolled_axes())
    layer = spread["layers"][1]
    assert layer["self_attn"]["q_proj"]["weight"].spec == P("pop", "model")
    assert layer["mlp"]["down_proj"]["weight"].spec == P("pop", None, "model")
    assert layer["input_layernorm"]["weight"].spec == P("pop")


def test_the_least_split_that_fits_is_taken():
    assert least_split(8, lambda parts: parts >= 3) == 4
    assert make_mesh(model="auto").shape["model"] == 1
    with pytest.raises(ValueError, match="do not fit on 8 devices, however they are split"):
        least_split(8, lambda parts: False)


def test_a_split_that_splits_nothing_is_refused():
    mlp = MLP.layout(MLP.config_from_hf({"model_type": "mlp", "hidden_sizes": [64, 16, 10]}))
    check_split(mlp, 5)  # the head alone is cut
    with pytest.raises(ValueError, match="no axis of a weight can be divided by it"):
        check_split(mlp, 7)


def test_a_table_of_an_odd_vocabulary_is_cut_along_its_other_axis():
    config = dataclasses.replace(CONFIG, vocab_size=65)
    mesh = jax.sharding.AbstractMesh((1, 4), ("pop", "model"), axis_types=(AxisType.Auto,) * 2)
    where = shardings(DECODER.abstract_params(config), DECODER.layout(config), mesh)
    assert where["embed_tokens"]["weight"].spec == P(None, "model")


def test_devices_without_anything_to_do_are_said():
    device = jax.devices()[0]
    with pytest.warns(UserWarning, match="does not divide 3 devices: 1 of them have nothing to do"):
        assert make_mesh(model=2, devices=[device] * 3).shape == {"pop": 1, "model": 2}
