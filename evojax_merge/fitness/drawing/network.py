"""A network that judges drawn pictures: the vision tower of a CLIP, and its text tower."""

import functools
import warnings
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.checkpoints import load, load_config
from evojax_merge.fitness.drawing.preparation import Preparation
from evojax_merge.fitness.kept import Kept, Rows, array_hash, params_hash
from evojax_merge.fitness.pictures import Picture, PictureProcessor
from evojax_merge.fitness.zero_shot import tokenized
from evojax_merge.models.clip.config import CLIPConfig, VisionConfig
from evojax_merge.models.clip.modeling import image_features, normalised, text_features
from evojax_merge.models.clip.params import SCALE
from evojax_merge.params.types import Array, Float, Params

FORMAT = 1
"""This is raised whenever the same network gives other features, or these are kept otherwise."""

_ROWS = 32
"""How many texts or pictures a tower reads at a time."""


class Network:
    """A CLIP, or its vision tower alone.

    Files are checked when it is made. Weights are read when they are first asked for.

    Args:
        source: The directory or hub id of the checkpoint.
        task: The name of the task in messages.
        kept_in: Where features are kept, see `evojax_merge.fitness.kept.Kept`.

    Attributes:
        config: The network.
        preparation: How it is shown a drawn picture.

    Raises:
        CheckpointError: The checkpoint is damaged or has no image processor.
        ValueError: It is no CLIP, or none that sees.
    """

    def __init__(self, source: str, task: str, kept_in: str | None) -> None:
        self._checkpoint, self._task = load_config(source), task
        config = self._checkpoint.config
        if not isinstance(config, CLIPConfig) or config.vision is None:
            raise ValueError(
                f"{task}: {source} cannot look at pictures: it is a "
                f"{self._checkpoint.family.name} without the vision tower of a CLIP; give the "
                "directory of a CLIP as fitness.scorer"
            )
        self.config: CLIPConfig = config
        self.preparation = Preparation.read(self._checkpoint.directory, task)
        self._kept = Kept(kept_in, "features of texts and pictures")

    def alike(self, other: "Network") -> bool:
        """Whether another is the same network."""
        return self._checkpoint.directory == other._checkpoint.directory

    @property
    def vision(self) -> VisionConfig:
        """The configuration of the vision tower."""
        assert self.config.vision is not None
        return self.config.vision

    @property
    def width(self) -> int:
        """The number of features of a picture."""
        return self.vision.projection_dim or self.vision.hidden_size

    def check_size(self, height: int, width: int) -> None:
        """Check that pictures of a size can be shown to the network.

        Raises:
            ValueError: The image processor makes something else of them than the tower reads.
        """
        size = (self.vision.image_size, self.vision.image_size)
        made = self.preparation.size(height, width)
        if made != size or self.vision.num_channels != 3:
            raise ValueError(
                f"{self._task}: the image processor of {self._checkpoint.directory} makes pictures "
                f"of {made[0]} × {made[1]} pixels, and the network reads {size[0]} × {size[1]} in "
                f"{self.vision.num_channels} channels"
            )

    def check_reads(self) -> None:
        """Check that the network reads texts.

        Raises:
            ValueError: It has no text tower or no tokenizer.
        """
        if self.config.text is None or self._checkpoint.tokenizer is None:
            lacking = "text tower" if self.config.text is None else "tokenizer"
            raise ValueError(
                f"{self._task}: {self._checkpoint.directory} has no {lacking}, and prompts are "
                "compared with pictures by it; give a whole CLIP as fitness.scorer, or another "
                "fitness.score"
            )

    @functools.cached_property
    def params(self) -> Params:
        """The parameters of the vision tower."""
        return {"vision": load(self._checkpoint, np.float32).params["vision"]}

    @functools.cached_property
    def scale(self) -> float:
        """The factor of the cosine in the network's own logits."""
        params = load(self._checkpoint, np.float32).params
        return float(np.exp(np.float64(params.get(SCALE, 0.0))))

    def text_features(self, texts: Sequence[str]) -> Float[np.ndarray, "texts features"]:
        """Return the directions of texts, which are cut where they are too long."""
        assert self.config.text is not None
        tokens = tokenized([[text] for text in texts], self._checkpoint, self.config.text,
                           self._task, _warn).tokens[:, 0]  # fmt: skip
        params = {"text": load(self._checkpoint, np.float32).params["text"]}

        def compute(places: list[int]) -> Rows:
            run = functools.partial(text_features, self.config, params)
            return {"features": _in_groups(run, np.asarray(tokens)[places])}

        items = [" ".join(map(str, row)) for row in np.asarray(tokens).tolist()]
        settings = {"format": FORMAT, "tower": repr(self.config.text)}
        found = self._kept("text_features", params_hash(params), settings, items, compute)
        return np.asarray(normalised(jnp.asarray(found["features"])))

    def picture_features(self, pictures: Sequence[Picture]) -> Float[np.ndarray, "_ features"]:
        """Return the features of pictures from files, as `image_features` gives them.

        Raises:
            DataError: A picture cannot be read.
        """
        processor = PictureProcessor(self._checkpoint.directory, self._task, one_view=True)
        side = self.vision.image_size
        prepared = processor(pictures, (self.vision.num_channels, side, side))
        scale, shift = (channel[:, None, None] for channel in processor.pixels)

        def run(part: Float[Array, "batch channels height width"]) -> Array:
            return image_features(self.config, self.params, part * scale + shift)

        def compute(places: list[int]) -> Rows:
            return {"features": _in_groups(run, prepared[places].astype(np.float32))}

        settings = {
            "format": FORMAT,
            "tower": repr(self.vision),
            "pixels": [np.asarray(one, np.float64).tolist() for one in processor.pixels],
        }
        items = [array_hash(one) for one in prepared]
        weights = params_hash(self.params)
        return self._kept("drawn_features", weights, settings, items, compute)["features"]


class Networks:
    """The networks of a task by their sources, each opened once.

    Args:
        task: The name of the task in messages.
        kept_in: Where features are kept, see `evojax_merge.fitness.kept.Kept`.
    """

    def __init__(self, task: str, kept_in: str | None) -> None:
        self._task, self._kept_in = task, kept_in
        self._opened: dict[str, Network] = {}

    def __call__(self, source: str) -> Network:
        """Return the network of a directory or hub id.

        Raises:
            CheckpointError: The checkpoint is damaged or has no image processor.
            ValueError: It is no CLIP, or none that sees.
        """
        if source not in self._opened:
            self._opened[source] = Network(source, self._task, self._kept_in)
        return self._opened[source]


def _in_groups(run: Callable[[Array], Array], rows: np.ndarray) -> np.ndarray:
    """Apply a network to rows, a fixed number at a time."""
    program = jax.jit(run)
    room = min(_ROWS, len(rows))
    found = []
    for first in range(0, len(rows), room):
        part = rows[first : first + room]
        padding = np.repeat(part[-1:], room - len(part), axis=0)
        made = program(jnp.asarray(np.concatenate([part, padding])))
        found.append(np.asarray(made, np.float32)[: len(part)])
    return np.concatenate(found)


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
