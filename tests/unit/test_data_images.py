"""Folders of images: what is read, and what is said about files that are no such thing."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from edgecompile.data.dataset import Dataset
from edgecompile.data.load import load_dataset
from edgecompile.data.preprocess import resize
from edgecompile.errors import ConfigError, ToolError
from edgecompile.recipe import DataSection, Preprocess

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
GREY = COLOUR[..., 0]


def write(path: Path, pixels: np.ndarray, mode: str | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def load(folder: Path, **section: Any) -> Dataset:
    return load_dataset(folder.name, DataSection(**section), base=folder.parent)


def failure(folder: Path, **section: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, **section)
    return str(caught.value)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two dogs and a cat, of one size."""
    write(tmp_path / "pets" / "dog" / "2.png", COLOUR)
    write(tmp_path / "pets" / "dog" / "10.bmp", COLOUR[::-1])
    write(tmp_path / "pets" / "cat" / "a.PNG", COLOUR[:, ::-1])
    return tmp_path / "pets"


def test_folders_are_classes_and_rows_are_sorted(pets: Path) -> None:
    data = load(pets)
    assert data.class_names == ("cat", "dog")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1]
    x = data.inputs["*"]
    assert (x.dtype, x.shape) == (np.uint8, (3, 6, 5, 3))
    for row, pixels in zip(x, (COLOUR[:, ::-1], COLOUR[::-1], COLOUR), strict=True):
        assert np.array_equal(row, pixels)


def test_a_labels_file_gives_the_order(pets: Path) -> None:
    (pets.parent / "labels.txt").write_text("dog\nbird\ncat\n")
    data = load(pets, labels="labels.txt")
    assert data.labels is not None
    assert data.labels.tolist() == [2, 0, 0]
    (pets.parent / "labels.txt").write_text("dogs\ncat\n")
    assert "is not in the labels file" in failure(pets, labels="labels.txt")
    assert "did you mean `dogs`?" in failure(pets, labels="labels.txt")


def test_only_images_are_rows_without_labels(tmp_path: Path) -> None:
    write(tmp_path / "f" / "1.png", COLOUR)
    data = load(tmp_path / "f")
    assert data.labels is None
    assert len(data) == 1


def test_grey_images_have_one_channel_unless_one_is_in_colour(tmp_path: Path) -> None:
    write(tmp_path / "f" / "1.png", GREY)
    write(tmp_path / "f" / "2.png", GREY, "1")
    assert load(tmp_path / "f").inputs["*"].shape == (2, 6, 5, 1)
    for mode in ("RGB", "RGBA", "P", "LA"):
        write(tmp_path / "f" / "3.png", COLOUR, mode)
        x = load(tmp_path / "f").inputs["*"]
        assert x.shape == (3, 6, 5, 3)
        assert np.array_equal(x[0], np.repeat(GREY[..., None], 3, -1))


def test_jpeg_is_read(tmp_path: Path) -> None:
    write(tmp_path / "f" / "1.jpeg", np.full((8, 8, 3), 100, np.uint8), quality=95)
    assert np.abs(load(tmp_path / "f").inputs["*"].astype(int) - 100).max() <= 2


def test_sizes_must_agree_or_be_set(tmp_path: Path) -> None:
    write(tmp_path / "f" / "1.png", COLOUR)
    write(tmp_path / "f" / "2.png", COLOUR[:4])
    text = failure(tmp_path / "f")
    assert "images differ in size: 4×5 to 6×5 (height×width)" in text
    assert "set `resize = [height, width]`" in text
    data = load(tmp_path / "f", preprocess=Preprocess(resize=(3, 4), scale=(0.5,)))
    x = data.inputs["*"]
    assert (x.dtype, x.shape) == (np.uint8, (2, 3, 4, 3))
    assert np.array_equal(x[0], np.rint(resize(COLOUR[None], (3, 4))[0]))
    assert np.array_equal(data.batch("*"), x * np.float32(0.5))


def test_resize_may_be_set_under_the_models_name(tmp_path: Path) -> None:
    write(tmp_path / "f" / "1.png", COLOUR)
    data = load(tmp_path / "f", inputs={"image": Preprocess(resize=(2, 2))})
    assert data.inputs["*"].shape == (1, 2, 2, 3)


def test_what_file_managers_leave_is_left_alone(pets: Path) -> None:
    for name in ("Thumbs.db", "dog/.DS_Store", "cat/desktop.ini", ".cache/x.txt"):
        (pets / name).parent.mkdir(exist_ok=True)
        (pets / name).touch()
    assert len(load(pets)) == 3


def test_other_files_are_named(pets: Path) -> None:
    (pets / "dog" / "notes.txt").touch()
    (pets / "cat" / "b.gif").touch()
    text = failure(pets)
    assert "notes.txt: is not a png, jpg or bmp image" in text
    assert "b.gif: is not a png, jpg or bmp image" in text


def test_empty_and_unclear_folders(tmp_path: Path, pets: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no images" in failure(tmp_path / "empty")
    write(pets / "stray.png", COLOUR)
    assert "images lie at different depths" in failure(pets)
    write(tmp_path / "deep" / "a" / "b" / "1.png", COLOUR)
    assert "images lie at different depths" in failure(tmp_path / "deep")


def test_damaged_images_are_all_named(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    write(folder / "good.png", COLOUR)
    content = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(content[:-40])
    (folder / "cut2.png").write_bytes(content[:60])
    (folder / "text.jpg").write_text("no image")
    assert "text.jpg: is not an image, or is damaged (no png, jpg or bmp)" in failure(folder)
    (folder / "text.jpg").unlink()
    text = failure(folder)
    assert "cut.png: is not an image, or is damaged" in text
    assert "cut2.png: is not an image, or is damaged" in text


def test_flipped_bits_never_end_in_a_traceback(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "f"
    for suffix, options in (("png", {}), ("jpg", {"quality": 80}), ("bmp", {})):
        write(tmp_path / f"whole.{suffix}", rng.integers(0, 256, (16, 16, 3), np.uint8), **options)
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        folder.mkdir(exist_ok=True)
        for position in rng.integers(0, len(content), 80):
            damaged = bytearray(content)
            damaged[position] ^= 1 << int(rng.integers(8))
            (folder / f"1.{suffix}").write_bytes(damaged)
            try:
                rows = len(load(folder))
            except ConfigError:
                continue
            assert rows == 1
        (folder / f"1.{suffix}").unlink()


def test_deep_pixels_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "f" / "1.png", GREY.astype(np.uint16) * 200)
    assert "has pixels of mode I;16, not 8-bit grey or colour" in failure(tmp_path / "f")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_image_bombs_are_refused_before_they_are_decoded(tmp_path: Path, side: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert "has more than 89 million pixels" in failure(tmp_path / "f")


def test_too_many_images_for_memory(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecompile.data.images.MAX_BYTES", 200)
    assert "3 images unpack to 270 B; at most 200 B are read" in failure(pets)


def test_without_pillow_the_extra_is_named(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ToolError) as caught:
        load(pets)
    assert caught.value.problems[0].hint == 'pip install "edgecompile[images]"'
