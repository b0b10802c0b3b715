"""What a search on LLaVA-1.6-Mistral-7B needs in memory, from the compiler and from shapes alone.

    python experiments/benchmarks/seeing_memory.py --target h200.txtpb

The programs are those of ``+experiment=evovlm_jp`` in bfloat16: tower and projector before the
search, the merge of Shisa Gamma and LLaVA onto Mistral by dare_ties, here with parameter_groups,
and the answers to ``ITEMS`` questions about a picture of 576 features each, here greedy ones. No
weights are needed.
``--target`` names a description of a CUDA device (GpuTargetConfigProto as text, as in openxla/xla,
xla/backends/gpu/target_config/specs) and needs the packages jax-cuda12-plugin and jax-cuda12-pjrt,
but no device. Without it the compiler is the processor's, which computes bfloat16 by way of
float32 and so overstates what a program takes beside its arguments.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from measure import Row, main, row

from evojax_merge.measuring.candidates import whole_models
from evojax_merge.measuring.programs import merging_program, population_shapes, running_program
from evojax_merge.models.family import DECODER, LLAVA
from evojax_merge.models.llava.modeling import features
from evojax_merge.models.request import Generate, Pixels
from evojax_merge.operators import dare_ties, merge
from evojax_merge.params.tree import unflatten
from evojax_merge.spaces import ParameterSpace

ITEMS, SLOTS = 500, 64
FEATURES, TEXT, NEW = 576, 128, 512
IMAGE_TOKEN, ROWS = 32_000, 32_064
TILES = 64
GROUPS = {"attention": ["attention"], "mlp": ["mlp"], "rest": "*"}
MODEL = {
    "model_type": "llava_next",
    "architectures": ["LlavaNextForConditionalGeneration"],
    "image_token_index": IMAGE_TOKEN,
    "text_config": {
        "model_type": "mistral",
        "vocab_size": ROWS,
        "num_key_value_heads": 8,
        "intermediate_size": 14_336,
        "max_position_embeddings": 32_768,
        "rope_theta": 1e6,
        "sliding_window": None,
    },
}


def device_of(target: Path | None) -> Any:
    if target is None:
        return jax.devices()[0]
    topology = topologies.get_topology_desc(
        platform="cuda", topology_name="", target_config=target.read_text(), topology="1x1x1"
    )
    return topology.devices[0]


def bytes_of(tree: Any) -> int:
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def benchmark(target: Path | None = None) -> list[Row]:
    device = device_of(target)
    mesh = Mesh(np.array([[device]]), ("pop", "model"), axis_types=(AxisType.Auto,) * 2)
    where = "CPU" if target is None else device.device_kind
    whole = LLAVA.config_from_hf(MODEL)
    config = whole.text

    def array(*shape: int, dtype: Any = jnp.int32, axes: P | None = None) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, axes or P())
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def tree(family: Any, config: Any) -> Any:
        shapes = family.layout(config).shapes.items()
        return unflatten({path: array(*shape, dtype=jnp.bfloat16) for path, shape in shapes})

    model = tree(DECODER, config)
    eyes = tree(LLAVA, LLAVA.only(whole, ("vision_tower", "projector")))
    candidates = whole_models(DECODER.layout(config))
    formed, layout = jax.eval_shape(candidates.form, model), DECODER.layout(config)
    buffer = population_shapes(formed, candidates.axes, 1, mesh, layout)
    rows = [
        row("language model, bfloat16", bytes_of(model) / 1e9, "GB"),
        row("tower and projector, bfloat16", bytes_of(eyes) / 1e9, "GB"),
        row(f"features of {ITEMS} pictures", ITEMS * FEATURES * config.hidden_size * 2e-9, "GB"),
    ]

    def measured(name: str, lowered: Any) -> None:
        found = lowered.compile().memory_analysis()
        rows.append(row(f"{name}, arguments, {where}", found.argument_size_in_bytes / 1e9, "GB"))
        rows.append(row(f"{name}, beside them, {where}", found.temp_size_in_bytes / 1e9, "GB"))
        print(rows[-2]["name"], rows[-2]["value"], rows[-1]["value"], flush=True)

    operator = dare_ties()
    space = ParameterSpace(operator, DECODER.layout(config), ("llava", "shisa"), groups=GROUPS)
    stacked = DECODER.layout(config).stacked
    statistics = dict.fromkeys(DECODER.layout(config).leaves, ((), ()))  # it needs none

    def merge_fn(materials: Any, genotype: Any) -> Any:
        base, sources = materials
        coefficients = space.expand(space.decode(genotype))
        return merge(
            operator,
            base,
            sources,
            coefficients,
            statistics,
            0,
            np.dtype(jnp.bfloat16),
            stacked=stacked,
        )

    side = whole.vision.image_size
    pixels = Pixels(*(np.ones(3, np.float32),) * 2)
    see = jax.jit(lambda params, tiles: features(whole, params, tiles, pixels))
    tiles = array(TILES, 3, side, side, dtype=jnp.uint8)
    measured("tower and projector", see.lower(eyes, tiles))
    genotypes = array(1, space.dims, dtype=jnp.float32, axes=P("pop"))
    merging = merging_program(merge_fn, candidates, buffer, mesh)
    materials = (model, (model, model))
    measured("merge", merging.lower(buffer, materials, genotypes, array()))
    request = Generate(NEW, (2,), 0, slots=SLOTS, image_token_id=IMAGE_TOKEN)
    program = DECODER.ability(request).program(config, request, candidates.param_axes)
    seen = array(ITEMS, FEATURES, config.hidden_size, dtype=jnp.bfloat16)
    batch = (array(ITEMS, FEATURES + TEXT), array(ITEMS), seen)
    measured("answers", running_program(program, candidates, mesh).lower(buffer, (), *batch))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, help="description of a CUDA device")
    main(benchmark, parser)
