"""Operators of this package in mergekit's words, as far as it has them."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from evojax_merge import operators
from evojax_merge.exchange.errors import ExchangeError

OWN = "evojax_merge.operators."

GRIDDED = {
    "ties": ("density",),
    "breadcrumbs": ("density", "gamma"),
    "breadcrumbs_ties": ("density", "gamma"),
    "sce": ("select_topk",),
}
"""The coefficients that an operator rounds to its grid. They are written as they are used."""


class Expression(NamedTuple):
    """An expression is an operator as mergekit has it.

    Attributes:
        method: The ``merge_method``.
        parameters: The parameters of all tensors.
        neutral: The coefficients that mergekit lacks -> the only value that it computes.
        base: What becomes ``base_model``: the ``base``, the ``first`` source, or None for nothing.
        equal: The coefficients that mergekit lacks and of which only the proportions count. It
            computes what equal ones give.
    """

    method: str
    parameters: dict[str, Any]
    neutral: Mapping[str, float] = MappingProxyType({})
    base: str | None = "base"
    equal: tuple[str, ...] = ()


def express(operator: str, arguments: Mapping[str, Any]) -> Expression:
    """Say what an operator is in mergekit.

    Args:
        operator: The factory, as a recipe names it: ``evojax_merge.operators.ties``.
        arguments: The arguments of the factory.

    Raises:
        ExchangeError: mergekit has no such method or setting, there is no such operator, or the
            operator does not take the arguments.
    """
    name = operator.removeprefix(OWN)
    if not operator.startswith(OWN) or name not in _EXPRESSIONS:
        raise ExchangeError(
            f"mergekit has no method for the operator {operator}; it has them for "
            f"{', '.join(sorted(_EXPRESSIONS))}"
        )
    try:
        operators.make_operator(operator, arguments)
    except ValueError as error:
        raise ExchangeError(f"operator: {error}") from error
    bound = inspect.signature(getattr(operators, name)).bind(**arguments)
    bound.apply_defaults()
    return _EXPRESSIONS[name](bound.arguments)


def _only(name: str, given: Any, *allowed: Any) -> None:
    if given not in allowed:
        raise ExchangeError(
            f"mergekit has no {name} {given!r}, only {', '.join(map(str, allowed))}"
        )


def _family(method: str, *rescales: str) -> Callable[[Mapping[str, Any]], Expression]:
    def expression(a: Mapping[str, Any]) -> Expression:
        parameters = {"normalize": a["normalize"], "lambda": a["lam"]}
        if method != "task_arithmetic":
            _only("rescale", a["rescale"], None, *rescales)
            parameters["rescale"] = a["rescale"] is not None
        return Expression(method, parameters)

    return expression


def _task_vectors(a: Mapping[str, Any]) -> Expression:
    """Express the composable core by the named method that it was composed to."""
    named = {
        ("none", "none"): ("task_arithmetic", ()),
        ("magnitude", "sum"): ("ties", ("l1",)),
        ("outliers", "none"): ("breadcrumbs", ("l1",)),
        ("outliers", "sum"): ("breadcrumbs_ties", ("l1",)),
        ("random", "none"): ("dare_linear", ("inverse", "l1")),
        ("random", "sum"): ("dare_ties", ("inverse", "l1")),
        ("rank", "none"): ("della_linear", ("l1",)),
        ("rank", "sum"): ("della", ("l1",)),
    }
    composed = (a["trim"], a["consensus"])
    if composed == ("none", "sum"):
        everything = {"density": 1.0, "normalize": a["normalize"], "rescale": False}
        return Expression("ties", {**everything, "lambda": a["lam"]})
    if composed not in named:
        raise ExchangeError(
            f"mergekit has no method with trim {a['trim']} and consensus {a['consensus']}"
        )
    method, rescales = named[composed]
    return _family(method, *rescales)(a)


def _slerp(a: Mapping[str, Any]) -> Expression:
    _only("dot_threshold", a["dot_threshold"], 0.9995)
    return Expression("slerp", {}, base="first")


def _nuslerp(a: Mapping[str, Any]) -> Expression:
    parameters = {
        "nuslerp_flatten": a["along"] == "tensor",
        "nuslerp_row_wise": a["along"] == "columns",
    }
    return Expression("nuslerp", parameters, base="base" if a["of_task_vectors"] else None)


def _multislerp(a: Mapping[str, Any]) -> Expression:
    based = "base" if a["of_task_vectors"] else None
    return Expression("multislerp", {"normalize_weights": a["normalize"]}, base=based)


def _sce(a: Mapping[str, Any]) -> Expression:
    _only("lam of sce", a["lam"], 1.0)
    return Expression("sce", {}, {"weight": 1.0})


_EXPRESSIONS: dict[str, Callable[[Mapping[str, Any]], Expression]] = {
    "linear": lambda a: Expression("linear", {"normalize": a["normalize"]}, base=None),
    "slerp": _slerp,
    "nuslerp": _nuslerp,
    "multislerp": _multislerp,
    "karcher": lambda a: Expression("karcher", dict(a), base=None, equal=("weight",)),
    "model_stock": lambda a: Expression("model_stock", dict(a), {"strength": 1.0}),
    "passthrough": lambda a: Expression("passthrough", {}, base=None),
    "nearswap": lambda a: Expression("nearswap", {}),
    "arcee_fusion": lambda a: Expression("arcee_fusion", {}, {"spread": 1.5}),
    "sce": _sce,
    "ram": lambda a: Expression("ram", dict(a), {"weight": 1.0}),
    "ramplus": lambda a: Expression("ramplus_tl", dict(a), {"weight": 1.0}),
    "task_vectors": _task_vectors,
    "task_arithmetic": _family("task_arithmetic"),
    "ties": _family("ties", "l1"),
    "dare_linear": _family("dare_linear", "inverse", "l1"),
    "dare_ties": _family("dare_ties", "inverse", "l1"),
    "breadcrumbs": _family("breadcrumbs", "l1"),
    "breadcrumbs_ties": _family("breadcrumbs_ties", "l1"),
    "della": _family("della", "l1"),
    "della_linear": _family("della_linear", "l1"),
}
