from evojax_merge.checkpoints.alignment import Alignment, align_vocabularies
from evojax_merge.checkpoints.auditing import audit
from evojax_merge.checkpoints.checkpoint import Checkpoint, load_config
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.exporting import export
from evojax_merge.checkpoints.hashing import weights_hash
from evojax_merge.checkpoints.loading import Model, load

__all__ = [
    "Alignment",
    "Checkpoint",
    "CheckpointError",
    "Model",
    "align_vocabularies",
    "audit",
    "export",
    "load",
    "load_config",
    "weights_hash",
]
