from evojax_merge.checkpoints.checkpoint import Checkpoint, load_config
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.loading import Model, load

__all__ = ["Checkpoint", "CheckpointError", "Model", "load", "load_config"]
