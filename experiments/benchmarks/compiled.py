"""What decoding, scoring and merging move and hold on an H100 and on a TPU v5p, from shapes alone.

make bench-compiled        (about 4 minutes on two cores; it needs no device or weights)
python experiments/benchmarks/compiled.py --devices h100 --only 'decode 32 rows of Mistral'

The programs are the package's own, in bfloat16, compiled ahead of time for a described device. For
each, its memory and the time that compiling took are printed. Of a decode step the bytes of device
memory are counted that the body of its loop moves (see `evojax_merge.costs.hlo`), against the
least: weights once, without an embedding table that is only looked up in, and the cache in use
once. Of a merge those of the whole program are counted, against base, sources and result once.
Prompts have ``PROMPT`` tokens and answers up to ``NEW``, so that a cache has as many slots as both
together. An H100's decode step reads the slots in use alone. It is counted with all of them in use,
and with half.

Prefill is all around the loop of decoding. The operations of its matrix products are counted (see
`hlo_flops`), against those needed: two for each weight and each token that it meets, and those of
attention to the tokens before. With the bytes they bound the share of the device's operations that
prefill may reach, by the figures of `PEAKS`: once as if all its kernels ran together, and once as
if each waited for the one before.
"""

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hlo_flops import flops
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from measure import Row, main, row

from evojax_merge import operators
from evojax_merge.costs import topologies
from evojax_merge.costs.hlo import KERNEL, Module, around, decode_body, moved, parse, total
from evojax_merge.measuring.candidates import whole_models
from evojax_merge.measuring.programs import merging_program, population_shapes, running_program
from evojax_merge.models.decoder.decode_kernel import BLOCK
from evojax_merge.models.decoder.inference.continuous import refill_of
from evojax_merge.models.family import DECODER
from evojax_merge.models.request import Generate, Loglikelihood
from evojax_merge.params.tree import unflatten
from evojax_merge.spaces import ParameterSpace

PROMPT, NEW = 256, 1024
RING = PROMPT + NEW
SCORED = 128, 256
"""The texts that are scored, and the tokens of each."""

SOURCES = ("one", "two", "three")
MISTRAL, QWEN, SMALL = "Mistral 7B", "Qwen2.5 1.5B", "Qwen2.5 0.5B"
MODELS = {
    MISTRAL: {
        "model_type": "mistral",
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32_000,
        "max_position_embeddings": 32_768,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
    },
    QWEN: {
        "model_type": "qwen2",
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
        "max_position_embeddings": 32_768,
        "rope_theta": 1e6,
        "tie_word_embeddings": True,
    },
    SMALL: {
        "model_type": "qwen2",
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
        "max_position_embeddings": 32_768,
        "rope_theta": 1e6,
        "tie_word_embeddings": True,
    },
}


class Decode(NamedTuple):
    """Answers of some candidates to as many prompts as rows, or to more, one after another."""

    model: str
    rows: int
    candidates: int = 1
    continuous: bool = False

    @property
    def name(self) -> str:
        kind = "slots" if self.continuous else "rows"
        each = f"{self.candidates} × " if self.candidates > 1 else ""
        return f"decode {self.rows} {kind} of {each}{self.model}"

    @property
    def read(self) -> int:
        """How many prompts are prefilled at a time."""
        return refill_of(self.rows) if self.continuous else self.rows


class Score(NamedTuple):
    """The likelihood of texts."""

    model: str

    @property
    def name(self) -> str:
        return f"score {SCORED[0]} texts of {self.model}"


class Merge(NamedTuple):
    """A merge of three models, onto a base where the operator has one."""

    model: str
    operator: str

    @property
    def name(self) -> str:
        return f"merge {self.operator} of {self.model}"


Program = Decode | Score | Merge

LARGE: tuple[Program, ...] = (
    Decode(MISTRAL, 32),
    Decode(MISTRAL, 128),
    Decode(MISTRAL, 128, continuous=True),
    Score(MISTRAL),
    Merge(MISTRAL, "dare_ties"),
    Merge(MISTRAL, "linear"),
)
PROGRAMS: dict[str, tuple[Program, ...]] = {
    "h100": (
        *LARGE,
        Decode(QWEN, 32),
        Decode(QWEN, 128),
        Decode(SMALL, 32, candidates=4),
        Decode(SMALL, 32, candidates=4, continuous=True),
        Score(SMALL),
    ),
    "v5p": LARGE,
}

TOPOLOGIES = {"h100": "h100:1", "v5p": "v5p:2x2x1"}
"""The machine of each device, of which one device is taken."""

PEAKS = {"h100": (989e12, 3.35e12), "v5p": (459e12, 2.77e12)}
"""The operations of dense products in bfloat16 and the bytes of memory that a device can do in a
second, as makers say of an H100 SXM and of a chip of a v5p."""


class Target(NamedTuple):
    """A device that programs are compiled for, and the one mesh that it is."""

    name: str
    mesh: Mesh

    @classmethod
    def of(cls, name: str) -> "Target":
        """Describe a device.

        Raises:
            SystemExit: A compiler is not installed.
        """
        topology = topologies.parse(TOPOLOGIES[name])
        try:
            topologies.check_installed(topology)
        except ValueError as error:
            raise SystemExit(f"{error}; or run make bench-compiled") from error
        device = topologies.devices_of(topology)[0]
        return cls(
            name, Mesh(np.array([[device]]), ("pop", "model"), axis_types=(AxisType.Auto,) * 2)
        )

    def array(self, *shape: int, dtype: Any = jnp.int32, axes: P | None = None) -> Any:
        sharding = NamedSharding(self.mesh, axes or P())
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


class Model:
    """A model by its shapes: what is merged, and the memory in which its candidates are."""

    def __init__(self, name: str, target: Target, candidates: int = 1):
        settings = {**MODELS[name], "hidden_act": "silu", "torch_dtype": "bfloat16"}
        self.config = DECODER.config_from_hf(settings)
        self.layout = DECODER.layout(self.config)
        self.candidates = whole_models(self.layout)
        shapes = self.layout.shapes.items()
        self.tree = unflatten(
            {path: target.array(*shape, dtype=jnp.bfloat16) for path, shape in shapes}
        )
        formed = jax.eval_shape(self.candidates.form, self.tree)
        self.buffer = population_shapes(
            formed, self.candidates.axes, candidates, target.mesh, self.layout
        )
        self.bytes = 2 * sum(math.prod(shape) for _, shape in shapes)

    def least(self, candidates: int, rows: int, slots: int) -> int:
        """Count the bytes that a decode step cannot do without."""
        c = self.config
        looked_up = 0 if c.tie_word_embeddings else 2 * c.vocab_size * c.hidden_size
        cache = rows * slots * c.num_layers * c.num_kv_heads * c.head_dim * 2 * 2
        return candidates * (self.bytes - looked_up + cache)

    def needed(self, candidates: int, prompts: int) -> int:
        """Count the operations of products that prefill cannot do without.

        Of the last layer, the prompts need keys and values, and all else for their last tokens.
        """
        c = self.config
        channels = c.num_heads * c.head_dim
        keys = 2 * c.num_kv_heads * c.head_dim * c.hidden_size
        others = 2 * channels * c.hidden_size + 3 * c.hidden_size * c.intermediate_size
        weights = PROMPT * (c.num_layers * keys + (c.num_layers - 1) * others)
        weights += others + c.vocab_size * c.hidden_size
        pairs = (c.num_layers - 1) * PROMPT * (PROMPT + 1) // 2 + PROMPT
        return 2 * candidates * prompts * (weights + 2 * channels * pairs)


def lowered(program: Program, model: Model, target: Target) -> Any:
    """Trace and lower a program for a device."""
    array, spread = target.array, model.candidates
    if isinstance(program, Merge):
        return _merging(program, model, target)
    if isinstance(program, Score):
        request: Any = Loglikelihood()
        texts, seq = SCORED
        batch = (array(texts, seq), array(texts), array(texts, seq, dtype=jnp.bool_))
    else:
        request = Generate(NEW, (2,), 0, slots=program.rows if program.continuous else None)
        prompts = program.rows * (4 if program.continuous else 1)
        batch = (array(prompts, PROMPT), array(prompts))
    own = DECODER.ability(request).program(model.config, request, spread.param_axes)
    return running_program(own, spread, target.mesh).lower(model.buffer, (), *batch)


def _merging(program: Merge, model: Model, target: Target) -> Any:
    operator = getattr(operators, program.operator)()
    layout = model.layout
    space = ParameterSpace(operator, layout, SOURCES)
    statistics = dict.fromkeys(layout.leaves, ((),) * len(SOURCES))  # it needs none

    def merge(materials: Any, genotype: Any) -> Any:
        base, sources = materials
        coefficients = space.expand(space.decode(genotype))
        dtype = np.dtype(jnp.bfloat16)
        return operators.merge(
            operator, base, sources, coefficients, statistics, 0, dtype, stacked=layout.stacked
        )

    base = model.tree if operator.needs_base else None
    genotypes = target.array(1, space.dims, dtype=jnp.float32, axes=P("pop"))
    run = merging_program(merge, model.candidates, model.buffer, target.mesh)
    materials = (base, (model.tree,) * len(SOURCES))
    return run.lower(model.buffer, materials, genotypes, target.array())


def measured(program: Program, target: Target) -> list[Row]:
    """Compile a program and measure what it takes."""
    candidates = program.candidates if isinstance(program, Decode) else 1
    model = Model(program.model, target, candidates)
    low = lowered(program, model, target)
    began = time.perf_counter()
    compiled = low.compile()
    seconds = time.perf_counter() - began
    memory = compiled.memory_analysis()
    rows: list[Row] = []

    def say(what: str, value: float, unit: str, peer: str = "", peer_value: float = 0.0) -> None:
        share = peer_value / value if peer else 0.0
        name = f"{target.name}: {program.name}: {what}"
        rows.append(row(name, value, unit, peer, peer_value, share))
        print(name, f"{value:.5g} {unit}", f"{share:.1%} of {peer}" if peer else "", flush=True)

    say("compiling", seconds, "s")
    say("arguments", memory.argument_size_in_bytes / 1e9, "GB")
    say("beside them", memory.temp_size_in_bytes / 1e9, "GB")
    text = compiled.as_text()
    module = parse(text)
    if isinstance(program, Merge):
        used = len(SOURCES) + (1 if getattr(operators, program.operator)().needs_base else 0)
        once = (used + 1) * model.bytes / 1e9
        say("moved", total(moved(module, module.entry)) / 1e9, "GB", "each array once", once)
    if isinstance(program, Decode):
        body = decode_body(module)
        work, bytes_moved, together, in_turn = prefill(module, body, *PEAKS[target.name])
        needed = model.needed(candidates, program.read)
        say("products of prefill", work / 1e12, "TFLOP", "those needed", needed / 1e12)
        say("moved by prefill", bytes_moved / 1e9, "GB")
        share = 100 * needed / PEAKS[target.name][0]
        say("share of the peak, kernels together", share / together, "%")
        say("share of the peak, kernels in turn", share / in_turn, "%")
        for slots in (RING, RING // 2) if KERNEL in text else (RING,):
            blocks = min(slots // BLOCK + 1, math.ceil(RING / BLOCK))  # that a stretch touches
            step = total(moved(module, body, blocks * BLOCK / RING)) / 1e9
            least = model.least(candidates, program.rows, slots) / 1e9
            say(f"moved by a step with {slots} slots in use", step, "GB", "the least", least)
    return rows


def prefill(module: Module, decode: str, peak: float, bandwidth: float) -> tuple[float, ...]:
    """Count what a program does around the body of the loop in which it decodes.

    Returns:
        The operations of its products, the bytes that it moves, and the seconds that they take at
        least, if all kernels run together and if they run one after another.
    """
    whole = around(module, decode)
    operations = flops(module, whole, decode)
    parts = moved(module, whole, without=decode)
    work, all_moved = operations.total(), total(parts)
    in_turn = sum(
        max(operations[part.instruction.name] / peak, (part.read + part.written) / bandwidth)
        for part in parts
    )
    return work, all_moved, max(work / peak, all_moved / bandwidth), in_turn


def benchmark(devices: Sequence[str], only: Sequence[str]) -> list[Row]:
    for name in devices:
        topologies.set_environment(topologies.parse(TOPOLOGIES[name]))
    jax.config.update("jax_platforms", "cpu")
    targets = [Target.of(name) for name in devices]
    return [
        entry
        for target in targets
        for program in PROGRAMS[target.name]
        if not only or any(part in program.name for part in only)
        for entry in measured(program, target)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument(
        "--only", nargs="+", default=[], help="parts of names of programs; by default all"
    )
    main(benchmark, parser)
