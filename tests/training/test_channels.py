"""Channel removal: what is tied goes together, and what was zero is not missed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_files import libraries, randomized

from edgecompile.errors import PassError
from edgecompile.training.channel_choice import Chooser, damage_at, spread_by_damage, spread_evenly
from edgecompile.training.channel_cut import without
from edgecompile.training.channel_groups import CostModel, find_groups
from edgecompile.training.channel_rules import find_channels
from edgecompile.training.channel_scores import score
from edgecompile.training.channels import Channels
from edgecompile.training.network import read_network
from edgecompile.training.workshop import run_model

pytestmark = pytest.mark.tf


def silence(channels: Channels, removed: np.ndarray) -> None:
    """Set everything that makes, moves or scales the channels to zero."""
    for axis in channels.axes:
        weight = channels.layers[axis.layer].weights[axis.position]
        if axis.role == "reads" or "variance" in weight.name:
            continue
        values = weight.numpy()
        np.moveaxis(values, axis.axis, 0)[removed[channels.roots(axis.labels)]] = 0
        weight.assign(values)


def assert_not_missed(lib: Any, model: Any, choose: Callable[[list[int]], list[int]], seed: int) -> Any:
    """Remove silenced channels and check that outputs stay; return the smaller model."""
    tf = lib.tf
    channels = find_channels(read_network(tf, model))
    groups, _ = find_groups(channels)
    removed = np.zeros(channels.slots, bool)
    for group in groups:
        removed[choose(list(group.slots[: group.size - 1]))] = True
    silence(channels, removed)
    small = without(tf, lib.tf_keras, channels, removed)
    rng = np.random.default_rng(seed)
    inputs = [tf.constant(rng.normal(size=(3, *x.shape[1:])).astype(np.float32)) for x in model.inputs]
    before, after = (run_model(tf, m, inputs, training=False) for m in (model, small))
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(a).max())))
    cost = CostModel(channels)(removed)
    assert cost.parameters == small.count_params()
    assert (small.count_params() < model.count_params()) == bool(removed.any())
    return small


# A drawn graph: a list of tensors that grows; each draw adds a layer that reads some of them.

ZERO_STAYS = ("relu", "tanh", "swish", "gelu", "elu", "selu", "linear")


class Drawn:
    """Layers that a drawn graph is made of; all give [rows, 4, 4, channels]."""

    def __init__(self, keras: Any, draw: st.DrawFn) -> None:
        self.k, self.draw = keras.layers, draw

    def act(self) -> str:
        return self.draw(st.sampled_from(ZERO_STAYS))

    def conv(self, x: Any) -> Any:
        size, bias = self.draw(st.integers(2, 6)), self.draw(st.booleans())
        return self.k.Conv2D(
            size, self.draw(st.sampled_from((1, 3))), padding="same", use_bias=bias, activation=self.act()
        )(x)

    def depthwise(self, x: Any) -> Any:
        return self.k.DepthwiseConv2D(3, padding="same", depth_multiplier=self.draw(st.integers(1, 2)))(x)

    def separable(self, x: Any) -> Any:
        return self.k.SeparableConv2D(self.draw(st.integers(2, 5)), 3, padding="same", depth_multiplier=2)(x)

    def transposed(self, x: Any) -> Any:
        return self.k.Conv2DTranspose(self.draw(st.integers(2, 5)), 3, padding="same")(x)

    def norm(self, x: Any) -> Any:
        return self.k.BatchNormalization(scale=self.draw(st.booleans()))(x)

    def activation(self, x: Any) -> Any:
        layer = self.draw(st.sampled_from(("act", "relu6", "leaky", "prelu")))
        made = {
            "act": lambda: self.k.Activation(self.act()),
            "relu6": lambda: self.k.ReLU(6.0),
            "leaky": self.k.LeakyReLU,
            "prelu": lambda: self.k.PReLU(shared_axes=[1, 2]),
        }[layer]()
        return made(x)

    def pool(self, x: Any) -> Any:
        cls = self.draw(st.sampled_from((self.k.MaxPooling2D, self.k.AveragePooling2D)))
        return cls(2, strides=1, padding="same")(x)

    def gate(self, x: Any) -> Any:
        size = x.shape[-1]
        s = self.k.GlobalAveragePooling2D(keepdims=self.draw(st.booleans()))(x)
        if len(s.shape) == 2:
            s = self.k.Reshape((1, 1, size))(s)
        s = self.k.Conv2D(3, 1, activation="relu")(s)
        return self.k.Multiply()([x, self.k.Conv2D(size, 1, activation="sigmoid")(s)])

    def add(self, x: Any, y: Any) -> Any:
        if x.shape[-1] != y.shape[-1]:
            y = self.k.Conv2D(x.shape[-1], 1)(y)
        return self.draw(st.sampled_from((self.k.Add, self.k.Subtract, self.k.Maximum)))()([x, y])

    def concat(self, x: Any, y: Any) -> Any:
        return self.k.Concatenate()([x, y])

    def shared(self, x: Any, y: Any) -> Any:
        if x.shape[-1] != y.shape[-1]:
            y = self.k.Conv2D(x.shape[-1], 1)(y)
        layer = self.k.Conv2D(self.draw(st.integers(2, 5)), 3, padding="same")
        return self.k.Concatenate()([layer(x), layer(y)])

    def arithmetic(self, x: Any) -> Any:
        return x * 0.5 + x


ONE = ("conv", "conv", "depthwise", "separable", "transposed", "norm", "activation", "pool", "gate", "arithmetic")
TWO = ("add", "add", "concat", "shared")


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Any, int]:
    keras = libraries().tf_keras
    drawn = Drawn(keras, draw)
    image = keras.Input((4, 4, draw(st.integers(1, 3))))
    tensors = [drawn.conv(image)]
    for _ in range(draw(st.integers(1, 7))):
        x, y = draw(st.sampled_from(tensors)), draw(st.sampled_from(tensors))
        name = draw(st.sampled_from(ONE + TWO))
        tensors.append(getattr(drawn, name)(x, y) if name in TWO else getattr(drawn, name)(x))
    x = tensors[-1]
    if draw(st.booleans()):
        x = keras.layers.Flatten()(x) if draw(st.booleans()) else keras.layers.GlobalAveragePooling2D()(x)
        x = keras.layers.Dense(4, activation="relu")(x)
    outputs = [keras.layers.Dense(3)(x)]
    if draw(st.booleans()):
        outputs.append(tensors[draw(st.integers(0, len(tensors) - 1))])
    seed = draw(st.integers(0, 2**16))
    return randomized(keras.Model(image, outputs), seed), seed


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), st.data())
def test_removing_silent_channels_of_any_graph_changes_nothing(graph: tuple[Any, int], data: st.DataObject) -> None:
    model, seed = graph
    assert_not_missed(libraries(), model, lambda slots: [s for s in slots if data.draw(st.booleans())], seed)


def half(slots: list[int]) -> list[int]:
    return slots[::2]


def test_channels_follow_flatten_reshape_permute_and_embedding(lib: Any) -> None:
    k = lib.tf_keras.layers
    words = lib.tf_keras.Input((6,))
    x = k.Embedding(10, 8)(k.ReLU(max_value=9)(words))
    x = k.Conv1D(6, 3, padding="same", activation="relu", name="conv")(x)
    x = k.Reshape((3, 2, 6))(x)
    x = k.Permute((2, 1, 3))(x)
    x = k.ZeroPadding2D(1)(x)
    x = k.Conv2D(4, 3, name="wide")(x)
    x = k.Reshape((2 * 3 * 4,))(x)
    model = randomized(lib.tf_keras.Model(words, k.Dense(5)(x)), 0)
    small = assert_not_missed(lib, model, half, 1)
    assert small.get_layer("conv").filters == 3
    assert small.get_layer("wide").filters == 2


def test_what_mixes_channels_keeps_them_and_says_why(lib: Any) -> None:
    k = lib.tf_keras.layers
    x = image = lib.tf_keras.Input((4, 4, 3))
    x = k.Conv2D(8, 3, name="before_norm")(x)
    x = k.LayerNormalization(name="layernorm")(x)
    x = k.Conv2D(8, 1, activation="softmax", name="attention")(x)
    x = k.Conv2D(8, 1, groups=2, name="grouped")(x)
    x = k.Flatten()(x)
    x = k.Dense(6, name="hidden")(x)
    model = lib.tf_keras.Model(image, k.Dense(3, name="head")(x))
    groups, kept = find_groups(find_channels(read_network(lib.tf, model)))
    assert [g.name for g in groups] == ["hidden"]
    assert kept["before_norm"] == "`LayerNormalization` (layernorm) may mix channels"
    assert kept["attention"] == "a softmax mixes it with others"
    assert kept["head"] == "it is an output of the model"


def test_a_residual_stack_is_one_group(lib: Any) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((4, 4, 3))
    x = k.Conv2D(8, 3, padding="same", name="stem")(image)
    for number in range(2):
        y = k.Conv2D(8, 3, padding="same", name=f"inner{number}")(x)
        x = k.Add()([x, k.Conv2D(8, 3, padding="same", name=f"outer{number}")(y)])
    model = lib.tf_keras.Model(image, k.Dense(2)(k.GlobalAveragePooling2D()(x)))
    groups, _ = find_groups(find_channels(read_network(lib.tf, model)))
    assert [g.makers for g in groups] == [("stem", "outer0", "outer1"), ("inner0",), ("inner1",)]


# Choice


def chain(lib: Any, *sizes: int) -> Channels:
    k = lib.tf_keras.layers
    x = image = lib.tf_keras.Input((4, 4, 3))
    for number, size in enumerate(sizes):
        x = k.Conv2D(size, 3, padding="same", name=f"conv{number}")(x)
        x = k.BatchNormalization(name=f"norm{number}")(x)
    model = lib.tf_keras.Model(image, k.Dense(2, name="head")(k.GlobalAveragePooling2D()(x)))
    return find_channels(read_network(lib.tf, randomized(model, 4)))


def chooser(channels: Channels, *, multiple: int = 4) -> tuple[Chooser, list[Any]]:
    groups, _ = find_groups(channels)
    scores = np.arange(channels.slots, dtype=float)
    made = Chooser(groups, scores, CostModel(channels), slots=channels.slots, multiple=multiple, measure="macs")
    return made, groups


def test_costs_are_those_of_the_model(lib: Any) -> None:
    channels = chain(lib, 8, 16)
    cost = CostModel(channels)(np.zeros(channels.slots, bool))
    assert cost.macs == 16 * 9 * (3 * 8 + 8 * 16) + 16 * 2
    assert cost.parameters == channels.network.model.count_params()
    assert cost.model_bytes > 9 * (3 * 8 + 8 * 16)


def test_an_even_spread_takes_the_same_share_everywhere(lib: Any) -> None:
    made, groups = chooser(chain(lib, 16, 32, 64))
    spread_evenly(made, groups, int(made.now() * 0.6))
    assert made.counts == [4, 8, 16]


def test_more_goes_where_it_hurts_less(lib: Any) -> None:
    made, groups = chooser(chain(lib, 16, 16, 16))
    budget = int(made.now() * 0.6)
    curves = [np.linspace(0.5, 3, 6), np.linspace(0.01, 0.06, 6), np.linspace(0.5, 3, 6)]
    spread_by_damage(made, curves, groups, budget)
    assert made.now() <= budget
    assert made.counts[1] == max(made.counts)
    assert made.counts[1] > made.counts[0]


def test_no_exchange_of_two_steps_betters_the_choice(lib: Any) -> None:
    made, groups = chooser(chain(lib, 16, 32, 32, 24))
    whole = made.now()
    rng = np.random.default_rng(1)
    curves = [np.cumsum(rng.exponential(size=6)) for _ in groups]

    def loss(counts: list[int]) -> float:
        return sum(damage_at(c, n / g.size) for c, n, g in zip(curves, counts, groups, strict=True))

    spread_by_damage(made, curves, groups, int(whole * 0.6))
    chosen, kept = list(made.counts), made.removed.copy()
    assert made.now() <= int(whole * 0.6)
    for back in range(4):
        for instead in range(4):
            given, taken = made.last(back), made.step(instead) if instead != back else 0
            made.take(back, -given)
            made.take(instead, taken)
            assert made.now() > int(whole * 0.6) or loss(made.counts) >= loss(chosen)
            made.take(instead, -taken)
            made.take(back, given)
            assert (made.removed == kept).all()


def test_what_a_large_step_makes_needless_is_given_back(lib: Any) -> None:
    made, groups = chooser(chain(lib, 64, 8))
    # Two steps of the first group are cheapest, but not enough; the step of the second that follows is, without them.
    curves = [np.array([0.01, 10, 20, 30, 40, 50]), np.full(6, 0.1)]
    budget = made.now() - 20_000
    spread_by_damage(made, curves, groups, budget)
    assert made.counts == [0, 4]
    assert made.now() <= budget
    assert made.removed.sum() == 4


def test_what_stays_is_a_multiple(lib: Any) -> None:
    made, groups = chooser(chain(lib, 18, 24), multiple=8)
    spread_evenly(made, groups, int(made.now() * 0.7))
    assert [g.size - c for g, c in zip(groups, made.counts, strict=True)] == [16, 16]


@pytest.mark.parametrize("spread", ["even", "damage"])
def test_a_budget_out_of_reach_is_an_error(lib: Any, spread: str) -> None:
    made, groups = chooser(chain(lib, 8, 8))
    curves = [np.zeros(6), np.zeros(6)]
    take = {
        "even": lambda: spread_evenly(made, groups, 10),
        "damage": lambda: spread_by_damage(made, curves, groups, 10),
    }
    least = r"the smallest that the model can become is [\d,]+ multiply-accumulates, and the budget is 10"
    with pytest.raises(PassError, match=least):
        take[spread]()


def test_damage_between_and_beyond_what_was_measured() -> None:
    curve = np.array([1.0, 2, 3, 4, 5, 6])
    assert damage_at(curve, 0.0) == 0
    assert damage_at(curve, 0.1875) == pytest.approx(1.5, abs=1e-3)
    assert damage_at(curve, 0.875) == pytest.approx(7.0, abs=1e-3)


# Importance


@pytest.mark.parametrize("how", ["taylor", "l2", "gamma"])
def test_a_silent_channel_matters_least(lib: Any, how: Any) -> None:
    channels = chain(lib, 8, 8)
    groups, _ = find_groups(channels)
    silent = {int(g.slots[3]) for g in groups}
    removed = np.zeros(channels.slots, bool)
    removed[list(silent)] = True
    silence(channels, removed)
    model = channels.network.model
    rows = [[lib.tf.random.stateless_normal((8, 4, 4, 3), seed=(1, 2))]]

    def run(inputs: Any) -> Any:
        return run_model(lib.tf, model, inputs, training=False)

    scores = score(lib.tf, channels, run, rows, how=how, seed=0)
    for group in groups:
        assert min(group.slots, key=lambda slot: scores[slot]) in silent


def test_taylor_is_the_change_of_the_outputs_where_they_are_linear(lib: Any) -> None:
    k = lib.tf_keras.layers
    x = lib.tf_keras.Input((5,))
    model = randomized(lib.tf_keras.Model(x, k.Dense(3, name="head")(k.Dense(6, use_bias=False, name="hidden")(x))), 2)
    channels = find_channels(read_network(lib.tf, model))
    rows = lib.tf.random.stateless_normal((64, 5), seed=(1, 2))
    scores = score(
        lib.tf,
        channels,
        lambda inputs: run_model(lib.tf, model, inputs, training=False),
        [[rows]] * 60,
        how="taylor",
        seed=0,
    )
    hidden, head = model.get_layer("hidden").kernel.numpy(), model.get_layer("head").kernel.numpy()
    moved = ((rows.numpy() @ hidden)[:, :, None] * head) ** 2
    expected = moved.sum(axis=(0, 2))
    (group,) = find_groups(channels)[0]
    found = np.array([scores[slot] for slot in group.slots]) / (60 * 8)
    np.testing.assert_allclose(found, expected, rtol=0.25)
