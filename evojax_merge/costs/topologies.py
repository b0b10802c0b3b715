"""The machines that programs can be compiled for, none of which need be there.

Nothing here starts JAX before the variables of `environment` are set.
"""

import importlib.util
import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

LOCAL = "local"

_TPUS = {
    "v5e": "v5e:4x4",
    "v5p": "v5p:2x2x1",
    "v6e": "v6e:4x4",
    "tpu7x": "tpu7x:2x2x1",
}
"""The generations of TPUs, each with an example."""

_GPUS = ("a100", "h100", "h200", "b200")

_TARGETS = Path(__file__).with_name("targets")

_NEEDED = {
    "tpu": ("libtpu",),
    "cuda": ("jax_plugins.xla_cuda12", "jax_cuda12_plugin", "nvidia.cuda_nvcc"),
}
"""The modules that compiling takes."""

_QUIET = {
    "JAX_PLATFORMS": "cpu",  # what JAX itself runs on
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
_VARIABLES = {
    "tpu": {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # of this host, which is none; else it is looked for
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    },
    "cuda": {"CUDA_VISIBLE_DEVICES": "-1"},
}
_FLAGS = {"tpu": "", "cuda": "--xla_gpu_autotune_level=0"}  # nothing can be tried


class Topology(NamedTuple):
    """A machine by its name.

    Attributes:
        name: The name, e.g. ``v5e:4x4`` or ``h100:8``.
        platform: ``local``, ``tpu`` or ``cuda``.
        kind: The generation of the TPU or the kind of the GPU.
        size: The sides of a TPU's slice, or the number of GPUs.
    """

    name: str
    platform: str
    kind: str = ""
    size: tuple[int, ...] = ()


def parse(name: str) -> Topology:
    """Read the name of a machine.

    Raises:
        ValueError: There is none of this name. The message has those that are known.
    """
    if name == LOCAL:
        return Topology(name, LOCAL)
    kind, colon, size = name.partition(":")
    if kind in _GPUS and re.fullmatch(r"[1-9]\d{0,3}", size or "1") and bool(size) == bool(colon):
        return Topology(name, "cuda", kind, (int(size or 1),))
    if kind in _TPUS and re.fullmatch(r"[1-9]\d{0,2}(x[1-9]\d{0,2}){1,2}", size):
        return Topology(name, "tpu", kind, tuple(map(int, size.split("x"))))
    examples = ", ".join([LOCAL, *_TPUS.values(), *(f"{gpu}:8" for gpu in _GPUS)])
    raise ValueError(
        f"--topology {name}: there is no such machine; give a name as one of these: {examples} "
        "(the sides of a TPU slice, or the number of GPUs, stand behind the colon)"
    )


def check_installed(topology: Topology) -> None:
    """Check that the compiler for a machine is installed.

    Raises:
        ValueError: It is not. The message says how it is installed.
    """
    missing = [one for one in _NEEDED.get(topology.platform, ()) if not _is_there(one)]
    if missing:
        extra = {"tpu": "tpu-plan", "cuda": "cuda-plan"}[topology.platform]
        raise ValueError(
            f"--topology {topology.name}: compiling for it needs {', '.join(missing)}; run "
            f"pip install 'evojax-merge[{extra}]', in an environment of its own"
        )


def set_environment(
    topology: Topology, environment: MutableMapping[str, str] | None = None
) -> None:
    """Set what the compiler for a machine must find when JAX starts, in this process alone."""
    if topology.platform == LOCAL:
        return
    target = os.environ if environment is None else environment
    target.update(_QUIET | _VARIABLES[topology.platform])
    own = target.get("XLA_FLAGS", "")
    target["XLA_FLAGS"] = " ".join(part for part in (own, _FLAGS[topology.platform]) if part)


def devices_of(topology: Topology) -> list[Any]:
    """The devices of a machine, which for all but ``local`` can only be compiled for.

    Raises:
        ValueError: The compiler knows no such machine.
    """
    import jax
    from jax.experimental import topologies

    if topology.platform == LOCAL:
        return list(jax.devices())
    try:
        if topology.platform == "cuda":
            facts = (_TARGETS / f"{topology.kind}.txtpb").read_text(encoding="utf-8")
            found = topologies.get_topology_desc(
                platform="cuda",
                topology_name="",
                target_config=facts,
                topology=f"1x1x{topology.size[0]}",
            )
        else:
            found = topologies.get_topology_desc(
                platform="tpu", topology_name=topology.name, **_hosts(topology)
            )
    except (jax.errors.JaxRuntimeError, NotImplementedError, ValueError) as error:
        example = _TPUS.get(topology.kind, f"{topology.kind}:8")
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--topology {topology.name}: the compiler knows no such machine ({reason[:200]}); "
            f"try {example}"
        ) from error
    return list(found.devices)


def _hosts(topology: Topology) -> Mapping[str, Any]:
    """A single chip is no whole host, of which the compiler must be told."""
    if topology.size in ((1, 1), (1, 1, 1)):
        return {"chips_per_host_bounds": [1, 1, 1]}
    return {}


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it is in
        return False
