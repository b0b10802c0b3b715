"""The measuring of populations, by merging chunk after chunk and running the task on each.

A chunk is the number of candidates that one device holds at a time. Population axes are spread
over the ``pop`` axis of the mesh; every device runs the same program on the same number of
candidates, whatever the mesh, so that a candidate's results do not depend on it.
"""

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from evojax_merge.fitness.base import BoundTask
from evojax_merge.fitness.several import parts_of, tasks_of
from evojax_merge.measuring.device_memory import (
    OVERSTATED,
    candidates_that_fit,
    is_held_alone,
    is_lack_of_memory,
    longest_that_fits,
    room_for_work,
    room_of,
    within_memory,
)
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.models import Family, Layout
from evojax_merge.models.ability import Common
from evojax_merge.models.request import Request
from evojax_merge.params.population import COMPILER_OPTIONS, fill
from evojax_merge.params.types import Array, Float, Genotype, Int, Params, Population

MergeFn = Callable[[Any, Genotype], Any]
"""A function from what is merged, e.g. base, sources and statistics, and a genotype to what makes
up one candidate."""


_Placed = list[list[tuple[Array, ...]]]
"""The fields of each batch of each task, on the devices."""

_CHOICES = 64
"""How many choices of items are kept on the devices; the oldest goes first."""


class Candidates(NamedTuple):
    """How the parameters that a program runs on are put together.

    Attributes:
        axes: The axes of the population in what ``merge_fn`` gives.
        params: The function from the candidates of a device and what they share to the parameters.
        param_axes: The axes of the population in those parameters.
        form: The function that lays out what ``merge_fn`` gives as the candidates are held.
        hops: The greatest length of a path, where candidates are paths.
        copied: The bytes that ``params`` makes for each candidate.
        is_valid: The function that says of genotypes ``[pop, dims]`` whether each can be run. One
            that cannot be run has the result nan on every item.
    """

    axes: Any
    params: Callable[[Any, Any], Params]
    param_axes: Any
    form: Callable[[Any], Any] = lambda candidate: candidate
    hops: int | None = None
    copied: int = 0
    is_valid: Callable[[np.ndarray], np.ndarray] = lambda genotypes: np.ones(len(genotypes), bool)


def whole_models(layout: Layout) -> Candidates:
    """The candidates of which each has all of its parameters for itself.

    The merge writes each layer that programs take in buffers of its own right there, so that no
    second model is held.
    """
    axes = layout.unrolled_axes()
    return Candidates(axes, lambda candidates, shared: candidates, axes, layout.unroll)


class Evaluator:
    """What merges candidates and measures them on the splits of a task.

    Args:
        family: The family of all models.
        config: The configuration of the models.
        merge_fn: The pure function that makes the parameters of one candidate, see `MergeFn`.
        materials: What ``merge_fn`` merges; it is put on every device once.
        tasks: The bound task of each split.
        dims: The length of a genotype.
        mesh: The devices, as `evojax_merge.measuring.mesh.make_mesh` arranges them.
        population_size: The number of candidates in a generation.
        chunk: How many candidates are on a device at a time; by default, as many as memory holds.
        shared: The parameters that all candidates have in common; they are put on every device
            once.
        candidates: How parameters are put together; by default, as `whole_models` says.

    Raises:
        ValueError: One candidate does not fit into memory.
    """

    def __init__(
        self,
        family: Family,
        config: Any,
        merge_fn: MergeFn,
        materials: Any,
        tasks: Mapping[str, BoundTask],
        *,
        mesh: Mesh,
        dims: int,
        population_size: int,
        chunk: int | None = None,
        shared: Any = (),
        candidates: Candidates | None = None,
    ):
        self.tasks = dict(tasks)
        self._mesh = mesh
        self._devices = mesh.shape["pop"]
        everywhere = NamedSharding(mesh, P())
        self._materials = jax.device_put(materials, everywhere)
        self._shared = jax.device_put(shared, everywhere)
        self._candidates = candidates or whole_models(family.layout(config))
        merge_fn = _laid_out(merge_fn, self._candidates.form)
        genotype = jax.ShapeDtypeStruct((dims,), jnp.float32)
        candidate = jax.eval_shape(merge_fn, materials, genotype)
        share = -(-population_size // self._devices)
        platform = mesh.devices.flat[0].platform
        one_by_one = any(
            family.ability(part.request).one_by_one
            for task in self.tasks.values()
            for part in tasks_of(task)
        )
        if one_by_one or is_held_alone(platform, candidate, self._candidates.hops is not None):
            share = 1
        fitting, requests = self._plan_memory(family, config, candidate)
        self.chunk = chunk or min(share, fitting)
        axes = self._candidates.axes
        self._merge = _make_merge(merge_fn, axes, mesh)
        self._stack_models = jax.jit(functools.partial(_stacked, self._candidates.form, axes))
        held = self.chunk * _bytes_of(candidate) + _bytes_of(self._shared)
        self._held = f"{self.chunk} candidates at a time ({held / 1e9:.2f} GB with what they share)"
        with self._while_made():
            self._params = _allocate(_shapes(candidate, axes, self.chunk * self._devices, mesh))
        self._everywhere = everywhere
        self._common: dict[int, tuple[Any, Array]] = {}
        self._batches = {name: self._place(task) for name, task in self.tasks.items()}
        self._programs = {
            name: [
                _spread(
                    family.ability(request).program(config, request, self._candidates.param_axes),
                    self._candidates,
                    mesh,
                )
                for request in own
            ]
            for name, own in requests.items()
        }
        self._taken: dict[tuple[str, bytes], tuple[BoundTask, _Placed]] = {}

    def __call__(
        self,
        population: Population | Float[np.ndarray, "pop dims"],
        split: str,
        interrupted: Callable[[], None] = lambda: None,
        rows: Int[np.ndarray, " chosen"] | None = None,
    ) -> Evaluation:
        """Measure every candidate.

        While the devices run one chunk, the host scores the answers of the chunk before.

        Args:
            population: The genotypes.
            split: The split that is measured, a key of ``tasks``.
            interrupted: A function that is called between chunks and may raise to leave.
            rows: The items that are measured, in this order; by default, all.
        """
        genotypes = np.asarray(population, np.float32)
        task, batches = self._chosen(split, rows)
        step = self.chunk * self._devices
        results: list[np.ndarray] = []
        seconds: list[float] = []
        finished = time.perf_counter()

        def finish(part: Float[np.ndarray, "some dims"], running: list[Array]) -> None:
            nonlocal finished
            with self._within_memory(split, batches):
                outputs = [_fetch(output)[: len(part)] for output in running]
            items = task.score(outputs)
            items[~self._candidates.is_valid(part)] = np.nan
            results.append(items)
            began, finished = finished, time.perf_counter()
            seconds.extend([(finished - began) / len(part)] * len(part))

        before = None
        for first in range(0, len(genotypes), step):
            interrupted()
            part = genotypes[first : first + step]
            padding = np.repeat(part[-1:], step - len(part), axis=0)
            self.merge(np.concatenate([part, padding]))
            running = self._start(split, batches)
            if before is not None:
                finish(*before)
            before = part, running
        if before is not None:
            finish(*before)
        return Evaluation(np.concatenate(results), np.array(seconds, np.float32), parts_of(task))

    @property
    def materials(self) -> Any:
        """What ``merge_fn`` merges, where it lies on the devices."""
        return self._materials

    def merge(self, genotypes: Float[np.ndarray, "pop dims"]) -> Params:
        """The parameters of one chunk per device, with a population axis.

        They are what is measured, in memory that the next chunk overwrites.
        """
        sharding = NamedSharding(self._mesh, P("pop"))
        placed = jax.make_array_from_callback(
            genotypes.shape, sharding, lambda index: genotypes[index]
        )
        with self._while_made():
            self._params = self._merge(self._params, self._materials, placed, np.int32(self.chunk))
        return self._params

    def outputs(self, genotypes: Float[np.ndarray, "pop dims"], split: str) -> list[np.ndarray]:
        """What the task's program gives for each of its batches, for one chunk per device."""
        self.merge(genotypes)
        return self._run(split, self._batches[split])

    def measure(
        self, models: Iterable[Params], split: str
    ) -> Iterator[tuple[Float[np.ndarray, " items"], list[np.ndarray]]]:
        """The results of given models for each item and the outputs of the same programs.

        Args:
            models: Parameters like those of a candidate, which are taken one chunk at a time.
            split: The split that is measured, a key of ``tasks``.
        """
        step = self.chunk * self._devices
        remaining = iter(models)
        while part := list(itertools.islice(remaining, step)):
            with self._while_made():
                self._params = self._stack(part + part[-1:] * (step - len(part)))
            outputs = self._run(split, self._batches[split])
            for index, items in enumerate(self.tasks[split].score(outputs)[: len(part)]):
                yield items, [output[index : index + 1] for output in outputs]

    def _run(self, split: str, batches: "_Placed") -> list[np.ndarray]:
        with self._within_memory(split, batches):
            return list(map(_fetch, self._start(split, batches)))

    def _start(self, split: str, batches: "_Placed") -> list[Array]:
        """What the devices give for each batch, which they may still be computing."""
        with self._within_memory(split, batches):
            return [
                program(self._params, self._shared, *batch)
                for program, own in zip(self._programs[split], batches, strict=True)
                for batch in own
            ]

    def _within_memory(
        self, split: str, batches: "_Placed"
    ) -> contextlib.AbstractContextManager[None]:
        """A block in which the devices run candidates on some batches (see `within_memory`)."""

        def attempted() -> str:
            shapes = [jax.tree.leaves(batch)[0].shape for own in batches for batch in own]
            largest = " × ".join(map(str, max(shapes, key=math.prod)))
            return f"{self._held} on the {split} items, of which the largest batch is {largest}"

        return within_memory(self._mesh.local_devices[0], attempted)

    def _while_made(self) -> contextlib.AbstractContextManager[None]:
        """A block in which the devices make candidates (see `within_memory`)."""
        return within_memory(self._mesh.local_devices[0], lambda: f"making {self._held}")

    def _place(self, task: BoundTask) -> "_Placed":
        """The batches of a task, or of each of several, on every device."""
        return [
            [tuple(map(self._put, batch)) for batch in own]
            for own in (part.batches for part in tasks_of(task))
        ]

    def _put(self, field: Any) -> Any:
        """A field on every device; what rows have in common is there once for all batches."""
        if not isinstance(field, Common):
            return jax.device_put(field, self._everywhere)
        return jax.tree.map(self._put_once, field)

    def _put_once(self, leaf: Any) -> Array:
        if id(leaf) not in self._common:  # which keeps the leaf, so that no other gets its id
            self._common[id(leaf)] = (leaf, jax.device_put(leaf, self._everywhere))
        return self._common[id(leaf)][1]

    def _chosen(
        self, split: str, rows: Int[np.ndarray, " chosen"] | None
    ) -> tuple[BoundTask, "_Placed"]:
        """A split's task on some of its items, which are chosen again and again."""
        if rows is None:
            return self.tasks[split], self._batches[split]
        choice = (split, np.asarray(rows, np.int64).tobytes())
        if choice not in self._taken:
            if len(self._taken) >= _CHOICES:
                del self._taken[next(iter(self._taken))]
            task = self.tasks[split].take(np.asarray(rows, np.int64))
            self._taken[choice] = task, self._place(task)
        return self._taken[choice]

    def _stack(self, models: list[Params]) -> Params:
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self._params)
        del self._params  # or there would be three at once: the model, its copy, and the old one
        return jax.device_put(self._stack_models(models), shardings)

    def _plan_memory(
        self, family: Family, config: Any, candidate: Params
    ) -> tuple[int, dict[str, list[Request]]]:
        """How many candidates a device holds at a time, and what each is asked, by split."""
        model = self._candidates.copied + _bytes_of(candidate)
        itemsize = max(leaf.dtype.itemsize for leaf in jax.tree.leaves((candidate, self._shared)))

        def bytes_of(task: BoundTask, request: Request, hops: int | None) -> int:
            ability = family.ability(request)
            return max(ability.bytes(config, request, b, itemsize, hops) for b in task.batches)

        def compiled_bytes(task: BoundTask, request: Request) -> float:
            """What the compiler says that one candidate's program takes on the largest batch."""
            ability, axes = family.ability(request), self._candidates.axes
            largest = max(
                task.batches, key=lambda b: ability.bytes(config, request, b, itemsize, hops)
            )
            program = ability.program(config, request, self._candidates.param_axes)
            alone = _shapes(candidate, axes, self._devices, self._mesh)
            run: Any = _spread(program, self._candidates, self._mesh)
            try:
                found = run.lower(alone, self._shared, *largest).compile().memory_analysis()
            except jax.errors.JaxRuntimeError as error:  # as a TPU's compiler refuses a program
                if not is_lack_of_memory(error):
                    raise
                return math.inf
            return math.inf if found is None else found.temp_size_in_bytes

        def fitted(task: BoundTask) -> Request:
            """The task's request, or one for the same outputs that fits into memory.

            What abilities tell may be too much. Where that decides, the compiler is asked, but for
            paths, of which what is told says how long they may be.
            """
            request = task.request
            while (told := bytes_of(task, request, hops)) > room:
                asked = hops is None and told < OVERSTATED * room
                if asked and compiled_bytes(task, request) <= exact_room:
                    break
                smaller = family.ability(request).smaller(request, task.batches)
                if smaller is None:
                    break
                request = smaller
            return request

        hops = self._candidates.hops
        device = self._mesh.local_devices[0]
        room, exact_room = room_for_work(device, model), room_of(device) - model
        requests = {
            name: [fitted(part) for part in tasks_of(task)] for name, task in self.tasks.items()
        }

        def work(hops: int | None) -> int:
            return max(
                bytes_of(part, request, hops)
                for name, task in self.tasks.items()
                for part, request in zip(tasks_of(task), requests[name], strict=True)
            )

        if hops is not None and (most := longest_that_fits(device, model, work, hops)) < hops:
            raise ValueError(
                f"paths may have {hops} hops, and the memory of a device holds the keys and values "
                f"of {most}; set space.max_hops={most}, or shorten prompts and answers"
            )
        return candidates_that_fit(device, model, work(hops)), requests


def _laid_out(merge_fn: MergeFn, form: Callable[[Any], Any]) -> MergeFn:
    """What merges a candidate and lays it out in a form."""

    def merge(materials: Any, genotype: Genotype) -> Any:
        return form(merge_fn(materials, genotype))

    return merge


def _make_merge(merge_fn: MergeFn, axes: Any, mesh: Mesh) -> Callable[..., Any]:
    """A program that merges a chunk of candidates a device, in the memory of the chunk before."""
    specs = jax.tree.map(_pop_spec, axes)

    def merge(buffer: Params, materials: Any, genotypes: Population, count: Any) -> Params:
        return fill(buffer, axes, count, lambda index: merge_fn(materials, genotypes[index]))

    spread = jax.shard_map(
        merge, mesh=mesh, in_specs=(specs, P(), P("pop"), P()), out_specs=specs, check_vma=False
    )
    return jax.jit(spread, donate_argnums=0, keep_unused=True, compiler_options=COMPILER_OPTIONS)


def _shapes(candidate: Any, axes: Any, count: int, mesh: Mesh) -> Any:
    """The shapes of the parameters of ``count`` candidates, spread over the mesh."""
    return jax.tree.map(
        lambda leaf, axis: jax.ShapeDtypeStruct(
            (*leaf.shape[:axis], count, *leaf.shape[axis:]),
            leaf.dtype,
            sharding=NamedSharding(mesh, _pop_spec(axis)),
        ),
        candidate,
        axes,
    )


def _allocate(shapes: Any) -> Any:
    """Memory for the candidates of such shapes."""

    def zeros() -> Params:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return jax.jit(zeros, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, shapes))()


def _spread(
    program: Callable[..., Array], candidates: Candidates, mesh: Mesh
) -> Callable[..., Array]:
    """A program that each device runs on its own candidates, without waiting for the others."""
    specs = jax.tree.map(_pop_spec, candidates.axes)

    def own(part: Any, shared: Any, *batch: Array) -> Array:
        return program(candidates.params(part, shared), *batch)

    def run(part: Any, shared: Any, *batch: Array) -> Array:
        return jax.shard_map(
            own,
            mesh=mesh,
            in_specs=(specs, P(), *(P() for _ in batch)),
            out_specs=P("pop"),
            check_vma=False,
        )(part, shared, *batch)

    return jax.jit(run)


def _stacked(form: Callable[[Any], Any], axes: Any, models: Sequence[Any]) -> Any:
    """Lay out candidates and stack them, in one program, which holds no copy but the stack."""
    return jax.tree.map(lambda axis, *leaves: jnp.stack(leaves, axis), axes, *map(form, models))


def _bytes_of(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _pop_spec(axis: int) -> P:
    return P(*(None,) * axis, "pop")


def _fetch(output: Array) -> np.ndarray:
    if output.is_fully_addressable:
        return np.asarray(output)
    return np.asarray(multihost_utils.process_allgather(output, tiled=True))
