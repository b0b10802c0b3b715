"""A wheel built from the checkout works anywhere, with its configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


def run(*command: str, cwd: Path, path: str = "") -> str:
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_installed_wheel_evolves_from_any_directory(tmp_path):
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(CHECKOUT), cwd=tmp_path)
    (wheel,) = tmp_path.glob("evojax_merge-*.whl")
    site = tmp_path / "site"
    run(*pip, "install", "--no-deps", "--target", str(site), str(wheel), cwd=tmp_path)
    assert (site / "evojax_merge" / "conf" / "strategy" / "cma_es.yaml").exists()
    assert (site / "evojax_merge" / "report" / "html" / "templates" / "report.css").exists()
    elsewhere = tmp_path / "elsewhere"
    mine = elsewhere / "mine" / "strategy"
    mine.mkdir(parents=True)
    (mine / "small.yaml").write_text("defaults: [cma_es, _self_]\npopulation_size: 4\n")
    sources = CHECKOUT / "experiments" / "digits" / "sources"
    out = run(
        str(site / "bin" / "evojax-merge"),
        "evolve",
        *("--config-dir", "mine", "strategy=small"),
        *("fitness=digits", "operator=task_arithmetic", "search.evaluations=8"),
        *(
            f"model.base={sources / 'base'}",
            f"model.sources=[{sources / 'low'},{sources / 'high'}]",
        ),
        cwd=elsewhere,
        path=str(site),
    )
    assert "population 4" in out
    assert (elsewhere / "runs" / "evolve" / "latest" / "recipe.yaml").exists()
    assert (elsewhere / "runs" / "evolve" / "latest" / "report.html").exists()
