"""How often loops turn of which no compiler can know it, since data decide."""

from collections.abc import Mapping
from typing import NamedTuple


class Turns(NamedTuple):
    """How often loops turn.

    Attributes:
        of_loops: The number of turns by a name of `evojax_merge.params.loops`. Of a loop within
            another it is how often it turns for each turn of that one.
    """

    of_loops: Mapping[str, float]

    def of(self, origin: str) -> float | None:
        """The turns of a loop by the names of what it was made for; None where they are unknown."""
        for part in reversed(origin.split("/")):
            for name, often in self.of_loops.items():
                if name in part:  # perhaps within vmap()
                    return often
        return None
