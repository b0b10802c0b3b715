import numpy as np
import pytest

from evojax_merge.fitness import DataError, GenerationTask, ScriptRule
from evojax_merge.models.request import Generate
from tests.fitness.conftest import language_model, written

ITEMS = [
    {"question": "1+1", "answer": 2},
    {
        "question": "a much longer question, which falls into another bucket than the rest " * 3,
        "answer": "1,234",
    },
    {"question": "2-7", "answer": -5},
    {"question": "1+1", "answer": 2},
]
RIGHT = ["答えは2です。", "答えは1234です。", "答えは−5です。", "答えは2.0です。"]


def bound_task(path, model, **options):
    options = {"max_new_tokens": 48, **options}
    return GenerationTask(data=path, **options).bind(model)


def test_results_come_in_the_order_of_the_items(write, model):
    bound = bound_task(write(*ITEMS), model)
    assert isinstance(bound.request, Generate)
    assert len(bound) == 4
    assert len(bound.batches) == 2
    answers = [RIGHT, ["2", "5", "3", "4"], ["no", "1,234", "", "2"]]
    scores = bound.score(written(bound, answers))
    assert scores.dtype == np.float32
    assert scores.tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 1]]


def test_prompts_are_the_filled_template_padded_on_the_left(write, model):
    bound = bound_task(write(*ITEMS), model, prefix="Q0\n", template="{{{question}}} は", buckets=1)
    (batch,) = bound.batches
    assert batch.tokens.dtype == batch.start.dtype == np.int32
    for item, tokens, start in zip(ITEMS, batch.tokens, batch.start, strict=True):
        assert (tokens[:start] == bound.request.pad_id).all()
        assert tokens[start] == model.tokenizer.bos_token_id
        text = model.tokenizer.decode(tokens[start + 1 :])
        assert text == f"Q0\n{{{item['question']}}} は"


def test_a_right_number_in_another_language_is_wrong(write, model):
    path = write(*ITEMS)
    answers = [RIGHT, ["The answer is 2.", *RIGHT[1:]]]
    for language in ("ja", ScriptRule()):
        bound = bound_task(path, model, language=language)
        assert bound.score(written(bound, answers)).tolist() == [[1, 1, 1, 1], [0, 1, 1, 1]]
    bound = bound_task(path, model)
    assert bound.score(written(bound, answers)).tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]


def test_stop_strings_cut_the_text(write, model):
    bound = bound_task(write(ITEMS[0]), model, stop=["\n", "Question:"])
    for answer in ("2\n3", "2 Question: 3", "2"):
        assert bound.score(written(bound, [[answer]])).tolist() == [[1]]
    assert bound.request.eos_ids == (
        2,
        *model.tokenizer("\n", add_special_tokens=False)["input_ids"],
    )
    assert bound_task(write(ITEMS[0]), model).score(written(bound, [["2\n3"]])).tolist() == [[0]]


def test_nothing_after_the_end_token_counts(write):
    model = language_model(pad=False)
    bound = bound_task(write(ITEMS[0]), model)
    (tokens,) = written(bound, [["2"]])
    tokens[..., 5:] = model.tokenizer("9", add_special_tokens=False)["input_ids"][0]
    assert bound.score([tokens]).tolist() == [[1]]


def test_an_answer_is_decoded_once(write, model, monkeypatch):
    bound = bound_task(write(*ITEMS), model)
    decoded = []
    texts = bound._texts
    monkeypatch.setattr(bound, "_texts", lambda rows: decoded.append(len(rows)) or texts(rows))
    outputs = written(bound, [RIGHT, RIGHT, ["2", "2", "2", "2"]])
    first = bound.score(outputs)
    assert sum(decoded) == len({*RIGHT, "2"})
    assert (bound.score(outputs) == first).all()
    assert sum(decoded) == len({*RIGHT, "2"})


def test_scores_survive_a_full_cache(write, model, monkeypatch):
    bound = bound_task(write(*ITEMS), model)
    expected = bound.score(written(bound, [RIGHT]))
    monkeypatch.setattr("evojax_merge.fitness.answering._JUDGED_BYTES", 1)
    bound = bound_task(write(*ITEMS), model)
    assert (bound.score(written(bound, [RIGHT])) == expected).all()


def test_details_say_what_was_read(write, model):
    bound = bound_task(write(*ITEMS), model, language="ja")
    outputs = written(bound, [RIGHT, ["It is 2.", *RIGHT[1:]]])
    details = bound.details(outputs, candidate=1)
    assert [one["right"] for one in details] == [False, True, True, True]
    assert details[0] == {
        "item": 0,
        "prompt": "1+1",
        "text": "It is 2.",
        "answer": "2",
        "reference": "2",
        "in_language": False,
        "right": False,
    }
    assert [float(one["right"]) for one in details] == bound.score(outputs)[1].tolist()


def test_chat_template(write, model):
    path = write(ITEMS[0])
    with pytest.raises(ValueError, match="no chat template"):
        bound_task(path, model, chat=True)
    chatty = language_model()
    chatty.tokenizer.chat_template = (
        "{{ bos_token }}{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    (batch,) = bound_task(path, chatty, chat=True).batches
    text = chatty.tokenizer.decode(batch.tokens[0, batch.start[0] :])
    assert text == "<s><user>1+1<assistant>"


def test_splits(write, model):
    data = write(*ITEMS)
    task = GenerationTask(data=data, test=write(ITEMS[0], name="test.jsonl"))
    assert (task.current_split, len(task), task.splits) == ("search", 4, ("search", "test"))
    test = task.on("test")
    assert (test.current_split, len(test), len(test.bind(model))) == ("test", 1, 1)
    assert task.current_split == "search"
    with pytest.raises(ValueError, match=r"no data for the split 'validation'.*fitness.validation"):
        task.on("validation")
    with pytest.raises(ValueError, match=r"no split 'tst'.*mean test"):
        task.on("tst")
    assert len(GenerationTask(data=data, limit=2)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "{questoin}"}, r"line 1: no field 'questoin'.*mean question"),
        ({"reference": "anser"}, r"line 1: no field 'anser'.*mean answer"),
        ({"reference": "question", "template": "{answer}"}, "line 2: field 'question': no number"),
        ({"template": "{question"}, "literal brace"),
        ({"template": "{question.x}"}, "not the name of a field"),
        ({"template": "{}"}, "not the name of a field"),
        ({"template": "{question:d}"}, "line 1: template"),
        ({"extract": "sakna"}, r"no extract mode 'sakna'.*mean sakana"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"stop": "\n"}, "list of texts"),
        ({"stop": [""]}, "stop must be a text, not empty"),
        ({"buckets": 0}, "buckets"),
        ({"beams": 0}, "beams must be a whole number of at least 1, not 0"),
        ({"repetition_penalty": 0}, "repetition_penalty must be .* from 0.01 to 100, not 0"),
        ({"language": "fr"}, "script rule"),
        ({"test": "none.jsonl"}, "none.jsonl: missing"),
    ],
)
def test_mistakes_are_found_before_there_is_a_model(write, options, message):
    path = write({"question": "3 apples", "answer": 3}, {"question": "none", "answer": 2})
    with pytest.raises(ValueError, match=message):
        GenerationTask(data=path, **options)


def test_a_task_asks_for_beams_and_a_penalty(write, model):
    path = write(*ITEMS)
    request = bound_task(path, model).request
    assert (request.beams, request.repetition_penalty) == (1, 1.0)
    request = bound_task(path, model, beams=5, repetition_penalty=2).request
    assert (request.beams, request.repetition_penalty) == (5, 2.0)
    with pytest.raises(ValueError, match=r"300 beams .* lower fitness.beams"):
        bound_task(path, model, beams=300)


def test_prompts_that_do_not_fit_are_refused(write):
    path = write(*ITEMS)
    with pytest.raises(ValueError, match=r"line 2: .* new needs 259 tokens.*context has 128"):
        bound_task(path, language_model(context=128))
    with pytest.raises(DataError, match="line 1: the prompt is empty"):
        bound_task(write({"question": "", "answer": 2}), language_model(bos=False))
    with pytest.raises(ValueError, match="needs a tokenizer"):
        bound_task(path, object())
