"""Parameter space: coefficients per source, parameter group and block of layers.

Akiba et al., Evolutionary optimization of model merging recipes, arXiv 2403.13187, section 3.1.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_switch, check_whole
from evojax_merge.models import Layout
from evojax_merge.models.segments import LeafCoefficients, assign, expand
from evojax_merge.operators.base import Operator, divisor
from evojax_merge.params.types import Array, Float, Genotype, Int
from evojax_merge.spaces.blocks import REST, segments_of
from evojax_merge.spaces.bounds import check_known, check_mapping, constant_of, setting_of

_LACKING = "; remove it, or give it optional: true, for operators that have it"


class Gene(NamedTuple):
    """What one number of a genotype is: a coefficient of a source in a segment.

    ``source`` is None where all sources share the coefficient. With anchors the number is the
    coefficient at one of them, and ``segment`` is the first of the group.
    """

    coefficient: str
    source: int | None
    segment: int
    anchor: int | None = None


class ParameterSpace:
    """The space whose genotypes decode to merge coefficients.

    A genotype lists the evolved coefficients by name, source and segment, in that order. What is
    not evolved is constant.

    Args:
        operator: The operator, which names the coefficients with their usual bounds and starting
            points.
        layout: The layout of the models to merge.
        sources: The names of the sources, in order.
        groups: Parameter groups, or parts of leaves' paths such as ``q_proj``, that share their
            coefficients, by a name for them: ``{attention: [q_proj, k_proj], rest: ["*"]}``, where
            ``"*"`` stands for all groups not named elsewhere.
        layers_per_block: How many layers share their coefficients; None for all of them. A group
            without layers (embedding, head) is never divided.
        anchors: Evolve each coefficient at this many layers, evenly spaced from the first to the
            last, and interpolate between them; needs ``layers_per_block`` 1.
        coefficients: Settings of coefficients by their names. One that evolves has any of
            ``lower``, ``upper`` and ``start``; a fixed one has ``value``: a number, a label, or a
            list that is interpolated over the layers. One with ``optional: true`` is passed over by
            operators that do not have it.
        fixed: Values of coefficients that do not evolve in a group, by the name of the group; each
            is like ``value``.
        normalize: Divide the weights of each segment by their sum over the sources.

    Raises:
        ValueError: A name is unknown (the message gives the nearest known one), groups are empty or
            overlap, bounds are in the wrong order, a start is outside its bounds, or nothing is
            left to evolve.
    """

    kind = "parameter"

    def __init__(
        self,
        operator: Operator,
        layout: Layout,
        sources: Sequence[str],
        *,
        groups: Mapping[str, Sequence[str] | str] | None = None,
        layers_per_block: int | None = None,
        anchors: int | None = None,
        coefficients: Mapping[str, Mapping[str, Any]] | None = None,
        fixed: Mapping[str, Mapping[str, Any]] | None = None,
        normalize: bool = False,
    ):
        self.operator = operator
        self.layout = layout
        self.sources = tuple(sources)
        check_switch("space.normalize", normalize)
        self.normalize = normalize
        for where, given in (("groups", groups), ("coefficients", coefficients), ("fixed", fixed)):
            check_mapping(f"space.{where}", given or {})
        for where, parts in (("coefficients", coefficients), ("fixed", fixed)):
            for name, given in (parts or {}).items():
                check_mapping(f"space.{where}.{name}", given)
        self.segments = segments_of(layout, groups or {"all": REST}, layers_per_block)
        self._assignment = assign(self.segments, layout)
        known = {coefficient.name: coefficient for coefficient in operator.coefficients}
        settings = {
            name: given
            for name, given in (coefficients or {}).items()
            if name in known or not given.get("optional")
        }
        check_known(f"space.coefficients of {operator.name}", settings, known, _LACKING)
        if normalize and "weight" not in known:
            raise ValueError(f"space.normalize: {operator.name} has no weights to normalise")
        held = dict(fixed or {})
        check_known("space.fixed", held, {segment.name for segment in self.segments})

        if anchors is not None:
            check_whole("space.anchors", anchors, 2)
        if anchors is not None and layers_per_block != 1:
            raise ValueError(
                f"space.anchors is {anchors} with layers_per_block {layers_per_block}; give at "
                "least 2, and layers_per_block 1"
            )

        self.genes: list[Gene] = []
        bounds: list[tuple[float, float, float]] = []
        constants: dict[Gene, float] = {}
        drawn: dict[Gene, tuple[Gene, Gene, float]] = {}
        for name, coefficient in known.items():
            bound = setting_of(coefficient, settings.get(name, {}))
            for source in range(len(sources)) if coefficient.per_source else [None]:
                for index, segment in enumerate(self.segments):
                    gene = Gene(name, source, index)
                    values = held.get(segment.name, {})
                    check_known(f"space.fixed.{segment.name}", values, known)
                    where = f"space.fixed.{segment.name}.{name}"
                    if name in values:
                        constants[gene] = constant_of(
                            where, coefficient, values[name], segment, layout
                        )
                    elif bound is None:
                        given = settings[name]["value"]
                        where = f"space.coefficients.{name}.value"
                        constants[gene] = constant_of(where, coefficient, given, segment, layout)
                    elif anchors is None or segment.stop - segment.first != 1:
                        self.genes.append(gene)
                        bounds.append(bound)
                    else:
                        first = next(
                            i
                            for i, s in enumerate(self.segments)
                            if (s.name, s.stack) == (segment.name, segment.stack)
                        )
                        place = _place(segment.first, layout.depth(segment.stack), anchors)
                        ends = [Gene(name, source, first, anchor) for anchor in place[:2]]
                        for end in ends:
                            if end not in self.genes:
                                self.genes.append(end)
                                bounds.append(bound)
                        drawn[gene] = (ends[0], ends[1], place[2])
        if not bounds:
            raise ValueError("space: every coefficient is fixed, nothing is left to evolve")
        self._check_conflicts(constants)
        self.lower, self.upper, self.start = np.array(bounds, np.float32).T
        where_ = {gene: index for index, gene in enumerate([*self.genes, *constants])}
        self._constants = np.array(list(constants.values()), np.float32)

        def table(name: str, part: Callable[[Gene], Any]) -> np.ndarray:
            owners = range(len(sources)) if known[name].per_source else [None]
            every = range(len(self.segments))
            return np.array([[part(Gene(name, o, index)) for index in every] for o in owners])

        self._table = {
            name: table(name, lambda gene: where_[drawn[gene][0] if gene in drawn else gene])
            for name in known
        }
        self._next = {
            name: table(name, lambda gene: where_[drawn[gene][1] if gene in drawn else gene])
            for name in known
        }
        self._share = {
            name: table(name, lambda gene: drawn[gene][2] if gene in drawn else 0.0).astype(
                np.float32
            )
            for name in known
        }

    @property
    def dims(self) -> int:
        """The length of a genotype."""
        return len(self.genes)

    @property
    def gene_groups(self) -> Int[np.ndarray, " dims"]:
        """The number of each gene's entry in ``groups``."""
        names = [self.segments[gene.segment].name for gene in self.genes]
        return np.array([[*dict.fromkeys(names)].index(name) for name in names], np.int32)

    @property
    def choices(self) -> Float[np.ndarray, "dims categories"]:
        """The probabilities of a gene's labels at first, which are equal; zeros for a number.

        A gene is a choice where its coefficient has labels and its bounds are whole numbers, unless
        it is interpolated between anchors.
        """
        labelled = {one.name for one in self.operator.coefficients if one.labels}
        chosen = [gene.coefficient in labelled and gene.anchor is None for gene in self.genes]
        whole = (self.lower % 1 == 0) & (self.upper % 1 == 0)
        counts = np.where(chosen & whole, self.upper - self.lower, 0)
        counts = np.where(counts > 1, counts, 0).astype(np.int32)
        own = np.arange(counts.max(initial=1)) < counts[:, None]
        return own / np.maximum(counts, 1)[:, None]

    @property
    def experts(self) -> Float[np.ndarray, "experts dims"] | None:
        """Genotypes that are the models to merge, and what is left of these when trimmed.

        They are the base (no source has a weight; only of operators that need one), each source
        alone (weight 1, of which all is kept), and each source alone with the density that a search
        starts with. Numbers outside the bounds are at the nearest bound. None is returned where not
        every weight of every source evolves.
        """
        weights = [gene for gene in self.genes if gene.coefficient == "weight"]
        if not weights or any(gene.source is None for gene in weights):
            return None
        is_weight = np.array([gene.coefficient == "weight" for gene in self.genes])
        is_density = np.array([gene.coefficient == "density" for gene in self.genes])
        source = np.array([gene.source if gene.source is not None else -1 for gene in self.genes])
        trimmed = [
            np.where(is_weight, (source == one).astype(np.float32), self.start)
            for one in range(len(self.sources))
        ]
        rows = [np.where(is_density, 1.0, row) for row in trimmed]
        if is_density.any():
            rows += trimmed
        if self.operator.needs_base and not self.normalize:
            rows.insert(0, np.where(is_weight, 0.0, self.start))
        return np.clip(np.array(rows, np.float32), self.lower, self.upper)

    def describe(self) -> str:
        """Describe the space in one line for people."""
        return (
            f"{self.dims} genes ({self.operator.name}, {len(self.sources)} sources × "
            f"{len(self.segments)} segment{'s' if len(self.segments) != 1 else ''})"
        )

    def decode(self, genotype: Genotype) -> dict[str, Float[Array, "..."]]:
        """Coefficients by name: ``[sources, segments]``, or ``[segments]`` if not per source."""
        numbers = genotype.astype(jnp.float32)
        if self._constants.size:  # jaxlib 0.11.2 crashes on an empty constant under shard_map
            numbers = jnp.concatenate([numbers, jnp.asarray(self._constants)])
        decoded = {}
        for coefficient in self.operator.coefficients:
            values = numbers[self._table[coefficient.name]]
            if (share := self._share[coefficient.name]).any():
                values = values + share * (numbers[self._next[coefficient.name]] - values)
            if self.normalize and coefficient.name == "weight":
                values = values / divisor(values.sum(axis=0, keepdims=True))
            decoded[coefficient.name] = values if coefficient.per_source else values[0]
        return self.operator.reconcile(decoded)

    def keys(self, genotypes: Float[np.ndarray, "pop dims"]) -> list[bytes]:
        """Keys of what genotypes decode to, which are equal where candidates are the same model."""
        decoded = jax.tree.leaves(self._decode_all(jnp.asarray(genotypes, jnp.float32)))
        rows = [np.asarray(leaf).reshape(len(genotypes), -1) for leaf in decoded]
        return [row.tobytes() for row in np.concatenate(rows, axis=1)]

    @functools.cached_property
    def decode_one(self) -> Callable[[Genotype], dict[str, Array]]:
        """The function `decode`, compiled once."""
        return jax.jit(self.decode)

    @functools.cached_property
    def _decode_all(self) -> Callable[[Array], dict[str, Array]]:
        return jax.jit(jax.vmap(self.decode))

    def expand(self, coefficients: Mapping[str, Array]) -> LeafCoefficients:
        """The coefficients of every leaf, from those of every segment."""
        return expand(coefficients, self._assignment)

    def _check_conflicts(self, constants: Mapping[Gene, float]) -> None:
        """Check that the constants of each source go together in each segment."""
        for index, segment in enumerate(self.segments):
            for source, name in enumerate(self.sources):
                genes = [
                    Gene(c.name, source if c.per_source else None, index)
                    for c in self.operator.coefficients
                ]
                fixed = {g.coefficient: constants[g] for g in genes if g in constants}
                if problem := self.operator.conflict(fixed):
                    raise ValueError(f"space, {segment.label}, {name}: {problem}")


def _place(layer: int, layers: int, anchors: int) -> tuple[int, int, float]:
    """The anchors before and after a layer, and how far it is from the one to the other."""
    along = layer / max(layers - 1, 1) * (anchors - 1)
    before = min(int(along), anchors - 2)
    return before, before + 1, along - before
