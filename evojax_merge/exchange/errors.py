"""What a mergekit YAML can be wrong about."""

from collections.abc import Iterable
from difflib import get_close_matches


class ExchangeError(ValueError):
    """A mergekit YAML that cannot be run, or a recipe that mergekit cannot express."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)``, or nothing where no known name is near."""
    found = get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
