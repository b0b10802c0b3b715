"""What a search over four SDXL needs in memory and arithmetic, from the compiler and from shapes.

    python experiments/benchmarks/drawing_memory.py --target h100.txtpb

The programs are those of ``+experiment=evosdxl_jp`` in bfloat16: the merge of four UNets by linear
in two groups, and ``PROMPTS`` pictures of 1024 × 1024 pixels in four steps without guidance, whose
VAE decodes in float32. No judge looks at them. No weights are needed. ``--target`` names a
description of a CUDA device and needs two packages (see `seeing_memory`), but no device. Without it
nothing is compiled. The floating-point operations are those of products of matrices and of
convolutions, two for each multiplication and addition, and of the merge all that XLA counts.
"""

import argparse
import math
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from measure import Row, main, row
from seeing_memory import bytes_of, device_of

from evojax_merge.fitness.base import DrawBatch
from evojax_merge.measuring.candidates import whole_models
from evojax_merge.measuring.programs import merging_program, population_shapes, running_program
from evojax_merge.models.ability import Common, PerItem
from evojax_merge.models.diffusion.conditions import Conditions
from evojax_merge.models.diffusion.drawing import decoded
from evojax_merge.models.diffusion.schedule import Sampler
from evojax_merge.models.family import UNET, VAE
from evojax_merge.models.request import Draw, Drawing
from evojax_merge.operators import linear, merge
from evojax_merge.params.tree import unflatten
from evojax_merge.spaces import ParameterSpace

PROMPTS, STEPS, SIDE, TOKENS = 32, 4, 1024, 77
ROWS = (8, 32)
NAMES = ("sdxl", "dpo", "juggernaut", "jsdxl")
GROUPS = {"attention": ["attention"], "rest": "*"}
MODEL = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
PICTURES = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "scaling_factor": 0.13025,
}
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def products(jaxpr: Any) -> int:
    """The operations of a program's products and convolutions, of loops as often as they run."""
    found = 0
    for eqn in jaxpr.eqns:
        out = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
        if eqn.primitive.name == "dot_general":
            (summed, _), _ = eqn.params["dimension_numbers"]
            found += 2 * out * math.prod(eqn.invars[0].aval.shape[axis] for axis in summed)
        elif eqn.primitive.name == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            filters = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
            found += 2 * out * math.prod(kernel) // filters
        assert eqn.primitive.name != "while", "how often it runs is not known"
        times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        found += times * sum(map(products, jaxprs_in_params(eqn.params)))
    return found


def benchmark(target: Path | None = None) -> list[Row]:
    device = device_of(target)
    mesh = Mesh(np.array([[device]]), ("pop", "model"), axis_types=(AxisType.Auto,) * 2)
    config, pictures = UNET.config_from_hf(MODEL), VAE.config_from_hf(PICTURES)
    layout = UNET.layout(config)
    candidates = whole_models(layout)

    def array(*shape: int, dtype: Any = jnp.float32, axes: P | None = None) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, axes or P()))

    model = unflatten(
        {path: array(*shape, dtype=jnp.bfloat16) for path, shape in layout.shapes.items()}
    )
    shapes = VAE.layout(pictures).shapes.items()
    whole = unflatten({path: array(*shape) for path, shape in shapes})
    vae = {name: whole[name] for name in ("decoder", "post_quant_conv")}
    buffer = population_shapes(model, candidates.axes, 1, mesh, layout)
    context, pooled = config.context_width, config.pooled_width
    told = Conditions(array(PROMPTS, TOKENS, context), array(PROMPTS, pooled), array(PROMPTS, 6))
    seeds = array(PROMPTS, dtype=jnp.uint32)
    batch = DrawBatch(PerItem(told), seeds, PerItem(()), Common(Drawing({"vae": vae})))
    rows = [
        row("UNet, bfloat16", bytes_of(model) / 1e9, "GB"),
        row("decoder of the VAE, float32", bytes_of(vae) / 1e9, "GB"),
        row(f"conditions of {PROMPTS} prompts", bytes_of(told) / 1e9, "GB"),
    ]
    for entry in rows:
        print(entry["name"], entry["value"], flush=True)

    def say(name: str, value: float, unit: str) -> None:
        rows.append(row(name, value, unit))
        print(name, value, unit, flush=True)

    def measured(name: str, lowered: Any) -> None:
        found = lowered.compile().memory_analysis()
        where = device.device_kind
        say(f"{name}, arguments, {where}", found.argument_size_in_bytes / 1e9, "GB")
        say(f"{name}, results, {where}", found.output_size_in_bytes / 1e9, "GB")
        say(f"{name}, beside them, {where}", found.temp_size_in_bytes / 1e9, "GB")

    operator = linear()
    space = ParameterSpace(operator, layout, NAMES, groups=GROUPS, normalize=True)
    statistics = dict.fromkeys(layout.leaves, ())  # it needs none

    def merge_fn(sources: Any, genotype: Any) -> Any:
        coefficients = space.expand(space.decode(genotype))
        dtype = np.dtype(jnp.bfloat16)
        return merge(
            operator, None, sources, coefficients, statistics, 0, dtype, stacked=layout.stacked
        )

    sources = (model,) * len(NAMES)
    plain = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), sources)
    genotype = jax.ShapeDtypeStruct((space.dims,), jnp.float32)
    cost = jax.jit(merge_fn).lower(plain, genotype).cost_analysis()
    say("merge of a candidate", cost["flops"] / 1e12, "TFLOP")

    def program(rows: int) -> tuple[Draw, Any]:
        sampler = Sampler.from_hf(SCHEDULER, STEPS, kind="euler", timestep_spacing="trailing")
        request = Draw(
            sampler=sampler, guidance=0, height=SIDE, width=SIDE, vae=pictures, rows=rows
        )
        own = UNET.ability(request).program(config, request, candidates.param_axes)
        return request, running_program(own, candidates, mesh)

    # The package asks which platform it is on where programs differ: that of the target.
    with patch.object(jax, "default_backend", return_value="gpu"):
        _, drawing = program(ROWS[0])
        say(
            f"{PROMPTS} pictures of a candidate",
            products(jax.make_jaxpr(drawing)(buffer, (), *batch).jaxpr) / 1e12,
            "TFLOP",
        )
        latents = array(PROMPTS, pictures.latent_channels, SIDE // 8, SIDE // 8)
        decode = jax.make_jaxpr(lambda params, x: decoded(pictures, params, x))(vae, latents)
        say("of these, the VAE's, in float32", products(decode.jaxpr) / 1e12, "TFLOP")
        if target is None:
            return rows
        merging = merging_program(merge_fn, candidates, buffer, mesh)
        genotypes = array(1, space.dims, axes=P("pop"))
        measured("merge", merging.lower(buffer, sources, genotypes, array(dtype=jnp.int32)))
        for count in ROWS:
            request, drawing = program(count)
            name = f"pictures, {count} at a time"
            estimate = UNET.ability(request).bytes(config, request, batch, 2)
            say(f"{name}, beside them, as a search estimates", estimate / 1e9, "GB")
            measured(name, drawing.lower(buffer, (), *batch))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, help="description of a CUDA device")
    main(benchmark, parser)
