"""Places of pictures in prompts."""

import json

import pytest

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.fitness import DataError
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.picture_prompts import (
    as_content,
    chat_template_of,
    check_places,
    expanded,
)

RECORD = Record("items.jsonl", 7, {})
IMAGE = {"type": "image"}


@pytest.mark.parametrize(
    ("prompt", "content"),
    [
        ("<image>\nWhat?", [IMAGE, {"type": "text", "text": "What?"}]),
        (
            "See <image> and\n\n<image><image>\n",
            [
                {"type": "text", "text": "See "},
                IMAGE,
                {"type": "text", "text": " and\n"},
                IMAGE,
                IMAGE,
            ],
        ),
        ("<image>", [IMAGE]),
    ],
)
def test_a_turn_has_pictures_and_texts_in_their_order(prompt, content):
    assert as_content(prompt) == content


def test_each_picture_has_as_many_tokens_as_features():
    assert expanded([1, 9, 2, 9], 9, [3, 1], "here") == [1, 9, 9, 9, 2, 9]
    with pytest.raises(DataError, match="here: the prompt becomes 1 picture token for 2 pictures"):
        expanded([1, 9], 9, [3, 1], "here")
    with pytest.raises(DataError, match="becomes 0 picture tokens for 1 picture; the chat templ"):
        expanded([1, 2], 9, [3], "here")
    with pytest.raises(DataError, match="2 picture tokens for 1 picture; the text of the item, "):
        expanded([9, 2, 9], 9, [3], "here")


@pytest.mark.parametrize(
    ("prompt", "pictures", "message"),
    [("no place", 1, "0 places for 1 picture;"), ("<image><image>", 1, "2 places for 1 picture;")],
)
def test_there_is_a_place_for_each_picture(prompt, pictures, message):
    check_places(RECORD, "<image> <image>", 2)
    with pytest.raises(DataError, match=f"items.jsonl, line 7: the prompt has {message}"):
        check_places(RECORD, prompt, pictures)


def test_the_template_of_an_older_processor(tmp_path):
    assert chat_template_of(tmp_path) is None
    file = tmp_path / "chat_template.json"
    file.write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert chat_template_of(tmp_path) == "{{ messages }}"
    file.write_text(json.dumps({"chat_template": 3}))
    with pytest.raises(CheckpointError, match="chat_template is 3; it must be a text"):
        chat_template_of(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ other }}")
    assert chat_template_of(tmp_path) is None
