"""Recipe files: what is read as it stands, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecompile.config import parse
from edgecompile.errors import ConfigError
from edgecompile.recipe import GateSection, Preprocess, load_recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data = 3", "`data`: must be a table (got 3)"),
        ("[[data]]", "`data`: must be a table"),
        ("[data]\nvalidation = 3", "`data.validation`: must be a text (got 3)"),
        ("[data]\nvalidation = ''", '`data.validation`: must not be empty (got "")'),
        ("[build]\nout = ''", '`build.out`: must not be empty (got "")'),
        ("[gate]\nmax_drop = '0.1'", '`gate.max_drop`: must be a number (got "0.1")'),
        ("[gate]\nmin = true", "`gate.min`: must be a number (got true)"),
        ("[gate]\nmin = nan", "`gate.min`: must be a finite number"),
        ("[gate]\nmin = 2020-01-01", '`gate.min`: must be a number (got "2020-01-01")'),
        ("[model]\nallow_code = 1", "`model.allow_code`: must be true or false (got 1)"),
        ("[model]\nallow_code = 'no'", '`model.allow_code`: must be true or false (got "no")'),
        ("[data]\nseed = 1.5", "`data.seed`: must be a whole number (got 1.5)"),
        ("[model.shape]\nx = [1, 0]", "`model.shape.x.1`: must be greater than 0 (got 0)"),
        ("[model.shape]\nx = [1, 99999999999]", "must be less than or equal to 2147483647"),
        ("[build]\ntargets = 'coral'", '`build.targets`: must be a list (got "coral")\n  → write ["coral"]'),
        ("[data.preprocess]\nscale = '1/255'", "must be a number, or a list with one per channel"),
        ("[data.preprocess]\nscale = []", "must be a number, or a list with one per channel"),
        ("[data.preprocess]\nscale = true", "must be a number, or a list with one per channel"),
        ("[data.preprocess]\nscale = [1, 0]", "`data.preprocess.scale`: must not be 0"),
        ("[data.preprocess]\nstd = 0", "`data.preprocess.std`: must not be 0"),
        ("passes = ['quantize']", '`passes.0`: must be a table (got "quantize")'),
        ("[[passes]]", "`passes.0.name` is missing"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_toml(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError) as error:
        load_recipe(str(tmp_path / "r.toml"))
    assert told in str(error.value)
    assert len(error.value.problems) == 1


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[gate]\r\nmin = 1\r\n", "utf-8-sig")
    assert load_recipe(str(tmp_path / "r.toml"))[0].gate.min == 1.0


def test_numbers_of_numpy_are_numbers() -> None:
    assert parse(GateSection, {"max_drop": np.float64(0.25)}, where="").max_drop == 0.25
    assert parse(Preprocess, {"scale": np.array([0.5, 2])}, where="").scale == (0.5, 2.0)
    assert parse(Preprocess, {"scale": [np.float32(0.5), np.int64(2)]}, where="").scale == (0.5, 2.0)
