"""How answers are generated: what the task says, and what the model's own files say.

The harness calls ``generate`` of transformers, which takes from ``generation_config.json`` what it
is not told. So does this.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evojax_merge.checkpoints.directory import member, read_json
from evojax_merge.documents.errors import shown

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What tasks call the longest answer; the first that is given counts."""

_DEFAULT_TOKENS = 256

_WITHOUT_EFFECT = ("do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p", "use_cache")
"""Settings that change nothing where the likeliest token is always taken."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "bad_words_ids": (None, []),
    "begin_suppress_tokens": (None, []),
    "diversity_penalty": (None, 0),
    "dola_layers": (None,),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1),
    "exponential_decay_length_penalty": (None,),
    "force_words_ids": (None, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "guidance_scale": (None, 1),
    "max_length": (None,),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "no_repeat_ngram_size": (None, 0),
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "penalty_alpha": (None, 0),
    "sequence_bias": (None, []),
    "stop_strings": (None, []),
    "suppress_tokens": (None, []),
}
"""Settings that are not carried out here, and the values with which they change nothing."""


class Decoding(NamedTuple):
    """How answers are generated.

    Attributes:
        room: The tokens that prompts leave for the answer.
        max_new_tokens: The longest answer.
        until: The texts that end an answer and are no part of it.
        repetition_penalty: See `evojax_merge.models.request.Generate`.
    """

    room: int
    max_new_tokens: int
    until: tuple[str, ...]
    repetition_penalty: float


def decoding_of(
    given: Mapping[str, Any], directory: Path | None, eos: str | None, task: str
) -> Decoding:
    """Read the generation settings of a task for a model.

    Args:
        given: The settings of the harness's requests.
        directory: The directory of the model, which may have settings of its own.
        eos: The end token as a text, if there is one.
        task: The name of the task in messages.

    Raises:
        ValueError: A setting asks for what is not done here, such as sampling.
    """
    kwargs = dict(given)
    until = kwargs.pop("until", None)
    until = list(until) if isinstance(until, list | tuple) else [until] if until else []
    lengths = [kwargs.pop(name, None) for name in _LENGTHS]
    room = next((int(one) for one in lengths if one is not None), _DEFAULT_TOKENS)
    sampled, temperature = kwargs.get("do_sample"), float(kwargs.get("temperature") or 0)
    if sampled or (sampled is None and temperature > 0):
        raise ValueError(
            f"{task}: its answers are sampled (do_sample={sampled}, temperature={temperature:g}), "
            "and results of a search must not be by chance; set "
            "'fitness.generation_kwargs={do_sample: false}'"
        )
    own = {} if directory is None else _of_model(directory)
    for name, neutral in _NEUTRAL.items():
        for value, where in ((kwargs.get(name), "its generation_kwargs"), (own.get(name), "")):
            if value in neutral or (where == "" and (name in kwargs or name == "max_length")):
                continue
            where = where or f"{directory}/generation_config.json"
            raise ValueError(
                f"{task}: {where} sets {name} to {shown(value)}, which is not carried out here; "
                f"set it to {neutral[-1]} with fitness.generation_kwargs"
            )
    known = {*_WITHOUT_EFFECT, *_NEUTRAL, "repetition_penalty"}
    if unknown := sorted(set(kwargs) - known):
        raise ValueError(
            f"{task}: its generation_kwargs have {unknown[0]}, which is not known here; lm-eval "
            "would hand it to transformers"
        )
    penalty = kwargs.get("repetition_penalty", own.get("repetition_penalty")) or 1.0
    longest = own.get("max_new_tokens") or room  # transformers prefers that of the model
    texts = [text for text in (*until, eos) if text]
    return Decoding(room, int(longest), tuple(dict.fromkeys(texts)), float(penalty))


def _of_model(directory: Path) -> dict[str, Any]:
    file = member(Path(directory), "generation_config.json")
    return read_json(file) if file.exists() else {}
