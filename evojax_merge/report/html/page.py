"""Pages of one file from templates.

Names, answers and paths come from strangers. Jinja escapes what would be markup, and `printable`
what would act on a reader's eyes. A policy in the page forbids all scripts but ours, and fetching.
"""

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evojax_merge.documents.files import write_text
from evojax_merge.documents.terminal import printable
from evojax_merge.report.run_files import REPORT_FILE

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(template: str, directory: Path, **content: Any) -> Path:
    """Fill in a template and write it as the report in a directory.

    Args:
        template: The name of the template.
        directory: Where the report is written.
        content: What the template shows.

    Raises:
        OSError: The file cannot be written.
    """
    file = directory / REPORT_FILE
    text = render(template, **content)
    write_text(file, text)
    return file


def render(template: str, **content: Any) -> str:
    """The text of a page."""
    script, style = (_read(name) for name in ("report.js", "report.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(
        script=Markup(script),  # ours, and so is the style
        style=Markup(style),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        **content,
    )


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _harmless(value: Any) -> Any:
    """A text of which no character acts on others; what is not text, or is markup, as it is."""
    if value is None:
        return ""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
