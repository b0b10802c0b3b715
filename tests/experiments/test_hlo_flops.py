"""Operations of products are counted in fusions and loops, without what a window's edge adds."""

import importlib
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from evojax_merge.costs.hlo import around, decode_body, parse

BENCHMARKS = Path(__file__).parents[2] / "experiments" / "benchmarks"
TEXT = """
HloModule jit_run, is_scheduled=true

%product (a: bf16[4,64], b: bf16[32,64]) -> bf16[4,32] {
  %a = bf16[4,64]{1,0} parameter(0)
  %b = bf16[32,64]{1,0} parameter(1)
  ROOT %ab = bf16[4,32]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={1}
}

%body (carry: (bf16[4,64], bf16[32,64])) -> (bf16[4,64], bf16[32,64]) {
  %carry = (bf16[4,64]{1,0}, bf16[32,64]{1,0}) parameter(0)
  %x = bf16[4,64]{1,0} get-tuple-element(%carry), index=0
  %w = bf16[32,64]{1,0} get-tuple-element(%carry), index=1
  %y = bf16[4,32]{1,0} fusion(%x, %w), kind=kCustom, calls=%product
  ROOT %next = (bf16[4,64], bf16[32,64]) tuple(%x, %w)
}

%going (carry.1: (bf16[4,64], bf16[32,64])) -> pred[] {
  %carry.1 = (bf16[4,64]{1,0}, bf16[32,64]{1,0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (x.1: bf16[4,64], w.1: bf16[32,64]) -> (bf16[4,64], bf16[32,64]) {
  %x.1 = bf16[4,64]{1,0} parameter(0)
  %w.1 = bf16[32,64]{1,0} parameter(1)
  %first = bf16[4,32]{1,0} fusion(%x.1, %w.1), kind=kCustom, calls=%product
  %start = (bf16[4,64]{1,0}, bf16[32,64]{1,0}) tuple(%x.1, %w.1)
  ROOT %loop = (bf16[4,64]{1,0}, bf16[32,64]{1,0}) while(%start), condition=%going, body=%body
}
"""
ONCE = 2 * 4 * 64 * 32

CONVOLUTION = """
ENTRY %main (a: ARRAY, b: KERNEL) -> RESULT {
  %a = ARRAY parameter(0)
  %b = KERNEL parameter(1)
  ROOT %c = RESULT convolution(%a, %b), WINDOW
}
"""


@pytest.fixture
def flops(monkeypatch):
    """What is tested, which imports its neighbours as scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("hlo_flops").flops


def test_a_loop_may_be_left_out_or_turns_as_often_as_it_does(flops):
    module = parse(TEXT)
    body = decode_body(module)
    assert around(module, body) == "main"
    assert +flops(module, "main", without=body) == {"first": ONCE}
    with pytest.raises(ValueError, match="how often the loop loop turns"):
        flops(module, "main")
    thrice = TEXT.replace("body=%body\n", 'body=%body, known_trip_count={"n":"3"}\n')
    assert flops(parse(thrice), "main").total() == 4 * ONCE


@pytest.mark.parametrize(
    ("array", "kernel", "result", "window", "expected"),
    [
        ("bf16[4,64]", "bf16[32,64]", "bf16[4,32]", "dim_labels=bf_oi->bf", ONCE),
        (
            "bf16[8,4,64]",
            "bf16[8,64,32]",
            "bf16[8,4,32]",
            "window={size=8 stride=7 lhs_dilate=8}, dim_labels=0bf_0io->0bf",
            8 * ONCE,
        ),
        (
            "bf16[4,64,1]",
            "bf16[8,32,64]",
            "bf16[8,4,32]",
            "window={size=8 pad=7_7 rhs_reversal=1}, dim_labels=bf0_0oi->0bf",
            8 * ONCE,
        ),
    ],
    ids=["plain", "a batch of products", "heads of one product"],
)
def test_of_a_window_only_what_meets_the_array_counts(
    flops, array, kernel, result, window, expected
):
    text = CONVOLUTION
    for name, value in (
        ("ARRAY", array),
        ("KERNEL", kernel),
        ("RESULT", result),
        ("WINDOW", window),
    ):
        text = text.replace(name, value)
    assert flops(parse(text), "main").total() == expected


def test_a_compiled_program_has_the_operations_that_were_written(flops):
    a, b = jnp.ones((3, 8, 16)), jnp.ones((3, 16, 4))
    text = jax.jit(lambda a, b: jnp.sin(jnp.einsum("bij,bjk->bik", a, b))).lower(a, b).compile()
    module = parse(re.sub(r"#.*", "", text.as_text()))
    assert flops(module, module.entry).total() == 2 * 3 * 8 * 16 * 4


def test_what_is_not_known_is_no_zero(flops):
    text = TEXT.replace(
        "fusion(%x.1, %w.1), kind=kCustom, calls=%product",
        'custom-call(%x.1, %w.1), custom_call_target="__cublas$gemm"',
    )
    module = parse(text)
    with pytest.raises(ValueError, match="first is a product by a library"):
        flops(module, "main", without=decode_body(module))
