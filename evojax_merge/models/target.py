"""The devices that a program is built for, which need not be those of this machine."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from evojax_merge.models.split import MODEL


class Target(NamedTuple):
    """What a model's program may be chosen by.

    Attributes:
        platform: The platform: ``cpu``, ``gpu`` or ``tpu``.
        whole: Whether a device holds whole models. A kernel of ours or of a vendor computes on what
            one device holds, and cannot be split by the compiler.
    """

    platform: str
    whole: bool = True


_PLATFORMS = {"cuda": "gpu", "rocm": "gpu"}

_given: ContextVar[Target | None] = ContextVar("target", default=None)


def target() -> Target:
    """What the program that is being traced is for; by default, JAX's default backend."""
    return _given.get() or Target(jax.default_backend())


@contextlib.contextmanager
def built_for(mesh: Mesh) -> Iterator[None]:
    """Say that what is traced within the block is for the devices of a mesh."""
    platform = mesh.devices.flat[0].platform
    token = _given.set(Target(_PLATFORMS.get(platform, platform), mesh.shape[MODEL] == 1))
    try:
        yield
    finally:
        _given.reset(token)
