"""The public table of merge operators, and what a recipe may make of it.

A recipe is data that a stranger may have written. An operator of this package is looked up here by
its name; its arguments are plain values, which are neither resolved nor made into objects. Code
from elsewhere is imported for a caller alone who says that it is trusted.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from evojax_merge.documents.nearest import nearest
from evojax_merge.documents.own_code import load_own
from evojax_merge.operators.adarank import adarank
from evojax_merge.operators.arcee_fusion import arcee_fusion
from evojax_merge.operators.base import Operator
from evojax_merge.operators.breadcrumbs import breadcrumbs, breadcrumbs_ties
from evojax_merge.operators.choice import choice
from evojax_merge.operators.consensus_ta import consensus_ta, tall_mask
from evojax_merge.operators.dare import dare_linear, dare_ties
from evojax_merge.operators.della import della, della_linear
from evojax_merge.operators.fisher import fisher
from evojax_merge.operators.geometric_median import geometric_median
from evojax_merge.operators.iso_c import iso_c
from evojax_merge.operators.iso_cts import iso_cts
from evojax_merge.operators.karcher import karcher
from evojax_merge.operators.knots import knots
from evojax_merge.operators.larv import larv
from evojax_merge.operators.linear import linear
from evojax_merge.operators.magmax import magmax, magmin
from evojax_merge.operators.model_stock import model_stock
from evojax_merge.operators.multislerp import multislerp
from evojax_merge.operators.nearswap import nearswap
from evojax_merge.operators.nuslerp import nuslerp
from evojax_merge.operators.passthrough import passthrough
from evojax_merge.operators.ram import ram, ramplus
from evojax_merge.operators.regmean import regmean
from evojax_merge.operators.sce import sce
from evojax_merge.operators.sign_only import sign_only
from evojax_merge.operators.slerp import slerp
from evojax_merge.operators.svc import svc
from evojax_merge.operators.task_arithmetic import task_arithmetic
from evojax_merge.operators.task_vectors import task_vectors
from evojax_merge.operators.ties import ties
from evojax_merge.operators.tsv_merge import tsv_merge
from evojax_merge.operators.wudi import wudi

PACKAGE = "evojax_merge."
PREFIX = f"{PACKAGE}operators."
"""What a recipe puts before the name of an operator of this package."""

TARGET = "_target_"
"""The key under which an option of `choice` names its factory, as in the configuration."""

_FACTORIES: tuple[Callable[..., Operator], ...] = (
    adarank,
    arcee_fusion,
    breadcrumbs,
    breadcrumbs_ties,
    choice,
    consensus_ta,
    dare_linear,
    dare_ties,
    della,
    della_linear,
    fisher,
    geometric_median,
    iso_c,
    iso_cts,
    karcher,
    knots,
    larv,
    linear,
    magmax,
    magmin,
    model_stock,
    multislerp,
    nearswap,
    nuslerp,
    passthrough,
    ram,
    ramplus,
    regmean,
    sce,
    sign_only,
    slerp,
    svc,
    tall_mask,
    task_arithmetic,
    task_vectors,
    ties,
    tsv_merge,
    wudi,
)

FACTORIES: Mapping[str, Callable[..., Operator]] = MappingProxyType(
    {factory.__name__: factory for factory in _FACTORIES}
)
"""Every operator of this package by its name."""


def foreign_operators(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """List the factories from outside this package that making an operator would import and call.

    Args:
        name: The name of the factory, ``package.module.function``.
        arguments: What the factory is to be called with.
    """
    if name == PREFIX + choice.__name__ and isinstance(arguments.get("options"), Mapping):
        described = [one for one in arguments["options"].values() if isinstance(one, Mapping)]
        names = [str(one.get(TARGET)) for one in described]
    else:
        names = [name]
    return list(dict.fromkeys(one for one in names if not one.startswith(PACKAGE)))


def make_operator(name: str, arguments: Mapping[str, Any], *, trust: bool = False) -> Operator:
    """Make the operator that a recipe names.

    Only the options of `choice` are operators themselves. Each of them is a mapping with its
    factory's name under ``_target_`` and its arguments.

    Args:
        name: The name of the factory: ``evojax_merge.operators.NAME``; or from elsewhere
            ``package.module.function``, ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``.
        arguments: Plain values: numbers, texts, true and false, none, and lists and mappings of
            these. They reach the factory as they are.
        trust: Import and call factories from outside this package.

    Raises:
        ValueError: There is no such operator, it is from elsewhere and not trusted, an argument is
            no plain value, or the factory refuses its arguments.
    """
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no name; give that of a factory, as {PREFIX}ties")
    options = arguments.get("options")
    if name == PREFIX + choice.__name__ and isinstance(options, Mapping):
        made = {str(key): _option(str(key), one, trust) for key, one in options.items()}
        others = {key: value for key, value in arguments.items() if key != "options"}
        check_plain("arguments", others)
        return _call(name, choice, {"options": made, **others})
    check_plain("arguments", arguments)
    return _call(name, _factory(name, trust), arguments)


def arguments_of(name: str, *, trust: bool = False) -> tuple[str, ...]:
    """The names of the arguments that an operator is made with.

    Raises:
        ValueError: There is no such operator, or it is from elsewhere and not trusted.
    """
    return tuple(inspect.signature(_factory(name, trust)).parameters)


def check_plain(where: str, value: Any) -> None:
    """Check that an argument of an operator is a plain value, which a recipe can carry.

    Raises:
        ValueError: The argument is no plain value, or it describes an object to be made.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return
    if isinstance(value, list | tuple):
        for index, part in enumerate(value):
            check_plain(f"{where}[{index}]", part)
        return
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{where} is a {type(value).__name__}; an operator takes numbers, texts, true and "
            "false, and lists and mappings of them"
        )
    for key, part in value.items():
        if not isinstance(key, str) or key.startswith("_"):
            raise ValueError(
                f"{where}: the key {key!r} has no place in the arguments of an operator, which are "
                "plain values; nothing in them is made into an object"
            )
        check_plain(f"{where}.{key}", part)


def canonical(name: str, factory: Any) -> str:
    """The name by which a recipe calls a factory.

    Args:
        name: The name by which a configuration found the factory.
        factory: The factory that was found.
    """
    known = next((key for key, one in FACTORIES.items() if one is factory), None)
    return name if known is None else PREFIX + known


def _option(name: str, described: Any, trust: bool) -> Operator:
    where = f"arguments.options.{name}"
    if not isinstance(described, Mapping) or not isinstance(described.get(TARGET), str):
        raise ValueError(f"{where} is {described!r}; give a mapping with {TARGET}, an operator")
    if described[TARGET] == PREFIX + choice.__name__:
        raise ValueError(f"{where} is a choice itself; give its options here")
    arguments = {key: value for key, value in described.items() if key != TARGET}
    try:
        return make_operator(described[TARGET], arguments, trust=trust)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _factory(name: str, trust: bool) -> Callable[..., Any]:
    if name.startswith(PACKAGE):
        found = FACTORIES.get(name.removeprefix(PREFIX))
        if found is None:
            hint = nearest(name.rpartition(".")[2], FACTORIES, PREFIX)
            raise ValueError(f"{name} is no operator of this package{hint}")
        return found
    if not trust:
        raise ValueError(
            f"{name} is code from outside this package; if you trust it, allow it with "
            "trust_operator=True (--trust-operator)"
        )
    return load_own(name, name).function


def _call(name: str, factory: Callable[..., Any], arguments: Mapping[str, Any]) -> Operator:
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        known = ", ".join(inspect.signature(factory).parameters) or "none"
        raise ValueError(f"{name} takes the arguments {known}: {error}") from None
    operator = factory(**arguments)
    if not isinstance(operator, Operator):
        raise ValueError(f"{name} makes a {type(operator).__name__}, no operator")
    return operator
