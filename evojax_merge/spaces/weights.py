"""The space of models themselves: a genotype is the parameters of a candidate.

Abrantes et al., Competition and attraction improve model fusion, arXiv 2508.16204, search there for
small networks; for larger ones an operator's coefficients are the better genes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number, check_whole
from evojax_merge.models import Layout
from evojax_merge.models.segments import assign
from evojax_merge.params.on_host import fetch
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Float, Genotype, Int, Params
from evojax_merge.spaces.blocks import segments_of
from evojax_merge.spaces.bounds import check_mapping

MAX_GENES = 5_000_000
"""The most genes of a genotype. A strategy holds one for each member of its archive, and every
generation is saved."""


class WeightsSpace:
    """The space of all parameters of a model, one after another in the order of its tree.

    Args:
        shapes: The shape of every leaf, by path.
        layout: The layout, which says which leaves are stacked over layers.
        limit: The largest absolute value of a gene.
        origin: What genes are measured from: ``zero``, so that a genotype is the weights
            themselves, or ``base``, so that it is a task vector.
        max_genes: The most genes; larger models are refused.
        groups: Parameter groups, or parts of leaves' paths, by a name for them, as in
            `evojax_merge.spaces.ParameterSpace`; by default, each group of the layout. A strategy
            may cross genes group by group.

    Raises:
        ValueError: The model is too large, or an argument has a value that it cannot have.
    """

    kind = "weights"

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        layout: Layout,
        *,
        limit: float = 10.0,
        origin: Literal["zero", "base"] = "zero",
        max_genes: int = MAX_GENES,
        groups: Mapping[str, Sequence[str] | str] | None = None,
    ):
        if origin not in ("zero", "base"):
            raise ValueError(f"space.origin must be zero or base, not {origin!r}")
        check_number("space.limit", limit, 0)
        check_whole("space.max_genes", max_genes, 1)
        if limit == 0:
            raise ValueError(f"space.limit must be a number above 0, not {limit!r}")
        self.shapes = {path: tuple(shape) for path, shape in shapes.items()}
        self.limit = float(limit)
        self.origin = origin
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.dims = sum(sizes)
        if self.dims > max_genes:
            raise ValueError(
                f"space=weights has a gene for each of the model's {self.dims:,} weights, more "
                f"than space.max_genes={max_genes:,}; evolve an operator's coefficients "
                "(space=parameter), or raise the limit if memory and disk hold an archive of such "
                "genotypes"
            )
        self._ends = np.cumsum(sizes)[:-1].tolist()
        self.lower = np.full(self.dims, -self.limit, np.float32)
        self.upper = np.full(self.dims, self.limit, np.float32)
        self.start = np.zeros(self.dims, np.float32)
        self.span = np.ones(self.dims, np.float32)  # a strategy's sigma is a deviation of weights
        self.matrices = tuple(self._matrices(layout, sizes))
        check_mapping("space.groups", groups or {})
        named = groups or {kind: (kind,) for kind in layout.kinds}
        self._owners = assign(segments_of(layout, named, None), layout)

    @property
    def gene_groups(self) -> Int[np.ndarray, " dims"]:
        """The number of each gene's group."""
        groups = [
            np.broadcast_to(own.reshape(own.shape + (1,) * (len(shape) - own.ndim)), shape).ravel()
            for path, shape in self.shapes.items()
            for own in [self._owners[path]]
        ]
        return np.concatenate(groups)

    def describe(self) -> str:
        """Describe the space in one line for people."""
        return f"{self.dims:,} weights"

    def decode(self, genotype: Genotype) -> Params:
        """The parameters of a genotype in float32, or what it adds to those of the base."""
        parts = jnp.split(genotype, self._ends)
        leaves = zip(self.shapes.items(), parts, strict=True)
        return unflatten({path: part.reshape(shape) for (path, shape), part in leaves})

    def encode(self, params: Params, base: Params | None = None) -> Float[np.ndarray, " dims"]:
        """The genotype of parameters.

        Args:
            params: The parameters of a model.
            base: The parameters of the base, where genes are measured from it.
        """
        genotype = self._flat(params)
        if self.origin == "base":
            assert base is not None
            genotype = genotype - self._flat(base)
        return genotype

    def seeds(
        self, sources: Mapping[str, Params], base: Params | None = None
    ) -> Float[np.ndarray, "sources dims"]:
        """The genotypes of models, which are given by name.

        Raises:
            ValueError: A model has a weight outside the space.
        """
        genotypes = {name: self.encode(params, base) for name, params in sources.items()}
        for name, genotype in genotypes.items():
            if not (largest := np.abs(genotype).max()) <= self.limit:
                raise ValueError(
                    f"{name} has a weight of size {largest:g}, outside the space; set space.limit "
                    "above it"
                )
        return np.stack(list(genotypes.values()))

    def _flat(self, params: Params) -> Float[np.ndarray, " dims"]:
        leaves: dict[str, Array] = flatten(params)
        return np.concatenate(
            [fetch(leaves[path]).astype(np.float32, copy=False).ravel() for path in self.shapes]
        )

    def _matrices(self, layout: Layout, sizes: Sequence[int]) -> list[tuple[int, int, int]]:
        """The first gene, rows and columns of every matrix, and of each layer of a stacked leaf."""
        found, first = [], 0
        for (path, shape), size in zip(self.shapes.items(), sizes, strict=True):
            layers = shape[0] if path in layout.stacked else 1
            own = shape[1:] if path in layout.stacked else shape
            if len(own) == 2:
                found += [(first + n * own[0] * own[1], own[0], own[1]) for n in range(layers)]
            first += size
        return found
