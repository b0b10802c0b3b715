"""Cards of exports: what the hub reads in them, what people see, and what strangers cannot do."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from safetensors import safe_open
from safetensors.numpy import load_file

from evojax_merge import api, evolve, export, load
from evojax_merge.cards import described, described_merge
from evojax_merge.cards.markdown import code, table
from evojax_merge.cards.metadata import front_matter, metadata
from evojax_merge.checkpoints import load_config
from evojax_merge.fitness import digits_task
from evojax_merge.models.segments import Segment
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import Hop, PathRecipe
from evojax_merge.report.results import Result
from evojax_merge.sources.reference import Ingredient
from tests.checkpoints_factory import random_tensors, tiny_config, write_checkpoint
from tests.pipelines_factory import pipeline_configs, pipeline_tensors, write_folder

HOSTILE = [
    "<script>alert(1)</script>",
    "a`b``c",
    "`",
    "x | y \\| z\\",
    "two\nlines\n---\ntags: [evil]",
    "[a](javascript:b) ![i](http://c.d/e.png) www.f.g h@i.j",
    "\u202emoc.live \x1b[31m",
    "*_~#&lt;",
]
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True})


def parsed(text: str) -> ModelCard:
    """A card as the hub's own library reads it; errors of its metadata are errors."""
    return ModelCard(text, ignore_metadata_errors=False)


def acting(text: str) -> set[str]:
    """The kinds of what Markdown makes of a text, but for tables and words."""
    tokens = [one for token in MARKDOWN.parse(text) for one in [token, *(token.children or [])]]
    plain = ("table", "thead", "tbody", "tr", "th", "td", "paragraph", "heading", "inline")
    return {
        one.type
        for one in tokens
        if not one.type.startswith(plain) and one.type not in ("text", "code_inline", "fence")
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_acts_in_markdown(name):
    text = f"# {code(name)}\n\n{table(['a', 'b'], [[code(name), '1'], ['2', code(name)]], 1)}\n"
    assert not acting(text)
    cells = [one for one in MARKDOWN.parse(text) if one.type == "td_open"]
    assert len(cells) == 4
    assert text.count("\n") == 6


def test_the_hub_reads_the_metadata_of_a_merge(tmp_path):
    local = tmp_path / "mine"
    local.mkdir()
    found = parsed(front_matter(metadata(LLAMA, ["org/base", "org/ft@v1", str(local)])))
    assert found.data.to_dict() == {
        "base_model": ["org/base", "org/ft"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["merge", "evojax-merge"],
    }
    # Names that lead nowhere are no repositories, and a relation to nothing is not said.
    assert "base_model" not in metadata(LLAMA, [str(local), "a/b/c", "o/a--b", "o/x.git"])
    assert metadata({"model_type": "mlp"}, []) == {"tags": ["merge", "evojax-merge"]}
    drawn = metadata({"_class_name": "StableDiffusionPipeline"}, [])
    assert (drawn["library_name"], drawn["pipeline_tag"]) == ("diffusers", "text-to-image")


def test_a_snapshot_in_the_cache_is_known_by_its_repository(tmp_path):
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    assert metadata(LLAMA, [str(snapshot)])["base_model"] == ["org/tiny"]


@pytest.mark.parametrize(
    ("cards", "agreed"),
    [
        (["license: mit\nlanguage: [en, ja]", "license: mit\nlanguage: [ja, en]"],
         {"license": "mit", "language": ["en", "ja"]}),
        (["license: mit", "license: apache-2.0"], {}),
        (["license: mit", None], {}),
        (["license: other", "license: other"], {}),
        (["license: 'a: b'\nlanguage: ['<b>']", "license: 'a: b'\nlanguage: ['<b>']"], {}),
        (["license: [", "license: ["], {}),
        (["license: &a [*a]", "- 1"], {}),
        (["language: no", "language: 'no'"], {}),
    ],
)  # fmt: skip
def test_what_all_sources_agree_on_is_kept(tmp_path, cards, agreed):
    sources = []
    for number, card in enumerate(cards):
        source = tmp_path / str(number)
        source.mkdir()
        if card is not None:
            (source / "README.md").write_text(f"---\n{card}\n---\n# it\nlicense: gpl\n")
        sources.append(str(source))
    found = metadata(LLAMA, sources)
    assert {key: found[key] for key in ("license", "language") if key in found} == agreed
    parsed(front_matter(found))


def test_a_card_of_strange_names_is_a_card(tmp_path):
    source = tmp_path / "a`b <b>x</b>"
    write_checkpoint(source, tiny_config(), tensors=random_tensors(tiny_config(), 0))
    recipe = Recipe(
        operator="evojax_merge.operators.linear",
        arguments={"normalize": HOSTILE[0]},
        base=None,
        sources=(Ingredient(str(source)), Ingredient("org/other")),
        segments=tuple(Segment(name, ("mlp",), 0, 3) for name in HOSTILE),
        coefficients={"weight": np.ones((2, len(HOSTILE)), np.float32)},
        notes={"experiment": HOSTILE[4], "source_names": [HOSTILE[3], 7], "evaluations": "<b>"},
        dtype="float32",
    )
    items = np.array([0.0, 1.0, 1.0])
    results = [
        Result.of(name, digits_task(), items, chosen_on_these_items=True) for name in HOSTILE
    ]
    text = described(recipe, load_config(source), tmp_path / "out", results)["README.md"]
    assert parsed(text).data.tags == ["merge", "evojax-merge"]
    assert parsed(text).data.base_model == ["org/other"]
    assert not acting(parsed(text).text)
    assert "chosen by results on items among these" in text
    assert "evil" not in parsed(text).data.to_dict().get("tags", [])


def test_the_card_of_a_path_names_its_layers(tmp_path):
    source = write_checkpoint(
        tmp_path / "a", tiny_config(), tensors=random_tensors(tiny_config(), 0)
    )
    pool = {"a": Ingredient(str(source)), "b": Ingredient("org/b")}
    recipe = PathRecipe(pool, "a", (Hop("a", 0), Hop("b", 2, 0.5)))
    files = described(recipe, load_config(source), tmp_path / "out")
    assert "| 1 | `b` | 2 | 0.5 |" in files["README.md"]
    assert set(files) == {"README.md", "recipe.yaml"}


def test_the_card_of_a_yaml_holds_it(tmp_path):
    text = "# ```\nmerge_method: linear\n"
    card = described_merge(text, ["org/a", "org/b"], LLAMA, name="mine", seed=3)["README.md"]
    assert parsed(card).data.tags == ["merge", "evojax-merge", "mergekit"]
    assert "mergekit_config.yml --seed 3" in card
    fences = [one.content for one in MARKDOWN.parse(parsed(card).text) if one.type == "fence"]
    assert text in fences


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run whose sources were named from the directory that it was started in."""
    place = tmp_path_factory.mktemp("place")
    texts = random_tensors(tiny_config(), 0)
    for number, name in enumerate(("base", "a", "b")):
        noise = random_tensors(tiny_config(), number)
        tensors = {key: (texts[key] + 0.1 * noise[key]).astype(np.float32) for key in texts}
        write_checkpoint(place / name, tiny_config(), tensors=tensors)
        (place / name / "README.md").write_text("---\nlicense: mit\n---\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        evolve(
            [
                "model.base=base", "model.sources=[a,b]", "operator=ties", "fitness=size",
                "strategy.population_size=2", "search.evaluations=2", "baselines.published=false",
                "baselines.sources=false",
            ],
            "run",
        )  # fmt: skip
    return place / "run"


def test_the_card_of_a_winner_is_one_of_the_hub(run):
    card = ModelCard.load(run / "export/README.md", ignore_metadata_errors=False)
    assert card.data.license == "mit"
    assert card.data.pipeline_tag == "text-generation"
    assert card.text.lstrip().startswith("# A merge of `a` and `b`\n")
    assert "| `evolved` |" in card.text


def test_an_export_rebuilds_itself_from_anywhere(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run.parent)
    relative = (run / "export/recipe.yaml").read_text().replace(f"{run.parent}/", "")
    Path("recipe.yaml").write_text(relative)
    api.apply("recipe.yaml", "some/where")
    kept = yaml.safe_load((run.parent / "some/where/recipe.yaml").read_text())
    assert kept["base"]["path"] == "../../base"
    tree = yaml.safe_load((run.parent / "some/where/mergekit_config.yml").read_text())
    assert tree["base_model"] == "../../base"

    monkeypatch.chdir(tmp_path)
    api.apply(run.parent / "some/where/recipe.yaml", "again")
    exports = (run / "export", run.parent / "some/where", tmp_path / "again")
    assert len({(one / "model.safetensors").read_bytes() for one in exports}) == 1
    assert "Results" not in ModelCard.load(tmp_path / "again/README.md").text


def test_an_export_comes_with_the_same_merge_for_mergekit(run, monkeypatch):
    monkeypatch.chdir(run / "export")
    api.apply_mergekit("mergekit_config.yml", "../by_yaml")
    ours, theirs = (load_file(run / one / "model.safetensors") for one in ("export", "by_yaml"))
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor, theirs[name], err_msg=name)
    assert ModelCard.load(run / "by_yaml/README.md").data.tags[-1] == "mergekit"


def test_pipelines_have_cards_in_a_folder_and_in_one_file(tmp_path):
    configs = pipeline_configs()
    source = write_folder(tmp_path / "source", configs, pipeline_tensors(configs, 0))
    recipe = Recipe(
        operator="evojax_merge.operators.linear",
        arguments={},
        base=None,
        sources=(Ingredient(str(source)),),
        segments=(Segment("all", ("attention",), 0, 1),),
        coefficients={"weight": np.ones((1, 1), np.float32)},
    )
    model = load(source)
    files = described(recipe, model, tmp_path / "folder")
    export(model, tmp_path / "folder", extra=files)
    card = ModelCard.load(tmp_path / "folder/README.md", ignore_metadata_errors=False)
    assert (card.data.library_name, card.data.pipeline_tag) == ("diffusers", "text-to-image")
    export(model, tmp_path / "one.safetensors", extra=files)
    with safe_open(tmp_path / "one.safetensors", "numpy") as file:
        kept = file.metadata()
    assert kept["evojax_merge.README.md"] == files["README.md"]
    assert Recipe.from_yaml(kept["evojax_merge.recipe.yaml"]).sources == recipe.sources
