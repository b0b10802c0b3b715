"""Checks that the models of a file have the same tensors, so that they can be merged."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from evojax_merge.checkpoints import Checkpoint
from evojax_merge.exchange.configuration import Entry
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.models import Layout, kind_of

_LISTED = 8


def check_types(checkpoints: Mapping[str, Checkpoint]) -> None:
    """Check that all models are of one type.

    Raises:
        ExchangeError: Some are of another type. All of them are listed.
    """
    kinds = {name: (kind_of(own.hf_config), own.family.name) for name, own in checkpoints.items()}
    (first, (wanted, family)), *others = kinds.items()
    problems = [f"{name} is a {kind}" for name, (kind, _) in others if kind != wanted]
    problems += [
        f"{name} is a {checkpoints[name].hf_config.get('architectures')}"
        for name, (kind, own) in others
        if kind == wanted and own != family
    ]
    refuse(f"these models cannot be merged with {first} ({wanted})", problems)


class Agreement:
    """An agreement compares the tensors of models with those of the first.

    Args:
        layouts: The layout of each model by its name. That of the first is the result's.
        aliases: The names of tensors that each model does not store of its own, by its name.
    """

    def __init__(
        self, layouts: Mapping[str, Layout], aliases: Mapping[str, Collection[str]]
    ) -> None:
        self._layouts = layouts
        self._aliases = aliases
        self._first = next(iter(layouts))

    def check_names(self) -> None:
        """Check that the models have the same tensors, but for the numbers of their layers.

        Raises:
            ExchangeError: Some have other tensors. All of these are listed.
        """
        ours = _templates(self._layouts[self._first])
        self._refuse(
            problem
            for name, layout in self._layouts.items()
            for problem in self._differences(name, _templates(layout), ours)
        )

    def check_whole(self, models: Iterable[str]) -> None:
        """Check that models that are merged whole have the same tensors.

        Raises:
            ExchangeError: Some have other tensors. All of these are listed.
        """
        ours = self._layouts[self._first].slots.keys()
        self._refuse(
            problem
            for name in models
            for problem in self._differences(name, self._layouts[name].slots.keys(), ours)
        )

    def check_layers(self, layers: Iterable[tuple[str, int, Sequence[tuple[Entry, int]]]]) -> None:
        """Check that the layers that are merged into one have the same tensors.

        Args:
            layers: A tuple for each layer of the result: the model and the layer that it is like,
                and the entries that give it, each with the layer that it gives.

        Raises:
            ExchangeError: Some have other tensors. All of these are listed.
        """
        (stack,) = self._layouts[self._first].stacks
        problems = []
        for model, layer, given in layers:
            ours = self._layouts[model].in_layer(stack, layer).keys()
            for entry, own in given:
                theirs = self._layouts[entry.model].in_layer(stack, own).keys()
                where = f"layer {own} of {entry.model}"
                problems += [f"{where} lacks {name}" for name in sorted(ours - theirs)]
                problems += [f"{where} has {name} besides" for name in sorted(theirs - ours)]
        self._refuse(problems)

    def _differences(self, model: str, theirs: Collection[str], ours: Collection[str]) -> list[str]:
        """List the names that a model lacks, or has besides."""
        given = set(theirs) | set(self._aliases[model])
        return [f"{model} lacks {name}" for name in sorted(set(ours) - given)] + [
            f"{model} has {name} besides" for name in sorted(set(theirs) - set(ours))
        ]

    def _refuse(self, problems: Iterable[str]) -> None:
        refuse(f"these models cannot be merged with {self._first}", list(problems))


def _templates(layout: Layout) -> set[str]:
    """Return the names of all tensors, with ``{layer}`` in those of layers."""
    return {leaf.tensor for leaf in layout.leaves.values()}


def refuse(what: str, problems: Sequence[str]) -> None:
    """Raise one error that lists the first problems, if there are any.

    Raises:
        ExchangeError: There are problems.
    """
    if problems:
        listed = [*problems[:_LISTED]]
        if len(problems) > _LISTED:
            listed.append(f"… and {len(problems) - _LISTED} more")
        raise ExchangeError(f"{what}:\n  " + "\n  ".join(listed))
