import numpy as np
import pytest

from evojax_merge.fitness import DataError, PerplexityTask, corpus_perplexity
from tests.fitness.conftest import language_model

ITEMS = [{"text": "abcde"}, {"text": "a text of forty characters, to be cut up"}, {"text": "xyz"}]


def targets_of(bound, tokenizer):
    """Scored text of each row, in the order of the rows."""
    texts = {}
    for rows, batch in zip(bound._likelihood._rows, bound.batches, strict=True):
        for row, tokens, target in zip(rows, batch.tokens, batch.target, strict=True):
            texts[int(row)] = tokenizer.decode(tokens[target])
    return [texts[row] for row in sorted(texts)]


def outputs_of(bound):
    """Summed log-probabilities if every token cost one nat, twice that for candidate 1."""
    sums = [-batch.target.sum(-1).astype(np.float32) for batch in bound.batches]
    return [np.stack([one, 2 * one]) for one in sums]


@pytest.mark.parametrize("length", [None, 2, 7, 16, 1024])
def test_every_token_is_scored_once_whatever_the_windows(write, model, length):
    bound = PerplexityTask(data=write(*ITEMS), length=length).bind(model)
    assert bound.kind == "loglikelihood"
    assert "".join(targets_of(bound, model.tokenizer)) == "".join(one["text"] for one in ITEMS)
    assert bound.tokens.tolist() == [len(one["text"]) for one in ITEMS]
    if length is not None:
        assert all((batch.tokens.shape[1] - batch.start <= length).all() for batch in bound.batches)
    scores = bound.score(outputs_of(bound))
    assert scores.dtype == np.float32
    assert scores.tolist() == [[-1] * 3, [-2] * 3]


@pytest.mark.parametrize("length", [None, 4])
def test_the_context_is_not_scored(write, model, length):
    items = [{"question": "abcdef", "answer": "yes"}, {"question": "", "answer": "no"}]
    task = PerplexityTask(
        data=write(*items), template="{question}:", text="answer", length=length, prefix=">"
    )
    assert "".join(targets_of(task.bind(model), model.tokenizer)) == "yesno"


def test_without_a_beginning_token_the_end_token_stands_before_the_first(write):
    model = language_model(bos=False)
    model.tokenizer.bos_token = None
    bound = PerplexityTask(data=write({"text": "abc"})).bind(model)
    assert targets_of(bound, model.tokenizer) == ["abc"]
    assert bound.batches[0].tokens[0, bound.batches[0].start[0]] == model.tokenizer.eos_token_id


def test_details_and_perplexity(write, model):
    bound = PerplexityTask(data=write(*ITEMS)).bind(model)
    details = bound.details(outputs_of(bound), candidate=1)
    assert details[2]["tokens"] == 3
    assert details[2]["loglikelihood"] == -2
    assert details[2]["perplexity"] == pytest.approx(np.exp(2))
    scores = np.array([[-1.0, -3.0], [-2.0, -2.0]])
    np.testing.assert_allclose(corpus_perplexity(scores), np.exp([2, 2]))
    np.testing.assert_allclose(corpus_perplexity(scores, np.array([3, 1])), np.exp([1.5, 2]))


def test_mistakes(write):
    with pytest.raises(DataError, match="line 2: field 'text' must be a text"):
        PerplexityTask(data=write({"text": "a"}, {"text": ""}))
    with pytest.raises(DataError, match="line 1: no field 'text'"):
        PerplexityTask(data=write({"txt": "a"}))
    with pytest.raises(ValueError, match=r"length, in tokens, must be .* at least 2"):
        PerplexityTask(data=write(*ITEMS), length=1)
    with pytest.raises(ValueError, match="a window needs 64 tokens"):
        PerplexityTask(data=write(*ITEMS), length=64).bind(language_model(context=32))
