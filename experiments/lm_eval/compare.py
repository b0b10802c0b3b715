"""Compare every item with lm-evaluation-harness itself, by its own command, and print a table.

python experiments/lm_eval/compare.py MODEL...
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TASKS = Path("experiments/lm_eval/tasks")
NAMES = sorted(path.stem for path in TASKS.glob("*.yaml"))
HEAD = (
    "| model | task | items | metric | lm-eval | evojax-merge "
    "| items that differ by more than 1e-3 | largest difference |"
)


def main() -> None:
    """Compare the models that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--limit", type=int, default=None)
    options = parser.parse_args()
    print(HEAD, "|---" * 8 + "|", sep="\n", flush=True)
    for model in options.models:
        with tempfile.TemporaryDirectory() as directory:
            for row in compared(model, Path(directory), options.limit):
                print("| " + " | ".join(row) + " |", flush=True)


def compared(model: Path, directory: Path, limit: int | None) -> list[list[str]]:
    """The rows of a model: of every task each metric after each filter."""
    _run_harness(model, directory / "theirs", limit)
    _run_ours(model, directory / "ours", limit)
    results = json.loads(next((directory / "theirs").rglob("results_*.json")).read_text())
    records: dict[str, dict[int, Any]] = {}
    for line in (directory / "ours" / "items.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        records.setdefault(record["task"], {})[record["document"]] = record
    rows = []
    for name in NAMES:
        (path,) = (directory / "theirs").rglob(f"samples_{name}_2*.jsonl")
        samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for key, score in results["results"][name].items():
            metric, _, chosen = key.partition(",")
            if not chosen or metric.endswith("_stderr"):
                continue
            pairs = [
                (_first(records[name][one["doc_id"]]["metrics"][key]), _first(one[metric]))
                for one in samples
                if one["filter"] == chosen
            ]
            ours, theirs = np.array(pairs, float).T
            away = np.abs(ours - theirs)
            items = [records[name][one]["metrics"][key] for one in sorted(records[name])]
            rows.append(
                [
                    model.name,
                    name,
                    str(len(pairs)),
                    key,
                    f"{score:.6g}",
                    f"{_aggregate(metric, items):.6g}",
                    str(int((away > 1e-3).sum())),
                    f"{away.max():.1g}",
                ]
            )
    return rows


def _aggregate(metric: str, items: list[Any]) -> float:
    """What the harness makes of the items."""
    if metric == "perplexity":
        return float(np.exp(-np.mean(items)))
    if isinstance(items[0], list):
        total = sum(one[0] for one in items) / sum(one[1] for one in items)
        return -total / np.log(2) if metric == "bits_per_byte" else float(np.exp(-total))
    return float(np.mean(items))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _run_harness(model: Path, out: Path, limit: int | None) -> None:
    command = ["-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--log_samples"]
    command += ["--model_args", f"pretrained={model},dtype=float32"]
    command += ["--tasks", ",".join(NAMES), "--include_path", str(TASKS), "--output_path", str(out)]
    _run([*command, *([] if limit is None else ["--limit", str(limit)])])


def _run_ours(model: Path, out: Path, limit: int | None) -> None:
    command = [
        "-m",
        "evojax_merge",
        "evaluate",
        str(model),
        "--dtype",
        "float32",
        "--out",
        str(out),
    ]
    command += ["fitness=lm_eval", f"fitness.tasks=[{','.join(NAMES)}]"]
    command += [f"fitness.include_path={TASKS}"]
    _run([*command, *([] if limit is None else [f"fitness.limit={limit}"])])


def _run(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])


if __name__ == "__main__":
    main()
