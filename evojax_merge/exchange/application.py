"""A planned merge is carried out from file to file.

As many tensors as there are cores are merged at once, each a piece at a time, and every piece is
written to its place as soon as it is there. Arithmetic is in float32, rounded once. mergekit
computes in ``dtype``, or in the inputs' dtype where there is none.
"""

import functools
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from os import cpu_count
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any

import numpy as np

from evojax_merge.checkpoints.adapter_factors import load_additions
from evojax_merge.checkpoints.headers import stem_of
from evojax_merge.checkpoints.reading import read_tensor
from evojax_merge.checkpoints.target import checked_target, replacement
from evojax_merge.checkpoints.tensor_files import MAX_SHARD_SIZE, Piece, ShardWriter
from evojax_merge.exchange.documents import load_file
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.plan import Job, Origin, Plan
from evojax_merge.exchange.planner import plan_merge
from evojax_merge.exchange.schema import read_file
from evojax_merge.exchange.tensor_merge import Merger
from evojax_merge.exchange.tensor_reader import Reader
from evojax_merge.exchange.tokenizer_files import write_files
from evojax_merge.exchange.unchanged import check_task_vectors
from evojax_merge.operators.statistics.threads import blas_of_one_thread

CONFIG_FILE = "mergekit_config.yml"

Describe = Callable[[str, list[str], Mapping[str, Any]], Mapping[str, str]]
"""What describes a merge: from the text of its YAML, the models that this names, and the
``config.json`` of the merge, to the texts of files by their names."""

MOST_THREADS = 4
"""The greatest number of tensors merged at once. A few methods hold them whole."""


def apply_mergekit(
    file: str | Path,
    directory: str | Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    strict: bool = False,
    describe: Describe = lambda text, models, hf_config: {},
) -> Path:
    """Run a mergekit YAML from file to file, a tensor at a time.

    Where a file has several documents, the models that others use are made beside the directory,
    and removed in the end.

    Args:
        file: The path of the YAML.
        directory: The directory of the merged checkpoint. It may hold something only with
            ``overwrite``.
        seed: The seed of random masks, which mergekit's YAML does not hold.
        overwrite: Whether to replace what the directory holds.
        strict: Whether to refuse what would be warned of.
        describe: The function that gives the texts of further files, by their names.

    Raises:
        ExchangeError: The YAML, or how it fits the models, is not supported. No weights were read
            but those of earlier documents.
        CheckpointError: A checkpoint is missing or damaged.
    """
    found = load_file(file)
    target = checked_target(directory, overwrite)
    *parts, result = found.documents
    with ExitStack() as stack:
        folder = target.parent
        if parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            made = tempfile.TemporaryDirectory(prefix=f".{target.name}-parts-", dir=folder)
            folder = Path(stack.enter_context(made))
        with _warnings_refused(strict):
            if found.notes:
                warnings.warn("; ".join(found.notes), stacklevel=2)
        for part in parts:
            with _warnings_refused(strict):
                plan = plan_merge(found.read(part, folder))
            apply_plan(plan, folder / str(part.name), seed=seed)
        with _warnings_refused(strict):
            plan = plan_merge(found.read(result, folder))
        text = read_file(file)
        used = [name for one in found.documents for name in found.read(one, folder).uses]
        made_here = {str(folder / str(part.name)) for part in parts}
        models = [name for name in dict.fromkeys(used) if name not in made_here]
        files = {CONFIG_FILE: text, **describe(text, models, plan.hf_config)}
        return apply_plan(plan, target, seed=seed, overwrite=overwrite, files=files)


@contextmanager
def _warnings_refused(strict: bool) -> Iterator[None]:
    """Raise all warnings of a block as one error, if ``strict``."""
    if not strict:
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [str(warning.message) for warning in caught if warning.category is UserWarning]
    if said:
        raise ExchangeError("warnings are errors here (strict):\n  " + "\n  ".join(said))


def apply_plan(
    plan: Plan,
    directory: str | Path,
    *,
    seed: int = 0,
    max_shard_size: int = MAX_SHARD_SIZE,
    overwrite: bool = False,
    files: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Merge and write a checkpoint. The directory appears complete or not at all.

    Args:
        plan: The merge.
        directory: The directory of the result. It must not exist, or be empty, unless
            ``overwrite``.
        seed: The seed of the random masks, which are those of a recipe of this seed.
        max_shard_size: How many bytes of tensors a file may hold.
        overwrite: Whether to replace what the directory holds.
        files: The texts of files that are written beside the weights, by their names.

    Raises:
        CheckpointError: The directory holds something, or a tensor holds NaN or infinity.
        ExchangeError: A source is the base, where task vectors are merged.
    """
    target = checked_target(directory, overwrite)
    check_task_vectors(plan)
    with replacement(target) as work:
        _write_weights(plan, work, seed, max_shard_size)
        write_files(plan, work)
        for name, text in files.items():
            (work / name).write_text(text, encoding="utf-8")
    return target


def _write_weights(plan: Plan, work: Path, seed: int, max_shard_size: int) -> None:
    pieces = [Piece(job.name, job.slot.shape, job.dtype) for job in plan.jobs]
    pieces += [Piece.of(one.name, one.info) for one in plan.carried]
    stem = stem_of(plan.checkpoints[plan.reference].directory)
    with ShardWriter(work, pieces, max_shard_size, stem) as writer:
        merge_jobs(plan, writer.write, seed)
        for kept in plan.carried:
            writer.write(kept.name, 0, read_tensor(kept.info))


def merge_jobs(plan: Plan, write: Callable[[str, int, np.ndarray], None], seed: int) -> None:
    """Merge the tensors of a plan, several at once.

    Args:
        plan: The plan.
        write: The function that takes the name of a tensor, the place of the first of some of its
            elements, and these, from any thread.
        seed: The seed of the random masks.
    """
    threads = min(MOST_THREADS, cpu_count() or 1)
    reader = Reader(plan.checkpoints)
    additions = {
        Origin(model, name): added
        for model, adapter in plan.adapters.items()
        for name, added in load_additions(adapter).items()
    }
    idle: SimpleQueue[Merger] = SimpleQueue()
    for _ in range(threads):
        idle.put(Merger(plan, reader, seed, additions))
    with ExitStack() as stack:
        stack.enter_context(blas_of_one_thread())
        pool = stack.enter_context(ThreadPoolExecutor(threads))

        def merge(job: Job) -> None:
            merger = idle.get()
            try:
                merger.merge(job, functools.partial(write, job.name))
            finally:
                idle.put(merger)

        merged = [pool.submit(merge, job) for job in _apart(plan.jobs, threads)]
        try:
            for one in merged:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _apart(jobs: Sequence[Job], threads: int) -> list[Job]:
    """Sort the work so that threads wait least.

    The smallest tensor comes first: with it one thread compiles what all call, while the others
    read. The largest come next, or one thread would end with one of them alone. Tensors far from
    each other follow in turn, since threads that write to one file would wait for each other.
    """
    smallest, *rest = sorted(jobs, key=lambda job: int(np.prod(job.slot.shape, dtype=np.int64)))
    first = [smallest, *reversed(rest[-threads:])]
    others = [job for job in jobs if job not in first]
    step = -(-len(others) // threads)
    return first + [job for at in range(step) for job in others[at::step]]
