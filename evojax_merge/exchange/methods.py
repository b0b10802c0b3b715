"""mergekit's merge methods as operators of this package.

The names, defaults and scopes of parameters, and how many models a method takes, are those of
mergekit 0.1.5. There ``int8_mask`` saves memory and changes no number. ``rescale: true`` keeps the
l1 norm, which the random methods restore in expectation here. ``density`` and ``rescale`` of
task_arithmetic do nothing there.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from evojax_merge import operators
from evojax_merge.documents.nearest import nearest
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.settings import Kind, Value
from evojax_merge.operators import Operator

Role = Literal["coefficient", "static", "lambda", "fixed", "idle"]
"""What a parameter becomes: a traced coefficient of the operator, an argument of its factory, the
scale that the factory takes as ``lam``, or nothing. Where it becomes nothing, either only its
default is accepted (``fixed``), or it makes no difference (``idle``)."""

Static = tuple[tuple[str, Value], ...]
"""The arguments of an operator's factory, which can be hashed."""

REQUIRED = object()


class Parameter(NamedTuple):
    """A parameter of a method. All models have one value if it is ``shared``, else each its own."""

    name: str
    kind: Kind = "float"
    default: Any = REQUIRED
    shared: bool = True
    role: Role = "coefficient"


class Method(NamedTuple):
    """A merge method of mergekit.

    Attributes:
        name: The name in the YAML.
        parameters: All parameters of the method.
        build: The function that makes the operator from the static parameters, ``lam``, and whether
            there is a base.
        base: Whether the base is the origin of task vectors (``required`` or ``optional``), the
            first of two sources (``first``), or a source like any other (``source``).
        models: The least and the greatest number of models besides the base. For ``source`` it
            counts all models.
    """

    name: str
    parameters: tuple[Parameter, ...]
    build: Callable[[Mapping[str, Any], Any, bool], Operator]
    base: Literal["required", "optional", "first", "source"] = "required"
    models: tuple[int, int | None] = (1, None)

    @property
    def elects(self) -> bool:
        """Whether only what has the elected sign is added."""
        return self.name in ("ties", "dare_ties", "breadcrumbs_ties", "della")

    @property
    def adds(self) -> bool:
        """Whether NaN or infinity in a tensor is in the result, whatever the parameters are.

        Each element, or its difference from the base's, is multiplied by a number and added.
        """
        return self.name in (
            "linear",
            "slerp",
            "nuslerp",
            "multislerp",
            "karcher",
            "model_stock",
            "task_arithmetic",
            "nearswap",
        )

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of this name, if there is one."""
        return next((one for one in self.parameters if one.name == name), None)

    def lacks(self, name: str, where: str) -> str:
        """Say that the method has no parameter of this name."""
        names = [parameter.name for parameter in self.parameters]
        return (
            f"{where}: {self.name} has no parameter {name}{nearest(name, names)}; "
            f"it has {', '.join(names) or 'none'}"
        )


def method(name: Any, where: str) -> Method:
    """Return the method of this name.

    Raises:
        ExchangeError: There is no such method.
    """
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    raise ExchangeError(
        f"{where}: unknown merge_method {name!r}{nearest(name, METHODS)}; "
        f"known are {', '.join(METHODS)}"
    )


def _switch(name: str, default: bool, role: Role = "static") -> Parameter:
    return Parameter(name, "bool", default, role=role)


def _each(name: str, default: Any = REQUIRED, role: Role = "coefficient") -> Parameter:
    return Parameter(name, "float", default, shared=False, role=role)


def _family(
    name: str, factory: Callable[..., Operator], normalize: bool, rescale: bool, *more: Parameter
) -> Method:
    """Make a method of generalised task arithmetic."""
    trims = name != "task_arithmetic"

    def build(static: Mapping[str, Any], lam: Any, based: bool) -> Operator:
        arguments = {"rescale": "l1" if static["rescale"] else None} if trims else {}
        return factory(normalize=static["normalize"], lam=lam, **arguments)

    parameters = (
        _each("weight"),
        _each("density", 1.0, "coefficient" if trims else "idle"),
        *more,
        _switch("normalize", normalize),
        _switch("rescale", rescale, "static" if trims else "idle"),
        Parameter("lambda", default=1.0, role="lambda"),
        _switch("int8_mask", False, "idle"),
    )
    return Method(name, parameters, build)


def _nuslerp(static: Mapping[str, Any], lam: Any, based: bool) -> Operator:
    along = "columns" if static["nuslerp_row_wise"] else "rows"
    if static["nuslerp_flatten"]:
        along = "tensor"
    return operators.nuslerp(along, of_task_vectors=based)  # type: ignore[arg-type]


_GAMMA = _each("gamma", 0.01)
_EPSILON = _each("epsilon", 0.15)

_METHODS = (
    Method(
        "linear",
        (_each("weight"), _switch("normalize", True)),
        lambda static, lam, based: operators.linear(static["normalize"]),
        "source",
    ),
    Method("slerp", (Parameter("t"),), lambda *_: operators.slerp(), "first", (1, 1)),
    Method(
        "nuslerp",
        (_each("weight"), _switch("nuslerp_row_wise", False), _switch("nuslerp_flatten", True)),
        _nuslerp,
        "optional",
        (2, 2),
    ),
    Method(
        "multislerp",
        (
            _each("weight"),
            _switch("normalize_weights", True),
            Parameter("eps", default=1e-8, role="fixed"),
        ),
        lambda static, lam, based: operators.multislerp(static["normalize_weights"], based),
        "optional",
    ),
    Method(
        "karcher",
        (
            Parameter("max_iter", "int", 10, role="static"),
            Parameter("tol", "float", 1e-5, role="static"),
        ),
        lambda static, lam, based: operators.karcher(static["max_iter"], static["tol"]),
        "source",
    ),
    Method(
        "model_stock",
        (_switch("filter_wise", False),),
        lambda static, lam, based: operators.model_stock(static["filter_wise"]),
        models=(2, None),
    ),
    Method(
        "passthrough",
        (_each("scale", 1.0),),
        lambda *_: operators.passthrough(),
        "source",
        (1, 1),
    ),
    Method("nearswap", (Parameter("t"),), lambda *_: operators.nearswap(), models=(1, 1)),
    Method("arcee_fusion", (), lambda *_: operators.arcee_fusion(), models=(1, 1)),
    _family("task_arithmetic", operators.task_arithmetic, False, False),
    _family("ties", operators.ties, True, False),
    _family("dare_linear", operators.dare_linear, False, True),
    _family("dare_ties", operators.dare_ties, False, True),
    _family("breadcrumbs", operators.breadcrumbs, False, False, _GAMMA),
    _family("breadcrumbs_ties", operators.breadcrumbs_ties, False, False, _GAMMA),
    _family("della", operators.della, True, True, _EPSILON),
    _family("della_linear", operators.della_linear, False, True, _EPSILON),
    Method(
        "sce",
        (Parameter("select_topk", default=1.0), _switch("int8_mask", False, "idle")),
        lambda *_: operators.sce(),
    ),
    Method(
        "ram",
        (Parameter("epsilon", default=1e-5, role="static"),),
        lambda static, lam, based: operators.ram(static["epsilon"]),
    ),
    Method(
        "ramplus_tl",
        (
            Parameter("r", default=0.1),
            Parameter("alpha", default=0.2),
            Parameter("epsilon", default=1e-5, role="static"),
        ),
        lambda static, lam, based: operators.ramplus(static["epsilon"]),
    ),
)

METHODS = {entry.name: entry for entry in _METHODS}
