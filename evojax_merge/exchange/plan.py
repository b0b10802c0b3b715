"""Which tensor of which model goes where, with which numbers: all of it from headers alone.

Position: as in mergekit, a layer's place in its slice runs from 0 to 1 (a slice of one layer is at
1); tensors outside the layers are at 0, those before the layers with the first slice's settings,
those after them (final norm, head) with the last slice's. A gradient therefore gives the final norm
and the head its *first* value: followed, so that a file gives mergekit's checkpoint, with a
warning. Departures: final norm and head are merged from all sources of the last slice, where
mergekit takes as many as the first slice has; without a base the first model in the file is the
reference, where mergekit takes any.
"""

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evojax_merge.checkpoints import (
    Adapter,
    Checkpoint,
    is_adapter_directory,
    load_adapter_config,
    load_config,
    resolve,
)
from evojax_merge.checkpoints.audit import changed_fields, warn_of_configurations
from evojax_merge.checkpoints.carried_files import carried_names, carried_settings
from evojax_merge.checkpoints.directory import PROCESSOR_FILES, TOKENIZER_FILES
from evojax_merge.checkpoints.headers import DTYPES
from evojax_merge.checkpoints.special_tokens import SpecialTokens, read_special_tokens
from evojax_merge.exchange.chat_templates import chat_template
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.filters import idle_filters
from evojax_merge.exchange.inputs import slice_inputs
from evojax_merge.exchange.methods import Method, Static
from evojax_merge.exchange.resolution import Coefficients, Numbers
from evojax_merge.exchange.schema import Configuration, Entry, Slice
from evojax_merge.exchange.settings import Settings
from evojax_merge.exchange.sliding_windows import SliceWindows
from evojax_merge.exchange.vocabulary import Tokens, plan_tokens
from evojax_merge.models.family import Slot
from evojax_merge.operators.base import TINY

_LISTED = 8

_MOST_LAYERS = 10_000
"""As many as a configuration that is read may have."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """A tensor of a checkpoint: the model's index in the plan, and the tensor's name."""

    model: int
    tensor: str


@dataclasses.dataclass(frozen=True)
class Job:
    """One tensor of the result.

    Attributes:
        name: In the result.
        slot: Where it stands in a parameter tree.
        dtype: Of the result.
        base: The origin of task vectors, where the method has one.
        sources: In order.
        static: Arguments of the operator.
        lam: Scale of the merged task vector.
        coefficients: By name: a number, or one for each source.
        in_vocabulary: Whether it has a row for each token.
    """

    name: str
    slot: Slot
    dtype: np.dtype
    base: Origin | None
    sources: tuple[Origin, ...]
    static: Static
    lam: float
    coefficients: Coefficients
    in_vocabulary: bool

    @property
    def origins(self) -> tuple[Origin, ...]:
        """All tensors that are read, the base first."""
        return (() if self.base is None else (self.base,)) + self.sources


@dataclasses.dataclass(frozen=True)
class Plan:
    """A merge that can be run.

    Attributes:
        method: Of all tensors.
        checkpoints: Every model, known by its headers.
        reference: Index of the one whose configuration the result carries.
        jobs: In the order of the result's files.
        hf_config: The result's ``config.json``.
        generation_config: Its ``generation_config.json``, if the reference has one.
        tokens: How tables of tokens are brought to one vocabulary; None leaves them as they are.
        chat_template: That the tokenizer gets; None leaves its own.
        adapters: By the index of a model: the LoRA adapter that is added to it.
    """

    method: Method
    checkpoints: tuple[Checkpoint, ...]
    reference: int
    jobs: tuple[Job, ...]
    hf_config: dict[str, Any]
    generation_config: dict[str, Any] | None
    tokens: Tokens | None
    chat_template: str | None
    adapters: Mapping[int, Adapter]


def plan_merge(configuration: Configuration) -> Plan:
    """Check a configuration against the headers of its models.

    What mergekit passes over or takes for something else is said in one warning.

    Raises:
        ExchangeError: It does not fit the models.
        CheckpointError: A model is missing or damaged.
    """
    names = configuration.models
    parts = [configuration.adapters.get(name, (name, None)) for name in names]
    checkpoints = tuple(load_config(model) for model, _ in parts)
    adapters = {
        index: _adapter(adapter, checkpoints[index])
        for index, (_, adapter) in enumerate(parts)
        if adapter is not None
    }
    planner = _Planner(configuration, dict(zip(names, checkpoints, strict=True)))
    jobs = planner.jobs()
    planner.check(jobs)
    tokens = planner.tokens
    if tokens is not None:
        jobs = tuple(
            dataclasses.replace(
                job, slot=job.slot._replace(shape=(tokens.rows, *job.slot.shape[1:]))
            )
            if job.in_vocabulary
            else job
            for job in jobs
        )
    reference = checkpoints[0].directory
    written_for = read_special_tokens(reference)
    if tokens is not None and checkpoints[0].tokenizer is not None:
        written_for = SpecialTokens.of(checkpoints[0].tokenizer)
    hf_config, generation = carried_settings(
        reference, planner.hf_config(jobs), written_for, tokens.special if tokens else written_for
    )
    # Refused before weights are read.
    carried_names(tokens.directory if tokens else reference, TOKENIZER_FILES)
    carried_names(reference, PROCESSOR_FILES)
    if planner.notes:
        warnings.warn("read as mergekit reads it: " + "; ".join(planner.notes), stacklevel=2)
    return Plan(
        configuration.method,
        checkpoints,
        0,
        jobs,
        hf_config,
        generation,
        tokens,
        chat_template(configuration.chat_template, checkpoints),
        adapters,
    )


def _adapter(source: str, base: Checkpoint) -> Adapter:
    directory = resolve(source)
    if not is_adapter_directory(directory):
        raise ExchangeError(f"{source}: is no LoRA adapter, and stands behind a + in the file")
    return load_adapter_config(directory, base)


class _Planner:
    def __init__(self, configuration: Configuration, checkpoints: dict[str, Checkpoint]) -> None:
        self.configuration = configuration
        self.method = configuration.method
        self.notes = list(configuration.notes)
        self.checkpoints = checkpoints
        self.ordered = tuple(checkpoints.values())
        self.index = {name: index for index, name in enumerate(checkpoints)}
        self.reference = next(iter(checkpoints.values()))
        self.family = self.reference.family
        self._check_types()
        self.config = self._config()
        if self._layers(self.reference) and not hasattr(self.config, "windows"):
            raise ExchangeError(
                f"{self.reference.directory}: is a {self.family.name}, and slices of such models "
                "cannot be described here; merge them by a recipe (evojax-merge evolve)"
            )
        self.names = self.family.names(self.config)
        self.groups = self.family.groups(self.config)
        self._check_families()
        self.slices = [self._ranged(part) for part in configuration.slices]
        total = sum(self._count(part) for part in self.slices)
        if total > _MOST_LAYERS:
            raise ExchangeError(
                f"slices: make a model of {total:,} layers; give at most {_MOST_LAYERS:,}"
            )
        if not total and self._layers(self.reference):
            raise ExchangeError("no slice has a layer; a model needs at least one")
        self.windows = SliceWindows(self.slices, checkpoints, next(iter(checkpoints)))
        self.tables = set(self.family.vocabulary_paths(self.config))
        self.numbers = Numbers(configuration)
        choice = configuration.tokenizer
        self.tokens = None if choice is None else plan_tokens(choice, checkpoints)

    def jobs(self) -> tuple[Job, ...]:
        """Embeddings, layers in order, and what follows them.

        Where all models are tied, a head that is merged as the embeddings are is left out.
        """
        jobs = {job.name: job for job in self._jobs()}
        ties = [self._aliases(name) for name in self._merged()]
        for head, table in ties[0].items() if all(ties) else ():
            own, copied = jobs.get(head), jobs[table]
            if own and dataclasses.replace(own, name=table, slot=copied.slot) == copied:
                del jobs[head]
        return tuple(jobs.values())

    def _jobs(self) -> Iterator[Job]:
        outer = [path for path in self.names if not self._layered(path)]
        before = [path for path in outer if self.groups[path] == "embedding"]
        for path in before:
            yield self._job(path, self.slices[0], None, None, 0.0)
        number = 0
        for part in self.slices:
            count = self._count(part)
            for offset in range(count):
                t = offset / (count - 1) if count > 1 else 1.0
                for path in self.names:
                    if self._layered(path):
                        yield self._job(path, part, number, offset, t)
                number += 1
        for path in outer:
            if path not in before:
                yield self._job(path, self.slices[-1], None, None, 0.0)

    def check(self, jobs: Sequence[Job]) -> None:
        """Shapes of what is merged, and filters.

        Raises:
            ExchangeError: Something does not fit; all of it is listed.
        """
        problems = []
        names = list(self.checkpoints)
        for job in jobs:
            if self._divides_by_nothing(job):
                problems.append(f"{job.name}: the weights add up to 0, and are to be normalised")
            shapes: dict[tuple[int, ...], tuple[Origin, tuple[int, ...]]] = {}
            for origin in job.origins:
                shape = self._checkpoint(origin).tensors[origin.tensor].shape
                aligned = job.in_vocabulary and self.tokens is not None
                shapes.setdefault(shape[1:] if aligned else shape, (origin, shape))
            if len(shapes) > 1:
                listed = ", ".join(
                    f"{list(shape)} in {names[origin.model]}" for origin, shape in shapes.values()
                )
                hint = "; give a tokenizer_source, e.g. base" if job.in_vocabulary else ""
                problems.append(f"{job.name}: {listed}{hint}")
            problems += self._row_problems(job)
        _refuse("these tensors cannot be merged", problems)
        tensors = {job.name for job in jobs} | {o.tensor for job in jobs for o in job.origins}
        self.notes += idle_filters(self._all_settings(), tensors)
        self._warn_of_configurations()

    def _row_problems(self, job: Job) -> list[str]:
        """Rows that the file names of models that have no part in a table."""
        if self.tokens is None or not job.in_vocabulary:
            return []
        models = {origin.model for origin in job.origins}
        return [
            f"{job.name}: {one.where} names {self.configuration.models[one.model]}, which is not "
            "merged there"
            for one in self.tokens.chosen
            if one.model is not None and one.model not in models
        ]

    def _divides_by_nothing(self, job: Job) -> bool:
        switch = {"linear": "normalize", "multislerp": "normalize_weights"}.get(self.method.name)
        if switch is None or not dict(job.static)[switch]:
            return False
        return abs(float(np.sum(job.coefficients["weight"]))) < TINY

    def hf_config(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """``config.json`` of the result: the reference's, with what the merge changed."""
        dropped = ("_name_or_path", "auto_map")
        config = self.config
        changes: dict[str, Any] = {}
        if not {name for path, name in self.names.items() if not self._layered(path)} <= {
            job.name for job in jobs
        }:
            changes["tie_word_embeddings"] = True  # the head was left out
        given = {k: v for k, v in self.reference.hf_config.items() if k not in dropped}
        if self._layers(self.reference):
            windows = self.windows.layers
            changes |= {"num_layers": len(windows), "windows": windows}
            given |= self.windows.fields(given)
        if self.tokens is not None and self.tables:
            changes["vocab_size"] = self.tokens.rows
        if changes:
            config = dataclasses.replace(config, **changes)
        given |= self.family.hf_fields(config)
        dtypes = {job.dtype for job in jobs}
        name = dtypes.pop().name if len(dtypes) == 1 else "float32"
        for key in {"dtype", "torch_dtype"} & given.keys() or {"dtype"}:
            given[key] = name
        return given

    def _job(self, path: str, part: Slice, layer: int | None, offset: int | None, t: float) -> Job:
        name = self.names[path].format(layer=layer)
        inputs = slice_inputs(self.method, part)

        def named(entry: Entry) -> str:
            own = None if offset is None else (entry.layers or (0, 0))[0] + offset
            return self.names[path].format(layer=own)

        def origin(entry: Entry) -> Origin:
            # A tied model has its embeddings for a head.
            own = named(entry)
            return Origin(self.index[entry.model], self._aliases(entry.model).get(own, own))

        base = None if inputs.base is None else origin(inputs.base)
        sources = tuple(origin(entry) for entry in inputs.sources)
        last = layer is None and self.groups[path] != "embedding"
        static, lam, coefficients = self.numbers.of(
            name, part, inputs, [named(entry) for entry in inputs.sources], t, last
        )
        job = Job(
            name=name,
            slot=Slot(path, layer, ()),
            dtype=np.dtype(np.float32),
            base=base,
            sources=sources,
            static=static,
            lam=lam,
            coefficients=coefficients,
            in_vocabulary=path in self.tables,
        )
        infos = [self._checkpoint(o).tensors[o.tensor] for o in job.origins]
        wanted = self.configuration.out_dtype or self.configuration.dtype
        dtype = DTYPES[_SHORT[wanted]] if wanted else promoted(DTYPES[info.dtype] for info in infos)
        return dataclasses.replace(job, slot=Slot(path, layer, infos[0].shape), dtype=dtype)

    def _ranged(self, part: Slice) -> Slice:
        """With the layers of every source known."""
        entries, counts = [], {}
        for entry in part.sources:
            layers = self._layers(self._entry_checkpoint(entry))
            if entry.layers is not None and not layers:
                raise ExchangeError(f"{entry.where}: {entry.model} has no layers; use models")
            if entry.layers and entry.layers[0] < entry.layers[1] > layers:
                raise ExchangeError(
                    f"{entry.where}.layer_range: {list(entry.layers)}, but {entry.model} has "
                    f"{layers} layers"
                )
            first, stop = entry.layers or (0, layers)
            counts[entry.model] = stop - first
            entries.append(dataclasses.replace(entry, layers=(first, stop)))
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{model}: {count}" for model, count in counts.items())
            raise ExchangeError(f"{part.where}: different numbers of layers ({listed}); use slices")
        slice_inputs(self.method, part)
        return dataclasses.replace(part, sources=tuple(entries))

    def _merged(self) -> tuple[str, ...]:
        """Models that have a part in the result."""
        entries = [entry for part in self.configuration.slices for entry in part.sources]
        return tuple(dict.fromkeys(entry.model for entry in entries))

    def _aliases(self, model: str) -> Mapping[str, str]:
        """Names of what a model does not store of its own, and of what it has for it."""
        return self.family.aliases(self.checkpoints[model].config)

    def _config(self) -> Any:
        """The reference's configuration, without a tie where a head may be merged for itself.

        It may where a model is not tied, or where one of those that give the head stores it.
        """
        tied = [bool(self._aliases(name)) for name in self._merged()]
        last = [entry.model for entry in self.configuration.slices[-1].sources]
        stored = any(self.checkpoints[name].copies for name in last)
        if self.family.aliases(self.reference.config) and (stored or not all(tied)):
            return dataclasses.replace(self.reference.config, tie_word_embeddings=False)
        return self.reference.config

    def _check_types(self) -> None:
        kinds = {name: own.hf_config["model_type"] for name, own in self.checkpoints.items()}
        first, wanted = next(iter(kinds.items()))
        problems = [f"{name} is a {kind}" for name, kind in kinds.items() if kind != wanted]
        _refuse(f"these models cannot be merged with {first} ({wanted})", problems)

    def _check_families(self) -> None:
        problems = []
        for name, checkpoint in self.checkpoints.items():
            theirs = self.family.names(checkpoint.config)
            lacking = {self.names[path] for path in self.names.keys() - theirs}
            problems += [
                f"{name} lacks {own}" for own in sorted(lacking - self._aliases(name).keys())
            ]
            problems += [f"{name} has {theirs[p]} besides" for p in theirs.keys() - self.names]
        _refuse(f"these models cannot be merged with {next(iter(self.checkpoints))}", problems)

    def _warn_of_configurations(self) -> None:
        """What models compute otherwise than the result does."""
        free = ("vocab_size", "num_layers", "windows", "tie_word_embeddings")
        found = {
            name: changed_fields(self.reference.config, self.checkpoints[name].config, free)
            for name in self._merged()
        }
        for name, windows in self.windows.differing() if self._layers(self.reference) else ():
            found[name].append(windows)
        warn_of_configurations(self.reference.directory, found)

    def _all_settings(self) -> Iterator[tuple[str, Settings]]:
        for scope in self.configuration.scopes:
            yield "parameters", scope
        for part in self.slices:
            yield f"{part.where}.parameters", part.parameters
            for entry in part.sources:
                yield f"{entry.where}.parameters", entry.parameters

    def _checkpoint(self, origin: Origin) -> Checkpoint:
        return self.ordered[origin.model]

    def _entry_checkpoint(self, entry: Entry) -> Checkpoint:
        return self.checkpoints[entry.model]

    def _layered(self, path: str) -> bool:
        return "{layer}" in self.names[path]

    def _count(self, part: Slice) -> int:
        """Layers of a slice."""
        first, stop = part.sources[0].layers or (0, 0)
        return stop - first

    def _layers(self, checkpoint: Checkpoint) -> int:
        return self.family.num_layers(checkpoint.config)


_SHORT = {dtype.name: code for code, dtype in DTYPES.items()}


def promoted(dtypes: Iterable[np.dtype]) -> np.dtype:
    """The narrowest supported dtype that holds all of these."""
    found = set(dtypes)
    return found.pop() if len(found) == 1 else np.dtype(np.float32)


def _refuse(what: str, problems: Sequence[str]) -> None:
    if problems:
        listed = [*problems[:_LISTED]]
        if len(problems) > _LISTED:
            listed.append(f"… and {len(problems) - _LISTED} more")
        raise ExchangeError(f"{what}:\n  " + "\n  ".join(listed))
