"""Checks, before anything runs, of which evosax algorithm is meant, with which arguments."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import evosax.algorithms
import jax
import jax.numpy as jnp
import numpy as np
from evosax.algorithms.base import EvolutionaryAlgorithm
from evosax.core.fitness_shaping import weights_fitness_shaping_fn

from evojax_merge.strategies.base import ArgumentError, check_names
from evojax_merge.strategies.cma_es import CMAES
from evojax_merge.strategies.ma_es import LMMAES, MAES
from evojax_merge.strategies.shaping import rank_weights
from evojax_merge.strategies.xnes import XNES

# Ours in place of evosax's: each module says what differs.
CORRECTED: dict[str, type[EvolutionaryAlgorithm]] = {
    "CMA_ES": CMAES,
    "LM_MA_ES": LMMAES,
    "MA_ES": MAES,
    "xNES": XNES,
}

# Given by the adapter, or (params, params_path) a pickle read by evosax: pickles are refused.
_RESERVED = {"self", "population_size", "solution", "metrics_fn", "params", "params_path"}


def resolve(
    algorithm: str | Callable[..., EvolutionaryAlgorithm],
) -> tuple[type[EvolutionaryAlgorithm], dict[str, Any]]:
    """The class and constructor options behind an evosax name, a class, or a partial of one.

    Raises:
        ValueError: Evosax has no such algorithm, what is given is no algorithm, or it does not
            have an option.
    """
    if isinstance(algorithm, str):
        classes = {c.__name__: c for c in evosax.algorithms.algorithms.values()} | CORRECTED
        check_names([algorithm], classes, "evosax algorithm")
        algorithm = classes[algorithm]
    options: dict[str, Any] = {}
    while isinstance(algorithm, functools.partial):
        if algorithm.args:
            raise ValueError("options of an algorithm are given by name")
        options = {**algorithm.keywords, **options}
        algorithm = algorithm.func
    if not (inspect.isclass(algorithm) and issubclass(algorithm, EvolutionaryAlgorithm)):
        raise ValueError(f"{algorithm!r} is not an evosax algorithm")
    parameters = inspect.signature(algorithm).parameters
    check_names(options, parameters.keys() - _RESERVED, f"option of {algorithm.__name__}")
    for name, given in options.items():
        made = hasattr(given, "update") if name == "optimizer" else callable(given)
        if name.endswith(("optimizer", "_schedule", "_fn")) and not made:
            raise ArgumentError(
                f"strategy.algorithm.{name} is {given!r}; change its keys one by one"
            )
    shaping = parameters.get("fitness_shaping_fn")
    if shaping is not None and shaping.default is weights_fitness_shaping_fn:
        options.setdefault("fitness_shaping_fn", rank_weights)
    return algorithm, options


def make_params(algorithm: EvolutionaryAlgorithm, given: Mapping[str, Any]) -> Any:
    """The algorithm's default parameters with the given ones in their place.

    Raises:
        ArgumentError: The algorithm does not have a name, or a value is of the wrong kind or shape.
    """
    if not isinstance(given, Mapping):
        raise ArgumentError(f"strategy.strategy_params is {given!r}; give a mapping, {{NAME: …}}")
    default = _default_params(algorithm)
    name = type(algorithm).__name__
    known = {field.name for field in dataclasses.fields(default)} - _RESERVED
    check_names(given, known, f"parameter of {name}")
    if "std_min" in known:
        # A deviation that float32 no longer resolves divides by zero.
        default = dataclasses.replace(default, std_min=max(default.std_min, 1e-6))
    return dataclasses.replace(
        default,
        **{k: _like(v, getattr(default, k), f"{name}.{k}") for k, v in given.items()},
    )


def _default_params(algorithm: EvolutionaryAlgorithm) -> Any:
    """The default parameters, computed by one program and not by one for each operation.

    Plain numbers among them stay what they are. What cannot be traced is computed as it stands.
    """
    traced: list[bool] = []
    plain: list[Any] = []
    structure: list[Any] = []

    def arrays() -> list[Any]:
        leaves, tree = jax.tree.flatten(algorithm.default_params)
        traced[:] = [isinstance(leaf, jax.core.Tracer) for leaf in leaves]
        plain[:] = leaves
        structure[:] = [tree]
        return [leaf for leaf, is_traced in zip(leaves, traced, strict=True) if is_traced]

    try:
        computed = iter(jax.jit(arrays)() if jax.eval_shape(arrays) else [])
    except jax.errors.ConcretizationTypeError:
        return algorithm.default_params
    pairs = zip(plain, traced, strict=True)
    leaves = [next(computed) if is_traced else leaf for leaf, is_traced in pairs]
    return structure[0].unflatten(leaves)


def _like(value: Any, default: Any, where: str) -> Any:
    """The value as an array of the default's shape and dtype."""
    kind = jnp.asarray(default)
    try:
        array = np.asarray(value if np.ndim(value) == 0 else list(value), np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"{where} must be a number, not {value!r}") from None
    if array.shape != kind.shape:
        raise ArgumentError(f"{where} must have shape {kind.shape}, not {array.shape}")
    if np.isnan(array).any():
        raise ArgumentError(f"{where} is not a number")
    if not jnp.issubdtype(kind.dtype, jnp.floating) and (array != np.round(array)).any():
        raise ArgumentError(f"{where} must be a whole number, not {value!r}")
    return jnp.asarray(array, kind.dtype)
