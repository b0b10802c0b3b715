"""A stranger's chat template: the text that transformers renders, or one error, in bounded time."""

import time

import pytest

from evojax_merge.fitness import chat
from evojax_merge.fitness.chat import ChatTemplateError, as_chats
from tests.fitness.conftest import byte_tokenizer

PROMPTS = ["1 + 1 = ?", "数\n  <b>'\"{{ x }}", "</s> a \ttab"]

TEMPLATES = {
    "chatml": """
{%- for message in messages %}
    {%- if loop.first and message['role'] != 'system' %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}""",
    "blocks": """{% for message in messages %}
  {% if message.role == 'user' %}
{{ bos_token }}[INST] {{ message.content }} [/INST]
  {% endif %}
{% endfor %}
""",
    "json": "{{ messages | tojson }} {{ messages | tojson(indent=2) }} {{ tools }} {{ documents }}",
    "generation": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ eos_token }}{% endgeneration %}"
    "{{ x }}",
    "namespace": "{% set n = namespace(a=0) %}{% for m in messages %}{% set n.a = 3 %}{% break %}"
    "{% endfor %}{{ n.a }}{{ dict(a=1).a }}{{ pad_token }}{{ unknown }}",
    "date": "{{ strftime_now('%Y') }}{% if strftime_now is defined %}!{% endif %}",
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", TEMPLATES)
def test_texts_are_those_of_transformers(name):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATES[name]
    wanted = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
        )
        for prompt in PROMPTS
    ]
    assert as_chats(tokenizer, PROMPTS, "models/a") == wanted


def test_of_several_templates_the_default_one_is_taken():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = {"default": "{{ messages[0].content }}!", "tool_use": "x"}
    assert as_chats(tokenizer, ["a"], "models/a") == ["a!"]
    tokenizer.chat_template = {"rag": "x", "tool_use": "x"}
    with pytest.raises(ChatTemplateError, match="none is called default"):
        as_chats(tokenizer, ["a"], "models/a")


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for", "its syntax is wrong"),
        ("{{ messages[0].contents.x }}", "uses what it is not given"),
        (
            "{{ raise_exception('\\x1b[31m only \\x07 two') }}",
            r"refuses the prompt: '\\x1b\[31m only",
        ),
        ("{{ messages.__class__.__mro__ }}", "reaches for what a template may not"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", "reaches for what a template may not"),
        ("{{ messages.append(1) }}", "reaches for what a template may not"),
        ("{{ 'a' * 10**10 }}", "more than 1 GiB of memory"),
        (
            "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}"
            "{% endfor %}{{ n.s }}",
            "more than 1 GiB of memory",
        ),
        ("{{ 'a' * 10**8 }}", "a text of 100,000,000 characters"),
        ("{{ range(10**9) | list }}", "fails with OverflowError: 'Range too big"),
        ("{{ 1 // 0 }}", "fails with ZeroDivisionError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails with RecursionError"),
        ("{% include '/etc/passwd' %}", "fails with TypeError"),
        ("{{ '%099999999999d' % 1 }}", "fails with|memory"),
    ],
)
def test_a_template_that_fails_is_one_error_with_its_directory(template, message):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(ChatTemplateError, match=f"(?s)^models/a: .*{message}"):
        as_chats(tokenizer, ["a"], "models/a")


LOOP = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize("template", [LOOP, "{{ 9 ** (9 ** 9) }}"])
def test_a_template_that_does_not_end(template, monkeypatch):
    monkeypatch.setattr(chat, "SECONDS", 1)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    began = time.monotonic()
    with pytest.raises(ChatTemplateError, match="takes longer than 1 seconds"):
        as_chats(tokenizer, ["a"], "models/a")
    assert time.monotonic() - began < 60  # and not hours, on a busy machine too
