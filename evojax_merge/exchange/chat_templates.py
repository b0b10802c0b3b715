"""The chat template that a file asks for."""

from collections import Counter
from collections.abc import Iterable

from evojax_merge.checkpoints import Checkpoint
from evojax_merge.documents.nearest import nearest
from evojax_merge.exchange.errors import ExchangeError

_ALPACA = r"""
{%- set headings = {'user': 'Instruction', 'assistant': 'Response', 'user_context': 'Input'} -%}
{%- set systems = messages | selectattr('role', 'equalto', 'system') | list -%}
{{- ((systems | last).content | trim if systems else '') + '\n\n' -}}
{%- for message in messages -%}
    {%- if message['role'] in headings -%}
        {{- '### ' + headings[message['role']] + ':\n' + message['content'] | trim -}}
        {{- '' if loop.last else '\n\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and messages[-1]['role'] != 'assistant' -%}
    {{- '### Response:\n' -}}
{%- endif -%}
"""
_CHATML = r"""
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\n' if add_generation_prompt else '' -}}
"""
_EXAONE = r"""
{%- if messages and messages[0]['role'] != 'system' -%}
    {{- '        [|system|][|endofturn|]\n\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {{- '    [|' + message['role'] + '|]' + message['content'] + '\n        ' -}}
    {{- ('' if message['role'] == 'user' else '[|endofturn|]') + '\n\n' -}}
{%- endfor -%}
{{- '    [|assistant|]\n' if add_generation_prompt else '' -}}
"""
_LLAMA3 = r"""
{%- for message in messages -%}
    {{- bos_token if loop.first else '' -}}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' -}}
    {{- message['content'] | trim + '<|eot_id|>\n' -}}
{%- endfor -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' if add_generation_prompt else '' -}}
"""
_MISTRAL = r"""
{%- set led = messages[0]['role'] == 'system' -%}
{{- bos_token -}}
{%- for message in (messages[1:] if led else messages) -%}
    {%- set wanted = 'user' if loop.index0 % 2 == 0 else 'assistant' -%}
    {%- if message['role'] not in ('user', 'assistant') or message['role'] != wanted -%}
        {{- raise_exception('roles must be user and assistant in turn, after one of system') -}}
    {%- endif -%}
    {%- if wanted == 'user' -%}
        {{- ' [INST] ' + (messages[0]['content'] + '\n\n' if led and loop.first else '') -}}
        {{- message['content'] + ' [/INST]' -}}
    {%- else -%}
        {{- ' ' + message['content'] + eos_token -}}
    {%- endif -%}
{%- endfor -%}
"""
TEMPLATES = {
    name: text.lstrip("\n")
    for name, text in {
        "alpaca": _ALPACA,
        "chatml": _CHATML,
        "exaone": _EXAONE,
        "llama3": _LLAMA3,
        "mistral": _MISTRAL,
    }.items()
}
"""Templates that have a name. Each renders what mergekit 0.1.5's of this name does."""


def check_template(wanted: str) -> None:
    """Check that a file's ``chat_template`` is ``auto``, a name, or a Jinja template.

    Raises:
        ExchangeError: There is no template of this name, and the text is no template itself.
    """
    if wanted == "auto" or wanted in TEMPLATES:
        return
    if "{" not in wanted:
        raise ExchangeError(
            f"chat_template: no template {wanted!r}{nearest(wanted, ('auto', *TEMPLATES))}; known "
            f"are auto, {', '.join(TEMPLATES)}; or give a Jinja template"
        )
    from evojax_merge.exchange.jinja_syntax import problem  # and Jinja, of which most need nothing

    if found := problem(wanted):
        raise ExchangeError(f"chat_template: is no Jinja template: {found}")


def chat_template(wanted: str | None, checkpoints: Iterable[Checkpoint]) -> str | None:
    """Return the text of the template, or None to leave the tokenizer's.

    Args:
        wanted: A name, a Jinja template, or ``auto``: the template that most models have, which is
            the default one where a model has several.
        checkpoints: The checkpoints of the merge.
    """
    if wanted != "auto":
        return TEMPLATES.get(wanted or "", wanted)
    tokenizers = [checkpoint.tokenizer for checkpoint in checkpoints]
    found = [tokenizer.chat_template for tokenizer in tokenizers if tokenizer is not None]
    defaults = [own.get("default") if isinstance(own, dict) else own for own in found]
    texts = [template.strip() for template in defaults if template]
    return Counter(texts).most_common(1)[0][0] if texts else None
