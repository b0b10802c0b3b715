"""Run every benchmark and gather their rows in one file; rows of others are left there.

make bench        (about an hour on two cores; needs mergekit and transformers with torch)
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = (
    "operators",
    "init_statistics",
    "population",
    "apply",
    "candidates",
    "generation",
    "engine",
    "unet",
    "merging_unets",
    "seeing",
    "seeing_candidates",
    "seeing_memory",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("names", nargs="*", default=BENCHMARKS)
    options = parser.parse_args()
    kept = json.loads(options.out.read_text()) if options.out.is_file() else []
    scripts = tuple(f"{name}.py" for name in options.names)
    rows = [row for row in kept if not row["command"].split()[1].endswith(scripts)]
    for name in options.names:
        print(f"== {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "rows.json"
            command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(part)]
            subprocess.run(command, check=True)
            rows += json.loads(part.read_text())
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{len(rows)} rows in {options.out}")


if __name__ == "__main__":
    main()
