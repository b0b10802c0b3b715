"""What a mergekit YAML can be wrong about."""


class ExchangeError(ValueError):
    """A mergekit YAML that cannot be run, or a recipe that mergekit cannot express."""
