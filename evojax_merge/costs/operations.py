"""Arithmetic operations of a program, counted in the steps that JAX has traced it into.

A product of matrices, or a convolution, counts twice for each number that it multiplies. All else
that computes counts once for each number that it gives or takes, whichever are more, and what only
moves numbers does not count. A loop counts as often as it turns, and of branches the one that has
most.
"""

import math
from collections.abc import Iterator
from typing import Any

from evojax_merge.costs.turns import Turns

_MOVES = {
    *("broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "rev", "pad", "copy"),
    *("slice", "dynamic_slice", "dynamic_update_slice", "gather", "scatter", "concatenate"),
    *("convert_element_type", "bitcast_convert_type", "iota", "split", "select_n", "stop_gradient"),
    *("sharding_constraint", "optimization_barrier", "axis_index", "device_put", "copy_p"),
    *("get", "swap", "program_id", "random_wrap", "random_unwrap"),
}


def operations(jaxpr: Any, turns: Turns) -> float:
    """Count the operations of one device.

    Args:
        jaxpr: The steps of a program, ``jitted.trace(*arguments).jaxpr``. What is mapped over the
            devices of an axis counts as one of them does it.
        turns: How often loops turn of which data decide. One that is not among them counts once.
    """
    own = getattr(jaxpr, "jaxpr", jaxpr)
    return sum(_of(step, turns) for step in own.eqns)


def _of(step: Any, turns: Turns) -> float:
    name, params = step.primitive.name, step.params
    if name == "scan":
        return params["length"] * operations(params["jaxpr"], turns)
    if name == "while":
        often = turns.of(str(step.source_info.name_stack))
        return (1 if often is None else often) * operations(params["body_jaxpr"], turns)
    if name == "cond":
        return max(operations(branch, turns) for branch in params["branches"])
    if name == "pallas_call":
        grid = math.prod(side for side in params["grid_mapping"].grid if isinstance(side, int))
        return grid * operations(params["jaxpr"], turns)
    if name == "dot_general":
        return _product(step)
    if name == "conv_general_dilated":
        return _convolution(step)
    if name in _MOVES or name.startswith("random_"):
        return 0
    inner = list(_inner(params))
    if inner:
        return sum(operations(one, turns) for one in inner)
    return max(_size(step.outvars), _size(step.invars))


def _product(step: Any) -> float:
    (contracted, _), _ = step.params["dimension_numbers"]
    shape = step.invars[0].aval.shape
    return 2 * _size(step.outvars) * math.prod(shape[axis] for axis in contracted)


def _convolution(step: Any) -> float:
    kernel = step.invars[1].aval.shape
    outputs = kernel[step.params["dimension_numbers"].rhs_spec[0]]
    return 2 * _size(step.outvars) * math.prod(kernel) / outputs


def _size(variables: Any) -> int:
    return sum(math.prod(getattr(one.aval, "shape", ())) for one in variables)


def _inner(params: Any) -> Iterator[Any]:
    """Find the steps that a step consists of, of whatever kind it is; one of several that agree."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr", "call"):
        if hasattr(params.get(name), "eqns") or hasattr(params.get(name), "jaxpr"):
            yield params[name]
            return
