"""The devices of a search, over which ``pop`` spreads candidates and ``model`` one candidate."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh

from evojax_merge.documents.arguments import check_whole
from evojax_merge.measuring.device_memory import Memory
from evojax_merge.models import Layout
from evojax_merge.models.split import MODEL, POP, bytes_per_device, check_split, placed, shardings


def make_mesh(
    pop: int = -1,
    model: int | Literal["auto"] = 1,
    devices: Sequence[jax.Device] | None = None,
    fits: Callable[[int], bool] = lambda parts: True,
) -> Mesh:
    """A ``pop`` × ``model`` mesh over all devices of all processes.

    Args:
        pop: The number of groups of devices that candidates are spread over; with -1, as many as
            there are.
        model: The number of devices of a group, which share the parameters of a candidate; with
            ``auto``, the least that fits.
        devices: The devices; by default, all.
        fits: The function that says whether what each device is given fits on it if a candidate is
            split into so many parts.

    Raises:
        ValueError: The axes do not fit the devices, or with ``auto`` no split fits.
    """
    available = list(jax.devices() if devices is None else devices)
    check_whole("mesh.pop", pop, -1)
    if model == "auto":
        model = least_split(len(available), fits)
    check_whole("mesh.model", model, 1)
    if model > len(available):
        raise ValueError(f"mesh.model is {model}, but there are {len(available)} devices")
    asked = pop
    if pop == -1:
        pop = len(available) // model
    if not 1 <= pop * model <= len(available):
        groups = f", which make {len(available) // model} groups of {model}" * (model > 1)
        raise ValueError(f"mesh.pop is {pop}, but there are {len(available)} devices{groups}")
    if idle := len(available) - pop * model if asked == -1 else 0:
        warnings.warn(
            f"mesh.model is {model}, which does not divide {len(available)} devices: {idle} of "
            "them have nothing to do",
            stacklevel=2,
        )
    return jax.make_mesh(
        (pop, model),
        (POP, MODEL),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=available[: pop * model],
    )


def least_split(devices: int, fits: Callable[[int], bool]) -> int:
    """The least number of parts, of those that divide the devices, in which a candidate fits.

    Raises:
        ValueError: It fits in none of them.
    """
    for parts in range(1, devices + 1):
        if devices % parts == 0 and fits(parts):
            return parts
    raise ValueError(
        f"mesh.model=auto: a candidate and what it is merged from do not fit on {devices} devices, "
        "however they are split; take more devices, fewer sources, or model.dtype=bfloat16"
    )


def fits_on(memory: Memory, held: Sequence[tuple[Any, Layout]]) -> Callable[[int], bool]:
    """Make the function that says whether models fit on each device that they are split over.

    Args:
        memory: What each device has free before anything lies there.
        held: The shapes of the models and of a candidate, and the layout of each.
    """

    def fits(parts: int) -> bool:
        mesh = AbstractMesh((1, parts), (POP, MODEL), axis_types=(AxisType.Auto, AxisType.Auto))
        taken = 0
        for tree, layout in held:
            try:
                check_split(layout, parts)
            except ValueError:
                return False
            taken += bytes_per_device(placed(tree, shardings(tree, layout, mesh)))
        return taken <= memory.room

    return fits


def split_over(mesh: Mesh) -> Mesh | None:
    """The devices that models are loaded onto together, or None where each holds them whole."""
    return mesh if mesh.shape[MODEL] > 1 or jax.process_count() > 1 else None
