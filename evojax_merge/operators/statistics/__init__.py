"""What is computed once of whole tensors before a search: all that papers ask for.

Leaves are looked at layer by layer on the host, or on a GPU that has room for them; a file is read
a piece at a time. Which elements are the largest is answered on the host by `on_host` with
`buckets`, on a GPU by `on_device`, and of files by `on_file`, in the one order of `ordering`.
"""

from evojax_merge.operators.statistics.gram import geometry, geometry_name
from evojax_merge.operators.statistics.layers import rows, stack_layers, task_vector_row
from evojax_merge.operators.statistics.numbers import processor, variance_of
from evojax_merge.operators.statistics.on_file import (
    Tensors,
    cuts_of,
    held,
    in_pieces,
    sums_between,
)
from evojax_merge.operators.statistics.pieces import PIECE
from evojax_merge.operators.statistics.selection import (
    magnitudes,
    ordered,
    orders_of_magnitude,
    orders_of_variance,
    rank_in_rows,
    select,
)
from evojax_merge.operators.statistics.singular import (
    is_matrix,
    nearest_orthogonal,
    rounding,
    svd,
    task_matrices,
    task_matrix,
)
from evojax_merge.operators.statistics.threads import in_threads

__all__ = [
    "PIECE",
    "Tensors",
    "cuts_of",
    "geometry",
    "geometry_name",
    "held",
    "in_pieces",
    "in_threads",
    "is_matrix",
    "magnitudes",
    "nearest_orthogonal",
    "ordered",
    "orders_of_magnitude",
    "orders_of_variance",
    "processor",
    "rank_in_rows",
    "rounding",
    "rows",
    "select",
    "stack_layers",
    "sums_between",
    "svd",
    "task_matrices",
    "task_matrix",
    "task_vector_row",
    "variance_of",
]
