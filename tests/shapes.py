"""Annotations of arrays are checked while tests run: what a docstring says of a shape is so.

Every function of the package checks the dtypes and shapes of the arrays that it takes and returns,
whenever it is called. Other annotations are mypy's affair, and wrong values are that of the errors
that tests expect.
"""

import functools
import operator
import types
from collections.abc import Callable
from typing import Any, get_args

import jax
import numpy as np
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))


def install() -> None:
    """Check the functions of the package, which must not have been imported yet."""
    install_import_hook("evojax_merge", f"{__name__}.{checked.__name__}")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arrays among the arguments and results of a function.

    JAX makes pytrees again of whatever leaves it works with, so that what makes one is let be.
    """
    if function.__name__ == "__init__":
        return function
    if isinstance(function, types.FunctionType):
        hints = function.__annotations__
        for name, hint in [*hints.items()]:
            if _is_of_arrays(hint):
                hints[name] = _also_of_the_host(hint)
            else:
                del hints[name]
    return _beartype(function)


def _is_of_arrays(hint: Any) -> bool:
    return hasattr(hint, "dim_str") or any(map(_is_of_arrays, get_args(hint)))


def _also_of_the_host(hint: Any) -> Any:
    """Let an array be one of NumPy, which JAX takes wherever it takes one of its own."""
    if isinstance(hint, types.UnionType):
        return functools.reduce(operator.or_, map(_also_of_the_host, get_args(hint)))
    if getattr(hint, "array_type", None) is jax.Array:
        return hint.dtype[jax.Array | np.ndarray, hint.dim_str]
    if isinstance(hint, types.GenericAlias):
        return hint.__origin__[tuple(map(_also_of_the_host, get_args(hint)))]
    return hint
