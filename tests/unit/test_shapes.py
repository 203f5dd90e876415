"""Which input shape is compiled."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.errors import ConfigError
from edgecompile.recipe import ModelSection
from edgecompile.training.shapes import Port, fix_shapes

IMAGE = Port("image", (None, None, None, 3), "float32")
FIXED = Port("x", (None, 8), "float32")


def section(batch: int = 1, **shape: tuple[int, ...]) -> ModelSection:
    return ModelSection(batch=batch, shape=shape)


def refusal(ports: list[Port], given: ModelSection) -> str:
    with pytest.raises(ConfigError) as caught:
        fix_shapes(ports, given)
    return str(caught.value)


def test_an_open_batch_becomes_the_build_batch() -> None:
    assert fix_shapes([FIXED], section()) == {"x": (1, 8)}
    assert fix_shapes([FIXED], section(batch=4)) == {"x": (4, 8)}


def test_given_shapes() -> None:
    assert fix_shapes([IMAGE], section(image=(1, 96, 64, 3))) == {"image": (1, 96, 64, 3)}
    assert fix_shapes([IMAGE], ModelSection(shape={"*": (2, 9, 9, 3)})) == {"image": (2, 9, 9, 3)}
    assert fix_shapes([Port("x", None, "float32")], section(x=(1, 5))) == {"x": (1, 5)}
    assert fix_shapes([Port("s", (), "float32")], section()) == {"s": ()}


def test_every_input_with_open_sizes_is_listed_with_the_flag_to_give() -> None:
    series = Port("series", (None, None, 6), "float32")
    text = refusal([IMAGE, series, FIXED, Port("any", None, "float32")], section(batch=2))
    assert "input image: takes ?×?×?×3" in text
    assert "--shape image=2,224,224,3" in text
    assert "input series: takes ?×?×6" in text
    assert "--shape series=2,224,6" in text
    assert "input any: has no shape in the model" in text
    assert "input x" not in text


@pytest.mark.parametrize("shape", [(1, 9, 9, 4), (1, 9, 9), (1, 9, 9, 3, 1)])
def test_a_shape_that_contradicts_the_model(shape: tuple[int, ...]) -> None:
    text = refusal([IMAGE], section(image=shape))
    assert "contradicts the model, which takes ?×?×?×3" in text


def test_a_fixed_batch_is_kept_only_when_asked_for() -> None:
    port = Port("x", (4, 8), "float32")
    assert "--shape x=4,8 keeps the model's own batch" in refusal([port], section())
    assert fix_shapes([port], section(batch=4)) == {"x": (4, 8)}
    assert fix_shapes([port], section(x=(4, 8))) == {"x": (4, 8)}


def test_unknown_and_ambiguous_names() -> None:
    text = refusal([FIXED, IMAGE], ModelSection(shape={"*": (1, 8), "imgae": (1, 9, 9, 3)}))
    assert "nothing says which one is meant" in text
    assert "--shape x=…, --shape image=…" in text
    assert "the model has no input `imgae`" in text
    assert "did you mean `image`?" in text


def test_open_batch() -> None:
    assert FIXED.open_batch
    assert Port("x", None, "float32").open_batch
    assert not Port("x", (1, 8), "float32").open_batch
    assert not Port("x", (), "float32").open_batch


DIMENSIONS = st.lists(st.none() | st.integers(1, 64), min_size=1, max_size=5)


@given(st.dictionaries(st.sampled_from("abc"), DIMENSIONS, min_size=1), st.integers(1, 8), st.data())
def test_what_comes_out_agrees_with_the_model_and_the_user(
    inputs: Mapping[str, list[int | None]], batch: int, data: st.DataObject
) -> None:
    ports = [Port(name, tuple(shape), "float32") for name, shape in inputs.items()]
    asked = {
        name: tuple(d or data.draw(st.integers(1, 64)) for d in shape)
        for name, shape in inputs.items()
        if data.draw(st.booleans())
    }
    try:
        fixed = fix_shapes(ports, ModelSection(batch=batch, shape=asked))
    except ConfigError:
        left = [port for port in ports if port.name not in asked]
        assert any(None in port.shape[1:] or port.shape[0] not in (None, batch) for port in left if port.shape)
        return
    for port in ports:
        assert port.shape is not None
        assert all(want in (None, got) for want, got in zip(port.shape, fixed[port.name], strict=True))
        assert fixed[port.name] == asked.get(port.name, fixed[port.name])
