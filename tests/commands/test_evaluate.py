"""What ``evaluate`` refuses before anything is read."""

import pytest

from evojax_merge.cli import main

TASK = ["fitness=text_to_image", "fitness.data=items.jsonl"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.base=other"], "model.base: evaluate measures the model that is given first"),
        (["++model.parts=[unet]"], "takes model.carriers alone"),
        (["model.carriers=[jp]"], "give a mapping of parts to paths"),
        (["model.carriers={text_encoder: 3}"], "model.carriers.text_encoder is 3; give a"),
    ],
)
def test_keys_that_would_count_for_nothing(overrides, message, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "DIR", *TASK, *overrides])
    assert message in capsys.readouterr().err


def test_carriers_beside_a_recipe(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "recipe.yaml"), *TASK, "model.carriers={vae: other}"])
    assert "model.carriers: a recipe names its own" in capsys.readouterr().err
