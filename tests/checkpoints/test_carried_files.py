"""Every file of a tokenizer and a processor travels, and nothing else does."""

import pytest
from transformers import AutoTokenizer

from evojax_merge.checkpoints import CheckpointError, export, load
from tests.checkpoints_factory import tiny_config, word_tokenizer, write_checkpoint

CARRIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "tokenizer.model.v3",
    "tekken.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
LEFT = ("optimizer.bin", "evil.py", "training_args.json", "additional_chat_templates/x.py")


@pytest.fixture
def speaker(tmp_path):
    tokenizer = word_tokenizer(["a", "b"])
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}
    directory = write_checkpoint(tmp_path / "in", tiny_config(), tokenizer=tokenizer)
    for name in {*CARRIED, *LEFT}:
        if not (directory / name).exists():
            (directory / name).write_text("{}")
    return directory


def test_files_of_tokenizer_and_processor_come_along(tmp_path, speaker):
    model = load(speaker)
    out = export(model, tmp_path / "out")
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {*CARRIED, "config.json", "model.safetensors"}
    for name in CARRIED:
        assert (out / name).read_bytes() == (speaker / name).read_bytes()
    assert AutoTokenizer.from_pretrained(out).chat_template == model.tokenizer.chat_template


@pytest.mark.parametrize("name", CARRIED[2:])
def test_a_link_out_of_the_checkpoint_is_an_error_before_weights_are_written(
    tmp_path, speaker, name
):
    (tmp_path / "secret").write_text("mine")
    model = load(speaker)
    (speaker / name).unlink()
    (speaker / name).symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match="leads out of the checkpoint"):
        export(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_link_out_of_the_checkpoint_is_an_error(tmp_path, speaker):
    model = load(speaker)
    (speaker / "additional_chat_templates").rename(tmp_path / "elsewhere")
    (speaker / "additional_chat_templates").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="leads out of the checkpoint"):
        export(model, tmp_path / "out")
