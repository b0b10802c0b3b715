"""A measure of the user's own, which is given every candidate as a checkpoint on disk."""
