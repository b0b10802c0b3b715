"""Strategies made of what tests give by name."""

import dataclasses
from collections.abc import Callable
from typing import Any

from evojax_merge.strategies import Setting

FIELDS = {field.name for field in dataclasses.fields(Setting)}


def make(factory: Callable[..., Any], **given: Any) -> Any:
    """The factory called with a setting of what belongs to it, and with the rest by name."""
    setting = Setting(**{name: value for name, value in given.items() if name in FIELDS})
    return factory(setting, **{name: value for name, value in given.items() if name not in FIELDS})
