"""Floating-point operations of a compiled program's matrix products, in its scheduled HLO text.

A product counts two operations for each pair of numbers that it multiplies. A TPU has convolutions
for products. Of a window only what meets the array counts, as padding and what stands between its
elements are zeros. Nothing else counts.
"""

import math
import re
from collections import Counter

from evojax_merge.costs.hlo import Computation, Instruction, Module, shape_of, turns_of

_DIM_LABELS = r"dim_labels=(\w+)_(\w+)->(\w+)"


def flops(module: Module, computation: str, without: str = "") -> Counter[str]:
    """Count the operations of each instruction of a computation, and of those that it runs.

    Args:
        module: The module.
        computation: The name of the computation.
        without: The body of a loop that is left out.

    Raises:
        ValueError: It is not known how often a loop turns, or what a product is.
    """
    own = module.computations[computation]
    found: Counter[str] = Counter()
    for one in own.instructions.values():
        if one.op == "while":
            body = one.called("body")
            if body != without:
                turns = turns_of(one)
                found.update(
                    {key: round(turns * n) for key, n in flops(module, body, without).items()}
                )
        elif one.op in ("call", "async-start"):
            found.update(flops(module, one.called("(?:calls|to_apply)"), without))
        elif one.op == "conditional":
            ways = [flops(module, name, without) for name in one.branches()]
            found.update(max(ways, key=Counter.total))
        else:
            found[one.name] += _of(module, own, one)
    return found


def _of(module: Module, own: Computation, one: Instruction) -> int:
    if one.op == "fusion":
        inner = module.computations[one.called()]
        return sum(_of(module, inner, part) for part in inner.instructions.values())
    if one.op == "dot":
        left = shape_of(own.instructions[one.operands[0]].type)
        found = re.search(r"lhs_contracting_dims=\{([\d,]+)\}", one.attributes)
        axes = found[1].split(",") if found else []
        return 2 * math.prod(shape_of(one.type)) * math.prod(left[int(axis)] for axis in axes)
    if one.op == "convolution":
        return _of_convolution(own, one)
    if one.op == "custom-call" and "gemm" in one.attributes.partition(",")[2][:80]:
        raise ValueError(f"{one.name} is a product by a library, of which nothing is counted")
    return 0


def _of_convolution(own: Computation, one: Instruction) -> int:
    """Count the operations of a convolution by the labels of its axes and its window."""
    labels = re.search(_DIM_LABELS, one.attributes)
    if not labels:
        raise ValueError(f"the convolution {one.name} does not say what its axes are")
    array, kernel = (
        dict(zip(names, shape_of(own.instructions[operand].type), strict=True))
        for names, operand in zip(labels.groups(), one.operands, strict=False)
    )
    result = dict(zip(labels[3], shape_of(one.type), strict=True))
    window = _window(one.attributes)
    total = 2 * result["b"] * result["f"] * kernel["i"]
    for axis in sorted(set(result) - {"b", "f"}):
        place = int(axis)

        def given(what: str, default: str, place: int = place) -> str:
            return window[what][place] if what in window else default

        before = int(given("pad", "0_0").split("_")[0])
        stride, apart = int(given("stride", "1")), int(given("lhs_dilate", "1"))
        reach = int(given("rhs_dilate", "1"))
        met = [
            position * stride + reach * tap - before
            for position in range(result[axis])
            for tap in range(kernel[axis])
        ]
        total *= sum(at % apart == 0 and 0 <= at // apart < array[axis] for at in met)
    return total


def _window(attributes: str) -> dict[str, list[str]]:
    """Read the window of a convolution: what it has for each axis, by name."""
    found = re.search(r"window=\{([^}]*)\}", attributes)
    entries = (entry.split("=") for entry in found[1].split()) if found else ()
    return {name: values.split("x") for name, values in entries}
