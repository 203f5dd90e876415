"""report.html: whole, self-contained, escaped, and true to the report."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from bundle_support import plain_report
from hypothesis import given
from hypothesis import strategies as st

from edgecompile import compare
from edgecompile.bundle.html import report_html
from edgecompile.bundle.page import page
from edgecompile.bundle.page_accuracy import MOST_CLASSES, accuracy_view
from edgecompile.bundle.pictures import SIDE, is_picture, pictures, png
from edgecompile.bundle.plots import axis
from edgecompile.data.dataset import Dataset
from edgecompile.report import (
    Accuracy,
    Check,
    DataInfo,
    Finding,
    Flips,
    Interval,
    OutputError,
    Parity,
    PerClass,
    Report,
    Sample,
    Score,
    Sizes,
    Step,
    TargetInfo,
    TensorInfo,
)
from edgecompile.target import Memory, Source

X = TensorInfo(name="image", shape=(1, 8, 8, 1), dtype="int8", scale=1.0, zero_point=-128)
Y = TensorInfo(name="scores", shape=(1, 3), dtype="int8", scale=0.00390625, zero_point=-128)
VOID = {"meta", "img", "br", "link", "circle", "line", "path", "rect"}


def score(value: float, n: int = 1000) -> Score:
    return Score(value=value, interval=Interval(low=value - 0.02, high=value + 0.02, method="Wilson score"), n=n)


def accuracy(**more: Any) -> Accuracy:
    given = {
        "metric": "top1", "higher_is_better": True, "unit": "fraction", "output": "scores",
        "float_score": score(0.9), "result_score": score(0.88), "drop": 0.02,
        "drop_interval": Interval(low=0.01, high=0.03, method=compare.PAIRED), "within_noise": False,
        "agreement": 0.957,
        "flips": Flips(both_right=870, both_wrong=90, lost=30, gained=10, p=0.0022),
        "per_class": (
            PerClass(label="cat", n=300, float_recall=0.9, result_recall=0.95),
            PerClass(label="dog", n=700, float_recall=0.9, result_recall=0.85),
            PerClass(label="eel", n=3, float_recall=1.0, result_recall=1.0),
        ),
        "outputs": (OutputError(output="scores", cosine=0.99912, sqnr_db=31.42, max_abs=0.25),),
        "worst": (
            Sample(row=1, label="cat", float_says="cat", result_says="dog", loss=0.75),
            Sample(row=0, label="dog", float_says="dog", result_says="cat", loss=0.02),
        ),
        "worst_by": "lead that was lost", "kernels": "reference", "fidelity": "No device here.",
    }  # fmt: skip
    return Accuracy.model_validate(given | more)


def check(name: str = "accuracy-drop", **more: Any) -> Check:
    given = {"name": name, "title": "drop of top1", "actual": 0.02, "limit": 0.01, "relation": "at most",
             "unit": "points", "how": "measured", "detail": "on `rows`", "remedy": "try mse"}  # fmt: skip
    return Check.model_validate(given | more)


def full_report(**more: Any) -> Report:
    given: dict[str, Any] = {
        "verdict": "fail",
        "headline": ("missed accuracy-drop: 2.00 points → try mse", "too few rows", "fail (1 of 2): top1"),
        "checks": (check(), check("model-size", title="size of the model file", actual=1000, limit=2000, unit="bytes",
                                  how="estimated", detail="flash", remedy="")),
        "accuracy": accuracy(),
        "unchecked": ("Latency was not checked.",),
        "findings": (Finding(severity="warning", rule="r", what="Float ops: 3", where="relu", consequence="slow",
                             remedy="use int8"),),
        "steps": (Step(name="quantize", fields={"scheme": "int8", "io": None}, facts={"float_ops": 0, "ok": True},
                       bytes=1000),),
        "data": DataInfo(validation_source="val.npz", validation_sha256="ab" * 32, validation_rows=1000,
                         calibration_source="val.npz", calibration_rows=200, split="drawn by seed",
                         train_source="train.npz", train_rows=5000, preprocessing={"*": {"scale": [1.0]}}),
        "parity": Parity(reference="tf_keras", rows=32, max_abs=3e-6, tolerance=1e-4, reason="float32."),
        "target": TargetInfo(name="board", title="A Board", backend="micro", memory=Memory(flash_bytes=2000),
                             sources=(Source(what="flash", document="Data sheet", url="https://example.org/d"),)),
        "backend": {"memory_plan": [{"tensor": "a", "bytes": 1024}, {"tensor": "b", "bytes": 12, "late": True}],
                    "arena": {"peak_bytes": 2048, "exact": False}, "note": "free text", "empty": []},
        "libraries": {"numpy": "2.0", "ai-edge-litert": "2.3.0"},
    }  # fmt: skip
    return plain_report([X], [Y], **(given | more))


def dataset() -> Dataset:
    rows = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 1)).astype(np.uint8)
    return Dataset({"image": rows}, np.array([1, 0]), source="val.npz")


class Page(HTMLParser):
    """Reads a page; fails where tags are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        self.text += " "
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"
        self.text += " "

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def whole() -> Page:
    return Page(report_html(full_report(), dataset()))


def test_the_verdict_comes_first(whole: Page) -> None:
    words = whole.words()
    assert words.startswith("Fail: m for A Board edgecompile report m for A Board Fail 1 of 2 checks missed.")
    assert "Missed accuracy-drop: 2.00 points What to do: try mse" in words
    assert words.index("1 of 2 checks missed.") < words.index("What was built") < words.index("Checks Every promise")


def test_the_page_loads_nothing_and_runs_nothing(whole: Page) -> None:
    assert not [tag for tag, _ in whole.tags if tag in ("script", "link", "iframe", "object", "embed")]
    sources = [v for _, attrs in whole.tags for k, v in attrs.items() if k in ("src", "srcset", "data", "poster")]
    assert len(sources) == 2
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert {tag for tag, attrs in whole.tags if "href" in attrs} == {"a"}
    policy = next(a["content"] for t, a in whole.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert "url(" not in report_html(full_report(), None)
    assert not [a for _, a in whole.tags if any(k.startswith("on") for k in a)]


def test_everything_of_the_report_is_there(whole: Page) -> None:
    words = whole.words()
    for expected in (
        "top1 is the share of rows whose class is decided right.",
        "On the same 1,000 rows, the float model is right on 900 and the result on 880. 30 that were right became "
        "wrong, 10 that were wrong became right.",
        "would show in about 2 of 1,000 comparisons: that is hardly chance (exact McNemar p = 0.0022).",
        "float model 90.00% 88.00% to 92.00%",
        "dashed: the worst that the gate allows, 89.00%",
        "float model right 870 30 lost float model wrong 10 gained 90",
        "dog 700 90.0% 85.0% -5.0 eel 3 100.0% 100.0% 0 cat 300 90.0% 95.0% +5.0",
        "cat before: cat after: dog row 1, lost 0.75",
        "scores 0.99912 31.4 dB 0.25",
        "run beside the source model (tf_keras) on 32 rows: outputs differ by at most 3e-06",
        "The target's limit is 2,000 B (2.0 KiB): flash. The result takes 50.0% of it.",
        "✕ missed drop of top1 on rows What to do: try mse 2.00 points at most 1.00 points measured",
        "✓ kept size of the model file flash 1000 B at most 2,000 B (2.0 KiB) estimated",
        "Measured: run or counted in this build. Estimated: computed from what was measured.",
        "Not checked Latency was not checked.",
        "Warning. Float ops: 3 Where: relu What follows: slow What to do: use int8",
        "tensor bytes late a 1,024 b 12 yes",
        "peak bytes 2,048",
        "free text",
        "quantize → 1000 B scheme int8 float ops 0 ok yes",
        "in image 1×8×8×1 int8 1 -128",
        "Budgets flash 2,000 B (2.0 KiB)",
        "Calibrated on 200 rows of val.npz (drawn by seed)",
        "Trained on 5,000 rows of train.npz",
        "flash Data sheet",
    ):
        assert expected in words, f"{expected}\nnot in\n{words}"
    assert "modelled" not in words.lower(), "an origin that no number has is not explained"


def test_tables_and_pictures_can_be_heard(whole: Page) -> None:
    tables = sum(tag == "table" for tag, _ in whole.tags)
    assert sum(tag == "caption" for tag, _ in whole.tags) == tables
    assert all(attrs.get("alt") for tag, attrs in whole.tags if tag == "img")
    assert all(attrs.get("aria-hidden") == "true" for tag, attrs in whole.tags if tag == "svg"), (
        "the numbers are in text"
    )
    assert all("scope" in attrs for tag, attrs in whole.tags if tag == "th")
    headings = [int(tag[1]) for tag, _ in whole.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))
    ids = [attrs["id"] for _, attrs in whole.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for t, a in whole.tags if t == "section"} <= set(ids)


def test_text_from_outside_stays_text() -> None:
    evil = '<script>alert("1")</script>'
    report = full_report(headline=(evil, f"`{evil}`"), target=TargetInfo(name="t", title=evil, backend="b"))
    text = report_html(report, None)
    assert "<script" not in text
    assert Page(text).words().count(evil) >= 4
    assert Page(report_html(full_report(headline=("a ` b", "pass: `code`")), None)).words().count("a ` b") == 0
    assert "A ` b" in Page(report_html(full_report(headline=("a ` b", "pass: `code`")), None)).words()


def test_equal_reports_give_equal_pages() -> None:
    shuffled = full_report(
        libraries={"ai-edge-litert": "2.3.0", "numpy": "2.0"},
        backend=dict(reversed(full_report().backend.items())),
    )
    assert report_html(shuffled, dataset()) == report_html(full_report(), dataset())


def test_a_plain_pass_without_data() -> None:
    report = plain_report([X], [Y], headline=("accuracy was not measured", "pass: 1000 B"))
    words = Page(report_html(report, None)).words()
    assert "Pass Nothing was promised, so nothing was checked." in words
    assert "Accuracy not measured no validation data was given" in words
    assert "Budgets none: the target sets no limit" in words
    assert "Findings" not in words
    assert page(full_report(verdict="pass", checks=(check(actual=0),)), None).verdict == "All 1 checks are kept."


def test_metrics_that_decide_nothing() -> None:
    auc = accuracy(metric="auc", unit="metric", flips=None, agreement=None, per_class=(), worst=(), within_noise=True,
                   drop=-0.01, drop_interval=Interval(low=-0.03, high=0.01, method="bootstrap percentile"))  # fmt: skip
    words = Page(report_html(full_report(accuracy=auc), None)).words()
    assert "auc is the area under the ROC curve" in words
    assert "auc (more is better) on the same 1,000 rows: gain 0.01 against the float model." in words
    assert "95% interval of the drop: -0.030 to 0.010 (bootstrap percentile). It holds 0, so chance alone may" in words
    assert "By class" not in words
    assert "decided twice" not in words
    own = accuracy(metric="my.module:f", unit="metric", higher_is_better=False, flips=None)
    assert "the user's own metric" in Page(report_html(full_report(accuracy=own), None)).words()


@pytest.mark.parametrize(
    ("low", "within_noise", "says"),
    [
        (0.01, False, "It does not hold 0, so this is hardly chance."),
        (-0.01, True, "It holds 0, so chance alone may explain the difference."),
        (0.01, True, "On so few rows, chance cannot be ruled out."),
    ],
)
def test_rows_that_depend_on_each_other_get_no_p(low: float, within_noise: bool, says: str) -> None:
    by_group = Interval(low=low, high=0.03, method="bootstrap percentile of groups")
    view = accuracy_view(
        full_report(accuracy=accuracy(drop_interval=by_group, within_noise=within_noise, tied_rows=3)), None
    )
    assert "McNemar" not in " ".join(view.sentences)
    assert view.sentences[0].startswith("On the same 1,000 rows, the float model is right on 900")
    assert view.sentences[1].endswith(f"(bootstrap percentile of groups). {says}")
    assert view.sentences[2] == "On 3 of them several classes share the largest score; the first counts."


def test_a_quantized_source_is_not_called_a_float_model() -> None:
    words = Page(report_html(full_report(accuracy=accuracy(reference="source model")), dataset())).words()
    assert "the source model is right on 900" in words
    assert "float model" not in words.replace("float model's", "")


@pytest.mark.parametrize(
    ("lost", "gained", "p", "words"),
    [
        (5, 5, 1.0, "As many were lost as were gained"),
        (9, 5, 0.42, "about 42 of 100 comparisons: that is noise (exact McNemar p = 0.42)"),
        (400, 10, 1e-99, "fewer than 1 of 1,000 comparisons: that is hardly chance (exact McNemar p < 0.001)"),
    ],
)
def test_p_in_plain_words(lost: int, gained: int, p: float, words: str) -> None:
    flips = Flips(both_right=10, both_wrong=10, lost=lost, gained=gained, p=p)
    assert words in accuracy_view(full_report(accuracy=accuracy(flips=flips)), None).sentences[1]


def test_of_many_classes_those_that_changed_most_are_shown() -> None:
    classes = tuple(PerClass(label=f"c{i}", n=9, float_recall=0.5, result_recall=i / 200) for i in range(200))
    view = accuracy_view(full_report(accuracy=accuracy(per_class=classes)), None)
    assert [c.label for c in view.classes] == [f"c{i}" for i in (*range(20), *range(180, 200))]
    assert len(view.classes) == MOST_CLASSES
    assert view.classes_left_out == 160


def test_rows_that_are_no_pictures_are_a_table() -> None:
    data = Dataset({"image": np.zeros((2, 49, 10, 1), np.int8)}, source="val.npz")
    words = Page(report_html(full_report(), data)).words()
    assert "Row Label Float model Result Lost 1 cat cat dog 0.75" in words


def test_long_tables_of_a_backend_are_cut_and_say_so() -> None:
    plan = [{"op": i} for i in range(130)]
    words = Page(report_html(full_report(backend={"ops": plan}), None)).words()
    assert "30 further rows are in report.json." in words


def test_a_far_limit_is_told_and_a_near_one_drawn() -> None:
    far = check("model-size", actual=1000, limit=1_000_000, unit="bytes", detail="flash", remedy="")
    assert page(full_report(checks=(far,)), None).sizes.limit_at == ""
    near = far.model_copy(update={"limit": 8000.0})
    sizes = page(full_report(checks=(near,)), None).sizes
    assert (sizes.limit_at, [row.width for row in sizes.rows]) == ("100%", ["50%", "48.75%", "12.5%", "10%"])
    small = Sizes(source_bytes=9, float_bytes=0, result_bytes=9, result_gzip_bytes=9)
    none = page(full_report(sizes=small, checks=()), None)
    assert [row.what for row in none.sizes.rows] == ["Source file", "Result", "Result, gzipped"]


def test_the_file_that_the_device_loads_is_shown_beside_the_result() -> None:
    stored = check("model-size", actual=500, limit=2000, unit="bytes", detail="flash", remedy="")
    sizes = page(full_report(checks=(stored,)), None).sizes
    assert [(row.what, row.size) for row in sizes.rows][-1] == ("On the device", "500 B")
    assert sizes.limit.endswith("What the device loads takes 25.0% of it.")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(2, 8))
def test_an_axis_holds_all_values_between_round_ticks(values: list[float], ticks: int) -> None:
    found = axis(values, ticks=ticks)
    hair = 1e-6 * max(1.0, max(values) - min(values))  # what is not worth another tick
    assert found.low <= min(values) + hair
    assert max(values) - hair <= found.high
    assert 2 <= len(found.ticks) <= 2 * ticks + 3
    assert found.at(found.low) == "0%"
    assert found.at(found.high) == "100%"


@given(st.lists(st.floats(0, 1), min_size=1))
def test_an_axis_of_shares_stays_within_them(values: list[float]) -> None:
    found = axis(values, floor=0.0, ceiling=1.0)
    assert 0 <= found.low < found.high <= 1
    assert all(-1e-9 <= t <= 1 + 1e-9 for t in found.ticks)


@pytest.mark.parametrize(
    ("shape", "dtype", "is_one"),
    [
        ((3, 32, 32, 3), np.uint8, True),
        ((3, 28, 28), np.uint8, True),
        ((3, 28, 28, 1), np.uint8, True),
        ((3, 32, 32, 3), np.float32, True),
        ((3, 32, 32, 3), np.int8, True),
        ((3, 49, 10, 1), np.int8, False),
        ((3, 28, 28, 1), np.float32, False),
        ((3, 4, 4, 3), np.uint8, False),
        ((3, 32, 32, 4), np.uint8, False),
        ((3, 640), np.uint8, False),
    ],
)
def test_what_is_taken_for_a_picture(shape: tuple[int, ...], dtype: npt.DTypeLike, is_one: bool) -> None:
    assert is_picture(np.zeros(shape, dtype)) == is_one


@pytest.mark.parametrize("channels", [1, 3])
def test_png_files_are_read_by_others(channels: int) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, channels)).astype(np.uint8)
    found = np.asarray(image.open(io.BytesIO(png(pixels))))
    assert np.array_equal(found.reshape(pixels.shape), pixels)


def read(uri: str) -> npt.NDArray[np.uint8]:
    import base64

    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_brightness_follows_the_range_that_pixels_are_stored_in() -> None:
    ramp = np.linspace(0, 1, 64).reshape(1, 8, 8)
    for rows, low, high in (
        (ramp * 255, 0, 255),
        ((ramp * 16).astype(np.uint8), 0, 255),
        (np.repeat(ramp[..., None], 3, -1).astype(np.float32), 0, 255),
        (np.repeat(ramp[..., None] * 2 - 1, 3, -1).astype(np.float32), 0, 255),
        (np.repeat(ramp[..., None] * 7 - 5, 3, -1).astype(np.float32), 0, 255),
        (np.full((1, 8, 8, 3), -128, np.int8), 0, 0),
    ):
        found = read(pictures(rows)[0])
        assert (found.min(), found.max()) == (low, high)
    assert np.array_equal(read(pictures((ramp * 255).astype(np.uint8))[0]), (ramp[0] * 255).astype(np.uint8))


def test_large_pictures_are_averaged_down() -> None:
    rows = np.zeros((2, 300, 224, 3), np.uint8)
    rows[:, ::2] = 200
    found = read(pictures(rows)[1])
    assert found.shape == (60, 44, 3)
    assert max(found.shape) <= SIDE
    assert abs(int(found.mean()) - 100) <= 20
