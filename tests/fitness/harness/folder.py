"""A directory of tasks of lm-evaluation-harness on the quickstart's word problems."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from evojax_merge.documents.bundled import experiments_directory

QUICKSTART = Path(experiments_directory()) / "quickstart"
NAMES = {"train": "search", "dev": "validation", "test": "test"}

CODE = '''
def answered(document, results):
    """The metric of a task with code of its own: the share of the answer's length."""
    (text,) = results
    return {"written": len(text) / 100, "lost": -len(text) / 100}


def shouted(dataset):
    return dataset.map(lambda one: {**one, "question": one["question"] + "!"})


def shares(items):
    return sum(items) / len(items)
'''

_EXACT = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
_FIRST = {"function": "take_first"}
_LAST_NUMBER = {
    "function": "regex",
    "group_select": -1,
    "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)",
}
_GENERATE = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}\n",
    "doc_to_target": "{{answer}}",
    "target_delimiter": "",
    "fewshot_delimiter": "\n",
    "metric_list": [_EXACT],
    "generation_kwargs": {"until": ["\n", "</s>"], "max_gen_toks": 32, "do_sample": False},
}
_CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}\n",
    "doc_to_target": "gold",
    "doc_to_choice": "choices",
    "target_delimiter": "",
}

TASKS: dict[str, dict[str, Any]] = {
    # as gsm8k: worked examples of the training split, a strict and a flexible filter
    "qs_generate": {
        **_GENERATE,
        "fewshot_split": "train",
        "num_fewshot": 1,
        "filter_list": [
            {
                "name": "strict",
                "filter": [{"function": "regex", "regex_pattern": "答えは([0-9]+)です"}, _FIRST],
            },
            {"name": "flexible", "filter": [_LAST_NUMBER, _FIRST]},
        ],
    },
    # short answers, and a stop in the middle of one
    "qs_until": {
        **_GENERATE,
        "generation_kwargs": {
            "until": ["です", "は"],
            "max_gen_toks": 8,
            "repetition_penalty": 1.3,
        },
        "filter_list": [{"name": "number", "filter": [_LAST_NUMBER, _FIRST]}],
    },
    "qs_code": {
        **_GENERATE,
        "process_docs": "!function metrics.shouted",
        "process_results": "!function metrics.answered",
        "metric_list": [
            {"metric": "written", "aggregation": "mean", "higher_is_better": True},
            {"metric": "lost", "aggregation": "mean", "higher_is_better": False},
        ],
    },
    "qs_choice": _CHOICE,
    # contexts that are cut, and everything that can be asked of choices
    "qs_choice_all": {
        **_CHOICE,
        "num_fewshot": 3,
        "fewshot_split": "train",
        "description": "<s>計算します。 ",
        "doc_to_text": "{{question}} ",
        "metric_list": [
            {"metric": name}
            for name in ("acc", "acc_norm", "acc_mutual_info", "exact_match", "brier_score")
        ],
    },
    # as winogrande: the choices stand in the context
    "qs_filled": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{gold}}",
        "doc_to_target": "です。",
        "doc_to_choice": "{{choices}}",
        "target_delimiter": " ",
    },
    # as lambada
    "qs_last": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}}\n",
        "doc_to_target": "{{begun}}",
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "qs_bare": {"output_type": "loglikelihood", "doc_to_text": "", "doc_to_target": "{{question}}"},
    # as wikitext; some documents are longer than the context
    "qs_rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{page}}",
    },
    "qs_bits": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{page}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
    # what a search cannot go by, or must not without being told to
    "qs_f1": {**_CHOICE, "metric_list": [{"metric": "f1"}, {"metric": "acc"}]},
    "qs_sampled": {**_GENERATE, "generation_kwargs": {"do_sample": True, "temperature": 0.7}},
    "qs_unsafe": {**_GENERATE, "unsafe_code": True},
}

GROUPS: dict[str, dict[str, Any]] = {
    "qs_group": {"task": ["qs_choice", "qs_choice_all"]},
    "qs_alike": {
        "task": ["qs_choice", "qs_choice_all"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": False}],
    },
}


def write_tasks(directory: Path) -> Path:
    """Write the tasks, their code and their data, and return the directory."""
    directory.mkdir(exist_ok=True)
    files = {}
    for name, own in NAMES.items():
        lines = (QUICKSTART / "data" / f"{own}.jsonl").read_text(encoding="utf-8").splitlines()
        documents = _documents([json.loads(line) for line in lines[:64]])
        path = directory / f"{name}.jsonl"
        text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents)
        path.write_text(text, encoding="utf-8")
        files[name] = str(path)
    data = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "training_split": "train",
        "test_split": "test",
        "tag": "qs_all_of_a_tag",
    }
    for name, settings in TASKS.items():
        tagged = {**data, "tag": ["qs_tag"]} if name in ("qs_choice", "qs_last") else data
        _write(directory / f"{name}.yaml", {"task": name, **tagged, **settings})
    only = {key: value for key, value in data.items() if key != "training_split"}
    _write(directory / "qs_test_only.yaml", {"task": "qs_test_only", **only, **_CHOICE})
    for name, settings in GROUPS.items():
        _write(directory / f"{name}.yaml", {"group": name, **settings})
    (directory / "metrics.py").write_text(CODE, encoding="utf-8")
    return directory


def _documents(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Word problems with choices, how an answer may begin, and pages of several problems."""
    found = []
    for number, record in enumerate(records):
        right = int(record["answer"])
        place = number % 3
        choices = [f"{right + 1}", f"{right + 10} です", f"{right * 2 + 1}"]
        choices[place] = f"{right}"
        page = "\n".join(one["question"] for one in records[number : number + 1 + number % 5])
        first = re.findall("[0-9]+", record["question"])[0]
        begun = f"{first}{'-+'[number % 2]}"  # as models begin their calculation, or not
        found.append({**record, "choices": choices, "gold": place, "page": page, "begun": begun})
    return found


def _write(path: Path, settings: dict[str, Any]) -> None:
    text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
    # Functions are named by a tag, which `safe_dump` writes as a text.
    path.write_text(
        text.replace("'!function ", "!function ")
        .replace(".shouted'", ".shouted")
        .replace(".answered'", ".answered"),
        encoding="utf-8",
    )
