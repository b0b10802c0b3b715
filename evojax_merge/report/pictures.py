"""Pictures that models drew, as files and side by side."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evojax_merge.documents.files import naming, write_whole
from evojax_merge.fitness.drawing.showing import Drawn
from evojax_merge.report.plots import blank_figure, drawable, save_figure

FONTS = ("Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "IPAGothic", "TakaoGothic",
         "Hiragino Sans", "Yu Gothic", "MS Gothic")  # fmt: skip
"""Fonts with Japanese characters, of which the first that is there draws prompts."""

_SMALL = 128
"""The side in pixels below which pictures are enlarged without smoothing."""


def save_pictures(pictures: Sequence[Drawn], folder: Path, notes: Mapping[str, str]) -> list[Path]:
    """Write pictures as ``000.png``, ``001.png``, and so on.

    Each says in its metadata what it was drawn by: texts called ``prompt``, ``negative``, ``seed``
    and ``drawing``, and those of ``notes``.

    Args:
        pictures: The pictures.
        folder: The folder, which is made if it is not there.
        notes: Further texts by name, e.g. the recipe of the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, one in enumerate(pictures):
        info = PngInfo()
        texts = {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in one.record.items()
        }
        for key, text in {**texts, **notes}.items():
            info.add_text(key, text)
        file = folder / f"{number:03d}.png"
        _write(file, one.pixels, info)
        files.append(file)
    return files


def _write(file: Path, pixels: UInt8[np.ndarray, "height width 3"], info: PngInfo) -> None:
    def write(partial: Path) -> None:
        Image.fromarray(pixels).save(partial, format="PNG", pnginfo=info)

    with naming(file):
        write_whole(file, write)


def folder_of(name: str) -> str:
    """The name of a folder for the pictures of a method, whatever the method is called."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "_"


def plot_gallery(methods: Mapping[str, Sequence[Drawn]], path: Path) -> None:
    """Draw a table of pictures with a row for each method and a column for each prompt.

    Args:
        methods: The pictures of each method, by its name; all of the same prompts.
        path: The PNG that is written.
    """
    from matplotlib import font_manager

    prompts = [str(one.record["prompt"]) for one in next(iter(methods.values()))]
    figure = blank_figure(1.2 + 1.5 * len(prompts), 0.6 + 1.5 * len(methods))
    table = figure.subplots(len(methods), len(prompts), squeeze=False)
    known = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(font for font in FONTS if font in known)][:2]
    for row, (name, pictures) in zip(table, methods.items(), strict=True):
        for axes, one in zip(row, pictures, strict=True):
            smooth = None if max(one.pixels.shape) > _SMALL else "nearest"
            axes.imshow(one.pixels, interpolation=smooth)
            axes.set_xticks([])
            axes.set_yticks([])
        label = textwrap.fill(drawable(name), 16)
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    for axes, prompt in zip(table[0], prompts, strict=True):
        shown = textwrap.fill(textwrap.shorten(drawable(prompt), 80, placeholder=" …"), 20)
        axes.set_title(shown, fontsize=7, family=fonts)
    save_figure(figure, path)
