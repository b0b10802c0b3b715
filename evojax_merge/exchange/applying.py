"""A planned merge carried out from file to file.

While one part of a tensor is merged, the one before is written: memory holds the tensors of one
merge at most, whatever the size of the models. Arithmetic is in float32, rounded once; mergekit
computes in ``dtype``, or in the inputs' dtype where there is none.
"""

import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.checkpoints.exporting import MAX_SHARD_SIZE, swap, umask, write_json
from evojax_merge.exchange.merging import Merger
from evojax_merge.exchange.output import Piece, ShardWriter
from evojax_merge.exchange.planning import Plan
from evojax_merge.exchange.tokenizer_files import write_tokenizer
from evojax_merge.exchange.unchanged import check_task_vectors

CONFIG_FILE = "mergekit_config.yml"


def apply_plan(
    plan: Plan,
    directory: str | Path,
    *,
    seed: int = 0,
    max_shard_size: int = MAX_SHARD_SIZE,
    overwrite: bool = False,
    text: str | None = None,
) -> Path:
    """Merge and write a checkpoint; the directory appears complete or not at all.

    Args:
        plan: What to merge.
        directory: Where to; it must not exist, or be empty, unless ``overwrite``.
        seed: Of the random masks: the same as those of a recipe of this seed.
        max_shard_size: Bytes of tensors a file may hold.
        overwrite: Replace what the directory holds.
        text: The file that the plan was made from, kept beside the weights.

    Raises:
        CheckpointError: The directory holds something, or a tensor NaN or infinity.
        ExchangeError: A source is the base, where task vectors are merged.
    """
    target = Path(directory).expanduser().absolute()
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target}: is a file; give a directory to write to")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise CheckpointError(f"{target}: is not empty; choose another, or set overwrite")
    check_task_vectors(plan)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _write_weights(plan, work, seed, max_shard_size)
        write_json(work / "config.json", plan.hf_config)
        write_tokenizer(plan, work)
        if text is not None:
            (work / CONFIG_FILE).write_text(text, encoding="utf-8")
        work.chmod(0o777 & ~umask())
        swap(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return target


def _write_weights(plan: Plan, work: Path, seed: int, max_shard_size: int) -> None:
    pieces = [Piece(job.name, job.slot.shape, job.dtype) for job in plan.jobs]
    pending: Future[None] | None = None
    with (
        ShardWriter(work, pieces, max_shard_size) as writer,
        Merger(plan, seed) as merger,
        ThreadPoolExecutor(1) as background,
    ):
        for job in plan.jobs:
            for part in merger.parts(job):
                if pending is not None:
                    pending.result()
                pending = background.submit(writer.append, part)
        if pending is not None:
            pending.result()
        writer.write_index()
