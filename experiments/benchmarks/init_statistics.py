"""What an operator computes once before a search, against reading the files that it comes from.

The models are those of `operators.py`: three fine-tunes of a 97 M-parameter Llama and their base,
float32 and bfloat16. Files are read with safetensors, whole, once from the page cache and once
after it was told to forget them ("from disk"; the disk's or its host's own cache may still help).
Reading and statistics take turns; ``ratio`` is the time of reading over that of the statistics, so
that 0.33 means three times reading.

    python experiments/benchmarks/init_statistics.py --out rows.json    (about 3 minutes)
"""

import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
from layers import stacked_in
from measure import Row, main, row, seconds_in_turn
from operators import OPERATORS, load_stacked, write_models
from safetensors.numpy import load_file

from evojax_merge.operators import init_statistics

NAMES = ("ties", "breadcrumbs", "della", "sce", "model_stock", "karcher", "slerp", "linear")
REPEATS = 5
PEER = "reading the files"


def benchmark() -> list[Row]:
    """All rows."""
    return [row for dtype in ("float32", "bfloat16") for row in of_dtype(dtype)]


def of_dtype(dtype: str) -> list[Row]:
    """The rows of sources stored in one dtype."""
    with tempfile.TemporaryDirectory() as directory:
        files = write_models(Path(directory), dtype)
        base, *sources = (load_stacked(file) for file in files)

        def of_operator(name: str) -> None:
            operator, _ = OPERATORS[name]
            taken = tuple(sources[: operator.sources[1]])
            jax.block_until_ready(init_statistics(operator, base, taken, stacked=stacked_in(base)))

        ours = [partial(of_operator, name) for name in NAMES]
        reads = [partial(read, files), partial(read, files, cold=True)]
        warm, cold, *times = seconds_in_turn([*reads, *ours], REPEATS)
    rows = [
        row(f"reading the files, {dtype}", warm, "s"),
        row(f"reading the files from disk, {dtype}", cold, "s"),
    ]
    for name, taken in zip(NAMES, times, strict=True):
        rows.append(row(f"{name} statistics, {dtype}", taken, "s", PEER, warm, warm / taken))
    return rows


def read(files: Sequence[Path], cold: bool = False) -> None:
    """All tensors of the files, one file in memory at a time."""
    for file in files:
        if cold:
            forget(file)
        load_file(file)


def forget(file: Path) -> None:
    """Take a file out of the page cache."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main(benchmark)
