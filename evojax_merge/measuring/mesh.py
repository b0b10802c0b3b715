"""The devices of a search, over which ``pop`` spreads candidates and ``model`` one candidate."""

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from evojax_merge.documents.arguments import check_whole


def make_mesh(pop: int = -1, model: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A ``pop`` × ``model`` mesh over all devices of all processes.

    Args:
        pop: The number of devices that candidates are spread over; with -1, as many as there are.
        model: The number of devices that share the parameters of a candidate; so far, only 1.
        devices: The devices; by default, all.

    Raises:
        ValueError: The axes do not fit the devices.
    """
    check_whole("mesh.pop", pop, -1)
    check_whole("mesh.model", model, 1)
    available = list(jax.devices() if devices is None else devices)
    if model != 1:
        raise ValueError(f"mesh.model is {model}; splitting one candidate is not supported yet")
    if pop == -1:
        pop = len(available)
    if not 1 <= pop <= len(available):
        raise ValueError(f"mesh.pop is {pop}, but there are {len(available)} devices")
    return jax.make_mesh(
        (pop, model),
        ("pop", "model"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=available[:pop],
    )
