"""The measuring of populations, by merging chunk after chunk and running the task on each.

A chunk is the number of candidates that one device holds at a time. Population axes are spread
over the ``pop`` axis of the mesh; every device runs the same program on the same number of
candidates, whatever the mesh, so that a candidate's results do not depend on it.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from evojax_merge.fitness.base import BoundTask
from evojax_merge.fitness.several import parts_of, tasks_of
from evojax_merge.measuring.candidates import Candidates, MergeFn
from evojax_merge.measuring.device_memory import Memory, within_memory
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.measuring.programs import HostProgram, allocate
from evojax_merge.measuring.workload import workload
from evojax_merge.models import Family
from evojax_merge.models.ability import Common
from evojax_merge.models.split import MODEL, POP, bytes_per_device, check_split, shardings
from evojax_merge.params.on_host import fetch
from evojax_merge.params.placing import place
from evojax_merge.params.types import Array, Float, Int, Params, Population

_Placed = list[list[tuple[Array, ...]]]
"""The fields of each batch of each task, on the devices."""

_CHOICES = 64
"""How many choices of items are kept on the devices; the oldest goes first."""


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

    Attributes:
        on_measured: A function that is told of each batch that was measured, as how many candidates
            that is on all items: 2 candidates on half of them are 1.0.

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
        self.config = config
        self.on_measured: Callable[[float], object] = lambda candidates: None
        self._mesh = mesh
        self._devices = mesh.shape[POP]
        self._layout = layout = family.layout(config)
        check_split(layout, mesh.shape[MODEL])
        self._materials = place(materials, shardings(materials, layout, mesh))
        self._shared = place(shared, shardings(shared, layout, mesh))
        work = workload(
            family,
            config,
            merge_fn,
            self._materials,
            self.tasks,
            mesh=mesh,
            memory=Memory.of(mesh.local_devices[0]),
            dims=dims,
            population_size=population_size,
            chunk=chunk,
            shared=self._shared,
            candidates=candidates,
        )
        self.chunk = work.chunk
        self.workload = work
        held = bytes_per_device((work.buffer, work.shared)) / 1e9
        self._held = f"{self.chunk} candidates at a time ({held:.2f} GB with what they share)"
        with self._while_made():
            self._params = allocate(work.buffer)
        self._everywhere = NamedSharding(mesh, P())
        self._common: dict[int, tuple[Any, Array]] = {}
        self._batches = {name: self._place(task) for name, task in self.tasks.items()}
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
                outputs = [output[: len(part)] for output in self._fetch(running, len(part))]
            items = task.score(outputs)
            items[~self.workload.candidates.is_valid(part)] = np.nan
            results.append(items)
            began, finished = finished, time.perf_counter()
            seconds.extend([(finished - began) / len(part)] * len(part))

        before = None
        for first in range(0, len(genotypes), step):
            interrupted()
            part = genotypes[first : first + step]
            padding = np.repeat(part[-1:], step - len(part), axis=0)
            self.merge(np.concatenate([part, padding]))
            running = self._start(split, batches, len(part))
            if before is not None:
                finish(*before)
            before = part, running
            if self.workload.on_host:  # which has done it by now
                interrupted()  # whatever made it fail is no result of the candidate
                finish(*before)
                before = None
        if before is not None:
            finish(*before)
        return Evaluation(np.concatenate(results), np.array(seconds, np.float32), parts_of(task))

    @property
    def mesh(self) -> Mesh:
        """The devices."""
        return self._mesh

    @property
    def materials(self) -> Any:
        """What ``merge_fn`` merges, where it lies on the devices."""
        return self._materials

    def merge(self, genotypes: Float[np.ndarray, "pop dims"]) -> Params:
        """The parameters of one chunk per device, with a population axis.

        They are what is measured, in memory that the next chunk overwrites.
        """
        placed = place(genotypes, self.workload.genotypes.sharding)
        count = np.int32(self.chunk)
        with self._while_made():
            self._params = self.workload.merge(self._params, self._materials, placed, count)
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
            outputs = self._run(split, self._batches[split], len(part))
            for index, items in enumerate(self.tasks[split].score(outputs)[: len(part)]):
                yield items, [output[index : index + 1] for output in outputs]

    def measure_one(
        self, genotype: Float[np.ndarray, " dims"], split: str
    ) -> tuple[Float[np.ndarray, " items"], list[np.ndarray]]:
        """The results of one candidate for each item, as of a population, and the outputs."""
        alone = np.asarray(genotype, np.float32)[None]
        self.merge(np.repeat(alone, self.chunk * self._devices, axis=0))
        outputs = [output[:1] for output in self._run(split, self._batches[split], 1)]
        items = self.tasks[split].score(outputs)
        items[~self.workload.candidates.is_valid(alone)] = np.nan
        return items[0], outputs

    def _run(self, split: str, batches: "_Placed", count: int | None = None) -> list[np.ndarray]:
        running = self._start(split, batches, count)
        with self._within_memory(split, batches):
            return list(self._fetch(running, count or 0))

    def _fetch(self, running: list[Array], candidates: int) -> Iterator[np.ndarray]:
        """What the devices have computed, told of as it comes."""
        for output in running:
            yield fetch(output)
            self.on_measured(candidates / len(running))

    def _start(self, split: str, batches: "_Placed", count: int | None = None) -> list[Array]:
        """What the devices give for each batch, which they may still be computing.

        The host leaves out the candidates after the first ``count``, which only fill up a chunk.
        """
        with self._within_memory(split, batches):
            return [
                program(self._params, self._shared, *batch, count=count)
                if isinstance(program, HostProgram)
                else program(self._params, self._shared, *batch)
                for program, own in zip(self.workload.programs[split], batches, strict=True)
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
            return place(field, self._everywhere)
        return jax.tree.map(self._put_once, field)

    def _put_once(self, leaf: Any) -> Array:
        if id(leaf) not in self._common:  # which keeps the leaf, so that no other gets its id
            self._common[id(leaf)] = (leaf, place(leaf, self._everywhere))
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
        del self._params  # or there would be three at once: the model, its copy, and the old one
        return self.workload.stack([self._on_devices(model) for model in models])

    def _on_devices(self, model: Params) -> Params:
        return place(model, shardings(model, self._layout, self._mesh))
