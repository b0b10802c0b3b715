"""Whether searches fit on devices that need not be there, and how long they take at least."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from evojax_merge.config.experiment import Experiment, MinibatchConfig
from evojax_merge.costs.devices import Figures
from evojax_merge.fitness.several import tasks_of
from evojax_merge.measuring.device_memory import Memory
from evojax_merge.measuring.mesh import least_split, make_mesh
from evojax_merge.measuring.needs import Work, work_of
from evojax_merge.measuring.programs import HostProgram
from evojax_merge.models.split import MODEL, POP, bytes_per_device
from evojax_merge.planning.counting import Counting, Planned
from evojax_merge.planning.least import least_bytes
from evojax_merge.planning.outline import Search, outline


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """A search on a machine.

    Attributes:
        name: What results call it.
        space: What is searched, in words.
        population: The number of candidates in a generation.
        evaluations: The number of candidates in all.
        items: The number of items that each is measured on.
        parameters: The number of parameters of a candidate.
        dtype: Their type.
        pop: The number of groups of devices that candidates are spread over.
        model: The number of devices in a group.
        chunk: How many candidates a device holds at a time.
        slots: How many answers each writes at a time, by split; None where that has no meaning.
        materials: The bytes on each device of what is merged.
        shared: Those of what candidates have in common.
        candidates: Those of the candidates.
        batches: Those of the items.
        programs: The programs.
        seconds_per_chunk: The least time for a chunk on each group, on the items of a generation.
        seconds: The least time for all candidates.
        least_model: The least ``mesh.model`` that fits; None where none does.
    """

    name: str
    space: str
    population: int
    evaluations: int
    items: int
    parameters: int
    dtype: str
    pop: int
    model: int
    chunk: int
    slots: dict[str, int | None]
    materials: int
    shared: int
    candidates: int
    batches: int
    programs: tuple[Planned, ...]
    seconds_per_chunk: float
    seconds: float
    least_model: int | None

    @property
    def seconds_per_candidate(self) -> float:
        """The least time of a group of devices for each candidate."""
        return self.seconds_per_chunk / self.chunk

    def fits(self, memory: float) -> bool:
        """Whether every program fits."""
        return all(one.left(memory) >= 0 for one in self.programs)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The searches of an experiment on a machine.

    Attributes:
        topology: The name of the machine.
        device: The kind of its devices.
        devices: How many there are.
        figures: What each holds and does.
        searches: The searches.
        notes: Lines on what is assumed.
    """

    topology: str
    device: str
    devices: int
    figures: Figures
    searches: tuple[SearchPlan, ...]
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether everything fits."""
        return all(one.fits(self.figures.memory) for one in self.searches)


def plan(
    experiment: Experiment,
    topology: str,
    devices: list[Any],
    figures: Figures,
    *,
    answer_tokens: int | None = None,
    notes: list[str] | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> Plan:
    """Compile the programs of an experiment's searches and count what they take.

    Args:
        experiment: The experiment, which is only described.
        topology: The name of the machine.
        devices: Its devices, which need not be there.
        figures: What each holds and does.
        answer_tokens: The tokens of each answer; by default, as many as may be.
        notes: Lines on what is assumed so far.
        tell: The function that is told what is being done.

    Raises:
        ValueError: Something makes the experiment impossible on these devices.
    """
    lines = notes if notes is not None else []
    setup, searches = outline(experiment, devices, tell)
    for line in setup.describe():
        tell(line)
    fits = _fitting(searches, devices, figures)
    mesh = experiment.mesh(devices=devices, fits=fits)
    try:
        least = least_split(len(devices), fits)
    except ValueError:
        least = None
    found = tuple(
        _planned(one, mesh, figures, answer_tokens, least, lines, tell) for one in searches
    )
    kind = devices[0].device_kind
    return Plan(topology, kind, len(devices), figures, found, tuple(dict.fromkeys(lines)))


def _fitting(searches: list[Search], devices: list[Any], figures: Figures) -> Callable[[int], bool]:
    def fits(parts: int) -> bool:
        mesh = make_mesh(1, parts, devices)
        try:
            return all(least_bytes(one.outlined, mesh) <= figures.memory for one in searches)
        except ValueError:  # a cut through a head
            return False

    return fits


def _planned(
    search: Search,
    mesh: Mesh,
    figures: Figures,
    answer_tokens: int | None,
    least: int | None,
    notes: list[str],
    tell: Callable[[str], None],
) -> SearchPlan:
    outlined, stage = search.outlined, search.stage
    groups, parts = mesh.shape[POP], mesh.shape[MODEL]
    free = max(0, int(figures.memory) - outlined.held(mesh))
    work = outlined.on(mesh, Memory(mesh.devices.flat[0].platform, free))
    everywhere = NamedSharding(mesh, P())
    batches = {
        split: [
            [jax.tree.map(lambda leaf: _placed(leaf, everywhere), tuple(b)) for b in part.batches]
            for part in tasks_of(task)
        ]
        for split, task in outlined.tasks.items()
    }
    given = _given(batches)
    counting = Counting(work, outlined.config, figures, parts, given)
    tell(f"compiling the merge of {stage.name}")
    merge = counting.merge(jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere))
    counted: dict[Any, Planned] = {}
    chunk_seconds = merge.seconds
    share = _share(search)
    for split, index, batch in _wanted(outlined.tasks, batches):
        request, program = work.requests[split][index], work.programs[split][index]
        if isinstance(program, HostProgram):
            notes.append(
                "what the measure of your own takes, and writing candidates, is not counted"
            )
            continue
        key = (index, request, str(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), batch)))
        done = work_of(request, batch, work.candidates.hops, answer_tokens)
        if key not in counted:
            name = _name(request, batch)
            tell(f"compiling {name} of {stage.name}")
            counted[key] = counting.running(name, program, request, batch, done)
        if split not in counted[key].splits:
            known = counted[key]
            counted[key] = dataclasses.replace(known, splits=(*known.splits, split))
        if split == "search":
            chunk_seconds += share * counted[key].seconds
        _note(notes, done, figures, share)
    population = stage.strategy.population_size
    turns = math.ceil(population / (groups * work.chunk))
    return SearchPlan(
        name=stage.name,
        space=stage.space.describe(),
        population=population,
        evaluations=stage.candidates,
        items=round(share * len(outlined.tasks["search"])),
        parameters=work.parameters,
        dtype=work.dtype.name,
        pop=groups,
        model=parts,
        chunk=work.chunk,
        slots={
            split: min((n for one in own if (n := getattr(one, "slots", None))), default=None)
            for split, own in work.requests.items()
        },
        materials=counting.materials,
        shared=counting.shared,
        candidates=counting.candidates,
        batches=given,
        programs=(merge, *counted.values()),
        seconds_per_chunk=chunk_seconds,
        seconds=stage.generations * turns * chunk_seconds,
        least_model=least,
    )


def _wanted(tasks: Any, batches: Any) -> Iterator[tuple[str, int, Any]]:
    """Walk the batches that are compiled: all of a search, and the largest of other splits."""
    for split, own in batches.items():
        for index, some in enumerate(own):
            if split == "search":
                yield from ((split, index, batch) for batch in some)
            else:
                yield split, index, max(some, key=bytes_per_device)


def _given(batches: Any) -> int:
    """Count the bytes of all batches, of which what rows have in common is there once."""
    known = {id(leaf): leaf for leaf in jax.tree.leaves(batches)}
    return bytes_per_device(list(known.values()))


def _placed(leaf: Any, sharding: NamedSharding) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _share(search: Search) -> float:
    """The share of the items that a candidate of the search is measured on."""
    given, items = search.stage.savers.minibatch, len(search.outlined.tasks["search"])
    if given is None:
        return 1.0
    return min(1.0, given.get("size", MinibatchConfig.size) / items)


def _name(request: Any, batch: Any) -> str:
    leaf = max(jax.tree.leaves(batch[:2]), key=lambda leaf: math.prod(leaf.shape))
    shape = " × ".join(map(str, leaf.shape))
    return f"{request.needs} ({shape})"


def _note(notes: list[str], done: Work, figures: Figures, share: float) -> None:
    if done.steps:
        notes.append(
            "answers are as long as they may be, or as --answer-tokens says; the cache is as full "
            "as it is on the average"
        )
    if share < 1:
        notes.append(
            "a generation is measured on a minibatch, whose time is its share of all items"
        )
