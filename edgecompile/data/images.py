"""Read a folder of images by class: `folder/CLASS/*.png`, or only images, without labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.npz import MAX_BYTES
from edgecompile.data.preprocess import resize
from edgecompile.errors import ConfigError, Problem, missing_extra, near_miss
from edgecompile.units import show_bytes

Array = npt.NDArray[Any]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_FORMATS = ("PNG", "JPEG", "BMP")

_DROPPINGS = ("thumbs.db", "desktop.ini")
"""Files that file managers leave; names that start with a dot are left alone too."""

_GREY_MODES = ("1", "L")
_COLOUR_MODES = ("RGB", "RGBA", "P", "CMYK", "YCbCr", "LA", "PA")


def read_images(
    folder: Path, *, size: tuple[int, int] | None, names: tuple[str, ...]
) -> tuple[Array, Array | None, tuple[str, ...]]:
    """Return (rows uint8 [n, height, width, channels], labels int64 [n] or None, class names).

    Channels are 1 when every image is grey, else 3: grey ones are repeated, palettes looked up, transparency dropped.
    Rows come in the order of sorted class names and file names.

    Args:
        folder: one subfolder per class, or only images (no labels then).
        size: (height, width) to resize every image to, bilinear, rounded to whole grey levels;
            None: all are of one size.
        names: class names in label order, from a labels file; empty: the sorted names of the subfolders.

    Raises:
        ConfigError: no images, other files among them, classes that are not in names, damaged or oversized images,
            images that differ in size while size is None; all at once.
        ToolError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401  # an optional extra: only here, and only asked whether it is there
    except ImportError:
        raise missing_extra("images", needed_for="a folder of images") from None
    files, labels, names = _listing(folder, names)
    headers = _headers(files)
    channels = 1 if all(mode in _GREY_MODES for _, mode in headers) else 3
    sizes = {shape for shape, _ in headers}
    if size is None and len(sizes) > 1:
        first, second = min(sizes), max(sizes)
        raise ConfigError(
            f"images differ in size: {first[0]}×{first[1]} to {second[0]}×{second[1]} (height×width)",
            where=str(folder),
            hint="set `resize = [height, width]` below [data.preprocess] to what the model takes",
        )
    height, width = size or next(iter(sizes))
    total = len(files) * height * width * channels
    if total > MAX_BYTES:
        raise ConfigError(
            f"{len(files):,} images unpack to {show_bytes(total)}; at most {show_bytes(MAX_BYTES)} are read",
            where=str(folder),
            hint="give fewer images, or set `resize` below [data.preprocess]",
        )
    return _decode(files, (height, width), channels), labels, names


def image_files(folder: Path) -> list[Path]:
    """Return every file of the folder that is read, sorted by its path below the folder."""
    found = (p for p in folder.rglob("*") if p.is_file() and not _is_left_alone(p.relative_to(folder)))
    return sorted(found, key=lambda p: p.relative_to(folder).parts)


def _is_left_alone(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name.lower() in _DROPPINGS


def _listing(folder: Path, names: tuple[str, ...]) -> tuple[list[Path], Array | None, tuple[str, ...]]:
    files = image_files(folder)
    depth = {len(p.relative_to(folder).parts) for p in files}
    strange = [p for p in files if p.suffix.lower() not in SUFFIXES]
    if strange:
        raise ConfigError.of(
            [
                Problem("is not a png, jpg or bmp image", str(p), "convert it, or move it elsewhere")
                for p in strange[:10]
            ]
        )
    if not files:
        raise ConfigError("holds no images", where=str(folder), hint="FOLDER/CLASS/*.png, *.jpg or *.bmp")
    if len(depth) > 1 or max(depth) > 2:
        raise ConfigError(
            "images lie at different depths, so their classes are not clear",
            where=str(folder),
            hint="one subfolder per class with images directly in it; or only images, without labels",
        )
    if depth == {1}:
        return files, None, names
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    unknown = [c for c in classes if names and c not in names]
    if unknown:
        raise ConfigError.of(
            [Problem("is not in the labels file", str(folder / c), near_miss(c, names)) for c in unknown]
        )
    names = names or tuple(classes)
    number = {name: i for i, name in enumerate(names)}
    return files, np.array([number[p.parent.name] for p in files], np.int64), names


def _headers(files: Sequence[Path]) -> list[tuple[tuple[int, int], str]]:
    """Return ((height, width), Pillow mode) of each file; nothing is decoded."""
    import PIL.Image

    found: list[tuple[tuple[int, int], str]] = []
    problems = []
    with warnings.catch_warnings():
        # Pillow warns from 89 megapixels on and refuses from 179 on; neither is what a model is measured on.
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        for file in files:
            try:
                with PIL.Image.open(file, formats=_FORMATS) as image:
                    found.append(((image.height, image.width), image.mode))
                    if image.mode not in (*_GREY_MODES, *_COLOUR_MODES):
                        hint = "save it with 8 bits, or give the rows as .npz"
                        problems.append(
                            Problem(f"has pixels of mode {image.mode}, not 8-bit grey or colour", str(file), hint)
                        )
            except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
                limit = (PIL.Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
                problems.append(Problem(f"has more than {limit} million pixels", str(file), "scale it down"))
            except (OSError, SyntaxError, ValueError, EOFError) as error:
                problems.append(_damaged(file, error))
    if problems:
        raise ConfigError.of(problems)
    return found


def _damaged(file: Path, error: Exception) -> Problem:
    said = "no png, jpg or bmp" if "cannot identify" in str(error) else str(error)
    return Problem(f"is not an image, or is damaged ({said})", str(file), "save it again, or take it out")


def _decode(files: Sequence[Path], size: tuple[int, int], channels: int) -> Array:
    import PIL.Image

    rows = np.empty((len(files), *size, channels), np.uint8)
    problems: dict[int, Problem] = {}

    def one(index: int) -> None:
        try:
            with PIL.Image.open(files[index], formats=_FORMATS) as image:
                pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            problems[index] = _damaged(files[index], error)
            return
        pixels = pixels.reshape(1, *pixels.shape[:2], channels)
        rows[index] = pixels[0] if pixels.shape[1:3] == size else np.rint(resize(pixels, size)[0])

    # Pillow decodes outside the interpreter lock, so threads use all cores.
    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(len(files))))
    if problems:
        raise ConfigError.of([problems[i] for i in sorted(problems)])
    return rows
