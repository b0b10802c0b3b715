"""Worked examples before prompts, which ones, and as text or as turns of a chat."""

import numpy as np
import pytest

from evojax_merge.fitness import GenerationTask, MultipleChoiceTask, PerplexityTask
from evojax_merge.fitness.chat import ChatTemplateError
from evojax_merge.fitness.data import DataError
from tests.fitness.conftest import language_model
from tests.fitness.test_chat import TEMPLATES

ITEMS = [{"question": f"{n}+1", "answer": n + 1} for n in range(3)]
EXAMPLES = [{"question": f"{n}+2", "answer": n + 2} for n in range(8)]


@pytest.fixture
def files(write):
    return {"data": write(*ITEMS), "few_shot": {"data": write(*EXAMPLES, name="examples.jsonl")}}


def with_few_shot(files, **settings):
    return {**files, "few_shot": {**files["few_shot"], **settings}}


def texts(task, model):
    """What the model reads of each item, without special tokens at the beginning."""
    bound = task.bind(model)
    found = {}
    for rows, batch in zip(bound._rows, bound.batches, strict=True):
        for row, tokens, start in zip(rows, batch.tokens, batch.start, strict=True):
            found[int(row)] = model.tokenizer.decode(tokens[start + 1 :])
    return [found[row] for row in sorted(found)]


def test_examples_stand_between_prefix_and_prompt_and_are_read_once(files, model):
    settings = with_few_shot(files, k=2, separator="\\n")
    task = GenerationTask(prefix="Add.\n", template="{question} =", **settings)
    assert texts(task, model)[1] == "Add.\n0+2 = 2\n1+2 = 3\n1+1 ="
    # All tokens that the prompts begin with, but for the first digit, in which they differ.
    assert task.bind(model).request.prefix == len("<Add.\n0+2 = 2\n1+2 = 3\n")
    whole = GenerationTask(**with_few_shot(files, k=1, template="Q {question} A {answer}"))
    assert texts(whole, model)[0] == "Q 0+2 A 2\n\n0+1"
    answer = GenerationTask(**with_few_shot(files, k=1, answer="is {answer}!"))
    assert texts(answer, model)[0] == "0+2 is 2!\n\n0+1"


def test_which_examples(write, files, model):
    assert len(GenerationTask(**files).examples) == 8
    drawn = [
        [one.line for one in GenerationTask(**with_few_shot(files, k=3, seed=seed)).examples]
        for seed in (0, 0, 1, 2)
    ]
    assert drawn[0] == drawn[1]
    assert len({tuple(one) for one in drawn}) == 3
    both = write(*ITEMS, *EXAMPLES[:2], name="both.jsonl")
    task = GenerationTask(data=both, limit=3, few_shot={"data": both})
    assert [one.line for one in task.examples] == [4, 5]
    divided = GenerationTask(data=both, split=[0.4, 0.4], few_shot={"data": both})
    asked = {one.fields["question"] for own in divided._records.values() for one in own}
    assert len(divided.examples) == 1
    assert divided.examples[0].fields["question"] not in asked


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 9}, "9 examples are wanted, and .* has 8 of 8, as 0 are items too"),
        ({"k": 0}, "few_shot.k must be"),
        ({"n": 1}, "no few_shot.n; there are data, k"),
        ({"data": None, "k": 1}, "few_shot.k is given without few_shot.data"),
        ({"data": "none.jsonl"}, "no such file"),
        ({"seed": -1}, "few_shot.seed must be"),
        ({"answer": "{no}"}, "examples.jsonl, line 1: no field 'no'"),
        ({"template": "a", "answer": "b"}, "leave few_shot.answer out"),
    ],
)
def test_examples_that_make_no_sense(files, settings, message):
    with pytest.raises(ValueError, match=message):
        GenerationTask(**with_few_shot(files, **settings))


def test_examples_that_are_all_items(write):
    data = write(*ITEMS)
    with pytest.raises(ValueError, match="has 0 of 3, as 3 are items too"):
        GenerationTask(data=data, few_shot={"data": data})


def test_no_examples(files):
    assert GenerationTask(data=files["data"], few_shot={"data": None, "k": None}).examples == ()


def test_examples_of_choices_and_texts(write, model):
    items = [{"question": f"{n}?", "choices": ["a", "b"], "answer": n} for n in (0, 1)]
    data, examples = write(items[0]), write(items[1], name="examples.jsonl")
    bound = MultipleChoiceTask(data=data, few_shot={"data": examples}).bind(model)
    (detail,) = bound.details([np.zeros((1, 2))])
    assert detail["prompt"] == "1? b\n\n0?"
    texts = write({"text": "one"}, name="a.jsonl"), write({"text": "two"}, name="b.jsonl")
    bound = PerplexityTask(data=texts[0], few_shot={"data": texts[1]}).bind(model)
    ((tokens,), (start,), (target,)) = bound.batches[0]
    assert model.tokenizer.decode(tokens[start + 1 :]) == "two\n\none"
    assert model.tokenizer.decode(tokens[target]) == "\n\none"  # with the context's white space


def wanted(tokenizer, chat):
    return tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)


def turn(role, content):
    return {"role": role, "content": content}


def test_turns_are_those_of_transformers(write, files):
    model = language_model(bos=False)
    model.tokenizer.chat_template = TEMPLATES["chatml"]
    settings = {**with_few_shot(files, k=1), "chat": True, "system": "Be\\nkind."}
    task = GenerationTask(prefix="P ", template="{question}=", **settings)
    chat = [
        turn("system", "Be\nkind."),
        turn("user", "P 0+2="),
        turn("assistant", "2"),
        turn("user", "1+1="),
    ]
    assert task.bind(model)._prompts[1] == wanted(model.tokenizer, chat)
    assert task.bind(model).request.prefix > 80

    turns = [turn("system", "S"), turn("user", "a"), turn("assistant", "b"), turn("user", "c")]
    data = write({"messages": turns, "answer": 1}, name="turns.jsonl")
    example = write({"messages": [turn("user", "x")], "answer": 7}, name="example.jsonl")
    task = GenerationTask(data=data, messages="messages", chat=True, few_shot={"data": example})
    chat = [turns[0], turn("user", "x"), turn("assistant", "7"), *turns[1:]]
    assert task.bind(model)._prompts == [wanted(model.tokenizer, chat)]

    with pytest.raises(ValueError, match=r"turns.jsonl, line 1: has a system message, and"):
        GenerationTask(data=data, messages="messages", chat=True, system="T").bind(model)

    choices = write({"question": "q", "choices": ["a", "b"], "answer": 0}, name="choices.jsonl")
    task = MultipleChoiceTask(data=choices, chat=True, system="S")
    context = wanted(model.tokenizer, [turn("system", "S"), turn("user", "q")])
    likelihood = task.bind(model)._likelihood
    found = [(model.tokenizer.decode(ids), own) for ids, own in zip(*zip(*likelihood.rows))]  # noqa: B905
    assert [text for text, _ in found] == [context + "a", context + "b"]


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no such role') }}{% endif %}",
            {"system": "S"},
            "refuses the prompt: 'no such role'.*fitness.prefix can take the place",
        ),
        ("{{ messages[-1].content }}", {"system": "S"}, "leaves out what the system says"),
        ("{{ messages[-1].content }}", {"few": True}, "leaves out what the assistant says"),
    ],
)
def test_a_template_that_lacks_a_role(files, template, options, message):
    model = language_model()
    model.tokenizer.chat_template = template
    given = files if options.pop("few", False) else {"data": files["data"]}
    with pytest.raises(ChatTemplateError, match=message):
        GenerationTask(chat=True, **given, **options).bind(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"system": "S"}, "system needs a chat; set chat=true, or write a prefix"),
        ({"messages": "m"}, "messages needs a chat"),
        ({"system": "", "chat": True}, "system"),
        ({"chat": 1}, "chat"),
        ({"chat": True, "few": {"template": "x"}}, "give few_shot.answer instead"),
    ],
)
def test_settings_of_chats_that_make_no_sense(files, options, message):
    given = with_few_shot(files, **options.pop("few", {}))
    with pytest.raises(ValueError, match=message):
        GenerationTask(**given, **options)
    with pytest.raises(ValueError, match="chat needs something that a user says"):
        PerplexityTask(data=files["data"], text="question", chat=True)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("hello", "give a list of messages"),
        ([], "give a list of messages"),
        ([3], "message 1: the role is 3"),
        ([turn("robot", "a")], "message 1: the role is 'robot'; it must be one of system"),
        ([turn("user", None)], "message 1: the content is None; give a text"),
        ([turn("user", "a"), turn("system", "b")], "message 2: a system message comes first"),
        ([turn("user", "a"), turn("assistant", "b")], "last message is of role 'assistant'"),
    ],
)
def test_messages_that_make_no_sense(write, messages, message):
    data = write({"messages": messages, "answer": 1})
    with pytest.raises(DataError, match=f"line 1: field 'messages'.*{message}"):
        GenerationTask(data=data, chat=True, messages="messages")
