"""Rooms, floors and arrows of the package, from its imports: ``python docs/house.py``.

A room is a folder at the package's root, with the folders in it, or a module there. An arrow leads
from a room to one that it imports. A room stands one floor above the highest room that it imports;
rooms in a circle share a floor, and the arrows within a circle are those that run back up.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "evojax_merge"
FACE = ("__init__", "__main__", "cli")
"""Modules at the root that only hand over; together they are one room."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a module imports, without those it imports for types alone."""

    def visit(nodes: list[ast.stmt]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            else:
                for _, value in ast.iter_fields(node):
                    if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                        yield from visit(value)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")).body)


def room_of(path: Path) -> str:
    """The room that a module stands in."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "(face)" if parts[0] in FACE else parts[0]


def arrows() -> dict[str, set[str]]:
    """The rooms that each room imports."""
    known = modules()
    found: dict[str, set[str]] = {room_of(path): set() for path in known.values()}
    for path in known.values():
        for name in imported(path):
            while name and name not in known:
                name = name.rpartition(".")[0]
            if name and (other := room_of(known[name])) != room_of(path):
                found[room_of(path)].add(other)
    found["(face)"].discard("(face)")
    for targets in found.values():
        targets.discard("(face)")  # a version number, and nothing else, is asked of the face
    return found


def floors(edges: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each room, 0 for those that import no other."""
    circle = {room: _reached(room, edges) for room in edges}
    found: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in found:
            own = {other for other in circle[room] if room in circle[other]} | {room}
            below = {target for one in own for target in edges[one]} - own
            height = 1 + max((floor(target) for target in below), default=-1)
            found.update(dict.fromkeys(own, height))
        return found[room]

    for room in edges:
        floor(room)
    return found


def back_up(edges: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that are part of a circle."""
    return [
        (a, b) for a, targets in edges.items() for b in sorted(targets) if a in _reached(b, edges)
    ]


def _reached(room: str, edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [room]
    while waiting:
        for target in edges[waiting.pop()]:
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def main() -> None:
    """Print the house, the highest floor first."""
    edges = arrows()
    heights = floors(edges)
    for height in sorted(set(heights.values()), reverse=True):
        rooms = sorted(room for room in edges if heights[room] == height)
        print(f"{height:3}  {'  '.join(rooms)}")
    circles = back_up(edges)
    for a, b in circles:
        print(f"in a circle: {a} -> {b}")
    print(
        f"{len(edges)} rooms, {len(set(heights.values()))} floors, "
        f"{sum(map(len, edges.values()))} arrows, {len(circles)} of them in circles"
    )
    sys.exit(bool(circles) and "--strict" in sys.argv)


if __name__ == "__main__":
    main()
