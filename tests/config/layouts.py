"""Layouts that spaces are made for."""

from typing import Any

from evojax_merge.models import Layout, family_of
from tests.checkpoints_factory import tiny_config

DIGITS = {"model_type": "mlp", "hidden_sizes": [64, 16, 10]}


def layout(config: dict[str, Any] | None = None) -> Layout:
    config = config or tiny_config()
    family = family_of(config)
    return family.layout(family.config_from_hf(config))
