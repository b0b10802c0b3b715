"""What a checkpoint directory can be wrong about."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or cannot be merged with the others."""
