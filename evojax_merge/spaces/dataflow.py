"""Data-flow space: the path that a token takes through the layers of several models.

Akiba et al., Evolutionary optimization of model merging recipes, arXiv 2403.13187, section 3.2.

The M layers of all models are laid out in order, ``repeats`` times, in T = M · repeats slots. A
genotype holds an indicator for each slot, whose layer is on the path where it is positive, and
numbers that scale the hidden state on its way from one layer to the next.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import LARGEST, check_whole, within
from evojax_merge.documents.nearest import nearest
from evojax_merge.models.decoder.path import Path
from evojax_merge.params.types import Array, Bool, Float, Genotype, Int
from evojax_merge.spaces.scaling import SCALINGS, Scaling

Semantics = Literal["stream", "branch"]
"""What a scale multiplies: the whole residual stream (the paper), or only what the MLP of the hop
before added to it (Sakana's serving code)."""

SPAN = 0.6
"""A strategy's default deviation, a sixth of the span, is then the paper's 0.1."""

BIAS = 0.2
"""The indicators of the skeleton's layers start at this, the others at minus this. It is two of the
paper's deviations."""

INDICATOR = (-1.0, 1.0)


class DataflowSpace:
    """The space whose genotypes decode to paths.

    Args:
        sources: The names of the models, in order; the first layer of one follows the last of the
            one before.
        layers: The number of layers of each model.
        repeats: How often the layers are laid out, r in the paper.
        scaling: What scales a hop: with ``matrix`` a number for each pair of layers, W(i, j) in the
            paper; with ``network`` a small network of the pair and the slot, its π(i, j, t); with
            ``hop`` a number for each slot; with ``off`` nothing.
        semantics: What a scale multiplies, ``stream`` or ``branch``.
        scale: The lower and the upper bound of a scale.
        hidden: The width of the network of ``network``.
        skeleton: The source that gives the embedding, the head and the tokenizer, and whose layers
            the search starts from; by default the first.
        fixed_ends: A path begins with the first and ends with the last layer of the skeleton.
        min_hops: The least number of hops; where fewer indicators are positive, the greatest are
            taken.
        max_hops: The greatest number of hops, by default all slots; where more indicators are
            positive, the greatest are taken.
        duplicates: Whether a layer may be on a path more than once.
        bias: Where indicators start: the skeleton's at this, the others at minus this.

    Raises:
        ValueError: Some names or numbers make no sense.
    """

    kind = "dataflow"

    def __init__(
        self,
        sources: Sequence[str],
        layers: Sequence[int],
        *,
        repeats: int = 3,
        scaling: str = "matrix",
        semantics: Semantics = "stream",
        scale: Sequence[float] = (0.1, 2.0),
        hidden: int = 16,
        skeleton: str | None = None,
        fixed_ends: bool = True,
        min_hops: int = 1,
        max_hops: int | None = None,
        duplicates: bool = True,
        bias: float = BIAS,
    ):
        _among("scaling", scaling, SCALINGS)
        _among("semantics", semantics, get_args(Semantics))
        self.sources = tuple(sources)
        _among("skeleton", skeleton or self.sources[0], self.sources)
        check_whole("space.repeats", repeats, 1, 1_000)
        check_whole("space.hidden", hidden, 1, 100_000)
        check_whole("space.min_hops", min_hops, 0)
        if max_hops is not None:
            check_whole("space.max_hops", max_hops, 1)
        for key, switch in (("fixed_ends", fixed_ends), ("duplicates", duplicates)):
            if not isinstance(switch, bool):
                raise ValueError(f"space.{key} is {switch!r}; use true or false")
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not abs(bias) < 1:
            raise ValueError(f"space.bias is {bias!r}; give a number between -1 and 1")
        low, high = _bounds(scale)
        self.layers = tuple(layers)
        self.pool_layers = sum(layers)
        self.semantics: Semantics = semantics
        self.skeleton = self.sources.index(skeleton) if skeleton else 0
        self.duplicates = duplicates
        first = sum(layers[: self.skeleton])
        last = first + layers[self.skeleton] - 1
        self._ends = (first, last) if fixed_ends else None
        self._slot_layers = np.tile(np.arange(self.pool_layers, dtype=np.int32), repeats)
        slots = len(self._slot_layers)

        ends = 2 * bool(fixed_ends)
        most = min(slots + ends, slots + ends if max_hops is None else max_hops)
        if not duplicates:
            most = min(most, self.pool_layers)
        if most < max(ends, 1) or not 0 <= min_hops <= most:
            raise ValueError(
                f"space: paths of {min_hops} to {max_hops} hops are impossible; there are "
                f"{slots} slots and {ends} fixed ends"
            )
        self.hops = most
        self._least_free, self._most_free = max(min_hops - ends, 0), most - ends
        self.scaling: Scaling = SCALINGS[scaling](self.pool_layers, slots, low, high, hidden)

        own = (self._slot_layers >= first) & (self._slot_layers <= last)
        own &= np.arange(slots) < self.pool_layers
        if self._ends is not None:
            own &= ~np.isin(self._slot_layers, self._ends)  # they are on every path already
        self.start = np.concatenate([np.where(own, bias, -bias), self.scaling.start]).astype(
            np.float32
        )
        self.lower = np.concatenate([np.full(slots, INDICATOR[0]), self.scaling.lower])
        self.upper = np.concatenate([np.full(slots, INDICATOR[1]), self.scaling.upper])
        self.lower, self.upper = self.lower.astype(np.float32), self.upper.astype(np.float32)
        self.span = np.full_like(self.start, SPAN)

    @property
    def slots(self) -> int:
        """The number of slots, T in the paper."""
        return len(self._slot_layers)

    @property
    def dims(self) -> int:
        """The length of a genotype."""
        return len(self.start)

    @property
    def choices(self) -> Float[np.ndarray, "dims categories"]:
        """The probabilities of a layer to be off and on the path at first; zeros for a scale.

        They are those of an indicator that is drawn around its start with the paper's deviation.
        """
        deviations = self.start[: self.slots] / (SPAN / 6)
        on = np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in deviations])
        scales = np.zeros((self.dims - self.slots, 2))
        return np.concatenate([np.stack([1 - on, on], axis=1), scales])

    def describe(self) -> str:
        """Describe the space in one line for people."""
        ends = " with fixed ends" if self._ends is not None else ""
        return (
            f"{self.dims} genes ({self.slots} slots of {self.pool_layers} layers of "
            f"{len(self.sources)} models, scaling {self.scaling.name}), paths of up to "
            f"{self.hops} hops{ends}"
        )

    def decode(self, genotype: Genotype) -> Path:
        """The path that a genotype describes; ``length`` is 0 where nothing is on it.

        The function is pure and takes one genotype, also under jit and vmap.
        """
        numbers = genotype.astype(jnp.float32)
        taken = self._taken(numbers[: self.slots])
        order = jnp.cumsum(taken) - 1 + (self._ends is not None)
        place = jnp.where(taken, order, self.hops)  # out of range: not written
        length = taken.sum().astype(jnp.int32)
        empty = jnp.zeros(self.hops, jnp.int32)
        layer = empty.at[place].set(self._slot_layers, mode="drop")
        slot = empty.at[place].set(np.arange(self.slots, dtype=np.int32), mode="drop")
        if self._ends is not None:
            layer = layer.at[0].set(self._ends[0]).at[length + 1].set(self._ends[1])
            slot = slot.at[length + 1].set(self.slots)
            length = length + 2
        scales = self.scaling.scales(
            numbers[self.slots :], jnp.concatenate([layer[:1], layer[:-1]]), layer, slot
        )
        counts = jnp.arange(self.hops)
        scales = jnp.where((counts == 0) | (counts >= length), 1.0, scales)
        residual = scales if self.semantics == "stream" else jnp.ones_like(scales)
        return Path(layer, residual, scales, length, length)

    def is_valid(self, path: Path) -> Bool[Array, ""]:
        """Whether a path can be run: it has hops, and no scale is zero or not finite."""
        sound = jnp.isfinite(path.branch) & (path.branch != 0)
        return (path.length > 0) & (sound | (jnp.arange(self.hops) >= path.length)).all()

    def decode_all(
        self, genotypes: Float[np.ndarray, "pop dims"]
    ) -> tuple[Path, Bool[np.ndarray, " pop"]]:
        """The paths of many genotypes on the host, and which of them can be run."""
        paths, valid = self._decode_all(jnp.asarray(genotypes))
        return jax.tree.map(np.asarray, paths), np.asarray(valid)

    @functools.cached_property
    def _decode_all(self) -> Callable[[Array], tuple[Path, Array]]:
        def one(genotype: Genotype) -> tuple[Path, Array]:
            path = self.decode(genotype)
            return path, self.is_valid(path)

        return jax.jit(jax.vmap(one))

    def keys(self, genotypes: Float[np.ndarray, "pop dims"]) -> list[bytes]:
        """Keys of what genotypes decode to, which are equal where candidates are the same path."""
        paths, _ = self.decode_all(genotypes)
        return [
            b"".join(
                np.ascontiguousarray(part[row, :length]).tobytes()
                for part in (paths.layer, paths.residual, paths.branch)
            )
            for row, length in enumerate(paths.length.tolist())
        ]

    def name_layer(self, layer: int) -> tuple[str, int]:
        """The source that a layer of the pool belongs to, and its number there."""
        for source, count in zip(self.sources, self.layers, strict=True):
            if layer < count:
                return source, layer
            layer -= count
        raise IndexError(layer)

    def _taken(self, indicators: Float[Array, " slots"]) -> Bool[Array, " slots"]:
        """Which slots are on the path, between its fixed ends."""
        if not self.duplicates:
            indicators = self._once(indicators)
        rank = jnp.argsort(jnp.argsort(-indicators, stable=True))
        taken = (indicators > 0) | ((rank < self._least_free) & jnp.isfinite(indicators))
        return taken & (rank < self._most_free)

    def _once(self, indicators: Float[Array, " slots"]) -> Float[Array, " slots"]:
        """Keep only the greatest indicator of each layer, and none of a fixed end."""
        of_layer = indicators.reshape(-1, self.pool_layers)
        best = jnp.argmax(of_layer, axis=0)
        kept = jnp.arange(of_layer.shape[0])[:, None] == best[None]
        if self._ends is not None:
            columns: Int[np.ndarray, " layers"] = np.arange(self.pool_layers)
            kept &= ~np.isin(columns, self._ends)[None]
        return jnp.where(kept, of_layer, -jnp.inf).reshape(-1)


def _bounds(scale: Sequence[float]) -> tuple[float, float]:
    numbers = isinstance(scale, Sequence) and all(
        type(bound) in (int, float) and within(bound, -LARGEST, LARGEST) for bound in scale
    )
    if not numbers or len(scale) != 2 or not scale[0] < 1 < scale[1]:
        raise ValueError(
            f"space.scale is {scale!r}; give a lower and an upper bound with 1 between them"
        )
    return float(scale[0]), float(scale[1])


def _among(key: str, given: str, known: Sequence[str] | dict) -> None:
    if not isinstance(given, str) or given not in known:
        hint = nearest(given, known)
        raise ValueError(f"space.{key} is {given!r}{hint}; there are: {', '.join(known)}")
