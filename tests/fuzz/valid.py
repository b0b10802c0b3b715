"""What is damaged: one valid input of each kind."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evojax_merge.checkpoints import load, load_config
from evojax_merge.config import compose
from tests.adapters_factory import adapter_tensors, write_adapter
from tests.checkpoints_factory import (
    mlp_config,
    tiny_config,
    write_checkpoint,
    write_family,
)

GROUPS = ["attention", "mlp", "norm", "embedding", "head"]


SEVERAL = [
    "fitness=several",
    "+fitness@fitness.tasks.low=digits",
    "+fitness@fitness.tasks.high=digits",
]
NEEDING = ("strategy=map_elites", "strategy=nsga2", "strategy=cycle_qd")
"""Options that need several tasks."""

PATHS = ("space=dataflow", "space=hybrid", "space=joint")
"""Options that need decoders."""


class Valid:
    """Valid inputs, made once.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self.family = write_family(folder / "family")
        self.sharded = write_checkpoint(folder / "sharded", tiny_config(), shards=3)
        self.plain = write_checkpoint(folder / "plain", tiny_config())
        tensors = adapter_tensors(tiny_config())
        self.adapter = write_adapter(folder / "adapter", tensors)
        self.base = load_config(self.plain)
        self.model = load(self.family["base"])
        self.configs = {
            "llama": tiny_config(
                rope_theta=1e4, rope_scaling={"rope_type": "linear", "factor": 2.0}
            ),
            "llama3": tiny_config(
                rope_scaling={
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32,
                }
            ),
            "mistral": tiny_config("mistral", sliding_window=16),
            "qwen2": tiny_config(
                "qwen2",
                use_sliding_window=True,
                sliding_window=8,
                layer_types=["full_attention"] + ["sliding_attention"] * 2,
                rope_parameters={"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4},
            ),
            "qwen3": tiny_config("qwen3", attention_bias=False, max_window_layers=1),
            "mlp": mlp_config(6, 5, 4),
        }
        for name, config in self.configs.items():
            write_checkpoint(folder / "configs" / name, config)
        self.folder = folder
        mlps = [write_checkpoint(folder / f"mlp{n}", mlp_config(6, 5, 4), seed=n) for n in range(3)]
        self.recipe = {
            "evojax_merge": 1,
            "operator": "evojax_merge.operators.ties",
            "arguments": {"lam": 1.0},
            "base": {"path": str(mlps[0])},
            "sources": [{"path": str(one)} for one in mlps[1:]],
            "seed": 0,
            "dtype": None,
            "vocabulary": {"a": {"method": "assumed", "rows": 1, "taken": 1}},
            "segments": [
                {
                    "name": "all",
                    "groups": ["mlp"],
                    "layers": [0, 0],
                    "weight": [0.5, 0.5],
                    "density": [0.5, 0.5],
                }
            ],
            "notes": {"by": "fuzz"},
        }
        self.path_recipe = {
            "evojax_merge": 1,
            "kind": "dataflow",
            "pool": [{"name": n, "path": str(self.family[n])} for n in ("a", "b")],
            "skeleton": "a",
            "scaling": "stream",
            "path": [["a", 0, 1.0], ["b", 1, 0.5]],
        }
        self.run = OmegaConf.to_container(compose(["+experiment=digits_halves"]), resolve=True)
        self.keys = _keys()


def _keys() -> list[tuple[str, list[str]]]:
    """Every key that can be overridden, with the overrides that bring it."""
    found = []
    chosen = ["", "strategy=auto", "strategy=map_elites", "strategy=m2n2", "strategy=surrogate"]
    chosen += ["strategy=memetic", "strategy=gradient", "strategy=open_es", "strategy=nsga2"]
    chosen += ["strategy=cycle_qd", "strategy=grid", "strategy=coordinate", "strategy=optuna_cma"]
    chosen += ["space=parameter", "space=dataflow", "space=hybrid", "space=joint", "space=weights"]
    chosen += ["operator=dare_ties", "operator=karcher", "operator=consensus_ta", "operator=slerp"]
    for choice in chosen:
        overrides = [choice] if choice else []
        overrides = [*overrides, *(SEVERAL if choice in NEEDING else [])]
        config = compose([*base_of(choice), *overrides])
        parts = [choice.split("=")[0]] if choice else list(map(str, config))
        for part in parts:
            if part not in ("hydra", "working_directory"):
                found += [(key, overrides) for key in _leaves(config[part], part)]
    return found


def base_of(choice: str) -> list[str]:
    """What an option stands in; that of spaces of paths is made complete by the group."""
    return ["operator=ties"] if choice in PATHS else ["+experiment=digits_halves"]


def _leaves(config: Any, where: str) -> list[str]:
    if not isinstance(config, DictConfig) or not len(config):
        return [where]
    keys = [key for key in config if not OmegaConf.is_missing(config, key)]
    return [where, *(leaf for key in keys for leaf in _leaves(config[key], f"{where}.{key}"))]
