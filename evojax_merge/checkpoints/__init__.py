from evojax_merge.checkpoints.adapter import bake, is_adapter, load_adapter, load_adapter_config
from evojax_merge.checkpoints.adapter_config import is_adapter_directory
from evojax_merge.checkpoints.adapter_factors import Adapter
from evojax_merge.checkpoints.alignment import Alignment, align_vocabularies
from evojax_merge.checkpoints.audit import audit
from evojax_merge.checkpoints.carriers import with_carriers
from evojax_merge.checkpoints.checkpoint import Baked, Checkpoint, load_config
from evojax_merge.checkpoints.directory import resolve
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.exporter import export, lend
from evojax_merge.checkpoints.hashes import weights_hash
from evojax_merge.checkpoints.loader import Model, load
from evojax_merge.checkpoints.parts import (
    as_part,
    default_parts,
    has_parts,
    load_parts,
    take_parts,
)

__all__ = [
    "Adapter",
    "Alignment",
    "Baked",
    "Checkpoint",
    "CheckpointError",
    "Model",
    "align_vocabularies",
    "as_part",
    "audit",
    "bake",
    "default_parts",
    "export",
    "has_parts",
    "is_adapter",
    "is_adapter_directory",
    "lend",
    "load",
    "load_adapter",
    "load_adapter_config",
    "load_config",
    "load_parts",
    "resolve",
    "take_parts",
    "weights_hash",
    "with_carriers",
]
