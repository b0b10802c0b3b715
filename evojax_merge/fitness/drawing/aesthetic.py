"""How much people like a picture, by an affine map of the features of a CLIP.

The head of LAION's aesthetic predictor (Schuhmann, 2022, improved-aesthetic-predictor) is a
perceptron without nonlinearities: five affine maps, and so one.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.numpy import load_file

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import at_home, open_regular
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.network import Network, Networks
from evojax_merge.fitness.drawing.score import BoundScore, Score, Values
from evojax_merge.models.clip.modeling import normalised
from evojax_merge.params.types import Array

_NAME = re.compile(r"(?:[\w.]*?\.)?(?:(\d+)\.)?(weight|bias)")


class AffineHead(NamedTuple):
    """The map ``weight · features + bias`` to one number."""

    weight: Float[Array | np.ndarray, " features"]
    bias: Float[Array | np.ndarray, ""]


@dataclasses.dataclass(frozen=True)
class Affine:
    """This reader gives an affine map of the direction of a picture's features."""

    fields: int = 0
    columns: int = 1

    def __call__(
        self, params: AffineHead, features: Float[Array, "rows features"], *fields: Array
    ) -> Float[Array, "rows 1"]:
        products = jnp.matmul(
            normalised(features), params.weight, precision=jax.lax.Precision.HIGHEST
        )
        return (products + params.bias)[:, None]


class Aesthetic(Score):
    """The aesthetic score of each picture.

    Args:
        scorer: The directory or hub id of the CLIP whose features the head reads.
        head: The file of the head, see `read_affine`.
        task: The name of the task in messages.

    Raises:
        DataError: The file is missing or damaged, or holds something else.
    """

    measure = Measure("aesthetic score", "points")

    def __init__(self, scorer: str, head: str | None, task: str) -> None:
        if head is None:
            raise ValueError(
                f"{task}: score=aesthetic needs the head that reads the features; name its "
                ".safetensors as fitness.head"
            )
        self._scorer, self._head, self._file, self._task = scorer, read_affine(head), head, task

    def bind(self, items: Sequence[Item], networks: Networks) -> "BoundAesthetic":
        """Open the CLIP.

        Raises:
            CheckpointError: It is damaged.
            ValueError: It is no CLIP, or gives other features than the head reads.
        """
        network, reads = networks(self._scorer), len(self._head.weight)
        if network.width != reads:
            raise ValueError(
                f"{self._task}: {self._file} reads {reads} features, and {self._scorer} gives "
                f"{network.width}; give the CLIP that the head was trained on as fitness.scorer"
            )
        return BoundAesthetic(network, self._head)


class BoundAesthetic(BoundScore):
    """A head and the network that it reads."""

    reader = Affine()

    def __init__(self, network: Network, head: AffineHead) -> None:
        self.network, self._head = network, head
        # Directions have length 1.
        self.worst = float(head.bias - np.linalg.norm(np.asarray(head.weight, np.float64)))

    @functools.cached_property
    def params(self) -> AffineHead:
        """The head on the device."""
        return AffineHead(*map(jnp.asarray, self._head))

    def results(
        self, values: Values, rows: Int[np.ndarray, " items"]
    ) -> Float[np.ndarray, "pop items"]:
        """Return the numbers of the head as they are."""
        return values[..., 0].astype(np.float64)


def read_affine(path: str) -> AffineHead:
    """Read affine maps that follow one another from ``.safetensors``, and make one of them.

    The names of the maps' tensors end in ``NUMBER.weight`` [out, in] and ``NUMBER.bias`` [out], as
    in ``layers.0.weight``. A single map may be ``weight`` and ``bias``. The last has one output.

    Raises:
        DataError: The file is missing or damaged, or holds something else.
    """
    layers = _layers(path)
    weight, bias = np.eye(layers[0][0].shape[1]), np.zeros(layers[0][0].shape[1])
    for number, (own, added) in enumerate(layers):
        if own.shape[1] != len(weight) or added.shape != own.shape[:1]:
            raise DataError(
                f"{path}: map {number} is {list(own.shape)} with a bias {list(added.shape)}, and "
                f"what comes before gives {len(weight)}; the maps must follow one another"
            )
        weight, bias = own @ weight, own @ bias + added
    if len(weight) != 1 or not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise DataError(
            f"{path}: gives {len(weight)} numbers for a picture, or numbers that are not finite; "
            "an aesthetic head gives one"
        )
    return AffineHead(weight[0].astype(np.float32), np.asarray(bias[0], np.float32))


def _layers(path: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the weight and the bias of each map in float64, in order."""
    tensors = _tensors(path)
    found: dict[int, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None or tensor.ndim != {"weight": 2, "bias": 1}[match[2]]:
            raise DataError(
                f"{path}: {name} {list(tensor.shape)} is no part of a head; it holds affine maps "
                "alone, layers.0.weight [out, in], layers.0.bias [out], and so on"
            )
        found.setdefault(int(match[1] or 0), {})[match[2]] = tensor.astype(np.float64)
    if not found or any("weight" not in own for own in found.values()):
        raise DataError(f"{path}: holds no affine maps, or one without its weight")
    layers = [found[number] for number in sorted(found)]
    return [(own["weight"], own.get("bias", np.zeros(len(own["weight"])))) for own in layers]


def _tensors(path: str) -> dict[str, np.ndarray]:
    try:
        file = at_home(path)
        open_regular(file).close()
    except DocumentError as error:
        raise DataError(f"{path}: {error}") from None
    if file.suffix != ".safetensors":
        raise DataError(
            f"{path}: is no .safetensors; a .pth can run code as it is read, so convert it once: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'head.safetensors')"
        )
    try:
        return load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(f"{path}: is damaged ({error})") from error
