"""The parts of `device.py` that run our own programs. Each part yields its steps one after another.

A step is a name and a function that gives rows. What stands between two steps prepares the next.
"""

import functools
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bandwidth import ALL, Bench, make_copies, measured_rows, tuned
from device_search import (
    SMALL,
    WORK,
    Counting,
    Search,
    Work,
    bits_row,
    compile_without_answers,
    random_tokens,
)
from engine import (
    WIDE,
    Limits,
    counting_model,
    decode_bytes,
    measured_limits,
    random_model,
    reading_flops,
    unrolled,
    waiting,
)
from measure import Row, cores, row, seconds

from evojax_merge.models.decoder import decode_kernel, modeling
from evojax_merge.models.decoder.attention import attend
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.decoding import Prompts
from evojax_merge.models.decoder.inference.greedy import Greedy, Last
from evojax_merge.models.decoder.inference.prefix import Primed
from evojax_merge.operators import dare_ties
from evojax_merge.params.types import Array, Params

ROOT = Path(__file__).resolve().parents[2]
Step = tuple[str, Callable[[], list[Row]]]
REPEATS, SOURCES = 3, 3
MERGES = ("dare_ties", "linear", "ties", "slerp", "della")
EXPORTS = ("dare_ties", "linear", "ties", "slerp", "karcher", "sce")
TESTS = (
    "tests/operators/test_compiled.py",
    "tests/models/decoder/test_decode_kernel.py",
    "tests/operators/test_adapters.py",
    "tests/operators/test_parity.py",
    "tests/measuring/test_evaluator.py",
)


def check_device(shape: str) -> None:
    """Raise if a large shape would run on a processor, as JAX does where it finds no GPU."""
    if shape in WIDE and jax.default_backend() == "cpu":
        raise RuntimeError(f"JAX finds no accelerator for {shape}; SHAPE=25m is for a CPU")


def merges(shape: str, work: Work) -> Iterator[Step]:
    """Candidates of some operators, as shares of a copy's bandwidth (see `bandwidth.py`)."""
    del work
    bench = Bench.of(shape, SOURCES)
    for name in MERGES:
        yield name, functools.partial(measured_rows, bench, shape, name)
    yield "peak memory", lambda: [peak("merges")]


def rows(shape: str, work: Work) -> Iterator[Step]:
    """Prefill and decode steps, as shares of measured FLOP/s and bandwidth."""
    config, params = plain_model(shape)
    dtype = params["embed_tokens"]["weight"].dtype
    limits = device_limits(dtype)
    yield (
        "limits",
        lambda: [
            row("copy, read and written", limits.bandwidth / 1e9, "GB/s"),
            row(f"matrix product, {dtype}", limits.rate / 1e12, "TFLOP/s"),
        ],
    )
    yield "fused attention", functools.partial(fused, config, jax.tree.leaves(params)[0])
    for count in work.rows:
        run = functools.partial(of_batch, config, params, work, count, limits)
        yield f"batch {count}", run
    yield "peak memory", lambda: [peak("rows")]


def of_batch(
    config: DecoderConfig, params: Params, work: Work, count: int, limits: Limits
) -> list[Row]:
    """Prefill, decode and both together for so many answers at a time."""
    read_fn, step_fn = reader(config, work, count), stepper(config, work, count)
    shapes = jax.eval_shape(read_fn, params)
    with ThreadPoolExecutor(2 if cores() > 4 else 1) as pool:
        both = (
            pool.submit(compiled, read_fn, params),
            pool.submit(compiled, step_fn, params, *shapes, np.int32(0), donate_argnums=2),
        )
    reading, stepping = (program.result() for program in both)
    state = list(reading(params))

    def read() -> None:
        state.clear()  # or two caches would stand in memory
        state.extend(jax.block_until_ready(reading(params)))

    def decode(steps: int) -> None:
        state[:] = jax.block_until_ready(stepping(params, *state, np.int32(steps)))

    decode(1)
    prefill = seconds(read, REPEATS)
    step = seconds(lambda: decode(work.steps), REPEATS) / work.steps
    itemsize = params["embed_tokens"]["weight"].dtype.itemsize
    used = work.prompt + (work.steps + 1) / 2
    least = decode_bytes(config, count, used, itemsize) / limits.bandwidth
    flops = reading_flops(config, count, work.prompt, count)
    whole = prefill + (work.steps - 1) * step
    tokens = count * work.prompt
    return [
        row(
            f"prefill, batch {count}",
            tokens / prefill,
            "tokens/s",
            "matrix products",
            tokens * limits.rate / flops,
            flops / limits.rate / prefill,
        ),
        row(
            f"decode, batch {count}",
            count / step,
            "tokens/s",
            "copy",
            count / least,
            least / step,
        ),
        row(f"decode step, batch {count}", 1e3 * step, "ms"),
        row(f"generate, batch {count}", count * work.steps / whole, "tokens/s"),
    ]


def fused(config: DecoderConfig, like: Array) -> list[Row]:
    """The fused attention of prefill against plain products; where it is wrong, it is not used."""
    implementation = modeling.implementation_for(like.dtype, config.head_dim)
    if implementation is None:
        return []
    rows, length = 2, 256
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = (
        (rows, length, config.num_heads, config.head_dim),
        (rows, config.num_kv_heads, config.head_dim, length),
        (rows, config.num_kv_heads, length, config.head_dim),
    )
    arrays = [
        jax.random.normal(key, shape, like.dtype) for key, shape in zip(keys, shapes, strict=True)
    ]
    place, start = jnp.arange(length), jnp.array([0, length // 3])
    real = place >= start[:, None]
    seen = (place[:, None] >= place) & real[:, None, :]
    try:
        own = jax.jit(functools.partial(attend, kernel=implementation))(*arrays, seen)
        far = jnp.abs(own.astype(jnp.float32) - attend(*arrays, seen).astype(jnp.float32))
        greatest = float(jnp.max(jnp.where(real[..., None, None], far, 0)))
        if not greatest < 0.05:
            raise RuntimeError(f"it is {greatest:.2g} from what plain products give")
    except Exception:
        modeling.implementation_for = lambda *_: None
        raise
    return [row(f"{implementation} attention, greatest difference from plain", greatest, "")]


def kernel(shape: str, work: Work) -> Iterator[Step]:
    """A decode step by the kernel against plain products, on the same tokens."""
    config, params = plain_model(shape)
    count = work.rows[1]
    reading = reader(config, work, count)
    _, cache = jax.block_until_ready(jax.jit(reading)(params))
    dtype = params["embed_tokens"]["weight"].dtype
    used = jax.default_backend() == "gpu" and decode_kernel.is_computed(dtype, config.head_dim)
    tokens = jnp.asarray(random_tokens(config, 1, (work.steps, count)))

    def both() -> list[Row]:
        ways = [jax.jit(forced(config, work, count)) for _ in range(2)]
        own = ways[0](params, cache, tokens)
        decided, decode_kernel.is_computed = decode_kernel.is_computed, lambda *_: False
        try:
            plain = ways[1](params, cache, tokens)
        finally:
            decode_kernel.is_computed = decided
        times = [seconds(waiting(way, params, cache, tokens), REPEATS) for way in ways]
        fast, slow = (1e3 * taken / work.steps for taken in times)
        equal = float((own.argmax(-1) == plain.argmax(-1)).mean())
        far = float(jnp.abs(own - plain).max() / plain.std())
        name = f"batch {count}, {work.prompt + work.room} slots"
        return [
            row("kernel in use (1: yes)", float(used), ""),
            row(f"step with logits, {name}", fast, "ms", "plain products", slow, slow / fast),
            row("next tokens equal after the same tokens", equal, "share"),
            row("greatest difference of logits", far, "std"),
        ]

    yield "with and without", both


def candidate(shape: str, work: Work) -> Iterator[Step]:
    """A candidate of the paper's search: three sources by dare_ties, answers to 1,069 prompts.

    The prompts are random. The head follows the embedding by one token, and layers add little, so
    that a merge of such models counts, and the last token of a prompt decides how long the answer
    is.
    """
    config, base = counting_model(shape)
    sources = tuple(tuned(base, seed) for seed in range(1, SOURCES + 1))
    search = Search.of(config, dare_ties(), base, sources)
    task = Counting.of(config, work)
    evaluator = search.evaluator({"search": task})
    del base, sources
    start = np.asarray(search.space.start, np.float32)[None]

    def compilation() -> list[Row]:
        began = time.perf_counter()
        compile_without_answers(evaluator, start)
        taken = time.perf_counter() - began
        return [row("before it: compilation and one prefill of all prompts", taken, "s")]

    def whole() -> list[Row]:
        began = time.perf_counter()
        found = evaluator(start, "search")
        taken = time.perf_counter() - began
        count, new = len(task), int(task.lengths.sum())
        return [
            row(f"candidate, {count} prompts, {new} new tokens", taken, "s"),
            row("candidate, answers", new / taken, "tokens/s"),
            row("answers as long as drawn", float(found.items.mean()), "share"),
            peak("candidate"),
        ]

    def merging() -> list[Row]:
        taken = seconds(lambda: jax.block_until_ready(evaluator.merge(start)), REPEATS)
        return [row("candidate, its merge, layers apart", taken, "s")]

    yield "fused attention", functools.partial(fused, config, jax.tree.leaves(search.materials)[0])
    yield "compilation", compilation
    yield "answers", whole
    yield "merge", merging
    yield (
        "bits of its export",
        lambda: [bits_row(f"dare_ties, {shape}", *search.both(evaluator, start[0]))],
    )


def bits(shape: str, work: Work) -> Iterator[Step]:
    """Elements of a candidate that are not the same bits in the export of its recipe."""
    small = shape if WORK[shape] is SMALL else "25m"
    config, base = random_model(small, num_hidden_layers=2)
    base = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), base)
    trees = tuple(tuned(base, seed) for seed in range(1, SOURCES + 1))
    task = Counting.of(config, work)

    def compare(name: str) -> list[Row]:
        operator = ALL[name][0]
        search = Search.of(config, operator, base, trees[: operator.sources[1]])
        rng = np.random.default_rng(0)
        genotype = rng.uniform(search.space.lower, search.space.upper).astype(np.float32)
        found = search.both(search.evaluator({"search": task}), genotype)
        return [bits_row(f"{name}, two layers of {small}, bfloat16", *found)]

    for name in EXPORTS:
        yield name, functools.partial(compare, name)


def tests(shape: str, work: Work) -> Iterator[Step]:
    """The project's own tests of what is compiled, with parity where mergekit is installed."""
    del shape, work
    for path in TESTS:
        yield path, functools.partial(run_tests, path)


def run_tests(path: str) -> list[Row]:
    """Counts of one file's tests. The driver ends what takes too long."""
    options = [
        "-m",
        "not slow and not fuzz and not kills",
        "-p",
        "no:cacheprovider",
        "--tb=line",
    ]
    command = [sys.executable, "-m", "pytest", *options, path]
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout[-4000:], flush=True)
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    if not counts:
        last = done.stdout.strip().rpartition("\n")[2]
        raise RuntimeError(f"pytest ran no test (exit status {done.returncode}): {last}")
    name = path.removeprefix("tests/")
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return [
        row(f"{name}: passed", float(counts.get("passed", 0)), "tests"),
        row(f"{name}: failed", float(failed), "tests"),
    ]


def plain_model(shape: str) -> tuple[DecoderConfig, Params]:
    """A random model as a search runs it."""
    config, params = random_model(shape)
    return config, unrolled(config, params)


def reader(config: DecoderConfig, work: Work, count: int) -> Callable[[Params], Any]:
    """A function that reads so many prompts into a cache with room for answers."""
    greedy = Greedy(config, work.room, (), 0)
    tokens = random_tokens(config, 0, (count, work.prompt))
    prompts = Prompts(jnp.asarray(tokens), jnp.zeros(count, jnp.int32), None)
    slots = work.prompt + work.room
    return lambda params: greedy.prefill(Primed(params), prompts, slots)


def stepper(config: DecoderConfig, work: Work, count: int) -> Callable[..., Any]:
    """A function that decodes some steps behind the prompts."""
    greedy = Greedy(config, work.room, (), 0)
    start = jnp.zeros(count, jnp.int32)

    def run(params: Params, last: Last, cache: Any, steps: Array) -> tuple[Last, Any]:
        def step(number: Any, state: Any) -> Any:
            return greedy.decode(Primed(params), state[0], start, state[1], work.prompt + number)

        return jax.lax.fori_loop(0, steps, step, (last, cache))

    return run


def forced(config: DecoderConfig, work: Work, count: int) -> Callable[..., Array]:
    """A function from given tokens behind the prompts to the logits after each."""
    greedy = Greedy(config, work.room, (), 0)
    start = jnp.zeros(count, jnp.int32)

    def run(params: Params, cache: Any, tokens: Array) -> Array:
        def step(state: Any, token: Array) -> tuple[Any, Array]:
            time, cache = state
            logits, cache = greedy.go_on(Primed(params), token[:, None], start, cache, time)
            return (time + 1, cache), logits[:, -1]

        return jax.lax.scan(step, (jnp.int32(work.prompt), cache), tokens)[1]

    return run


def compiled(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A function compiled for these arguments."""
    return jax.jit(function, **options).lower(*arguments).compile()


def device_limits(dtype: Any) -> Limits:
    """Bandwidth of the faster of two copies, and the rate of a matrix product."""
    copies, moved = make_copies()
    return measured_limits(dtype)._replace(bandwidth=moved / seconds(copies, 2 * REPEATS))


def peak(part: str) -> Row:
    """The greatest memory in use: that of the device, or without one the process's pages."""
    found = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in found:
        return row(f"peak memory, {part}, device", found["peak_bytes_in_use"] / 1e9, "GB")
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return row(f"peak memory, {part}, process", pages / 1e9, "GB")
