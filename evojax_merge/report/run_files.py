"""The names of files and folders in a run's directory that several modules write and read.

A recipe's are in `evojax_merge.recipes.coefficients`, and what one module alone writes and reads is
named there.
"""

from pathlib import Path

CONFIG_FILE, OVERRIDES_FILE, LOG_FILE = "config.yaml", "overrides.yaml", "run.log"
RESULTS_FILE, HISTORY_FILE, PROVENANCE_FILE = "results.json", "history.jsonl", "provenance.json"
REPORT_FILE = "report.html"
CHECKPOINTS, EXPORT, PLOTS = "checkpoints", "export", "plots"

SWEEP_FILE = "sweep.yaml"
"""The file by which the folder of a sweep is known."""


def neither(directory: Path) -> str:
    """What is said of a directory that is given as that of a run or of a sweep, and is neither."""
    return (
        f"{directory}: holds neither a run ({CONFIG_FILE}) nor a sweep ({SWEEP_FILE}); give the "
        "directory of one"
    )
