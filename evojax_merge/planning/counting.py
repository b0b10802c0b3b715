"""The programs of a search on a machine: compiled, and what each of them takes there."""

import dataclasses
import functools
from typing import Any

from evojax_merge.costs.devices import Figures
from evojax_merge.costs.programs import Cost, cost_of
from evojax_merge.measuring.needs import (
    Work,
    itemsize_of,
    merging_bytes,
    merging_turns,
    running_bytes,
)
from evojax_merge.measuring.workload import Workload
from evojax_merge.models.split import bytes_per_device


@dataclasses.dataclass(frozen=True)
class Planned:
    """A program of a search.

    Attributes:
        cost: What it takes.
        resident: The bytes on the device beside its arguments while it runs.
        seconds: The least time that it takes on a chunk of candidates.
        bound: What bounds that time: ``memory`` or ``arithmetic``.
        splits: The splits whose items it measures; empty for the merge.
        steps: The tokens of answers that it writes one after another.
        whole_cache: The bytes that it needs if each step reads all of the cache, used or not, as
            all programs do but those of whole models on a GPU.
    """

    cost: Cost
    resident: int
    seconds: float
    bound: str
    splits: tuple[str, ...] = ()
    steps: float = 0.0
    whole_cache: float = 0.0

    @property
    def peak(self) -> int:
        """The most bytes that are on the device while it runs."""
        return self.resident + self.cost.peak

    def left(self, memory: float) -> float:
        """The bytes of the memory that are left; below 0, how many are missing."""
        if self.cost.refused is not None:
            return min(-1.0, memory - self.peak)
        return memory - self.peak


@dataclasses.dataclass(frozen=True)
class Counting:
    """What compiles the programs of a search and counts what they take.

    Attributes:
        work: What devices hold and run.
        config: The configuration of the models.
        figures: What each device holds and does.
        parts: The number of devices that a candidate is split over.
        batches: The bytes on each device of all batches.
    """

    work: Workload
    config: Any
    figures: Figures
    parts: int
    batches: int

    @functools.cached_property
    def materials(self) -> int:
        """The bytes on each device of what is merged."""
        return bytes_per_device(self.work.materials)

    @functools.cached_property
    def shared(self) -> int:
        """Those of what candidates have in common."""
        return bytes_per_device(self.work.shared)

    @functools.cached_property
    def candidates(self) -> int:
        """Those of the candidates."""
        return bytes_per_device(self.work.buffer)

    def merge(self, count: Any) -> Planned:
        """Compile the merge.

        Args:
            count: The shape of the number of candidates, on the devices.
        """
        work = self.work
        cost = cost_of(
            "merge",
            work.merge,
            (work.buffer, work.materials, work.genotypes, count),
            merging_turns(work.chunk),
            needed=merging_bytes(work),
            parts=self.parts,
        )
        return self._made(cost, self.shared + self.batches, self.materials)

    def running(self, name: str, program: Any, request: Any, batch: Any, done: Work) -> Planned:
        """Compile a program that measures candidates on batches of one shape.

        Args:
            name: What it is called.
            program: The program.
            request: What it carries out.
            batch: A batch, as shapes.
            done: What it does with that.
        """
        work = self.work
        cost = cost_of(
            name,
            program,
            (work.buffer, work.shared, *batch),
            done.turns,
            needed=running_bytes(work, request, done, self.config, batch, self.parts),
            parts=self.parts,
            in_use=done.in_use,
        )
        resident = self.materials + self.batches - bytes_per_device(batch)
        all_slots = done._replace(in_use=1.0)
        return dataclasses.replace(
            self._made(cost, resident, self.shared),
            steps=done.steps,
            whole_cache=running_bytes(work, request, all_slots, self.config, batch, self.parts),
        )

    def _made(self, cost: Cost, resident: int, read: int) -> Planned:
        """A program, of whose arguments ``read`` bytes are there beside the candidates."""
        if cost.refused is not None:  # its arguments are not known then
            resident += read + self.candidates
        carried = self.figures.carrying(cost.needed if cost.moved is None else cost.moved)
        computed = self.figures.computing(cost.operations, itemsize_of(self.work))
        bound = "memory" if carried > computed else "arithmetic"
        return Planned(cost, resident, max(carried, computed), bound)
