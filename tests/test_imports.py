"""Data moves one way: nothing imports what stands to its right, and each library has its place."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import environment

PACKAGE = Path(__file__).parent.parent / "evojax_merge"

ORDER = (
    {
        "__version__",
        "bundled",
        "types",
        "tree",
        "population",
        "low_rank",
        "files",
        "finite",
        "arguments",
        "documents",
        "terminal",
    },
    {"models"},
    {"checkpoints", "layout"},
    {"segments", "pool"},
    {"recipe", "operators"},
    {"spaces", "ingredients", "exchange"},
    {"strategies", "merging", "path_recipe", "weights_recipe"},
    {"fitness"},
    {"inference"},
    {"evidence", "gradient"},
    {"experiment"},
    {"evolution", "report"},
    {"config"},
    {"api"},
    {"commands"},
    {"cli", "__main__"},
)
"""Left to right; what stands in one place may import each other."""

ONLY_IN = {
    "pydantic": {"documents/schema.py"},
    "orbax": {"evolution/checkpointing.py"},
    "omegaconf": {"config", "api.py", "commands/evolve.py", "report/sweep.py"},
    "hydra": {"config", "commands/evolve.py", "report/sweep.py"},
    "evosax": {"strategies"},
    "optuna": {"strategies/optuna_cma.py"},
    "flax": {"models"},
    "torch": set(),
    "matplotlib": {"report/curves.py", "report/front.py", "report/plots.py", "report/paths.py"},
    "huggingface_hub": {"checkpoints"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "evojax_merge":
                yield from (f"evojax_merge.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def place(part: str) -> int | None:
    return next((index for index, parts in enumerate(ORDER) if part in parts), None)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_imports_what_stands_to_its_right(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    here = place(own)
    assert here is not None, f"{own} has no place in ORDER"
    for name in imports(path):
        if name.startswith("evojax_merge."):
            other = name.split(".")[1]
            assert place(other) <= here, f"imports {name}"


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_in_its_place_only(library):
    for path in modules():
        relative = str(path.relative_to(PACKAGE))
        if any(name.split(".")[0] == library for name in imports(path)):
            assert any(
                relative == where or relative.startswith(where + "/") for where in ONLY_IN[library]
            ), f"{relative} imports {library}"


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("evojax_merge.cli", ["numpy", "jax", "hydra", "pydantic"]),
        (
            "evojax_merge.commands.apply",
            ["transformers", "huggingface_hub", "flax", "optax", "orbax", "evosax", "hydra"],
        ),
        ("evojax_merge.api", ["transformers", "huggingface_hub", "orbax", "matplotlib"]),
    ],
)
def test_a_command_starts_without_what_others_need(module, unneeded):
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    assert not set(unneeded) & set(done.stdout.split())
