"""The metadata of a model card, which the hub reads: YAML between two lines of dashes.

Everything in it was checked against what the hub takes, since a stranger may have written it.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evojax_merge.checkpoints.directory import HubId, hub_id, member
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text
from evojax_merge.documents.yaml_text import load_yaml
from evojax_merge.sources.baked import split_baked

CARD = "README.md"
TAGS = ("merge", "evojax-merge")

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]*(\.[\w-]+)*/[A-Za-z0-9_][\w-]*(\.[\w-]+)*", re.ASCII)
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
_LANGUAGE = re.compile(r"[a-z]{2,3}|multilingual|code")
_NO_LICENSES = ("other", "unknown")
_MOST = 2**20
"""How many bytes a card may have."""

_PIPELINE_TAGS = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForImageClassification": "image-classification",
    "CLIPModel": "zero-shot-image-classification",
    "SiglipModel": "zero-shot-image-classification",
    "LlavaForConditionalGeneration": "image-text-to-text",
    "LlavaNextForConditionalGeneration": "image-text-to-text",
    "Qwen2_5_VLForConditionalGeneration": "image-text-to-text",
    "WhisperForConditionalGeneration": "automatic-speech-recognition",
}
"""What models do, by the end of the names of their classes in transformers."""

_OWN_TYPES = ("mlp",)
"""Model types that transformers does not know."""


def metadata(
    hf_config: Mapping[str, Any], sources: Sequence[str], tags: Sequence[str] = ()
) -> dict[str, Any]:
    """The metadata of a merge.

    Args:
        hf_config: The ``config.json`` of the merge; of a pipeline, its ``model_index.json``.
        sources: The models that are merged, as `evojax_merge.checkpoints.resolve` takes them.
        tags: Further tags.
    """
    plain = [part for source in sources for part in _parts(source)]
    ids = [one.name for one in map(hub_id, plain) if one is not None and _is_repository(one.name)]
    found: dict[str, Any] = {}
    if ids:
        found |= {"base_model": list(dict.fromkeys(ids)), "base_model_relation": "merge"}
    pipeline = "_class_name" in hf_config
    architectures = hf_config.get("architectures") or [""]
    if pipeline:
        found |= {"library_name": "diffusers", "pipeline_tag": "text-to-image"}
    elif hf_config.get("model_type") not in (None, *_OWN_TYPES):
        found["library_name"] = "transformers"
        for end, tag in _PIPELINE_TAGS.items():
            if str(architectures[0]).endswith(end):
                found["pipeline_tag"] = tag
    found["tags"] = [*TAGS, *tags]
    return found | _agreed([_card_of(source) for source in plain])


def front_matter(found: Mapping[str, Any]) -> str:
    """The metadata as the first lines of a card."""
    return f"---\n{yaml.safe_dump(dict(found), sort_keys=False)}---\n"


def _parts(source: str) -> list[str]:
    """The model, and the LoRA that is baked into it where one is."""
    baked = split_baked(source)
    return [source] if baked is None else [baked.model, baked.lora]


def _is_repository(name: str) -> bool:
    """Whether the hub takes a name of a repository."""
    plain = _REPOSITORY.fullmatch(name) is not None and len(name) <= 96
    return plain and "--" not in name and not name.endswith((".git", "-", "."))


def _agreed(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The licence and the languages that all cards have alike."""
    found: dict[str, Any] = {}
    licences = {_licence(card) for card in cards}
    if len(licences) == 1 and (licence := licences.pop()):
        found["license"] = licence
    languages = {_languages(card) for card in cards}
    if len(languages) == 1 and (every := languages.pop()):
        found["language"] = sorted(every)
    return found


def _licence(card: Mapping[str, Any]) -> str | None:
    given = card.get("license")
    known = isinstance(given, str) and _LICENSE.fullmatch(given) and given not in _NO_LICENSES
    return given if known else None


def _languages(card: Mapping[str, Any]) -> frozenset[str]:
    given = card.get("language")
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list):
        return frozenset()
    known = all(isinstance(one, str) and _LANGUAGE.fullmatch(one) for one in names)
    return frozenset(names) if known else frozenset()


def _card_of(source: str) -> Mapping[str, Any]:
    """The metadata of a source's own card; nothing where none can be read."""
    file = _file_of(source)
    if file is None:
        return {}
    try:
        text = read_text(file, _MOST)
        found = re.match(r"\ufeff?\s*---\r?\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
        tree = load_yaml(found[1]) if found else None
    except (DocumentError, OSError, yaml.YAMLError):
        return {}
    return tree if isinstance(tree, Mapping) else {}


def _file_of(source: str) -> Path | None:
    path = Path(source).expanduser()
    if path.is_dir():
        try:
            return member(path, CARD)
        except ValueError:  # a link to elsewhere
            return None
    found: HubId | None = hub_id(source)
    if found is None:
        return None
    from evojax_merge.checkpoints.hub import in_cache

    return in_cache(found.name, found.revision, CARD)
