"""The files that a Python file imports from beside it, found without running anything."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path


def imported_beside(file: Path, root: Path) -> dict[Path, str]:
    """The SHA-256 of each file below a directory that a file imports, itself or through another.

    Imports within functions count, too. What else a file reads is not found.

    Args:
        file: The Python file.
        root: The directory in which its imports are looked for.
    """
    found: dict[Path, str] = {}
    waiting = [file]
    while waiting:
        content = _content(reading := waiting.pop())
        if content is None:
            continue
        if reading != file:
            found[reading] = hashlib.sha256(content).hexdigest()
        for one in _imports(content, reading, root):
            if one != file and one not in found and one not in waiting:
                waiting.append(one)
    return dict(sorted(found.items()))


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _imports(content: bytes, file: Path, root: Path) -> Iterator[Path]:
    """The files that a text imports; a text that is not Python imports none."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            top = file.parents[node.level - 1] if node.level else root
            parts = node.module.split(".") if node.module else []
            yield from _modules(top, parts)
            for alias in node.names:  # a name in a package may be a module
                yield from _modules(top, [*parts, alias.name])


def _modules(top: Path, parts: list[str]) -> Iterator[Path]:
    """The files that importing a dotted name runs: every package on its way, and itself."""
    for count in range(1, len(parts) + 1):
        place = top.joinpath(*parts[:count])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file.resolve()
                break
