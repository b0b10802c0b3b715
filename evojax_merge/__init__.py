"""Evolutionary model merging in JAX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evojax_merge.api import Evaluation, dry_run, evaluate, evolve, export, load, merge, resume

__version__ = "0.1.0"

__all__ = ["Evaluation", "dry_run", "evaluate", "evolve", "export", "load", "merge", "resume"]


def __getattr__(name: str) -> Any:
    """Import functions when one is first asked for, since a search needs what a merge does not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from evojax_merge import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
