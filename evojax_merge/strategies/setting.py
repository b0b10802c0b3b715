"""The setting of a search, which every strategy is made for."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from evojax_merge.strategies.box import Box, make_box


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """The setting of a search: the genes, and what candidates are measured on.

    A strategy takes from it what it needs. Bounds are checked by `box`, which all of ours call.

    Attributes:
        lower: The least value of each gene, ``[dims]``.
        upper: The greatest value of each gene, ``[dims]``.
        start: The point where the search begins, ``[dims]``; None for the middle of the bounds.
        span: The range of each gene that a deviation or a step is a share of, ``[dims]``; None for
            upper − lower.
        objectives: The names of the fitness tasks where there are several; otherwise empty.
        items: How many items each candidate is measured on; None where that is not known.
        matrices: The first gene, the rows and the columns of each matrix among the genes.
        groups: The number of each gene's parameter group, ``[dims]``; None where genes have none.
        choices: The probability with which a search begins to draw each category of a gene,
            ``[dims, categories]``; a row of zeros for a gene that is a real number, and None where
            all are. The range of a gene of k categories, of which the first k entries of its row
            are above 0, has k equal parts, and the middle of a part stands for its category.
        experts: Genotypes of the models that are merged, ``[experts, dims]``; None where the space
            has none for them.
    """

    lower: Any
    upper: Any
    start: Any = None
    span: Any = None
    objectives: Sequence[str] = ()
    items: int | None = None
    matrices: Sequence[tuple[int, int, int]] = ()
    groups: Any = None
    choices: Any = None
    experts: Any = None

    def box(self, sigma: float) -> Box:
        """Check and gather the bounds, the start and the span.

        Args:
            sigma: The initial deviation, a share of each gene's span.

        Raises:
            ValueError: `make_box` refuses them.
        """
        return make_box(self.lower, self.upper, self.start, sigma, self.span)
