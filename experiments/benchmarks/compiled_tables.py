"""Write the tables of `compiled` into docs/results/compiled.md, from results.json.

python experiments/benchmarks/compiled_tables.py

A table stands in the page between ``<!-- NAME -->`` and ``<!-- end -->``. All else stays as it is.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent.parent / "docs" / "results" / "compiled.md"

DEVICES = {"h100": "H100", "v5p": "v5p"}
MEMORY = ("arguments", "beside them", "compiling")
PREFILL = (
    *("moved by prefill", "share of the peak, kernels together"),
    "share of the peak, kernels in turn",
)
HEADS = {
    "decode": ("answers of", "device", "slots in use", "moved, GB", "least, GB", "share, %"),
    "prefill": (
        *("answers of", "device", "products, TFLOP", "needed, TFLOP", "moved, GB"),
        *("kernels together, %", "in turn, %"),
    ),
    "merge": ("operator", "device", "moved, GB", "each array once, GB", "times"),
    "memory": ("program", "device", "arguments, GB", "beside them, GB", "compiling, s"),
}
"""The heads of each table."""

Row = Mapping[str, Any]


def programs(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """Gather rows by device and program, and then by quantity."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row["command"].split()[1].endswith("compiled.py"):
            device, program, quantity = row["name"].split(": ")
            found.setdefault((program, DEVICES[device]), {})[quantity] = row
    return found


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """Make each table, in Markdown."""
    lines: dict[str, list[Iterable[str]]] = {
        name: [heads, ["---"] * len(heads)] for name, heads in HEADS.items()
    }
    for (program, device), quantities in programs(rows).items():
        kind, _, what = program.partition(" ")
        for name, row in quantities.items():
            figures = [f"{row[key]:#.4g}" for key in ("value", "peer_value")]
            if kind == "decode" and (slots := re.search(r"(\d+) slots in use", name)):
                lines[kind].append([what, device, slots[1], *figures, f"{100 * row['ratio']:.1f}"])
            if kind == "merge" and name == "moved":
                lines[kind].append([what, device, *figures, f"{1 / row['ratio']:.2f}"])
        if kind == "decode":
            products = quantities["products of prefill"]
            rest = (quantities[name]["value"] for name in PREFILL)
            figures = [products["value"], products["peer_value"], *rest]
            lines["prefill"].append([what, device, *(f"{figure:#.4g}" for figure in figures)])
        memory = (f"{quantities[name]['value']:.3g}" for name in MEMORY)
        lines["memory"].append([program, device, *memory])
    return {
        name: "\n".join(f"| {' | '.join(line)} |" for line in table)
        for name, table in lines.items()
    }


def filled(page: str, own: Mapping[str, str]) -> str:
    """Put tables into the text of a page."""
    for name, table in own.items():
        begin, end = f"<!-- {name} -->", "<!-- end -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return page


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(page, tables(json.loads(RESULTS.read_text()))), encoding="utf-8")
    print(f"tables in {PAGE}")


if __name__ == "__main__":
    main()
