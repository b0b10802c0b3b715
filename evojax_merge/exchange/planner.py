"""The planner finds which tensor of which model goes where, with which numbers.

It reads headers only. As in mergekit, a layer's place in its slice runs from 0 to 1 (a slice of one
layer is at 1). Tensors outside the layers are at 0: those before the layers with the first slice's
settings, those after them (final norm, head) with the last slice's. A gradient therefore gives the
final norm and the head its *first* value. This is followed, so that a file gives mergekit's
checkpoint, with a warning.

Two things differ. Final norm and head are merged from all sources of the last slice, where mergekit
takes as many as the first slice has. Without a base the first model in the file is the reference,
where mergekit takes any.
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
from evojax_merge.checkpoints.audit import AUDITED, changed_fields, warn_of_configurations
from evojax_merge.checkpoints.carried_files import carried_names, carried_settings
from evojax_merge.checkpoints.directory import PROCESSOR_FILES, TOKENIZER_FILES
from evojax_merge.checkpoints.headers import DTYPES
from evojax_merge.checkpoints.special_tokens import SpecialTokens, read_special_tokens
from evojax_merge.checkpoints.written_config import with_dtype
from evojax_merge.exchange.agreement import Agreement, check_types, refuse
from evojax_merge.exchange.chat_templates import chat_template
from evojax_merge.exchange.configuration import Configuration, Entry, Slice
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.filters import idle_filters
from evojax_merge.exchange.inputs import slice_inputs
from evojax_merge.exchange.job_problems import job_problems
from evojax_merge.exchange.layer_ranges import ranged
from evojax_merge.exchange.layer_settings import COUNTS, layer_fields
from evojax_merge.exchange.plan import Carried, Job, Origin, Plan
from evojax_merge.exchange.resolution import Numbers
from evojax_merge.exchange.settings import Settings
from evojax_merge.exchange.sliding_windows import SliceWindows
from evojax_merge.exchange.vocabulary import plan_tokens
from evojax_merge.models import Leaf, Slot

_MOST_LAYERS = 10_000
"""The most layers of a result, which are as many as a configuration that is read may have."""


def plan_merge(configuration: Configuration) -> Plan:
    """Check a configuration against the headers of its models.

    What mergekit passes over or takes for something else is said in one warning.

    Raises:
        ExchangeError: The configuration does not fit the models.
        CheckpointError: A model is missing or damaged.
    """
    names = configuration.models
    parts = [configuration.adapters.get(name, (name, None)) for name in names]
    checkpoints = tuple(load_config(model) for model, _ in parts)
    for checkpoint in checkpoints:
        if checkpoint.family.pipeline:
            raise ExchangeError(
                f"{checkpoint.directory}: is a pipeline of several models, of which a mergekit "
                "YAML merges one; give the folder of its unet, or merge pipelines by a recipe"
            )
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
        tuple(planner.carried()),
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
        check_types(checkpoints)
        self.config = self._config()
        self.layout = self.family.layout(self.config)
        self.layouts = {
            name: own.family.layout(own.config) for name, own in checkpoints.items()
        } | {next(iter(checkpoints)): self.layout}
        self._agreement = Agreement(
            self.layouts, {name: self._aliases(name).keys() for name in checkpoints}
        )
        self._agreement.check_names()
        self.slices = [ranged(part, self.layouts) for part in configuration.slices]
        for part in self.slices:
            slice_inputs(self.method, part)
        total = sum(self._count(part) for part in self.slices)
        if total > _MOST_LAYERS:
            raise ExchangeError(
                f"slices: make a model of {total:,} layers; give at most {_MOST_LAYERS:,}"
            )
        if not total and self.layout.depth():
            raise ExchangeError("no slice has a layer; a model needs at least one")
        if self._sliced:
            self._agreement.check_layers(self._layers_given())
        else:
            self._agreement.check_whole(self._merged())
        self.windows = None
        if self.layout.stacks and hasattr(self.config, "windows"):
            self.windows = SliceWindows(self.slices, checkpoints, next(iter(checkpoints)))
        self.numbers = Numbers(configuration)
        choice = configuration.tokenizer
        if choice is not None and not self.layout.token_tables:
            raise ExchangeError(
                "tokenizer: these models have no table that is known to have a row for each token"
            )
        self.tokens = None if choice is None else plan_tokens(choice, checkpoints)

    def jobs(self) -> tuple[Job, ...]:
        """Make the jobs of embeddings, of layers in order, and of what follows them.

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
        outer = {path: leaf for path, leaf in self.layout.leaves.items() if not leaf.layered}
        for path, leaf in outer.items():
            if leaf.place == "first":
                yield self._job(leaf, path, self.slices[0], None, None, 0.0)
        for stack in self.layout.stacks:
            yield from self._layer_jobs(stack)
        for path, leaf in outer.items():
            if leaf.place != "first":
                yield self._job(leaf, path, self.slices[-1], None, None, 0.0)

    def _layer_jobs(self, stack: str) -> Iterator[Job]:
        """Make the jobs of a stack. A file that takes layers apart is of models with one stack."""
        number = 0
        several = len(self.layout.stacks) > 1
        for part in self.slices:
            count = self.layout.depth(stack) if several else self._count(part)
            for offset in range(count):
                t = offset / (count - 1) if count > 1 else 1.0
                model, layer = self._origin(part, offset)
                layout = self.layouts[model]
                for path in layout.in_layer(stack, layer).values():
                    leaf = layout.leaves[path]
                    own = path if leaf.stacked else leaf.tensor_of(number)
                    yield self._job(leaf, own, part, number, offset, t)
                number += 1

    def carried(self) -> Iterator[Carried]:
        """Find the tensors that are copied: from the reference, or with the layers of a result."""
        stacks = tuple(self.layout.stacks)
        if not self._sliced:
            for name, info in self.reference.carried.items():
                yield Carried(name, info)
            return
        (stack,) = stacks
        for name, info in self.reference.carried.items():
            if not name.startswith(f"{stack}."):
                yield Carried(name, info)
        origins = [self._origin(p, o) for p in self.slices for o in range(self._count(p))]
        for number, (model, layer) in enumerate(origins):
            for name, info in self.checkpoints[model].carried.items():
                if name.startswith(begin := f"{stack}.{layer}."):
                    yield Carried(f"{stack}.{number}.{name.removeprefix(begin)}", info)

    @property
    def _sliced(self) -> bool:
        """Whether the file says which layers of its models it takes."""
        given = self.configuration.slices
        return any(entry.layers is not None for part in given for entry in part.sources)

    def _origin(self, part: Slice, offset: int) -> tuple[str, int]:
        """Return the model and layer that a slice's layer is like: the base's, or the first's."""
        base = part.base_model or next(iter(self.checkpoints))
        entry = next((entry for entry in part.sources if entry.model == base), part.sources[0])
        return entry.model, (entry.layers or (0, 0))[0] + offset

    def _layers_given(self) -> Iterator[tuple[str, int, list[tuple[Entry, int]]]]:
        """Tell of each layer of a sliced result what it is like, and what gives it."""
        for part in self.slices:
            for offset in range(self._count(part)):
                model, layer = self._origin(part, offset)
                given = [(entry, (entry.layers or (0, 0))[0] + offset) for entry in part.sources]
                yield model, layer, given

    def check(self, jobs: Sequence[Job]) -> None:
        """Check the shapes of what is merged, and filters.

        Raises:
            ExchangeError: Something does not fit. All of it is listed.
        """
        names = list(self.checkpoints)
        problems = [
            problem
            for job in jobs
            for problem in job_problems(job, self.method.name, names, self.ordered, self.tokens)
        ]
        refuse("these tensors cannot be merged", problems)
        tensors = {job.name for job in jobs} | {o.tensor for job in jobs for o in job.origins}
        self.notes += idle_filters(self._all_settings(), tensors)
        self._warn_of_configurations()

    def hf_config(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """Make the ``config.json`` of the result: the reference's, with what the merge changed."""
        dropped = ("_name_or_path", "auto_map")
        config = self.config
        changes: dict[str, Any] = {}
        outer = {leaf.tensor for leaf in self.layout.leaves.values() if not leaf.layered}
        if not outer <= {job.name for job in jobs}:
            changes["tie_word_embeddings"] = True  # the head was left out
        given = {k: v for k, v in self.reference.hf_config.items() if k not in dropped}
        if self.windows is not None:
            windows = self.windows.layers
            changes |= {"num_layers": len(windows), "windows": windows}
            given |= self.windows.fields(given)
        elif self._sliced:
            origins = [self._origin(p, o) for p in self.slices for o in range(self._count(p))]
            layers = [(self.checkpoints[model].hf_config, layer) for model, layer in origins]
            given |= layer_fields(given, self.layout.depth(), layers)
        if self.tokens is not None:
            changes["vocab_size"] = self.tokens.rows
        if changes:
            config = dataclasses.replace(config, **changes)
        given |= self.family.hf_fields(config)
        dtypes = {job.dtype for job in jobs}
        return with_dtype(given, dtypes.pop().name if len(dtypes) == 1 else "float32")

    def _job(
        self, leaf: Leaf, path: str, part: Slice, layer: int | None, offset: int | None, t: float
    ) -> Job:
        name = leaf.tensor_of(layer)
        inputs = slice_inputs(self.method, part)

        def named(entry: Entry) -> str:
            own = None if offset is None else (entry.layers or (0, 0))[0] + offset
            return leaf.tensor_of(own)

        def origin(entry: Entry) -> Origin:
            # A tied model has its embeddings for a head.
            own = named(entry)
            return Origin(self.index[entry.model], self._aliases(entry.model).get(own, own))

        base = None if inputs.base is None else origin(inputs.base)
        sources = tuple(origin(entry) for entry in inputs.sources)
        last = layer is None and leaf.place != "first"
        static, lam, coefficients = self.numbers.of(
            name, part, inputs, [named(entry) for entry in inputs.sources], t, last
        )
        origins = sources if base is None else (base, *sources)
        infos = [self.ordered[o.model].tensors[o.tensor] for o in origins]
        wanted = self.configuration.out_dtype or self.configuration.dtype
        dtype = DTYPES[_SHORT[wanted]] if wanted else promoted(DTYPES[info.dtype] for info in infos)
        return Job(
            name=name,
            slot=Slot(path, layer if leaf.stacked else None, infos[0].shape),
            dtype=dtype,
            base=base,
            sources=sources,
            static=static,
            lam=lam,
            coefficients=coefficients,
            in_vocabulary=leaf.token_table,
        )

    def _merged(self) -> tuple[str, ...]:
        """Return the models that have a part in the result."""
        entries = [entry for part in self.configuration.slices for entry in part.sources]
        return tuple(dict.fromkeys(entry.model for entry in entries))

    def _aliases(self, model: str) -> Mapping[str, str]:
        """Map names of what a model does not store of its own to those of what it has for it."""
        return self.family.layout(self.checkpoints[model].config).aliases

    def _config(self) -> Any:
        """Return the reference's configuration, without a tie if a head may be merged for itself.

        It may be where a model is not tied, or where one of those that give the head stores it.
        """
        tied = [bool(self._aliases(name)) for name in self._merged()]
        last = [entry.model for entry in self.configuration.slices[-1].sources]
        stored = any(self.checkpoints[name].copies for name in last)
        if self.family.layout(self.reference.config).aliases and (stored or not all(tied)):
            return self.family.untied(self.reference.config)
        return self.reference.config

    def _warn_of_configurations(self) -> None:
        """Warn of what models compute otherwise than the result does."""
        counts = [f"settings.{key}" for key in COUNTS] if self._sliced else []
        free = (*AUDITED, "num_layers", "windows", "tie_word_embeddings", *counts)
        found = {
            name: changed_fields(self.reference.config, self.checkpoints[name].config, free)
            for name in self._merged()
        }
        for name, windows in self.windows.differing() if self.windows is not None else ():
            found[name].append(windows)
        warn_of_configurations(self.reference.directory, found)

    def _all_settings(self) -> Iterator[tuple[str, Settings]]:
        for scope in self.configuration.scopes:
            yield "parameters", scope
        for part in self.slices:
            yield f"{part.where}.parameters", part.parameters
            for entry in part.sources:
                yield f"{entry.where}.parameters", entry.parameters

    def _count(self, part: Slice) -> int:
        """Count the layers of a slice."""
        first, stop = part.sources[0].layers or (0, 0)
        return stop - first


_SHORT = {dtype.name: code for code, dtype in DTYPES.items()}


def promoted(dtypes: Iterable[np.dtype]) -> np.dtype:
    """Return the narrowest supported dtype that holds all of these."""
    found = set(dtypes)
    return found.pop() if len(found) == 1 else np.dtype(np.float32)
