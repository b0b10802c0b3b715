"""Runs that are killed again and again end as if nothing had happened, to the bit.

``make kills`` kills 200 times, or ``KILLS`` times; the slow suite a few times.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import environment

KILLS = int(os.environ.get("KILLS", "200"))
EACH = 4
"""Kills of one run."""

SEARCH = [
    "evolve",
    "+experiment=digits_halves",
    "search.evaluations=64",
    "strategy.population_size=8",
    "baselines.published=false",
    "baselines.random_search=true",
    "search.curve=3",
    "seed=7",
]

LONGEST = 120.0
"""Seconds after which a process that should have ended has hung."""


class Zygote:
    """Starts commands without the seconds that their imports take."""

    def __init__(self, cache: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(
                OMP_NUM_THREADS="1",  # a process that has threads must not be forked
                OPENBLAS_NUM_THREADS="1",
                JAX_COMPILATION_CACHE_DIR=str(cache / "compiled"),
                JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
                XDG_CACHE_HOME=str(cache),
                PYTHONPATH=os.pathsep.join(path for path in sys.path if path),
            ),
        )

    def run(self, arguments: list[str], log: Path) -> int:
        """The id of a process that carries out a command."""
        return self._ask(f"run {json.dumps([arguments, str(log)])}")

    def wait(self, process: int) -> int:
        """How a process ended."""
        return self._ask(f"wait {process}")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, question: str) -> int:
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def zygote(tmp_path_factory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("cache"))
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def whole(zygote, tmp_path_factory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    log = folder.parent / "log"
    assert zygote.wait(zygote.run(start(folder), log)) == 0, log.read_text()
    return folder


@pytest.fixture(scope="module")
def moments() -> Iterator[Counter[str]]:
    """How often a kill met what; shown in the end."""
    met: Counter[str] = Counter()
    yield met
    shown = ", ".join(f"{count} {moment}" for moment, count in met.most_common())
    print(f"\n{met.total()} kills: {shown}")


def start(folder: Path) -> list[str]:
    """The command that begins a run, or goes on with it."""
    if (folder / "config.yaml").exists():
        return ["resume", str(folder)]
    return [*SEARCH, f"hydra.run.dir={folder}"]


def appears(pattern: str) -> Callable[[Path], Any]:
    return lambda folder: next(folder.glob(pattern), None)


def grows(folder: Path) -> Any:
    """Whatever has been appended to the history."""
    path = folder / "history.jsonl"
    return path.stat().st_size if path.exists() else None


MOMENTS: dict[str, Callable[[Path], Any]] = {
    "at any time": lambda folder: None,
    "in a save": appears("checkpoints/*/*.orbax-checkpoint-tmp*"),
    "sealing a save": appears("checkpoints/*/*.orbax-checkpoint-tmp*/spent.json"),
    "after a save": lambda folder: sorted(folder.glob("checkpoints/*/[0-9]*[0-9]")) or None,
    "in the history": grows,
    "in a recipe": appears("recipe.yaml"),
    "in the results": appears("results.json"),
    "in an export": appears(".export-*"),
    "in an export's weights": appears(".export-*/model.safetensors"),
    "between two exports": appears(".export-old-*"),
    "with the lock": appears(".lock"),
}


def kill(process: int, folder: Path, moment: str, rng: random.Random, within: float) -> bool:
    """Kill a process once something changes; whether it was still there."""
    before = MOMENTS[moment](folder)
    until = time.monotonic() + (rng.uniform(0, within) if moment == "at any time" else LONGEST)
    skipped = rng.randrange(6) if moment in ("in a save", "after a save", "in the history") else 0
    while time.monotonic() < until and Path(f"/proc/{process}/stat").exists():
        if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        if (now := MOMENTS[moment](folder)) != before:
            before, skipped = now, skipped - 1
            if now is not None and skipped < 0:
                time.sleep(rng.choice([0, 0, rng.uniform(0, 0.02)]))
                break
        time.sleep(0.0002)
    os.kill(process, signal.SIGKILL)
    return True


def assert_good(folder: Path, whole: Path) -> None:
    """What a kill must never leave: an export that is there in part."""
    if (folder / "export").exists():
        for name in ("model.safetensors", "config.json"):
            ours, theirs = folder / "export" / name, whole / "export" / name
            assert ours.read_bytes() == theirs.read_bytes(), name


def rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    found = json.loads(text) if path.suffix == ".json" else map(json.loads, text.splitlines())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in found]


def assert_same(folder: Path, whole: Path) -> None:
    assert_good(folder, whole)
    assert (folder / "recipe.yaml").read_bytes() == (whole / "recipe.yaml").read_bytes()
    for name in ("history.jsonl", "results.json", "curve.json"):
        assert rows(folder / name) == rows(whole / name), name
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    kept = {name for name in names if not name.startswith("checkpoints/")}
    expected = {str(path.relative_to(whole)) for path in whole.rglob("*")}
    assert kept == {name for name in expected if not name.startswith("checkpoints/")}
    assert not [name for name in names if "orbax-checkpoint-tmp" in name]


def wait(zygote: Zygote, process: int, log: Path) -> int:
    """How a process ended: well, killed, or because another one writes the directory."""
    code = zygote.wait(process)
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "warning:" not in said, said
    assert code in (0, -signal.SIGKILL) or "is being written by process" in said, said
    return code


def attack(
    zygote: Zygote, folder: Path, whole: Path, rng: random.Random, kills: int
) -> Counter[str]:
    """Kill a run so many times, and then let it go on to its end."""
    log, log_of_second = (folder.parent / name for name in ("log", "log of the second"))
    met = Counter[str]()
    while met.total() < kills:
        log.write_text("")
        moment = rng.choice(list(MOMENTS))
        began = time.monotonic()
        first = zygote.run(start(folder), log)
        second = None
        if rng.random() < 0.25:
            time.sleep(rng.uniform(0, 2))
            log_of_second.write_text("")
            second = zygote.run(start(folder), log_of_second)
        if kill(first, folder, moment, rng, within=8.0):
            met[moment if second is None else f"{moment} beside a second process"] += 1
        wait(zygote, first, log)
        if second is not None:
            if rng.random() < 0.5 and kill(second, folder, "at any time", rng, within=4.0):
                met["of the second process"] += 1
            wait(zygote, second, log_of_second)
        assert time.monotonic() - began < LONGEST
        assert_good(folder, whole)
    assert wait(zygote, zygote.run(start(folder), log), log) == 0
    assert_same(folder, whole)
    return met


@pytest.mark.slow
def test_a_few_kills_change_nothing(zygote, whole, tmp_path):
    attack(zygote, tmp_path / "run", whole, random.Random(0), kills=EACH)


@pytest.mark.kills
@pytest.mark.parametrize("seed", range(-(-KILLS // EACH)))
def test_kills_change_nothing(zygote, whole, tmp_path, moments, seed):
    folder = tmp_path / "run"
    moments.update(attack(zygote, folder, whole, random.Random(seed), kills=EACH))
    shutil.rmtree(tmp_path)
