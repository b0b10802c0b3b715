"""What a compiled program takes: memory, bytes moved, operations, collectives, and time at least.

Nothing is run. What is counted of loops that data end is what `Turns` says.
"""

import dataclasses
import re
import time
from typing import Any

import jax

from evojax_merge.costs.hlo import collectives, moved, parse, total
from evojax_merge.costs.operations import operations
from evojax_merge.costs.turns import Turns

_NEEDED = re.compile(r"(?:HLO temporaries|memory required)[^(]*\((\d+(?:\.\d+)?)([KMGT])")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a program takes on each device.

    Attributes:
        name: What the program does.
        arguments: The bytes of its arguments.
        temporaries: The bytes that it takes beside arguments and results.
        results: The bytes of its results that are not in the memory of arguments.
        moved: The bytes that it moves between device memory and processor; None where they cannot
            be counted.
        needed: The bytes that it could not do without.
        operations: The arithmetic operations of the device.
        collectives: The number of collectives in the program by kind.
        compiling: The seconds that compiling took.
        refused: What the compiler said where it refused the program for want of memory.
    """

    name: str
    arguments: int
    temporaries: int = 0
    results: int = 0
    moved: float | None = None
    needed: float = 0.0
    operations: float = 0.0
    collectives: dict[str, int] = dataclasses.field(default_factory=dict)
    compiling: float = 0.0
    refused: str | None = None

    @property
    def peak(self) -> int:
        """The most bytes that the program has at a time."""
        return self.arguments + self.temporaries + self.results


def cost_of(
    name: str,
    program: Any,
    arguments: tuple[Any, ...],
    turns: Turns,
    *,
    needed: float = 0.0,
    parts: int = 1,
    in_use: float = 1.0,
) -> Cost:
    """Compile a program and count what it takes.

    Args:
        name: What the program does.
        program: The jitted program.
        arguments: The shapes of its arguments, with the places of those that are spread.
        turns: How often loops turn that data end.
        needed: The bytes that it could not do without.
        parts: How many devices share the operations of one.
        in_use: The share of a cache's slots that is in use, on the average.
    """
    traced = program.trace(*arguments)
    counted = operations(traced.jaxpr, turns) / parts
    lowered = traced.lower()
    began = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        said = str(error).partition("RESOURCE_EXHAUSTED: ")[2]
        return Cost(
            name,
            0,
            temporaries=_asked(said),
            needed=needed,
            operations=counted,
            compiling=time.perf_counter() - began,
            refused=" ".join(said.split())[:200],
        )
    seconds = time.perf_counter() - began
    memory = compiled.memory_analysis()
    module = parse(compiled.as_text())
    try:
        bytes_moved = float(total(moved(module, module.entry, in_use, turns)))
    except (ValueError, KeyError, IndexError):  # a text that is none of those known
        bytes_moved = None
    return Cost(
        name,
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        max(0, memory.output_size_in_bytes - memory.alias_size_in_bytes),
        bytes_moved,
        needed,
        counted,
        collectives(module),
        seconds,
    )


def _asked(said: str) -> int:
    """The bytes that a compiler says it would have needed, where it says so."""
    found = _NEEDED.search(said)
    return int(float(found[1]) * _UNITS[found[2]]) if found else 0
