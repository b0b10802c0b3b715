"""Bytes of device memory that a compiled program moves, counted in its scheduled HLO text.

Collectives between devices are counted there, too.

XLA counts for a TPU, for whole programs and with loops as one turn, and not for a GPU. Here each
instruction of a computation counts what it reads of its operands and what it writes:

- Of an operand that is only sliced or looked up in, the slices count.
- Of an array that is updated in place, the update counts.
- A loop counts as often as it turns; where the compiler does not know it, as `loops` says. Of
  branches the one counts that moves most.
- An array in another memory does not count: ``S(1)`` is a TPU's vector memory. A copy into it is
  one read, and products that read it there are none.

What a cache on the chip saves is not known here, nor what tiles add to an array by padding.
"""

import dataclasses
import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple

from evojax_merge.costs.turns import Turns

KERNEL = "attention_of_slots_in_use"
"""The name of the kernel of decoding, which reads the slots in use of its keys and values alone."""

_CACHE = (3, 4)
"""The places of keys and values among the operands of that kernel."""

_BYTES = {
    **dict.fromkeys(("pred", "s8", "u8", "f8e4m3fn", "f8e5m2"), 1),
    **dict.fromkeys(("bf16", "f16", "s16", "u16"), 2),
    **dict.fromkeys(("f32", "s32", "u32"), 4),
    **dict.fromkeys(("f64", "s64", "u64", "c64"), 8),
}
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](\{[^}]*\})?")
_ELSEWHERE = re.compile(r"S\([1-9]\d*\)")
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_LINE = re.compile(r"\s+(ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")

_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("copy-done", "slice-done", "dynamic-slice-done", "async-done", "partition-id"),
}
_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_SLICING = {"slice", "dynamic-slice", "gather"}
_SLICING_APART = {"slice-start", "dynamic-slice-start"}
_IN_PLACE = {"dynamic-update-slice", "scatter"}


class Instruction(NamedTuple):
    """An instruction.

    Attributes:
        name: The name.
        type: The type of what it gives, with layouts.
        op: The operation.
        operands: The names of its operands; of a parameter, its number.
        attributes: The text behind the operands.
    """

    name: str
    type: str
    op: str
    operands: tuple[str, ...]
    attributes: str

    def called(self, kind: str = "calls") -> str:
        """Return the name of a computation that it calls."""
        return self._attribute(rf"{kind}=%?([\w.\-]+)")

    @property
    def turns(self) -> int | None:
        """How often a loop turns, or None where the compiler does not know."""
        found = re.search(r"known_trip_count[^\d]*(\d+)", self.attributes)
        return int(found[1]) if found else None

    @property
    def origin(self) -> str:
        """The names of what it was made for, from the outermost to the innermost."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    def branches(self) -> list[str]:
        """Return the names of the computations between which a conditional chooses."""
        pattern = r"(?:branch_computations=\{|true_computation=)([^}\n]*)"
        return re.findall(r"%([\w.\-]+)", self._attribute(pattern))

    def _attribute(self, pattern: str) -> str:
        found = re.search(pattern, self.attributes)
        if not found:
            raise ValueError(f"{self.op} {self.name} has no attribute {pattern}")
        return found[1]


@dataclasses.dataclass(frozen=True)
class Computation:
    """A computation: its instructions by name, in their order, and the last one's name."""

    instructions: Mapping[str, Instruction]
    root: str

    @functools.cached_property
    def users(self) -> dict[str, list[tuple[Instruction, int]]]:
        """The instructions that take what one gives, and the place it has among their operands."""
        found = defaultdict(list)
        for one in self.instructions.values():
            for place, operand in enumerate(one.operands):
                found[operand].append((one, place))
        return found

    @functools.cached_property
    def parameters(self) -> dict[int, str]:
        """The names of the parameters by number."""
        every = self.instructions.values()
        return {int(one.operands[0]): one.name for one in every if one.op == "parameter"}

    def unchanged(self, parameter: str) -> bool:
        """Tell whether the computation gives this parameter, but for its shape."""
        one = self.instructions[self.root]
        while one.op == "bitcast":
            one = self.instructions[one.operands[0]]
        return one.name == parameter


@dataclasses.dataclass(frozen=True)
class Module:
    """A module: its computations by name, and the name of the one that it begins with."""

    computations: Mapping[str, Computation]
    entry: str


class Moved(NamedTuple):
    """What an instruction moves, in bytes, in all of its turns."""

    instruction: Instruction
    read: int
    written: int


def parse(text: str) -> Module:
    """Read the text of a module, as ``compiled.as_text()`` gives it.

    Raises:
        ValueError: The text has no computation to begin with.
    """
    computations: dict[str, Computation] = {}
    entry, name, root = "", "", ""
    own: dict[str, Instruction] = {}
    for line in text.splitlines():
        if head := _HEAD.match(line):
            name, own = head[2], {}
            entry = name if head[1] else entry
        elif line.startswith("}"):
            computations[name] = Computation(own, root)
        elif found := _LINE.match(re.sub(r"/\*index=\d+\*/", "", line)):
            is_root, key, kind, op, rest = found.groups()
            operands, attributes = _divided(rest)
            names = (operands,) if op == "parameter" else re.findall(r"%([\w.\-]+)", operands)
            own[key] = Instruction(key, kind, op, tuple(names), attributes)
            root = key if is_root else root
    if not entry:
        raise ValueError("this is not the text of an HLO module: it has no ENTRY")
    return Module(computations, entry)


def size(kind: str) -> int:
    """Count the bytes of device memory that a type has."""
    return sum(_sizes(kind))


def shape_of(kind: str) -> tuple[int, ...]:
    """Return the shape of a type, of a tuple that of its first array."""
    found = _ARRAY.search(kind)
    return tuple(int(side) for side in found[2].split(",") if side) if found else ()


def decode_body(module: Module) -> str:
    """Return the body of the innermost loop of which it is not known how often it turns.

    Decoding turns until the last answer has ended. Where prompts move up into the places of answers
    that have ended, there is such a loop around it.

    Raises:
        ValueError: There is no such loop.
    """
    found = [body for body, turns in _loops(module, module.entry) if turns is None]
    if not found:
        raise ValueError("every loop of the program turns a known number of times")
    return found[-1]


def around(module: Module, body: str) -> str:
    """Return the name of the computation in which the loop with this body stands.

    Raises:
        ValueError: There is no such loop.
    """
    for name, computation in module.computations.items():
        every = computation.instructions.values()
        if any(one.op == "while" and one.called("body") == body for one in every):
            return name
    raise ValueError(f"no loop has the body {body}")


def moved(
    module: Module,
    computation: str,
    in_use: float = 1.0,
    turns: Turns | None = None,
    without: str = "",
) -> list[Moved]:
    """Count what each instruction of a computation, and of those that it runs, moves.

    Args:
        module: The module.
        computation: The name of the computation.
        in_use: The share of the slots that `KERNEL` reads, in the programs that have it.
        turns: How often loops turn of which the compiler does not know it.
        without: The body of a loop that is left out.

    Raises:
        ValueError: It is not known how often a loop turns.
    """
    own = module.computations[computation]
    found = []
    for one in own.instructions.values():
        if one.op in _FREE:
            continue
        if one.op == "while":
            if one.called("body") == without:
                continue
            often = turns_of(one, turns)
            for part in moved(module, one.called("body"), in_use, turns, without):
                found.append(Moved(part[0], *(round(often * count) for count in part[1:])))
        elif one.op in ("call", "async-start"):
            found += moved(module, one.called("(?:calls|to_apply)"), in_use, turns, without)
        elif one.op == "conditional":
            ways = [moved(module, name, in_use, turns, without) for name in one.branches()]
            found += max(zip(map(total, ways), ways, strict=True), key=itemgetter(0))[1]
        else:
            reads = [_read_by(module, own, one, place) for place in range(len(one.operands))]
            if KERNEL in one.attributes:
                for place in _CACHE:
                    reads[place] = round(reads[place] * in_use)
            found.append(Moved(one, sum(reads), _written(module, own, one)))
    return found


def collectives(module: Module) -> dict[str, int]:
    """Count the collective instructions of a program by kind, those that are begun apart, too.

    Args:
        module: The module. An instruction in a loop counts once.
    """
    kinds = Counter(
        one.op.removesuffix("-start")
        for computation in module.computations.values()
        for one in computation.instructions.values()
    )
    return {kind: kinds[kind] for kind in _COLLECTIVES if kinds[kind]}


def total(parts: list[Moved]) -> int:
    """Add up what instructions move, in bytes."""
    return sum(part.read + part.written for part in parts)


def _divided(rest: str) -> tuple[str, str]:
    """Divide what follows the bracket that opens operands: the operands, and the attributes."""
    depth = 1
    for at, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return rest[:at], rest[at + 1 :]
    return rest, ""


def _sizes(kind: str, anywhere: bool = False) -> list[int]:
    """Count the bytes of each array of a type; those in another memory have none, unless asked."""
    found = []
    for dtype, shape, layout in _ARRAY.findall(kind):
        if dtype in _BYTES:
            elements = math.prod(int(side) for side in shape.split(",") if side)
            elsewhere = _ELSEWHERE.search(layout) and not anywhere
            found.append(0 if elsewhere else _BYTES[dtype] * elements)
    return found


def turns_of(loop: Instruction, turns: Turns | None = None) -> float:
    """Return how often a loop turns.

    Args:
        loop: The loop.
        turns: How often loops turn of which the compiler does not know it.

    Raises:
        ValueError: It is not known.
    """
    often = loop.turns
    if often is not None:
        return often
    found = None if turns is None else turns.of(loop.origin)
    if found is None:
        raise ValueError(f"it is not known how often the loop {loop.name} turns")
    return found


def _loops(module: Module, computation: str) -> Iterator[tuple[str, int | None]]:
    """Walk the loops of a computation: the body of each, how often it turns, and those inside."""
    for one in module.computations[computation].instructions.values():
        if one.op == "while":
            yield one.called("body"), one.turns
            yield from _loops(module, one.called("body"))
        elif one.op == "call":
            yield from _loops(module, one.called("to_apply"))


def _read_by(module: Module, own: Computation, one: Instruction, place: int) -> int:
    """Count what an instruction reads of one of its operands."""
    operand = one.operands[place]
    if operand not in own.instructions:
        return 0
    whole = size(own.instructions[operand].type)
    if place == 0 and one.op in _SLICING:
        return min(whole, size(one.type))
    if place == 0 and one.op in _SLICING_APART:
        return min(whole, _sizes(one.type, anywhere=True)[1])
    if (place == 0 and one.op in _IN_PLACE) or one.op == "tuple":
        return 0
    if one.op == "bitcast":
        return _read(module, own, one.name)
    if one.op == "fusion":
        inner = module.computations[one.called()]
        parameter = inner.parameters[place]
        passed_on = _read(module, own, one.name) if inner.unchanged(parameter) else 0
        return min(whole, _read(module, inner, parameter) + passed_on)
    return whole


def _read(module: Module, own: Computation, name: str) -> int:
    """Count what all that take a value inside of a fusion read of it, at most all of it once."""
    every = sum(_read_by(module, own, user, place) for user, place in own.users[name])
    return min(every, size(own.instructions[name].type))


def _written(module: Module, own: Computation, one: Instruction) -> int:
    """Count what an instruction writes."""
    arrays = _sizes(one.type)
    if one.op == "copy-start":  # which gives the source, too, where it stands
        return arrays[0]
    if one.op in _SLICING_APART:  # which gives the source first
        return arrays[1]
    if one.op == "custom-call" and "gemm" in one.attributes.partition(",")[2][:80]:
        return arrays[0]  # the others are room to work in
    updates = _updates(module, own, one)
    pairs = zip(arrays, updates, strict=True) if len(arrays) == len(updates) else ()
    return sum(int(min(array, update)) for array, update in pairs) if pairs else sum(arrays)


def _updates(module: Module, own: Computation, one: Instruction) -> list[float]:
    """Count the bytes of each update, of what is updated in place; all else has no bound."""
    if one.op == "tuple":
        return [_updates(module, own, own.instructions[name])[0] for name in one.operands]
    if one.op == "bitcast" and one.operands[0] in own.instructions:
        return _updates(module, own, own.instructions[one.operands[0]])
    if one.op in _IN_PLACE:
        place = 1 if one.op == "dynamic-update-slice" else 2
        return [size(own.instructions[one.operands[place]].type)]
    if one.op == "fusion":
        inner = module.computations[one.called()]
        return _updates(module, inner, inner.instructions[inner.root])
    return [math.inf] * len(_sizes(one.type))
