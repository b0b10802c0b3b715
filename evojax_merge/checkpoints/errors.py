"""The error of checkpoint directories."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or cannot be merged with the others."""
