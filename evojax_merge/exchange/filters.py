"""The filters that match no tensor of a merge."""

import re
from collections.abc import Collection, Iterable, Iterator

from evojax_merge.documents.nearest import nearest
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.knowledge import PARTS
from evojax_merge.exchange.settings import Settings
from evojax_merge.models.decoder.params import NAMES


def idle_filters(settings: Iterable[tuple[str, Settings]], names: Collection[str]) -> Iterator[str]:
    """Tell of filters that match nothing, but would in some model that mergekit knows.

    Args:
        settings: The settings of all models, of slices and of the file, with their places.
        names: The names of the tensors of the merge.

    Raises:
        ExchangeError: A filter would match no tensor of any such model.
    """
    parts = {part for name in names for part in name.split(".")}
    for where, own in settings:
        for parameter, setting in own.items():
            for rule in setting:
                if any(rule.matches(name) for name in names):
                    continue
                problem = f"{where}.{parameter}: the filter {rule.filter!r} matches no tensor"
                if not _is_known(str(rule.filter), names):
                    raise ExchangeError(problem + nearest(rule.filter, parts))
                yield problem


def _is_known(text: str, names: Collection[str]) -> bool:
    """Tell whether a text is part of a tensor's name in a deeper or another kind of model."""
    numbers = re.findall(r"\d+", text) or ["0"]
    deeper = {re.sub(r"\d+", number, name) for name in names for number in numbers}
    others = {name.format(layer=number) for name in NAMES.values() for number in numbers}
    if any(text in name for name in deeper | others):
        return True
    parts = [part for part in text.split(".") if part and not part.isdigit()]
    return bool(parts) and all(part in PARTS for part in parts)
