"""A sampler turns noise into latents, step by step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from evojax_merge.models.diffusion.schedule import Sampler
from evojax_merge.models.diffusion.steps import Steps, initial_sigma, steps_of
from evojax_merge.params.types import Array, Float, Int

Latents = Float[Array, "rows latents latent_height latent_width"]

History = tuple[Latents, ...]
"""The clean latents of earlier steps, the last one first."""

Predict = Callable[[Latents, Float[Array, ""]], Latents]
"""(scaled latents, time) -> what the UNet predicts, see ``prediction_type`` in `Schedule`."""


def sample(
    sampler: Sampler,
    predict_fn: Predict,
    noise: Latents,
    noise_fn: Callable[[Int[Array, ""]], Latents],
) -> Latents:
    """Turn noise into latents. They stay in float32, whatever the precision of the UNet.

    Args:
        sampler: The method, the noise of training and the number of steps.
        predict_fn: The UNet.
        noise: Standard normal noise to begin with.
        noise_fn: A function that gives the standard normal noise that is added after the step of an
            index. Only ``lcm`` calls it.
    """

    def step(
        carry: tuple[Latents, History], now: tuple[Int[Array, ""], Steps]
    ) -> tuple[tuple[Latents, History], None]:
        (latents, history), (index, s) = carry, now
        timestep = jnp.asarray(s.timestep)
        output = predict_fn(jnp.asarray(s.scale) * latents, timestep).astype(jnp.float32)
        clean = s.of_latents * latents + s.of_output * output
        following = s.keep * latents + s.towards * clean
        for weight, earlier in zip(jnp.asarray(s.before), history, strict=True):
            following += weight * earlier
        if sampler.kind == "lcm":
            following += s.noise * noise_fn(index)
        return (following, (clean, *history[:-1])), None

    first = initial_sigma(sampler) * noise.astype(jnp.float32)
    steps = jax.tree.map(jnp.asarray, steps_of(sampler))
    calls, remembered = steps.before.shape
    history = (jnp.zeros_like(first),) * remembered
    (latents, _), _ = jax.lax.scan(step, (first, history), (jnp.arange(calls), steps))
    return latents
