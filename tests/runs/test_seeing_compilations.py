"""Searches with pictures compile in their first generation alone, whichever items are measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from evojax_merge import api
from evojax_merge.report.course import Course, Generation, Listener
from tests.checkpoints_factory import byte_tokenizer, tiny_config, write_checkpoint
from tests.compilations import Compilations, count_compilations
from tests.llava_factory import llava_config, picture, write_llava

SIZES = ((16, 16), (20, 33), (40, 12))
ITEMS, GENERATIONS = 24, 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model, and two LLaVAs that cut pictures into tiles."""
    folder = tmp_path_factory.mktemp("models")
    text = {"num_hidden_layers": 2, "vocab_size": 260, "max_position_embeddings": 512}
    write_checkpoint(folder / "text", tiny_config("mistral", **text), tokenizer=byte_tokenizer())
    write_llava(folder / "llava", llava_config("llava_next"), seed=5)
    write_llava(folder / "other", llava_config("llava_next"), seed=6)
    return folder


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions about one picture or two, in several shapes."""
    folder = tmp_path_factory.mktemp("items")
    lines = []
    for number, size in enumerate(SIZES):
        picture(size, number).save(folder / f"{number}.png")
    for number in range(ITEMS):
        names = [f"{(number + more) % len(SIZES)}.png" for more in range(1 + number % 2)]
        places = " ".join("<image>" for _ in names)
        question = f"{places}{'?' * (1 + number)}"
        lines.append(json.dumps({"image": names, "question": question, "answer": "ab"}))
    (folder / "items.jsonl").write_text("\n".join(lines))
    return folder / "items.jsonl"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What had been compiled by the end of each generation."""
    found: list[int] = []
    with count_compilations() as compilations:
        monkeypatch.setattr(
            "evojax_merge.runs.run.RunProgress", lambda *_: _Watch(compilations, found)
        )
        yield found


class _Watch(Listener):
    """What stands in the place of the progress bar."""

    def __init__(self, compilations: Compilations, found: list[int]) -> None:
        self._compilations, self._found = compilations, found

    def on_generation(self, course: Course, generation: Generation) -> None:
        self._found.append(self._compilations.count)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
@pytest.mark.parametrize("parts", ["[language_model]", "[vision_tower,projector,language_model]"])
@pytest.mark.parametrize(
    "saver",
    [
        ["savers.minibatch.enabled=true", "savers.minibatch.size=16"],
        ["savers.racing.enabled=true", "savers.racing.blocks=4", "savers.racing.rungs=[1,2,4]"],
    ],
    ids=["minibatch", "racing"],
)
def test_later_generations_compile_nothing(
    saver: list[str], parts: str, models: Path, items: Path, compiled: list[int], tmp_path: Path
) -> None:
    merged = "text" if parts == "[language_model]" else "other"
    given = [
        f"model.sources=[{models / 'llava'},{models / merged}]",
        f"model.parts={parts}",
        "operator=linear",
        "fitness=visual_question",
        f"fitness.data={items}",
        "fitness.template='{question}'",
        "fitness.words=characters",
        "fitness.max_new_tokens=2",
        "strategy.population_size=4",
        f"search.evaluations={4 * GENERATIONS}",
        "baselines.published=false",
        "baselines.sources=false",
        "export=false",
        *saver,
    ]
    api.evolve(given, tmp_path / "run")
    assert len(compiled) == GENERATIONS
    assert compiled[0] > 0
    assert compiled == [compiled[0]] * GENERATIONS
