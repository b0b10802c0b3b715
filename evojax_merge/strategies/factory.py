"""Makes strategies from what a configuration names, and refuses those that do not fit."""

import functools
from collections.abc import Callable
from typing import Any

from evojax_merge.strategies.base import ArgumentError, Strategy
from evojax_merge.strategies.setting import Setting

_ADVICE = "use one of evosax's, e.g. strategy@strategy.inner=cma_es"


def make_strategy(factory: Callable[..., Any], setting: Setting, **options: Any) -> Strategy:
    """Make the strategy of a search.

    Args:
        factory: A strategy's class, a function that returns a strategy, or a partial of either;
            its first argument is the setting.
        setting: What the strategy is told of the search.
        options: Further arguments of the factory, by name.

    Raises:
        ArgumentError: The factory does not take these arguments, or makes no `Strategy`; or the
            strategy does not fit the setting.
        ValueError: The strategy refuses an argument.
    """
    try:
        made = factory(setting, **options)
    except TypeError as error:
        raise ArgumentError(f"{_name_of(factory)} cannot be made: {error}") from error
    name = type(made).__name__
    if not isinstance(made, Strategy):
        raise ArgumentError(
            f"{_name_of(factory)} makes a {name}, which is no strategy; derive the class from "
            "evojax_merge.strategies.Strategy"
        )
    if setting.span is not None and made.follows_gradients:  # every other space has spans
        raise ArgumentError(f"{name} follows gradients, of space=parameter only")
    if setting.span is not None and not made.uses_span:
        raise ArgumentError(
            f"{name} takes no span, which the genes of this space have besides their bounds; use "
            "another strategy"
        )
    if made.hears == "objectives" and not setting.objectives:
        raise ArgumentError(
            f"{name} weighs several objectives against each other; give two tasks or more, as "
            "'fitness=[generation,perplexity]'"
        )
    return made


def make_inner(
    outer: str, factory: Callable[..., Any], setting: Setting, **options: Any
) -> Strategy:
    """Make the strategy inside another one, which is told the fitness alone.

    Args:
        outer: The name of the strategy around it.
        factory: A class, function or partial, as `make_strategy` takes.
        setting: What the strategy around it was told.
        options: Further arguments of the factory, by name.

    Raises:
        ArgumentError: The strategy cannot be made, or hears something else than the fitness.
    """
    try:
        made = make_strategy(factory, setting, **options)
    except ValueError as error:
        raise ArgumentError(
            f"strategy.inner: {_name_of(factory)} cannot be made inside {outer}: {error}; {_ADVICE}"
        ) from error
    if made.hears != "fitness":
        raise ArgumentError(
            f"strategy.inner: {made.name} is told the {made.hears}, and {outer} knows "
            f"the fitness alone; {_ADVICE}"
        )
    return made


def _name_of(factory: Callable[..., Any]) -> str:
    """What messages call a factory."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    return getattr(factory, "__name__", type(factory).__name__)
