"""Data moves one way: nothing imports what stands to its right, and each library has its place."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import environment

PACKAGE = Path(__file__).parent.parent / "evojax_merge"

ORDER = (
    "documents",
    "hosts",
    "params",
    "costs",
    "models",
    "operators",
    "strategies",
    "spaces",
    "checkpoints",
    "fitness",
    "gradient",
    "sources",
    "measuring",
    "recipes",
    "exchange",
    "search",
    "config",
    "savers",
    "report",
    "cards",
    "runs",
    "planning",
    "api",
    "sweeps",
    "commands",
    "cli",
    "__main__",
)
"""Left to right: a room imports what stands to its left, and nothing else."""

ONLY_IN = {
    "pydantic": {"documents/schema.py"},
    "orbax": {"search/checkpointer.py"},
    "omegaconf": {"config", "api", "commands/evolve.py", "sweeps/job.py"},
    "hydra": {"config", "commands/evolve.py"},
    "evosax": {"strategies"},
    "openai": {"fitness/judging/chat_client.py"},
    "optuna": {"strategies/optuna_cma.py"},
    "flax": {"models"},
    "torch": set(),
    "PIL": {"fitness", "report/pictures.py"},
    "matplotlib": {
        "report/curves.py",
        "report/plots.py",
        "report/paths.py",
        "report/pictures.py",
        "report/settings_plot.py",
    },
    "huggingface_hub": {"checkpoints"},
    "jinja2": {"exchange", "report/html"},
    "markupsafe": {"report/html"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "evojax_merge":
                found += (f"evojax_merge.{alias.name}" for alias in node.names)
            else:
                found.append(node.module)
        elif isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
    return tuple(found)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_imports_what_stands_to_its_right(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    allowed = {*ORDER[: ORDER.index(own) + 1], "__version__"}
    for name in imports(path):
        if name.startswith("evojax_merge."):
            assert name.split(".")[1] in allowed, f"imports {name}"


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
        ("evojax_merge.runs.run", ["transformers", "matplotlib"]),
    ],
)
def test_a_command_starts_without_what_others_need(module, unneeded):
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    assert not set(unneeded) & set(done.stdout.split())
