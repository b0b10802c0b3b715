"""The error of a run that stops before its end, and can go on from there."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, or may not go on for now; everything completed is saved."""
