"""The tokenizer's files of a result."""

import json
import shutil
from pathlib import Path

from evojax_merge.checkpoints.directory import TOKENIZER_FILES, read_json
from evojax_merge.exchange.planning import Plan

_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
_GENERATION = "generation_config.json"


def write_tokenizer(plan: Plan, directory: Path) -> None:
    """Copy or save the tokenizer, with the chat template of the plan."""
    reference = plan.checkpoints[plan.reference].directory
    source = plan.tokens.directory if plan.tokens else reference
    if plan.tokens is not None and plan.tokens.tokenizer is not None:
        plan.tokens.tokenizer.save_pretrained(directory)
    else:
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, directory / name)
    if (reference / _GENERATION).is_file():
        shutil.copyfile(reference / _GENERATION, directory / _GENERATION)
    if plan.chat_template is not None:
        _set_template(directory, plan.chat_template)


def _set_template(directory: Path, template: str) -> None:
    for name in _TEMPLATE_FILES:
        (directory / name).unlink(missing_ok=True)
    settings = directory / "tokenizer_config.json"
    if settings.is_file():
        kept = {k: v for k, v in read_json(settings).items() if k != "chat_template"}
        text = json.dumps(kept, indent=2, ensure_ascii=False) + "\n"
        settings.write_text(text, encoding="utf-8")
    (directory / _TEMPLATE_FILES[0]).write_text(template, encoding="utf-8")
