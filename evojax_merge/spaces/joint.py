"""Spaces made of two: a merge, and a path through its layers and those of its sources.

Akiba et al., arXiv 2403.13187, section 3.3, evolve one after the other (`HybridSpace`): the winner
of parameter space joins the pool of layers, and a path is evolved over the enlarged pool.
`JointSpace` evolves both genotypes together.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evojax_merge.params.types import Float
from evojax_merge.spaces.dataflow import DataflowSpace
from evojax_merge.spaces.parameter import ParameterSpace

MERGED = "merged"
"""The name of the merge in a pool."""


@dataclasses.dataclass(frozen=True)
class HybridSpace:
    """First the parameter space, then the data-flow space with the winner in the pool.

    Attributes:
        parameter: A function of operator, layout and sources that makes the first space.
        dataflow: A function of sources and layers that makes the second one.
        share: The share of the evaluations that the first space has.
        pool: The models whose layers the pool holds, ``merged`` among them; by default it and all
            sources. The first gives embedding, head and tokenizer, unless ``skeleton`` of the
            data-flow space says otherwise.
    """

    parameter: Callable[..., ParameterSpace]
    dataflow: Callable[..., DataflowSpace]
    share: float = 0.5
    pool: Sequence[str] | None = None

    kind = "hybrid"

    def __post_init__(self) -> None:
        if not isinstance(self.share, int | float) or not 0 < self.share < 1:
            raise ValueError(f"space.share is {self.share!r}; give a number between 0 and 1")
        check_inner(self)

    def members(self, sources: Sequence[str]) -> tuple[str, ...]:
        """The names of the pool's models."""
        return pool_members(self.pool, sources)


@dataclasses.dataclass(frozen=True)
class Joint:
    """What makes a `JointSpace`; the attributes are those of `HybridSpace`."""

    parameter: Callable[..., ParameterSpace]
    dataflow: Callable[..., DataflowSpace]
    pool: Sequence[str] | None = None

    kind = "joint"

    def __post_init__(self) -> None:
        check_inner(self)

    def __call__(self, *, operator: Any, layout: Any, sources: Sequence[str]) -> "JointSpace":
        """Make the space over the models of one layout."""
        names = pool_members(self.pool, sources)
        return JointSpace(
            self.parameter(operator=operator, layout=layout, sources=sources),
            self.dataflow(sources=names, layers=[layout.depth()] * len(names)),
        )


def check_inner(space: HybridSpace | Joint) -> None:
    """Raise ValueError if one of the two spaces is not the maker of a space."""
    for name in ("parameter", "dataflow"):
        if not callable(given := getattr(space, name)):
            raise ValueError(f"space.{name} is {given!r}; change its keys one by one")


class JointSpace:
    """Genotypes of which the first part decodes to a merge and the rest to a path."""

    merged = MERGED

    def __init__(self, parameter: ParameterSpace, dataflow: DataflowSpace):
        self.parameter, self.dataflow = parameter, dataflow
        self.lower = np.concatenate([parameter.lower, dataflow.lower])
        self.upper = np.concatenate([parameter.upper, dataflow.upper])
        self.start = np.concatenate([parameter.start, dataflow.start])
        self.span = np.concatenate([parameter.upper - parameter.lower, dataflow.span])

    @property
    def dims(self) -> int:
        """The length of a genotype."""
        return self.parameter.dims + self.dataflow.dims

    @property
    def choices(self) -> Float[np.ndarray, "dims categories"]:
        """The probabilities of the categories of each gene at first; zeros for a real number."""
        parts = self.parameter.choices, self.dataflow.choices
        most = max(part.shape[1] for part in parts)
        return np.concatenate([np.pad(part, ((0, 0), (0, most - part.shape[1]))) for part in parts])

    def split(self, genotype: Float[Any, " dims"]) -> tuple[Any, Any]:
        """The genotypes of parameter space and of data-flow space."""
        return genotype[: self.parameter.dims], genotype[self.parameter.dims :]

    def keys(self, genotypes: Float[np.ndarray, "pop dims"]) -> list[bytes]:
        """Keys of what genotypes decode to, which are equal where candidates are the same model."""
        merges = self.parameter.keys(genotypes[:, : self.parameter.dims])
        routes = self.dataflow.keys(genotypes[:, self.parameter.dims :])
        return [merge + route for merge, route in zip(merges, routes, strict=True)]

    def describe(self) -> str:
        """Describe the space in one line for people."""
        return f"{self.parameter.describe()}, and {self.dataflow.describe()}"


def pool_members(pool: Sequence[str] | None, sources: Sequence[str]) -> tuple[str, ...]:
    """The names of a pool's models.

    Raises:
        ValueError: A name is unknown or given twice, or the merge is not among them.
    """
    if MERGED in sources:
        raise ValueError(f"a source is called {MERGED}, as the merge is; set model.names")
    known = (MERGED, *sources)
    if pool is not None and not isinstance(pool, list | tuple):
        raise ValueError(f"space.pool is {pool!r}; give a list of names")
    members = tuple(known if pool is None else pool)
    if unknown := [name for name in members if name not in known]:
        raise ValueError(f"space.pool: there is no {unknown[0]!r} (there are: {', '.join(known)})")
    if MERGED not in members or len(set(members)) != len(members):
        raise ValueError(f"space.pool: name {MERGED} and any of the sources, each once")
    return members
