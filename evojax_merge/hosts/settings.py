"""Which processes there are, and which of them this one is: told, or recognised."""

import dataclasses
import math
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

_CLUSTERS = ("gcetpu", "gketpu", "slurm", "ompi")
"""What JAX recognises by itself, as it calls it: TPU pods, SLURM and Open MPI."""

_VARIABLES = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "processes": "JAX_NUM_PROCESSES",
    "process": "JAX_PROCESS_ID",
}
"""The environment variables that stand for what is not configured."""

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})")


@dataclasses.dataclass
class DistributedConfig:
    """The settings of a run over several processes.

    Attributes:
        enabled: Whether there are several: ``true``, ``false``, or ``auto`` where they are told or
            recognised.
        coordinator: The ``host:port`` of process 0, at which the others find it.
        processes: How many there are.
        process: Which one this is, from 0.
        timeout: The seconds that processes wait for one another at the start.
        heartbeat: The seconds of silence after which a process counts as gone.
    """

    enabled: Any = "auto"
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    timeout: float = 300.0
    heartbeat: float = 100.0


class Place(NamedTuple):
    """One process among several.

    Attributes:
        cluster: What JAX calls the cluster that it recognises; None where all is told.
        coordinator: The address of process 0; None where JAX finds it out.
        processes: How many there are.
        process: Which one this is.
    """

    cluster: str | None
    coordinator: str | None
    processes: int
    process: int


def place_of(
    settings: DistributedConfig, recognise: Callable[[], "Place | None"] | None = None
) -> Place | None:
    """Where this process stands among several; None where it is alone.

    No device is touched.

    Args:
        settings: The settings.
        recognise: The function that recognises a cluster; by default, `recognised`.

    Raises:
        ValueError: A setting makes no sense, something is missing, or several are asked for and
            nothing tells of them.
    """
    from evojax_merge.documents.arguments import check_number  # which imports JAX

    enabled = str(settings.enabled).lower()
    if enabled not in ("auto", "true", "false"):
        raise ValueError(f"distributed.enabled is {settings.enabled!r}; use true, false, or auto")
    check_number("distributed.timeout", settings.timeout, 1, 1e6)
    check_number("distributed.heartbeat", settings.heartbeat, 5, 1e6)
    if enabled == "false":
        return None
    told = _told(settings)
    if len(told) == len(_VARIABLES):
        return _checked(None, told["coordinator"], told["processes"], told["process"])
    cluster = (recognise or recognised)()
    if cluster is not None and cluster.processes > 1:
        return _checked(
            cluster.cluster,
            told.get("coordinator", cluster.coordinator),
            told.get("processes", cluster.processes),
            told.get("process", cluster.process),
        )
    if told:
        lacking = [name for name in _VARIABLES if name not in told]
        raise ValueError(
            f"{' and '.join(f'distributed.{name} is' for name in told)} given, and "
            f"{' and '.join(f'distributed.{name}' for name in lacking)} not; several processes "
            "need all three (or, as environment variables, "
            f"{', '.join(_VARIABLES[name] for name in lacking)})"
        )
    if enabled == "true" and cluster is None:
        raise ValueError(
            "distributed.enabled=true, and no TPU pod, SLURM step or Open MPI is recognised here; "
            "give distributed.coordinator=HOST:PORT distributed.processes=N distributed.process=I, "
            "or leave it out"
        )
    return None


def recognised() -> Place | None:
    """The TPU pod, SLURM step or Open MPI job that this process belongs to, as JAX recognises it.

    JAX has no public way to ask. A version that has moved it recognises nothing.
    """
    try:
        from jax._src.clusters import ClusterEnv

        kinds = list(ClusterEnv._cluster_types)
    except (ImportError, AttributeError):
        return None
    for kind in kinds:
        if kind.name in _CLUSTERS and kind.is_env_present():
            return Place(kind.name, None, kind.get_process_count(), kind.get_process_id())
    return None


def _told(settings: DistributedConfig) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, variable in _VARIABLES.items():
        given = getattr(settings, name)
        if given is None and (text := os.environ.get(variable)):
            given = text
            if name != "coordinator":
                if not text.isdecimal():
                    raise ValueError(f"{variable} must be a whole number, not {text!r}")
                given = int(text)
        if given is not None:
            told[name] = given
    return told


def _checked(cluster: str | None, coordinator: str | None, count: int, index: int) -> Place | None:
    from evojax_merge.documents.arguments import check_whole

    check_whole("distributed.processes", count, 1)
    check_whole("distributed.process", index, 0)
    if index >= count:
        raise ValueError(
            f"distributed.process is {index}, and distributed.processes is {count}; processes are "
            f"numbered from 0 to {count - 1}"
        )
    if coordinator is not None:
        found = _ADDRESS.fullmatch(coordinator)
        if found is None or not 0 < int(found[2]) < 2**16:
            raise ValueError(
                f"distributed.coordinator is {coordinator!r}; give HOST:PORT, the address of "
                "process 0 and a free port there"
            )
    return Place(cluster, coordinator, count, index) if count > 1 else None


def whole_seconds(seconds: float) -> int:
    """The seconds as JAX takes them."""
    return math.ceil(seconds)
