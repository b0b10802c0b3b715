"""Collects the evidence of every source, one after the other, or reads it from disk."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evojax_merge import hosts
from evojax_merge.checkpoints import Model
from evojax_merge.operators import Operator
from evojax_merge.operators.evidence import EvidenceRequest
from evojax_merge.params.abstract import is_abstract
from evojax_merge.params.on_host import fetch
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Params
from evojax_merge.sources.evidence import store
from evojax_merge.sources.evidence.fisher import collect_fisher
from evojax_merge.sources.evidence.gram import by_leaf, collect_gram
from evojax_merge.sources.evidence.items import Items, read_items
from evojax_merge.sources.evidence.store import EvidenceError

_COLLECT = {"fisher": collect_fisher, "gram": collect_gram}


def prepare(operator: Operator, model: Any, sources: int) -> tuple[Items, ...]:
    """Read the items that evidence is collected on, for each source; none where none is asked for.

    No weights are read.

    Args:
        operator: The operator, which asks for the evidence.
        model: Anything with the ``family``, ``tokenizer`` and ``config`` of the merge.
        sources: How many sources there are.

    Raises:
        DataError: A file is missing, empty, malformed, or has changed since the recipe was made.
        ValueError: An item does not fit the models, or there are not as many files as sources.
    """
    request: EvidenceRequest | None = operator.evidence
    if request is None:
        return ()
    if len(request.data) not in (1, sources):
        raise ValueError(
            f"operator.data lists {len(request.data)} files for {sources} sources; give one for "
            "all, or one for each"
        )
    hashes = request.sha256 or (None,) * len(request.data)
    read = {
        (path, wanted): read_items(request, path, wanted, model)
        for path, wanted in zip(request.data, hashes, strict=True)
    }
    items = [read[pair] for pair in zip(request.data, hashes, strict=True)]
    return tuple(items * sources if len(items) == 1 else items)


def collect(
    operator: Operator,
    items: Sequence[Items],
    sources: Iterable[Model],
    names: Sequence[str],
    directory: Path | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> tuple[dict[str, np.ndarray], ...] | None:
    """Collect the evidence for `operators.init_statistics`; None where the operator asks for none.

    Several processes collect it together, and the first one keeps it.

    Args:
        operator: The operator, which asks for the evidence.
        items: The items that `prepare` gave.
        sources: The sources with the vocabulary of the merge, which are taken one at a time.
        names: What messages call the sources.
        directory: The directory where evidence is kept and looked for; with None it is not kept.
        report: A function that is told about each source that is measured.

    Raises:
        EvidenceError: A source has no finite gradients or activations, or the directory holds the
            evidence of other weights or other items.
    """
    request: EvidenceRequest | None = operator.evidence
    if request is None:
        return None
    found = []
    for index, (own, source, name) in enumerate(zip(items, sources, names, strict=True)):
        file = None if directory is None else directory / f"{request.kind}-{index}.safetensors"
        if is_abstract(source.params):
            found.append(_shapes(request.kind, source))
            continue
        wanted = {"kind": request.kind, "items_sha256": own.items_sha256}
        if file is not None:
            wanted["weights_sha256"] = params_hash(source.params)
        leaves = None if file is None else store.read(file, wanted)
        if not hosts.least(int(leaves is not None)):  # all measure, or none
            leaves = None
        if leaves is None:
            report(f"{request.kind} evidence of {name} on the {own.count} items of {own.path}")
            leaves = _COLLECT[request.kind](source.family, source.config, source.params, own)
            _check_finite(request.kind, name, own, leaves)
            if file is not None:
                notes = {
                    "source": name,
                    "data": own.path,
                    "data_sha256": own.file_sha256,
                    "items": own.count,
                }
                if hosts.is_first():
                    store.write(file, leaves, wanted, notes)
        found.append(
            by_leaf(source.family, source.config, leaves) if request.kind == "gram" else leaves
        )
    return tuple(found)


def _shapes(kind: str, source: Model) -> dict[str, Any]:
    """The shapes of the evidence of a model whose parameters are shapes."""
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten(source.params).items()}
    if kind == "gram":
        read = source.family.layout(source.config).linear_inputs
        shapes = {path: (*shapes[path][:-2], *shapes[path][-1:] * 2) for path in read}
    return {path: jax.ShapeDtypeStruct(shape, np.float32) for path, shape in shapes.items()}


def params_hash(params: Params) -> str:
    """The SHA-256 of the numbers of a tree with their paths."""
    digest = hashlib.sha256()
    for path, leaf in flatten(params).items():
        digest.update(f"{path} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(fetch(leaf)).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _check_finite(kind: str, name: str, items: Items, leaves: dict[str, np.ndarray]) -> None:
    broken = [path for path, leaf in leaves.items() if not np.isfinite(leaf).all()]
    if broken:
        what = "gradients" if kind == "fisher" else "activations"
        raise EvidenceError(
            f"source {name}: its {what} on {items.path} are NaN or infinite in "
            f"{', '.join(broken[:3])}{' …' if len(broken) > 3 else ''}; check that the source "
            "predicts these items at all (evojax-merge evaluate), or merge in float32 or bfloat16"
        )
