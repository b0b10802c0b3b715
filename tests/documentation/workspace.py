"""A directory in which the commands of the documentation find what they name."""

import json
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.numpy import save_file

from tests.diffusion_factory import write_drawing_pipeline
from tests.documentation.pages import ROOT

QUICKSTART = ROOT / "experiments" / "quickstart"
VISION = {"mistral-7b": "base", "llava-v1.6-mistral-7b": "seer", "shisa-gamma-7b-v1": "japanese"}
"""What stands for models of 7 B parameters, which see or read."""

CLIPS = ROOT / "experiments" / "digits_clip" / "sources"
SEEN_BY = {
    "image_classification": ("clip-base", ("clip-parity", "clip-turned")),
    "text_to_image": ("sdxl-base", ("sdxl-dpo", "juggernaut-xl-v9")),
    "visual_question": ("mistral-7b", ("llava-v1.6-mistral-7b", "shisa-gamma-7b-v1")),
}
"""The base and the sources that a task with pictures is measured on."""

DRAWING = ("sdxl-base", "sdxl-dpo", "juggernaut-xl-v9", "juggernaut", "jsdxl", "japanese-sdxl")
"""What stands for models that draw: tiny random ones."""

DRAWERS = ("unet", "text_encoder", "jsdxl")
"""What commands name that are about models that draw, whether they name a task or not."""

ITEMS = ("sums", "math", "japanese", "search", "validation", "test", "examples")
"""Files of word problems."""


def furnish(directory: Path) -> Path:
    """Put the bundled checkpoints and a few items of each kind of data into a directory."""
    for name, source in (("base", "base"), ("math", "change"), ("japanese", "japanese")):
        (directory / name).symlink_to(QUICKSTART / "sources" / source)
    for name, source in VISION.items():
        (directory / name).symlink_to(ROOT / "experiments" / "vision" / "sources" / source)
    for source in ("base", "parity", "turned"):
        (directory / f"clip-{source}").symlink_to(CLIPS / source)
    lines = (QUICKSTART / "data" / "search.jsonl").read_text(encoding="utf-8").splitlines()
    problems = [json.loads(line) for line in lines]
    for problem in problems:  # `operator.data` reads texts
        problem["text"] = problem["question"]
    for number, name in enumerate(ITEMS):
        _write(directory / f"{name}.jsonl", problems[8 * number : 8 * (number + 1)])
    _write(directory / "mine.jsonl", problems[:160])  # more than a minibatch, or than anchors
    texts = [{"text": problem["text"]} for problem in problems[:8]]
    choices = [
        {"question": f"{n} + 1 =", "choices": [str(n), str(n + 1)], "answer": 1} for n in range(8)
    ]
    for name, rows in (("texts", texts), ("ja", texts), ("choices", choices)):
        _write(directory / f"{name}.jsonl", rows)
    (directory / "sums.csv").write_text("question,answer\n1 + 1 =,2\n1 + 2 =,3\n")
    (directory / "choices.csv").write_text("question,A,B,C,D,answer\n1 + 1 =,2,3,4,5,A\n")
    _write(
        directory / "chats.jsonl", [{"messages": [{"role": "user", "content": "1"}], "answer": 1}]
    )
    rng = np.random.default_rng(0)
    inputs, label = rng.random((8, 64), np.float32), np.arange(8)
    np.savez(directory / "features.npz", inputs=inputs, label=label)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(directory / "1.png")
    pictures = [{"image": "1.png", "label": label} for label in ("cat", "dog")]
    _write(directory / "pictures.jsonl", pictures)
    questions = [{"image": "1.png", "question": f"{n}?", "answer": "1"} for n in range(8)]
    for name in ("questions", "ja_vqa"):
        _write(directory / f"{name}.jsonl", questions)
    tests = [{"question": "add(a, b)", "tests": ["assert add(1, 2) == 3"], "answer": ""}]
    _write(directory / "programs.jsonl", tests)
    (directory / "score.py").write_text("def score(answer, item):\n    return len(answer)\n")
    own = "def accuracy(directory, data):\n    return 1.0\n"
    (directory / "accuracy.py").write_text(own)
    prompts = [{"prompt": name, "image": "1.png", "label": name} for name in ("cat", "dog")]
    _write(directory / "prompts.jsonl", prompts)
    for seed, name in enumerate(DRAWING[:2]):
        write_drawing_pipeline(directory / name, seed=seed)
    for name in DRAWING[2:]:
        (directory / name).symlink_to(directory / DRAWING[1])
    shapes = {"down": (2, 16), "up": (16, 2)}
    prefix = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_"
    factors = {f"{prefix}{name}.weight": np.zeros(s, np.float32) for name, s in shapes.items()}
    save_file(factors, directory / "lightning.safetensors")
    (directory / "prompts.txt").write_text("a cat\na dog\n")
    save_file({"0.weight": np.ones((1, 32), np.float32)}, directory / "head.safetensors")
    return directory


def _write(path: Path, rows: list[dict]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


def filled_in(words: tuple[str, ...]) -> list[str]:
    """The overrides of an `evolve` command with models and data in the places left open."""
    given = [word.replace("[DIR,DIR]", "[math,japanese]") for word in words]
    given = [word.replace("model.base=DIR", "model.base=base") for word in given]
    if "..." not in given:
        return given
    fitness = [word.partition("=")[2] for word in given if word.startswith("fitness=")]
    if not fitness and any(name in word for word in given for name in DRAWERS):
        fitness = ["text_to_image"]
        given += ["fitness=text_to_image", "fitness.data=prompts.jsonl"]
    own_data = any(word.startswith("fitness.data=") for word in given)
    several = any(
        name.startswith("[") or name in ("several", "size", "lm_eval") for name in fitness
    )
    base, sources = SEEN_BY.get(fitness[0] if fitness else "", ("base", ("math", "japanese")))
    if any("text_to_image" in word for word in given):
        base, sources = SEEN_BY["text_to_image"]
        tasks = [word.partition("=")[0] for word in given if word.endswith("=text_to_image")]
        given += [f"{task.rpartition('@')[2]}.scorer=clip-base" for task in tasks]
    models = [f"model.base={base}"]
    if not any(word.startswith("model.sources=") for word in given):
        models.append(f"model.sources=[{','.join(sources)}]")
    data = [] if own_data or several else ["fitness.data=mine.jsonl"]
    given.remove("...")
    return [*given, *models, *data]


def shortened(config: DictConfig) -> DictConfig:
    """A configuration whose answers fit into the 128 tokens that the bundled models read."""
    tasks = config.fitness.get("tasks") or {}
    for task in (config.fitness, *(tasks.values() if OmegaConf.is_dict(tasks) else ())):
        if "max_new_tokens" in task:
            task.max_new_tokens = 20
    return config
