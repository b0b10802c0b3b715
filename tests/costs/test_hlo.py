"""Bytes are counted by what a program's text says: slices, updates, loops, other memories."""

import pytest

from evojax_merge.costs.hlo import collectives, decode_body, moved, parse, size, total
from evojax_merge.costs.turns import Turns

WEIGHT, STATE, CACHE, LOGITS = 2 * 64 * 32, 2 * 4 * 32, 2 * 4 * 16 * 8, 2 * 4 * 64

GPU = """
HloModule jit_run, is_scheduled=true

%looked_up (table: bf16[64,32], ids: s32[4]) -> bf16[4,32] {
  %table = bf16[64,32]{1,0} parameter(0)
  %ids = s32[4]{0} parameter(1)
  ROOT %rows = bf16[4,32]{1,0} gather(%table, %ids), slice_sizes={1,32}
}

%write (old: bf16[4,16,8], new: bf16[4,1,8], slot: s32[]) -> bf16[4,16,8] {
  %old = bf16[4,16,8]{2,1,0} parameter(0)
  %new = bf16[4,1,8]{2,1,0} parameter(1)
  %slot = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %put = bf16[4,16,8]{2,1,0} dynamic-update-slice(%old, %new, %zero, %slot, %zero)
}

%body (carry: (bf16[64,32], bf16[4,16,8], s32[4])) -> (bf16[64,32], bf16[4,16,8], s32[4]) {
  %carry = (bf16[64,32]{1,0}, bf16[4,16,8]{2,1,0}, /*index=2*/s32[4]{0}) parameter(0)
  %weight = bf16[64,32]{1,0} get-tuple-element(%carry), index=0
  %cache = bf16[4,16,8]{2,1,0} get-tuple-element(%carry), index=1
  %ids = s32[4]{0} get-tuple-element(%carry), index=2
  %slot = s32[] constant(3)
  %x = bf16[4,32]{1,0} fusion(%weight, %ids), kind=kLoop, calls=%looked_up
  %new = bf16[4,1,8]{2,1,0} slice(%x), slice={[0:4], [0:8]}
  %cache.1 = bf16[4,16,8]{2,1,0} fusion(%cache, %new, %slot), kind=kLoop, calls=%write
  %logits = bf16[4,64]{1,0} dot(%x, %weight), lhs_contracting_dims={1}
  %mixed = f32[4,8]{1,0} custom-call(%ids, %slot, %new, %cache.1, %cache.1), custom_call_target="\
__gpu$xla.gpu.triton", metadata={op_name="jit(attend_in_use)/attention_of_slots_in_use"}
  ROOT %next = (bf16[64,32], bf16[4,16,8], s32[4]) tuple(%weight, %cache.1, %ids)
}

%going (carry.1: (bf16[64,32], bf16[4,16,8], s32[4])) -> pred[] {
  %carry.1 = (bf16[64,32]{1,0}, bf16[4,16,8]{2,1,0}, s32[4]{0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (start: (bf16[64,32], bf16[4,16,8], s32[4])) -> (bf16[64,32], bf16[4,16,8], s32[4]) {
  %start = (bf16[64,32]{1,0}, bf16[4,16,8]{2,1,0}, s32[4]{0}) parameter(0)
  ROOT %loop = (bf16[64,32]{1,0}, bf16[4,16,8]{2,1,0}, s32[4]{0}) while(%start), \
condition=%going, body=%body
}
"""
TPU = """
HloModule jit_run, is_scheduled=true

%turned (param: bf16[64,32]) -> bf16[32,64] {
  %param = bf16[64,32]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %flipped = bf16[32,64]{0,1:T(8,128)(2,1)} bitcast(%param)
}

%product (a: bf16[64,32], b: bf16[4,32]) -> bf16[4,64] {
  %a = bf16[64,32]{1,0:T(8,128)(2,1)} parameter(0)
  %b = bf16[4,32]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  %inner = bf16[32,64]{0,1:T(8,128)(2,1)} fusion(%a), kind=kLoop, calls=%turned
  ROOT %c = bf16[4,64]{1,0:T(8,128)(2,1)} convolution(%b, %inner), dim_labels=bf_io->bf
}

ENTRY %main (w: bf16[64,32], x: bf16[4,32]) -> bf16[4,64] {
  %w = bf16[64,32]{1,0:T(8,128)(2,1)} parameter(0)
  %x = bf16[4,32]{1,0:T(8,128)(2,1)} parameter(1)
  %begun = (bf16[4,32]{1,0:T(8,128)(2,1)S(1)}, bf16[4,32]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) \
copy-start(%x)
  %near = bf16[4,32]{1,0:T(8,128)(2,1)S(1)} copy-done(%begun)
  ROOT %y = bf16[4,64]{1,0:T(8,128)(2,1)} fusion(%w, %near), kind=kOutput, calls=%product
}
"""


def of(text: str, computation: str, in_use: float = 1.0) -> dict[str, tuple[int, int]]:
    parts = moved(parse(text), computation, in_use)
    return {part.instruction.name: (part.read, part.written) for part in parts}


def test_a_type_has_its_bytes_unless_it_is_elsewhere():
    assert size("(bf16[2,3]{1,0}, f32[], pred[5]{0:T(8,128)S(1)}, token[])") == 12 + 4


def test_the_body_of_decoding_is_that_of_the_loop_without_an_end():
    assert decode_body(parse(GPU)) == "body"
    with pytest.raises(ValueError, match="known number"):
        decode_body(parse(GPU.replace("body=%body", 'body=%body, known_trip_count:{"n":"7"}')))


def test_slices_are_read_and_updates_are_written():
    found = of(GPU, "body")
    assert found["x"] == (STATE + 4 * 4, STATE)  # rows of the table, not the table
    assert found["cache.1"] == (4 * 8 * 2 + 4, 4 * 8 * 2)
    assert found["logits"] == (WEIGHT + STATE, LOGITS)


def test_the_kernel_reads_the_slots_in_use():
    whole, half = of(GPU, "body"), of(GPU, "body", 0.5)
    assert whole["mixed"][0] - half["mixed"][0] == CACHE  # half of the keys, half of the values
    assert {name for name in whole if whole[name] != half[name]} == {"mixed"}


def test_a_loop_counts_as_often_as_it_turns():
    counted = GPU.replace("body=%body", 'body=%body, known_trip_count:{"n":"7"}')
    once = total(moved(parse(GPU), "body"))
    assert total(moved(parse(counted), "main")) == 7 * once
    with pytest.raises(ValueError, match="how often the loop loop turns"):
        moved(parse(GPU), "main")


def test_a_copy_into_vector_memory_is_one_read():
    found = of(TPU, "main")
    assert found["begun"] == (STATE, 0)
    assert found["y"] == (WEIGHT, LOGITS)  # the weight through a fusion inside that turns it


def test_what_is_no_module_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        parse("HloModule jit_run")


LOOP = """
HloModule jit_run, is_scheduled=true

%body (carry: (bf16[8,64], bf16[64])) -> (bf16[8,64], bf16[64]) {
  %carry = (bf16[8,64]{1,0}, bf16[64]{0}) parameter(0)
  %table = bf16[8,64]{1,0} get-tuple-element(%carry), index=0
  %old = bf16[64]{0} get-tuple-element(%carry), index=1
  %begun = ((bf16[8,64]{1,0}), bf16[1,64]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%table), \
slice={[0:1], [0:64]}
  %row = bf16[1,64]{1,0:S(1)} slice-done(%begun)
  %flat = bf16[64]{0:S(1)} bitcast(%row)
  %sum = bf16[64]{0} add(%flat, %old)
  %all = bf16[64]{0} all-reduce(%sum), to_apply=%adds
  ROOT %next = (bf16[8,64], bf16[64]) tuple(%table, %all)
}

%going (carry.1: (bf16[8,64], bf16[64])) -> pred[] {
  %carry.1 = (bf16[8,64]{1,0}, bf16[64]{0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (start: (bf16[8,64], bf16[64])) -> (bf16[8,64], bf16[64]) {
  %start = (bf16[8,64]{1,0}, bf16[64]{0}) parameter(0)
  %later = bf16[64]{0} get-tuple-element(%start), index=1
  %begun.1 = bf16[64]{0} all-gather-start(%later), dimensions={0}
  %ended.1 = bf16[64]{0} all-gather-done(%begun.1)
  ROOT %loop = (bf16[8,64], bf16[64]) while(%start), condition=%going, body=%body, \
metadata={op_name="jit(run)/vmap(steps_of_answers)/while"}
}
"""


def test_a_slice_that_is_begun_apart_reads_the_slice_alone():
    module = parse(LOOP)
    row = 2 * 64
    (begun,) = [one for one in moved(module, "body") if one.instruction.op == "slice-start"]
    assert (begun.read, begun.written) == (row, 0)


def test_a_loop_that_data_end_turns_as_often_as_is_said():
    module = parse(LOOP)
    with pytest.raises(ValueError, match="how often the loop loop turns"):
        moved(module, module.entry)
    once = total(moved(module, "body"))
    before = total(moved(module, module.entry, turns=Turns({"steps_of_answers": 0})))
    often = total(moved(module, module.entry, turns=Turns({"steps_of_answers": 7.0})))
    assert often - before == 7 * once


def test_collectives_are_counted_by_kind_those_begun_apart_among_them():
    assert collectives(parse(LOOP)) == {"all-reduce": 1, "all-gather": 1}
