"""Which tensors of its base the names in an adapter's file mean.

PEFT names modules as they are called in the memory of the transformers that trained the adapter.
For models that consist of parts this is not how their files call them, and releases differ.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from evojax_merge.checkpoints.checkpoint import Checkpoint
from evojax_merge.models import Slot


@dataclasses.dataclass(frozen=True)
class Adapted:
    """The base of an adapter, or those parts of it that are merged.

    Attributes:
        base: The base.
    """

    base: Checkpoint

    @property
    def whole(self) -> Checkpoint:
        """The base with the parts that are not merged."""
        return self.base.carrier or self.base

    @property
    def aliases(self) -> Mapping[str, str]:
        """The tensors that are tied to others, by the names in the base's files."""
        return self.whole.family.layout(self.whole.config).aliases

    def weight(self, module: str) -> str:
        """Return the name that the weight of a module has in the base's files."""
        name = f"{module}.weight"
        spelled = self.whole.family.spelled
        return name if spelled is None else spelled(self.whole.config, name)

    def not_merged(self, modules: Iterable[str]) -> list[str]:
        """Return the parts of the base that modules are in and that are not merged."""
        family, config = self.whole.family, self.whole.config
        if family.parts is None:
            return []
        found = {self.whole.slots.get(name) for name in map(self.weight, modules)}
        found -= {None, *self.base.slots.values()}
        return [
            part.name
            for part in family.parts(config).values()
            if part.name not in self.base.parts
            and any(_within(slot, part.prefix) for slot in found)
        ]


def _within(slot: Slot | None, prefix: str) -> bool:
    return slot is not None and slot.path.startswith(f"{prefix}.")
