"""Which models of a slice are the base and the sources of an operator."""

from typing import NamedTuple

from evojax_merge.exchange.configuration import Entry, Slice
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.methods import Method


class Inputs(NamedTuple):
    """The inputs of an operator.

    Attributes:
        base: The origin of task vectors, if the method has one.
        sources: The sources, in the order of the operator.
        tuned: The sources that have parameters of their own, which end ``sources``.
    """

    base: Entry | None
    sources: tuple[Entry, ...]
    tuned: tuple[Entry, ...]


def slice_inputs(method: Method, part: Slice) -> Inputs:
    """Find the inputs of a slice, as mergekit does.

    Where a method knows no base (linear, karcher, passthrough), a base that is named is a source
    like the others.

    Raises:
        ExchangeError: The method takes other models than these.
    """
    models = [entry.model for entry in part.sources]
    twice = sorted({model for model in models if models.count(model) > 1})
    if twice:
        raise ExchangeError(f"{part.where}: {', '.join(twice)} is named twice")
    base = next((entry for entry in part.sources if entry.model == part.base_model), None)
    others = tuple(entry for entry in part.sources if entry is not base)
    if method.base == "source":
        base, others = None, part.sources
    elif part.base_model is not None and base is None:
        raise ExchangeError(
            f"{part.where}: the base model {part.base_model} must be one of its sources"
        )
    elif base is None and method.base != "optional":
        raise ExchangeError(f"{part.where}: {method.name} needs a base_model")
    least, most = method.models
    if len(others) < least or (most is not None and len(others) > most):
        wanted = str(least) if most == least else f"at least {least}"
        besides = "" if method.base == "source" else " besides the base"
        raise ExchangeError(
            f"{part.where}: {method.name} merges {wanted} models{besides}, got {len(others)}"
        )
    if method.base == "first" and base is not None:
        return Inputs(None, (base, *others), others)
    return Inputs(base, others, others)
