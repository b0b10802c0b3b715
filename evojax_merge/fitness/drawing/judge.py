"""What scores drawn pictures on the device, in the program that draws them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from evojax_merge.fitness.drawing.network import Network
from evojax_merge.fitness.drawing.preparation import Preparation
from evojax_merge.fitness.drawing.score import BoundScore, Reader
from evojax_merge.models.clip.abilities import activation_bytes
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.clip.modeling import image_features
from evojax_merge.params.types import Array, Float

Pictures = Float[Array, "rows 3 height width"]

SOUND, BLACK, NOT_FINITE = 0, 1, 2
"""The first number that a judge gives of a picture. The others are those of its readers."""


class Look(NamedTuple):
    """A network and how it is shown a picture."""

    config: CLIPConfig
    preparation: Preparation


@dataclasses.dataclass(frozen=True)
class Judge:
    """Networks that look at pictures, each once, and what is read off their features.

    Attributes:
        looks: The networks, all different.
        readers: What is read, and the number of the network that it is read off.
    """

    looks: tuple[Look, ...]
    readers: tuple[tuple[int, Reader], ...]

    def __call__(self, params: Any, pictures: Pictures, *fields: Array) -> Float[Array, "rows _"]:
        """Return what each picture is (`SOUND`, `BLACK`, `NOT_FINITE`), and the readers' numbers.

        Args:
            params: The parameters of the networks, and those of the readers.
            pictures: The pictures, with numbers between 0 and 1.
            fields: The arrays of all readers, one after another.
        """
        of_networks, of_readers = params
        features = [
            image_features(look.config, own, look.preparation(pictures))
            for look, own in zip(self.looks, of_networks, strict=True)
        ]
        found, first = [_flaws(pictures)], 0
        for (network, reader), own in zip(self.readers, of_readers, strict=True):
            last = first + reader.fields
            found.append(reader(own, features[network], *fields[first:last]))
            first = last
        return jnp.concatenate(found, axis=1)

    def bytes(self, height: int, width: int) -> int:
        """Estimate from above the bytes that the judge takes for each picture of a size."""
        most = 0
        for look in self.looks:
            vision = look.config.vision
            assert vision is not None
            pixels = 2 * (height * width + vision.image_size * (height + vision.image_size))
            tower = activation_bytes(vision, vision.num_positions, 4)
            most = max(most, tower + 4 * vision.num_channels * pixels)
        return most + 4 * sum(1 + reader.columns for _, reader in self.readers)


def judge_of(scores: Sequence[BoundScore]) -> tuple[Judge, list[Network]]:
    """Return the judge of some scores, and the networks that it looks with, each once."""
    networks: list[Network] = []
    readers = []
    for one in scores:
        if one.reader is None:
            continue
        assert one.network is not None
        known = [number for number, other in enumerate(networks) if other.alike(one.network)]
        if not known:
            networks.append(one.network)
        readers.append((known[0] if known else len(networks) - 1, one.reader))
    looks = tuple(Look(network.config, network.preparation) for network in networks)
    return Judge(looks, tuple(readers)), networks


def _flaws(pictures: Pictures) -> Float[Array, "rows 1"]:
    finite = jnp.isfinite(pictures).all(axis=(1, 2, 3))
    black = jnp.max(pictures, axis=(1, 2, 3)) <= 0
    flaws = jnp.where(finite, jnp.where(black, BLACK, SOUND), NOT_FINITE)
    return flaws.astype(jnp.float32)[:, None]
