"""The files of a result besides its weights: those of the tokenizer, and others it carries."""

import shutil
from pathlib import Path

from evojax_merge.checkpoints.carried_files import GENERATION, carry
from evojax_merge.checkpoints.directory import PROCESSOR_FILES, TOKENIZER_FILES, read_json
from evojax_merge.documents.json_text import write_json
from evojax_merge.exchange.plan import Plan

_TEMPLATE = "chat_template.jinja"
_TEMPLATES = (_TEMPLATE, "chat_template.json", "additional_chat_templates")
_SETTINGS = ("tokenizer_config.json", "processor_config.json")
"""The settings in which earlier versions of transformers kept templates."""


def write_files(plan: Plan, directory: Path) -> None:
    """Write configuration, tokenizer and processor, with the chat template of the plan."""
    reference = plan.checkpoints[plan.reference].directory
    write_json(directory / "config.json", plan.hf_config)
    if plan.generation_config is not None:
        write_json(directory / GENERATION, plan.generation_config)
    if plan.tokens is not None and plan.tokens.tokenizer is not None:
        plan.tokens.tokenizer.save_pretrained(directory)
    else:
        carry(plan.tokens.directory if plan.tokens else reference, directory, TOKENIZER_FILES)
    carry(reference, directory, PROCESSOR_FILES)
    if plan.chat_template is not None:
        _set_template(directory, plan.chat_template)


def _set_template(directory: Path, template: str) -> None:
    """Write the only template, whatever the tokenizer had."""
    for path in (directory / name for name in _TEMPLATES):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    for path in (directory / name for name in _SETTINGS):
        if path.is_file():
            settings = read_json(path)
            if settings.pop("chat_template", None) is not None:
                write_json(path, settings)
    (directory / _TEMPLATE).write_text(template, encoding="utf-8")
