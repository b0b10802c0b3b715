"""One step of a UNet of SDXL's kind, and SDXL's autoencoder: ours against diffusers' torch models.

    python experiments/benchmarks/unet.py --cores 1 --out unet.json

The UNet has 98 M parameters. Two latents are denoised in float32, with 77 tokens each. The
autoencoder is SDXL's with its 84 M parameters; it encodes and decodes one picture in float32.
Results are compared before anything is timed. Convolutions are ours with channels last; single ones
are also measured with channels first. Times are those of the processor, which are those of the wall
on one idle core.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import jax
import jax.numpy as jnp
import numpy as np
import torch
from measure import Row, cores, costs_in_turn, main, row

from evojax_merge.models.family import UNET, VAE, Family
from evojax_merge.models.vae.modeling import decode, encode
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Params

BATCH, TOKENS, POOLED, REPEATS = 2, 77, 128, 5
SIZES, PICTURES = (16, 32), (128, 256)
CONFIG = {
    "block_out_channels": [96, 192, 384],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [3, 6, 12],
    "transformer_layers_per_block": [1, 2, 3],
    "cross_attention_dim": 512,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 64,
    "projection_class_embeddings_input_dim": 6 * 64 + POOLED,
}
VAE_CONFIG = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}
PEER = f"diffusers {diffusers.__version__} with torch {torch.__version__.partition('+')[0]}"


def read(family: Family, config: Mapping[str, Any], model: torch.nn.Module) -> Params:
    """The parameters of a torch model, as the family has them."""
    layout = family.layout(family.config_from_hf(config))
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    leaves = {path: np.zeros(shape, np.float32) for path, shape in layout.shapes.items()}
    for name, slot in layout.slots.items():
        leaves[slot.path][... if slot.layer is None else slot.layer] = tensors[name]
    return unflatten({path: jnp.asarray(leaf) for path, leaf in leaves.items()})


def forward_rows(size: int) -> list[Row]:
    """The time of one prediction for latents of a height and width."""
    torch.manual_seed(0)
    model = diffusers.UNet2DConditionModel(**CONFIG).eval()
    params = read(UNET, CONFIG, model)
    rng = np.random.default_rng(0)
    shapes = ((4, size, size), (TOKENS, 512), (POOLED,), (6,))
    latents, context, pooled, sizes = (
        rng.standard_normal((BATCH, *shape)).astype(np.float32) for shape in shapes
    )
    timesteps = np.array([3, 871])
    given = [torch.from_numpy(part) for part in (latents, timesteps, context)]
    added = {"text_embeds": torch.from_numpy(pooled), "time_ids": torch.from_numpy(sizes)}
    forward = jax.jit(functools.partial(UNET.forward, UNET.config_from_hf(CONFIG)))
    inputs = [jnp.asarray(part) for part in (latents, timesteps, context, pooled, sizes)]

    def ours() -> np.ndarray:
        return np.asarray(forward(params, *inputs))

    def theirs() -> np.ndarray:
        with torch.no_grad():
            return model(*given, added_cond_kwargs=added).sample.numpy()

    return [compared(f"unet step {size}×{size}", ours, theirs)]


def autoencoder_rows(side: int) -> list[Row]:
    """The times of encoding a picture of a side, in pixels, and of decoding its latents."""
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(**VAE_CONFIG).eval()
    params, config = read(VAE, VAE_CONFIG, model), VAE.config_from_hf(VAE_CONFIG)
    rng = np.random.default_rng(0)
    picture = rng.uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
    latents = rng.standard_normal((1, 4, side // 8, side // 8)).astype(np.float32)
    given, coded = torch.from_numpy(picture), torch.from_numpy(latents)
    encoded = jax.jit(lambda params, x: jnp.concatenate(encode(config, params, x), axis=1))
    decoded = jax.jit(functools.partial(decode, config))

    def encodes() -> np.ndarray:
        with torch.no_grad():
            return model.encode(given).latent_dist.parameters.numpy()

    def decodes() -> np.ndarray:
        with torch.no_grad():
            return model.decode(coded).sample.numpy()

    name = f"autoencoder {side}×{side}"
    return [
        compared(f"{name}, encode", lambda: np.asarray(encoded(params, picture)), encodes),
        compared(f"{name}, decode", lambda: np.asarray(decoded(params, latents)), decodes),
    ]


def compared(name: str, ours: Callable[[], np.ndarray], theirs: Callable[[], np.ndarray]) -> Row:
    """The processor time of two functions in turn, which compute the same."""
    wanted = theirs()
    assert np.abs(ours() - wanted).max() < 1e-4 * np.abs(wanted).max()
    mine, peer = (work for _, work in costs_in_turn((ours, theirs), REPEATS))
    return row(name, mine, "s", PEER, peer, peer / mine)


def convolution_rows(size: int, channels: int) -> list[Row]:
    """The time of one convolution with channels last and first."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, size, size, channels)).astype(np.float32)
    weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)

    def convolve(layout: str) -> Callable[..., jax.Array]:
        names = (layout, "OIHW", layout)
        same = ((1, 1), (1, 1))
        return jax.jit(
            lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), same, dimension_numbers=names)
        )

    last, first, kernel = convolve("NHWC"), convolve("NCHW"), jnp.asarray(weight)
    pixels, turned = jnp.asarray(x), jnp.asarray(x.transpose(0, 3, 1, 2))
    given, own = torch.from_numpy(np.array(turned)), torch.from_numpy(weight)
    last(pixels, kernel), first(turned, kernel)  # compiled before they are timed
    costs = costs_in_turn(
        (
            lambda: last(pixels, kernel).block_until_ready(),
            lambda: first(turned, kernel).block_until_ready(),
            lambda: torch.nn.functional.conv2d(given, own, padding=1),
        ),
        3 * REPEATS,
    )
    mine, other, peer = (work for _, work in costs)
    name = f"convolution {size}×{size}, {channels} channels"
    return [
        row(f"{name} last", mine, "s", PEER, peer, peer / mine),
        row(f"{name} first", other, "s", PEER, peer, peer / other),
    ]


def benchmark() -> list[Row]:
    torch.set_num_threads(cores())
    rows = [entry for size in SIZES for entry in forward_rows(size)]
    rows += [entry for side in PICTURES for entry in autoencoder_rows(side)]
    for size, channels in ((64, 96), (32, 192), (16, 384)):
        rows += convolution_rows(size, channels)
    return rows


if __name__ == "__main__":
    main(benchmark)
