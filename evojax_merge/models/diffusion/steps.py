"""The steps of a sampler as numbers.

Every sampler here is a linear map at each step: of the latents, of what the UNet gives, and of the
clean latents of earlier steps.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from evojax_merge.models.diffusion.schedule import Kind, Sampler, Schedule

_Row = Shaped[np.ndarray, " steps"]

_ALMOST_ZERO = 2.0**-24
"""What ᾱ is taken for where it is 0 and is divided by, as in diffusers."""


class Steps(NamedTuple):
    """The numbers of each step, of which the UNet is given ``timestep`` and ``scale`` · latents.

    From its output follow the clean latents, and from these the latents of the next step::

        clean = of_latents · latents + of_output · output
        next = keep · latents + towards · clean + Σ before_j · clean_j + noise · noise

    where clean_j is what clean was j steps before. In the place of the clean latents ``pndm`` has
    the output itself.
    """

    timestep: Float32[np.ndarray, " steps"]
    scale: Float32[np.ndarray, " steps"]
    of_latents: Float32[np.ndarray, " steps"]
    of_output: Float32[np.ndarray, " steps"]
    keep: Float32[np.ndarray, " steps"]
    towards: Float32[np.ndarray, " steps"]
    before: Float32[np.ndarray, "steps remembered"]
    noise: Float32[np.ndarray, " steps"]


@functools.lru_cache
def steps_of(sampler: Sampler) -> Steps:
    """Compute the numbers of a sampler's steps."""
    found = _METHODS[sampler.kind](sampler.schedule, sampler.steps)
    steps = Steps(*(row.astype(np.float32) for row in found))
    return steps._replace(before=steps.before.reshape(len(steps.before), -1))


@functools.lru_cache
def initial_sigma(sampler: Sampler) -> float:
    """Compute the standard deviation of the noise that a sampler begins with."""
    if sampler.kind != "euler":
        return 1.0
    schedule = sampler.schedule
    _, sigmas = _noise_levels(schedule, _euler_times(schedule, sampler.steps))
    most = np.float32(sigmas.max())
    return float(np.hypot(most, 1) if schedule.timestep_spacing == "leading" else most)


def _euler(schedule: Schedule, steps: int) -> tuple[_Row, ...]:
    """Return the steps of Euler's method in σ (Karras et al., 2022, arXiv 2206.00364)."""
    times, sigmas = _noise_levels(schedule, _euler_times(schedule, steps))
    now, following = sigmas[:-1], sigmas[1:]
    square = now**2 + 1
    match schedule.prediction_type:
        case "epsilon":
            clean = np.ones(steps), -now
        case "v_prediction":
            clean = 1 / square, -now / np.sqrt(square)
        case "sample":
            clean = np.zeros(steps), np.ones(steps)
    ratio = following / now
    zeros = np.zeros(steps)
    return times, 1 / np.sqrt(square), *clean, ratio, 1 - ratio, zeros, zeros


def _ddim(schedule: Schedule, steps: int) -> tuple[_Row, ...]:
    """Return the steps without noise of DDIM (Song et al., 2020, arXiv 2010.02502, eq. 12)."""
    times = _ddim_times(schedule, steps)
    hops = _ddim_hops(schedule, times, times - schedule.num_train_timesteps // steps)
    zeros, ones = np.zeros(steps), np.ones(steps)
    return times, ones, *hops, zeros, zeros


# The weights of what the UNet gives and gave in earlier calls, the last one first. The second call
# takes the first step again and counts in no later one.
_PNDM_STARTS = (
    (1, 0, 0, 0, 0),
    (1 / 2, 1 / 2, 0, 0, 0),
    (3 / 2, 0, -1 / 2, 0, 0),
    (23 / 12, -16 / 12, 0, 5 / 12, 0),
    (55 / 24, -59 / 24, 37 / 24, 0, -9 / 24),
)
_PNDM_GOES_ON = (55 / 24, -59 / 24, 37 / 24, -9 / 24, 0)


def _pndm(schedule: Schedule, steps: int) -> tuple[Shaped[np.ndarray, "steps ..."], ...]:
    """Return the calls of PLMS (Liu et al., 2022, arXiv 2202.09778, equations 9 and 12).

    Without the paper's Runge-Kutta steps, as diffusers has it with ``skip_prk_steps``, the first
    step is of first order. It is taken again with the mean of what the UNet gives at its two ends,
    so that two steps and more are one call more. The step again begins where the first one did,
    which is undone for that.
    """
    each = schedule.num_train_timesteps // steps
    begin = times = _ddim_times(schedule, steps)
    end = begin - each
    if steps > 1:
        times = np.insert(times, 1, times[1])
        begin = np.insert(begin, 1, times[1] + each)
        end = np.insert(end, 1, times[1])
    calls = len(times)
    of_latents, of_output, keep, towards = _ddim_hops(schedule, begin, end)
    kept, moved = keep + towards * of_latents, towards * of_output
    rest = [_PNDM_GOES_ON] * max(calls - len(_PNDM_STARTS), 0)
    weights = moved[:, None] * np.array([*_PNDM_STARTS, *rest])[:calls]
    if steps > 1:
        kept[1] /= kept[0]
        weights[1, 1] -= kept[1] * moved[0]
    zeros, ones = np.zeros(calls), np.ones(calls)
    return times, ones, zeros, ones, kept, weights[:, 0], weights[:, 1:], zeros


def _ddim_times(schedule: Schedule, steps: int) -> np.ndarray:
    last = schedule.num_train_timesteps - 1
    return _whole_times(schedule, steps, np.linspace(0, last, steps))


def _ddim_hops(
    schedule: Schedule, begin: np.ndarray, end: np.ndarray
) -> tuple[_Row, _Row, _Row, _Row]:
    """Return of_latents, of_output, keep and towards of hops between times.

    Args:
        schedule: The noise.
        begin: The times where hops begin.
        end: The times where they end; below 0, where there is no time any more.
    """
    alphas = schedule.alphas_cumprod().astype(np.float64)
    last = 1.0 if schedule.set_alpha_to_one else alphas[0]
    following = np.where(end >= 0, alphas[np.maximum(end, 0)], last)
    signal, sigma = np.sqrt(alphas[begin]), np.sqrt(1 - alphas[begin])
    keep = np.sqrt(1 - following) / sigma
    return *_clean(schedule, signal, sigma), keep, np.sqrt(following) - signal * keep


def _dpmpp_2m(schedule: Schedule, steps: int) -> tuple[_Row, ...]:
    """Return the steps of DPM-Solver++(2M) (Lu et al., 2022, arXiv 2211.01095, algorithm 2).

    The first step is of first order. So is the last one if there are fewer than 15, or if it leaves
    no noise.
    """
    last = schedule.num_train_timesteps - 1
    if schedule.timestep_spacing == "leading":
        each = schedule.num_train_timesteps // (steps + 1)
        times = np.arange(steps, 0, -1) * each + schedule.steps_offset
    else:
        times = _whole_times(schedule, steps, np.linspace(0, last, steps + 1)[1:])
    timestep, sigmas = _noise_levels(schedule, times, widest=True)
    timestep = timestep.round()
    signal = 1 / np.sqrt(sigmas**2 + 1)
    sigma = sigmas * signal
    with np.errstate(divide="ignore"):
        log_ratio = -np.log(sigmas)
    hops = np.diff(log_ratio)
    towards = -signal[1:] * np.expm1(-hops)
    second = np.zeros(steps)
    second[1:] = 0.5 * hops[1:] / hops[:-1]
    if steps < 15 or sigmas[-1] == 0:
        second[-1] = 0
    clean = _clean(schedule, signal[:-1], sigma[:-1])
    keep = sigma[1:] / sigma[:-1]
    zeros, ones = np.zeros(steps), np.ones(steps)
    return timestep, ones, *clean, keep, towards * (1 + second), -towards * second, zeros


def _lcm(schedule: Schedule, steps: int) -> tuple[_Row, ...]:
    """Return the steps of a latent consistency model (Luo et al., 2023, arXiv 2310.04378)."""
    count = schedule.original_inference_steps
    known = np.arange(count, 0, -1) * (schedule.num_train_timesteps // count) - 1
    times = known[np.floor(np.linspace(0, count, steps, endpoint=False)).astype(np.int64)]
    alphas = schedule.alphas_cumprod().astype(np.float64)
    signal, sigma = np.sqrt(alphas[times]), np.sqrt(1 - alphas[times])
    following = np.append(alphas[times[1:]], 1.0)
    scaled = times * schedule.timestep_scaling
    skip = 0.25 / (scaled**2 + 0.25)
    out = scaled / np.sqrt(scaled**2 + 0.25)
    keep, towards = np.sqrt(following) * skip, np.sqrt(following) * out
    zeros, ones = np.zeros(steps), np.ones(steps)
    clean = _clean(schedule, signal, sigma)
    return times, ones, *clean, keep, towards, zeros, np.sqrt(1 - following)


_METHODS: Mapping[Kind, Callable[[Schedule, int], tuple[_Row, ...]]] = {
    "euler": _euler,
    "ddim": _ddim,
    "pndm": _pndm,
    "dpmpp_2m": _dpmpp_2m,
    "lcm": _lcm,
}


def _clean(schedule: Schedule, signal: _Row, sigma: _Row) -> tuple[_Row, _Row]:
    """Return the factors of latents signal · clean + sigma · noise, and of the UNet's output."""
    match schedule.prediction_type:
        case "epsilon":
            return 1 / signal, -sigma / signal
        case "v_prediction":
            return signal, -sigma
        case "sample":
            return np.zeros_like(signal), np.ones_like(signal)


def _whole_times(
    schedule: Schedule, steps: int, linspace: Float64[np.ndarray, " steps"]
) -> np.ndarray:
    """Return the times of steps as whole numbers, the latest first."""
    return _times(schedule, steps, linspace.round()).astype(np.int64)


def _euler_times(schedule: Schedule, steps: int) -> np.ndarray:
    last = schedule.num_train_timesteps - 1
    return _times(schedule, steps, np.linspace(0, last, steps, dtype=np.float32))


def _times(schedule: Schedule, steps: int, linspace: np.ndarray) -> np.ndarray:
    total = schedule.num_train_timesteps
    match schedule.timestep_spacing:
        case "linspace":
            return linspace[::-1]
        case "leading":
            return np.arange(steps - 1, -1, -1) * (total // steps) + schedule.steps_offset
        case "trailing":
            # Rounding gives one number too many for some numbers of steps.
            return np.arange(total, 0, -(total / steps))[:steps].round() - 1


def _noise_levels(
    schedule: Schedule, times: np.ndarray, widest: bool = False
) -> tuple[_Row, Float64[np.ndarray, " more"]]:
    """Return the times of steps, and σ = √((1 − ᾱ)/ᾱ) of each and of the end.

    Args:
        schedule: The noise.
        times: The times of the steps, but for Karras' spacing, which has times of its own.
        widest: Whether Karras' spacing is between the first and the last time of training, instead
            of the steps' own.
    """
    alphas = schedule.alphas_cumprod()
    if schedule.rescale_betas_zero_snr:
        alphas[-1] = _ALMOST_ZERO
    known = np.sqrt((np.float32(1) - alphas) / alphas)
    sigmas = np.interp(times, np.arange(len(known)), known)
    if schedule.use_karras_sigmas:
        first, last = (known[-1], known[0]) if widest else (sigmas[0], sigmas[-1])
        sigmas = _karras(float(first), float(last), len(times))
        times = np.interp(np.log(sigmas), np.log(known), np.arange(len(known)))
    end = known[0] if schedule.final_sigmas_type == "sigma_min" else 0.0
    rounded = np.append(sigmas, end).astype(np.float32)
    return times.astype(np.float64), rounded.astype(np.float64)


def _karras(first: float, last: float, steps: int) -> _Row:
    """Return noise levels that are spaced evenly in σ^(1/7)."""
    return (first ** (1 / 7) + np.linspace(0, 1, steps) * (last ** (1 / 7) - first ** (1 / 7))) ** 7
