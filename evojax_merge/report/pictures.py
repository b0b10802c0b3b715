"""Pictures that models drew, as files and side by side."""

import io
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import naming, open_regular, write_whole
from evojax_merge.fitness.drawing.showing import Drawn
from evojax_merge.report.plots import blank_figure, drawable, save_figure

FONTS = ("Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "IPAGothic", "TakaoGothic",
         "Hiragino Sans", "Yu Gothic", "MS Gothic")  # fmt: skip
"""Fonts with Japanese characters, of which the first that is there draws prompts."""

_LARGEST = 2**26
"""The most pixels of a picture that is read."""

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


class Thumbnail(NamedTuple):
    """A small copy of a picture.

    Attributes:
        content: The bytes of its file.
        kind: The type of that file, as the web has it.
        width: Its width in pixels.
        height: Its height in pixels.
        is_small: Whether it is the picture itself, which is to be enlarged without smoothing.
        prompt: What the picture was drawn from, if the file says so.
    """

    content: bytes
    kind: str
    width: int
    height: int
    is_small: bool
    prompt: str


def thumbnail(file: Path, side: int) -> Thumbnail | None:
    """A small copy of a picture; None of a file that is none.

    Args:
        file: A PNG.
        side: The longer side in pixels of the copy. A picture that is smaller stays as it is.
    """
    try:
        with open_regular(file) as stream, Image.open(stream, formats=["PNG"]) as picture:
            if picture.width * picture.height > _LARGEST:
                return None
            prompt = str(picture.info.get("prompt", ""))
            is_small = max(picture.size) <= _SMALL and max(picture.size) <= side
            copy = picture.convert("RGB")
    except (DocumentError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    copy.thumbnail((side, side))
    content = io.BytesIO()
    if is_small:
        copy.save(content, "PNG", optimize=True)
    else:
        copy.save(content, "JPEG", quality=82, optimize=True)
    kind = "image/png" if is_small else "image/jpeg"
    return Thumbnail(content.getvalue(), kind, copy.width, copy.height, is_small, prompt)


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
