"""Whether searches of 7 B and 70 B fit on TPUs and GPUs that are not there: ``evojax-merge plan``.

make plan-proof            (about an hour on two cores; it needs no device or weights)
python experiments/benchmarks/plan_proof.py --only 'v5e:4x4'

Models have the shapes of Mistral 7B and Llama 2 70B in bfloat16, and are configurations alone. Each
case is a process of its own. Its plan is kept as JSON in ``runs/plan_proof``, and the table of all
of them goes into docs/results/plan.md. Of each is checked that every program compiles and fits,
that the merge has no collective, and that no program moves more than 1.1 times what it must. For
one that writes answers that is weights and cache once at each step, which leaves no room for a copy
of the cache.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PLANS = ROOT / "runs" / "plan_proof"
PAGE = ROOT / "docs" / "results" / "plan.md"

COMMON = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
    "vocab_size": 32_000,
}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "7b": {
        **COMMON,
        "model_type": "mistral",
        "architectures": ["MistralForCausalLM"],
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32_768,
        "sliding_window": 4096,
    },
    "70b": {
        **COMMON,
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 8192,
        "intermediate_size": 28_672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "max_position_embeddings": 4096,
    },
}
MOST = 1.1
"""How many times what it must a program may move."""


class Case(NamedTuple):
    """A search on a machine.

    Attributes:
        topology: The machine.
        shape: The model, a key of `MODELS`.
        operator: How it is merged.
        model: The devices that share a candidate.
        sources: The number of sources.
        items: The number of prompts, of 256 tokens.
        new: The tokens of the longest answer; with 0 the merge alone is planned.
        base: Whether there is a base, too.
    """

    topology: str
    shape: str
    operator: str
    model: int
    sources: int = 3
    items: int = 64
    new: int = 512
    base: bool = True

    @property
    def name(self) -> str:
        """What the case is called, and its file."""
        kept = "-".join([self.topology, self.shape, self.operator, f"model{self.model}"])
        return f"{kept}-{self.items}x{self.new}".replace(":", "-")


PAPER = {"items": 1069, "new": 1024}
CASES = (
    Case("v5p:2x2x1", "7b", "dare_ties", 1),
    Case("v5p:2x2x1", "7b", "ties", 1, new=0),
    Case("v5e:4x4", "7b", "dare_ties", 8),
    Case("v5e:4x4", "7b", "ties", 8, new=0),
    Case("v5p:2x2x4", "70b", "ties", 8, new=0),
    Case("v5p:2x2x4", "70b", "dare_ties", 8),
    Case("h100:8", "70b", "linear", 8, new=0, base=False),
    Case("h200:1", "7b", "dare_ties", 1, **PAPER),
    Case("h100:8", "7b", "dare_ties", 2, **PAPER),
    Case("v5e:16x16", "7b", "dare_ties", 8, **PAPER),
)


def planned(case: Case) -> Mapping[str, Any] | str:
    """Plan a case, or say why it cannot be planned."""
    folder = PLANS / "models" / case.shape
    places = [folder / name for name in ("base", *"abcdefgh"[: case.sources])]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(json.dumps(MODELS[case.shape]), encoding="utf-8")
    file = PLANS / f"{case.name}.json"
    command = [
        sys.executable,
        *("-m", "evojax_merge", "plan", "--topology", case.topology, "--json", str(file)),
        *("--items", str(case.items), "--prompt-tokens", "256"),
        *([f"model.base={places[0]}"] if case.base else []),
        f"model.sources=[{','.join(map(str, places[1:]))}]",
        *(f"operator={case.operator}", f"mesh.model={case.model}", "search.chunk=1"),
        f"fitness.max_new_tokens={case.new}" if case.new else "fitness=size",
        "savers.minibatch.enabled=false",
    ]
    file.unlink(missing_ok=True)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (PLANS / f"{case.name}.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        return lines[-1] if lines else f"the command ended with {done.returncode}"
    found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def problems(plan: Mapping[str, Any]) -> list[str]:
    """Say what is not as it should be."""
    found = []
    for search in plan["searches"]:
        for one in search["programs"]:
            moved, least = one["moved"], max(one["needed"], one["whole_cache"])
            if one["refused"] is not None:
                found.append(f"{one['name']}: refused, {one['refused']}")
                continue
            if one["left"] < 0:
                found.append(f"{one['name']}: {-one['left'] / 1e9:.1f} GB short")
            if not one["splits"] and one["collectives"]:
                kinds = ", ".join(f"{n} {kind}" for kind, n in one["collectives"].items())
                found.append(f"{one['name']}: {kinds}")
            if moved is not None and moved > MOST * least:
                found.append(f"{one['name']}: moves {moved / least:.2f} times what it must")
    return found


def line(case: Case, plan: Mapping[str, Any]) -> Iterable[list[str]]:
    """Make the lines of a case, one for each program."""
    for search in plan["searches"]:
        for one in search["programs"][: None if case.new else 1]:
            kinds = ", ".join(f"{n} {kind}" for kind, n in one["collectives"].items()) or "none"
            least = max(one["needed"], one["whole_cache"])
            ratio = "–" if one["moved"] is None else f"{one['moved'] / least:.2f}"
            slots = search["slots"].get("search") or "all"
            what = "merge" if not one["splits"] else f"{case.items} × {case.new}, {slots} at a time"
            yield [
                f"{case.shape.upper()} {case.operator}",
                f"{case.topology}, model {search['model']}",
                what,
                *(f"{one[key] / 1e9:.2f}" for key in ("arguments", "temporaries", "peak", "left")),
                ratio,
                kinds,
                f"{one['seconds']:.3g}",
                f"{one['compiling']:.0f}",
            ]


HEADS = (
    *("search", "machine", "program", "arguments", "temporaries", "peak", "left", "moved / least"),
    *("collectives", "least seconds", "compiled in, s"),
)


def table(plans: Sequence[tuple[Case, Mapping[str, Any]]]) -> str:
    """Make the table of all cases, in Markdown."""
    rows = [list(HEADS), ["---"] * len(HEADS)]
    rows += [row for case, plan in plans for row in line(case, plan)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def kept(case: Case) -> Mapping[str, Any] | None:
    """Return the plan of a case from an earlier run, if there is one."""
    file = PLANS / f"{case.name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def main() -> None:
    """Plan the cases, check them, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=None, help="parts of names of cases")
    only = parser.parse_args().only
    PLANS.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for case in CASES:
        if only is None or any(part in case.name for part in only):
            plan = planned(case)
            found = [plan] if isinstance(plan, str) else problems(plan)
            wrong += bool(found)
            print(case.name, "; ".join(found) or "as it should be", flush=True)
    plans = [(case, plan) for case in CASES if (plan := kept(case)) is not None]
    text = PAGE.read_text(encoding="utf-8")
    made = f"<!-- plans -->\n\n{table(plans)}\n\n<!-- end -->"
    PAGE.write_text(re.sub(r"<!-- plans -->.*?<!-- end -->", lambda _: made, text, flags=re.S))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
