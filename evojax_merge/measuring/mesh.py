"""The devices of a search: ``pop`` spreads candidates, ``model`` the parameters of one."""

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from evojax_merge.documents.arguments import check_whole


def make_mesh(pop: int = -1, model: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A ``pop`` × ``model`` mesh over all devices of all processes.

    Args:
        pop: Devices that candidates are spread over; -1: as many as there are.
        model: Devices that share the parameters of a candidate. So far 1.
        devices: By default all.

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
