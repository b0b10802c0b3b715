"""Chat templates of a result, and the files that travel with its tokenizer."""

import itertools
import json

import pytest
from transformers import AutoTokenizer

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.exchange.chat_templates import TEMPLATES
from tests.checkpoints_factory import tiny_config, word_tokenizer, write_checkpoint
from tests.exchange.conftest import merged, plan_of

PLAIN, TOOLS = "{{ messages[0]['content'] }}", "{{ tools }}{{ messages }}"
OTHER = "{{ messages[-1]['content'] }}"


def speaker(directory, template, words=("a", "b"), seed=0):
    tokenizer = word_tokenizer(words)
    tokenizer.chat_template = template
    config = tiny_config(vocab_size=len(words) + 4)
    return str(write_checkpoint(directory, config, seed=seed, tokenizer=tokenizer))


@pytest.fixture
def speakers(tmp_path):
    several = {"default": PLAIN, "tool_use": TOOLS}
    return [
        speaker(tmp_path / "one", OTHER),
        speaker(tmp_path / "two", several, seed=1),
        speaker(tmp_path / "three", f"\n{PLAIN}\n", seed=2),
    ]


def linear(names, **more):
    entries = [{"model": name, "parameters": {"weight": 1}} for name in names]
    return {"merge_method": "linear", "models": entries} | more


def test_auto_counts_a_model_of_several_templates_by_its_default_one(speakers):
    assert plan_of(linear(speakers, chat_template="auto")).chat_template == PLAIN


def test_templates_besides_the_default_one_travel(speakers, tmp_path):
    merged(linear(speakers[1:]), tmp_path / "out")
    found = AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    assert found == {"default": PLAIN, "tool_use": TOOLS}


@pytest.mark.parametrize("source", [None, "base", "union"])
def test_a_new_template_is_the_only_one(tmp_path, source):
    several = {"default": PLAIN, "tool_use": TOOLS}
    one = tmp_path / "one"
    names = [speaker(one, several), speaker(tmp_path / "two", PLAIN, ("b", "c", "a"), seed=1)]
    names = names if source else names[:1]
    settings = json.loads((one / "tokenizer_config.json").read_text())
    older = {"name": "default", "template": OTHER}
    (one / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": [older]}))
    (one / "processor_config.json").write_text('{"chat_template": "x", "kept": 1}')
    (one / "chat_template.json").write_text('{"chat_template": "x"}')
    tree = linear(names, chat_template="llama3")
    merged(tree | ({"tokenizer_source": source} if source else {}), tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == TEMPLATES["llama3"]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert not files & {"additional_chat_templates", "chat_template.json"}
    assert json.loads((tmp_path / "out" / "processor_config.json").read_text()) == {"kept": 1}
    assert "chat_template" not in (tmp_path / "out" / "tokenizer_config.json").read_text()


OTHERS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
VOCABULARIES = ("tokenizer.model", "tokenizer.model.v3", "tekken.json", "merges.txt")


@pytest.mark.parametrize("source", [None, "base", "union"])
def test_files_travel_and_old_vocabularies_do_not(tmp_path, source):
    names = [speaker(tmp_path / "one", PLAIN), speaker(tmp_path / "two", PLAIN, ("b", "c"), seed=1)]
    for name in (*OTHERS, *VOCABULARIES):
        (tmp_path / "one" / name).write_text("{}")
    tree = linear(names if source else names[:1])
    merged(tree | ({"tokenizer_source": source} if source else {}), tmp_path / "out")
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found >= set(OTHERS)
    # Those of the base say nothing of tokens that were added.
    assert found & set(VOCABULARIES) == (set() if source == "union" else set(VOCABULARIES))


@pytest.mark.parametrize("name", ["generation_config.json", "merges.txt", OTHERS[0]])
def test_a_link_out_of_the_checkpoint_is_an_error(tmp_path, name):
    one = speaker(tmp_path / "one", PLAIN)
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "one" / name).symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match="leads out of the checkpoint"):
        plan_of(linear([one]))


ROLES = ("system", "user", "assistant", "user_context", "tool")


@pytest.mark.parity
@pytest.mark.parametrize("name", TEMPLATES)
def test_named_templates_render_as_mergekits(name):
    import importlib.resources

    from transformers.utils.chat_template_utils import _compile_jinja_template

    folder = importlib.resources.files("mergekit._data.chat_templates")
    assert set(TEMPLATES) == {
        path.name.removesuffix(".jinja") for path in folder.iterdir() if path.name.endswith("jinja")
    }
    templates = [
        _compile_jinja_template(text)
        for text in (TEMPLATES[name], (folder / f"{name}.jinja").read_text())
    ]
    chats = itertools.chain.from_iterable(itertools.product(ROLES, repeat=n) for n in range(5))
    for roles, asked in itertools.product(chats, (False, True)):
        messages = [{"role": r, "content": f"  t{i}\n x "} for i, r in enumerate(roles)]
        ours, theirs = (render(one, messages, asked) for one in templates)
        assert ours == theirs, roles


def render(template, messages, asked):
    """The text, or that there is none."""
    given = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": asked}
    try:
        return template.render(messages=messages, **given)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chatml", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
        ("mistral", "<s> [INST] hi [/INST]"),
        ("alpaca", "\n\n### Instruction:\nhi### Response:\n"),
        (
            "llama3",
            "<s><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>\n"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "exaone",
            "        [|system|][|endofturn|]\n\n    [|user|]hi\n        \n\n    [|assistant|]\n",
        ),
    ],
)
def test_what_named_templates_say(tmp_path, name, text):
    merged(linear([speaker(tmp_path / "one", None)], chat_template=name), tmp_path / "out")
    found = AutoTokenizer.from_pretrained(tmp_path / "out").apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert found == text
