"""`restore compare`: intervals against SciPy, figures against scikit-image, tables and grids read back."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio

from restore import cli, images, keyed
from restore.apps.comparison import Comparison
from restore.apps.grid import CAPTION, CELL, COLORS, GAP, ZOOM, differing
from restore.apps.statistics import Estimate, estimate, resampled_means
from restore.engine.validation import Entry, Table
from restore.errors import UserError
from restore.metrics.psnr_metric import psnr
from tests.oracles import basicsr, shared


def run(*arguments):
    """Calls `restore compare` with these arguments."""
    args = cli.build_parser().parse_args(["compare", *map(str, arguments)])
    args.run(args)


class TestIntervals:
    VALUES = np.random.default_rng(3).normal([[26.0, 0.8]], [[3.0, 0.05]], (40, 2))

    def interval(self, column, draws, resamples=10_000):
        return estimate(self.VALUES[:, column], resampled_means(self.VALUES, draws, resamples)[:, column])

    @pytest.mark.parametrize("column", [0, 1])
    def test_equals_scipys_from_the_same_draws(self, column):
        """scipy.stats.bootstrap, method percentile, draws its pictures with `integers(0, n, (resamples, n))` too."""
        own = self.interval(column, np.random.default_rng(5), 2000)
        settings = {"method": "percentile", "n_resamples": 2000, "rng": np.random.default_rng(5)}
        other = stats.bootstrap((self.VALUES[:, column],), np.mean, **settings).confidence_interval
        assert (own.low, own.high) == pytest.approx((other.low, other.high), abs=1e-12)
        assert own.mean == pytest.approx(self.VALUES[:, column].mean(), abs=1e-12)

    def test_equals_scipys_from_other_draws(self):
        """An end's Monte-Carlo error is sqrt(p (1 - p) / R) / density = 0.013 standard errors of the mean, each."""
        own = self.interval(0, keyed.draws(0, "bootstrap"))
        settings = {"method": "percentile", "n_resamples": 10_000, "rng": 11}
        other = stats.bootstrap((self.VALUES[:, 0],), np.mean, **settings).confidence_interval
        error = stats.sem(self.VALUES[:, 0])
        assert (own.low, own.high) == pytest.approx((other.low, other.high), abs=0.1 * error)
        assert own.low != other.low

    def test_covers_the_truth_as_often_as_theory_says(self):
        """Of normal samples it is mean +- 1.96 s sqrt((n - 1) / n) / sqrt(n): Student's t gives 94.2 % for n = 60."""
        count, trials = 60, 4000
        values = np.random.default_rng(1).normal(7, 2, (count, trials))
        means = resampled_means(values, keyed.draws(1), 4000)
        intervals = [estimate(values[:, i], means[:, i]) for i in range(trials)]
        covered = np.mean([interval.low <= 7 <= interval.high for interval in intervals])
        expected = 1 - 2 * stats.t.sf(1.96 * math.sqrt((count - 1) / count), count - 1)
        assert covered == pytest.approx(expected, abs=4 * math.sqrt(0.95 * 0.05 / trials))

    def test_pairs(self):
        """A method better by 0.1 on every picture is surely better, however much the pictures differ."""
        both = np.column_stack([self.VALUES[:, 0], self.VALUES[:, 0] + 0.1])
        means = resampled_means(both, keyed.draws(0))
        difference = estimate(both[:, 1] - both[:, 0], means[:, 1] - means[:, 0])
        assert (difference.low, difference.high) == pytest.approx((0.1, 0.1), abs=1e-9)
        assert difference.excludes_zero
        assert not estimate(both[:, 0] - both[:, 0], means[:, 0] - means[:, 0]).excludes_zero

    def test_in_parts_as_at_once(self, monkeypatch):
        whole = resampled_means(self.VALUES, np.random.default_rng(0), 100)
        monkeypatch.setattr("restore.apps.statistics._AT_ONCE", 7 * len(self.VALUES))
        assert np.allclose(resampled_means(self.VALUES, np.random.default_rng(0), 100), whole, rtol=1e-12)

    @pytest.mark.parametrize("values", [[30.0], [30.0, math.inf]])
    def test_none_of_one_picture_or_infinity(self, values):
        column = np.array(values)
        result = estimate(column, resampled_means(column[:, None], keyed.draws(0), 10)[:, 0])
        assert result.mean == column.mean()
        assert math.isnan(result.low)
        assert not result.excludes_zero


def test_a_metric_of_sets_has_no_interval():
    class WithFid(Table):
        def means(self, method):
            return {**super().means(method), "fid": 12.5}

    class Fid:
        higher_is_better, protocol = False, "N = 3"

    rows = [{"a": {"psnr": value}, "b": {"psnr": value + 1}} for value in (20.0, 25.0, 24.0)]
    entries = [Entry(number, "xyz"[number], scores=scores) for number, scores in enumerate(rows)]
    metrics = {"psnr": psnr(), "fid": Fid()}
    data = {"gt": "x", "scale": 4, "lq": "y", "device": "cpu"}
    comparison = Comparison(data, metrics, "a", {"a": {"ms": 1.0}, "b": {"ms": 2.0}})
    comparison.measure(WithFid(entries), keyed.draws(0))
    assert comparison.means["b"]["fid"].mean == 12.5
    assert math.isnan(comparison.means["b"]["fid"].low)
    assert "fid" not in comparison.differences["b"]
    lines = comparison.markdown().splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["method", "psnr ↑", "fid ↓", "ms"]
    assert [cell.strip() for cell in lines[5].split("|")][3:5] == ["12.5000", "2.0"]


@pytest.fixture(scope="module")
def model(tmp_path_factory, faces, val_faces):
    """An experiment of a few iterations."""
    from tests.lab import Lab, tiny_options

    return Lab(tmp_path_factory.mktemp("lab"), tiny_options(faces, val_faces)).train()


@pytest.fixture(scope="module")
def compared(model, val_faces, tmp_path_factory):
    """A comparison of one model under two names, and an older checkpoint of it; its folder."""
    folder = tmp_path_factory.mktemp("compare")
    saved = model / "checkpoints"
    models = [f"tiny={saved / 'latest'}", f"again={saved / '12'}", f"early={saved / '8'}"]
    metrics = ["--metrics", "psnr", "ssim", "--crop_border", 4]
    run("--models", *models, "--gt", val_faces, *metrics, "--grid_every", 2, "-o", folder)
    return folder


def rows(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


METHODS = ["bilinear", "bicubic", "lanczos", "tiny", "again", "early"]


class TestCompare:
    def test_scores_are_right(self, compared, val_faces):
        """Pillow's bicubic of MATLAB's LQ, scored by scikit-image."""
        found = {row["key"]: float(row["psnr"]) for row in rows(compared / "scores.csv") if row["method"] == "bicubic"}
        from restore.degradations.resize import shrink

        for key, value in found.items():
            gt = images.read(val_faces / f"{key}.png")
            pred = np.asarray(Image.fromarray(shrink(gt, 4)).resize((64, 64), Image.Resampling.BICUBIC))
            inside = slice(4, -4), slice(4, -4)
            assert value == pytest.approx(peak_signal_noise_ratio(gt[inside], pred[inside]), abs=1e-9)
        assert sorted(found) == ["100", "101", "102"]

    def test_summary_follows_from_the_scores(self, compared):
        scores, summary = rows(compared / "scores.csv"), rows(compared / "summary.csv")
        assert [(row["method"], row["metric"]) for row in summary] == [
            (m, k) for m in METHODS for k in ("psnr", "ssim")
        ]
        for row in summary:
            own, reference = (
                np.array([float(score[row["metric"]]) for score in scores if score["method"] == method])
                for method in (row["method"], "bicubic")
            )
            assert float(row["mean"]) == pytest.approx(own.mean(), abs=1e-12)
            assert float(row["difference"]) == pytest.approx((own - reference).mean(), abs=1e-12)
            for low, high, values in (
                (row["low"], row["high"], own),
                (row["difference_low"], row["difference_high"], own - reference),
            ):
                assert values.min() - 1e-9 <= float(low) <= values.mean() + 1e-9
                assert values.mean() - 1e-9 <= float(high) <= values.max() + 1e-9

    def test_the_same_model_twice_scores_the_same(self, compared):
        told = json.loads((compared / "comparison.json").read_text())["methods"]
        assert told["tiny"]["metrics"] == told["again"]["metrics"]
        assert told["tiny"]["sha256"] == told["again"]["sha256"] != told["early"]["sha256"]
        assert told["bicubic"]["difference"]["psnr"] == {"mean": 0, "low": 0, "high": 0, "excludes_zero": False}

    def test_markdown_marks_what_excludes_zero(self, compared):
        text, told = (compared / "comparison.md").read_text(), json.loads((compared / "comparison.json").read_text())
        marked = {
            (cells[0], metric): cells[number].startswith("**")
            for line in text.partition("Difference to bicubic")[2].splitlines()
            if line.startswith("|")
            for cells in [[cell.strip() for cell in line.split("|")[1:-1]]]
            for number, metric in ((1, "psnr"), (2, "ssim"))
            if cells[0] in METHODS
        }
        assert marked == {
            (method, metric): value["excludes_zero"]
            for method in METHODS
            for metric, value in told["methods"][method]["difference"].items()
            if method != "bicubic"
        }
        assert set(marked.values()) == {True, False} or all(marked.values())

    def test_markdown_says_how(self, compared):
        text = (compared / "comparison.md").read_text()
        for said in (
            "3 pictures, x4", "psnr: RGB, 8 bits, border 4", "10,000 resamples", "only 3 pictures", "psnr ↑",
            "LQ: made from GT by MATLAB's bicubic", "tiny: MSRResNet", "network_g_ema.safetensors, sha256 ",
        ):  # fmt: skip
            assert said in text, said

    def test_repeats(self, model, val_faces, tmp_path):
        for name in ("a", "b"):
            run("--models", f"m={model}", "--gt", val_faces, "--grid_every", 0, "-o", tmp_path / name)
        for name in ("scores.csv", "summary.csv"):
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert not (tmp_path / "a" / "grid").exists()

    def test_given_lq_is_used(self, model, val_faces, tmp_path):
        """LQ pictures all black make every method black."""
        for path in images.find(val_faces):
            images.write(tmp_path / "lq" / path.name, np.zeros((16, 16, 3), np.uint8))
        few = ["--baselines", "bicubic", "--metrics", "psnr", "--grid_every", 0]
        run("--models", f"m={model}", "--gt", val_faces, "--input", tmp_path / "lq", *few, "-o", tmp_path / "out")
        row = next(row for row in rows(tmp_path / "out" / "scores.csv") if row["method"] == "bicubic")
        gt = images.read(val_faces / f"{row['key']}.png")
        assert float(row["psnr"]) == pytest.approx(peak_signal_noise_ratio(gt, np.zeros_like(gt)), abs=1e-9)

    def test_an_unreadable_picture_is_told(self, model, val_faces, tmp_path, capsys):
        (tmp_path / "gt").mkdir()
        for path in [*images.find(val_faces)][:2]:
            (tmp_path / "gt" / path.name).write_bytes(path.read_bytes())
        (tmp_path / "gt" / "broken.png").write_text("no picture")
        run("--models", f"m={model}", "--gt", tmp_path / "gt", "-o", tmp_path / "out")
        assert "WARNING not scored" in capsys.readouterr().out
        told = json.loads((tmp_path / "out" / "comparison.json").read_text())
        assert told["pictures"] == 2
        assert list(told["set_aside"]) == ["broken"]


class TestGrid:
    def test_every_second_picture(self, compared):
        grids = sorted(path.name for path in (compared / "grid").iterdir())
        assert grids == ["00000_100.png", "00002_102.png"]

    def test_layout(self, compared, val_faces):
        grid, columns = images.read(compared / "grid" / "00000_100.png"), len(METHODS) + 2
        assert grid.shape == (CAPTION + CELL + GAP + ZOOM, columns * (CELL + GAP) - GAP, 3)
        last = grid[:, (columns - 1) * (CELL + GAP) :]
        gt = np.asarray(Image.open(val_faces / "100.png").resize((CELL, CELL), Image.Resampling.LANCZOS))
        different = (last[CAPTION : CAPTION + CELL] != gt).any(axis=2).mean()
        assert 0 < different < 0.1  # the frames of the two crops
        crop = last[-ZOOM:, :ZOOM]
        assert np.array_equal(crop[0, 0], COLORS[0])
        pixel = ZOOM // 8  # a crop of 8 pixels
        assert all(len(np.unique(crop[y : y + pixel, 40].reshape(-1, 3), axis=0)) == 1 for y in range(16, 112, pixel))

    def test_captions(self, compared):
        """Something is written above each column."""
        grid = images.read(compared / "grid" / "00000_100.png")
        for column in range(len(METHODS) + 2):
            assert (grid[:CAPTION, column * (CELL + GAP) :][:, :CELL] < 100).any()

    def test_crops_are_where_methods_differ(self):
        same = torch.full((1, 3, 64, 80), 0.5)
        other = same.clone()
        other[..., 40:48, 8:16] = 1  # much
        other[..., 8:16, 60:68] = 0.7  # less
        assert differing([same, other, same], 8) == [(40, 8), (8, 60)]

    @pytest.mark.parametrize("shape", [(64, 64), (33, 70), (5, 9), (1, 1)])
    def test_crops_lie_inside_and_apart(self, shape):
        preds = [torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(n)) for n in range(3)]
        side = max(1, min(shape) // 8)
        corners = differing(preds, side)
        assert 1 <= len(corners) <= 2
        assert all(0 <= y <= shape[0] - side and 0 <= x <= shape[1] - side for y, x in corners)
        if len(corners) == 2:
            (y, x), (v, u) = corners
            assert max(abs(y - v), abs(x - u)) >= 2 * side


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--models", "{m}"], r"--models .*: write it as NAME="),
            (["--models", "a={m}", "a={m}"], r"`a` is given twice"),
            (["--models", "bicubic={m}"], r"`bicubic` is a column already"),
            (["--models", "GT={m}"], r"`GT` is a column already"),
            (["--models", "a={m}", "--reference", "bicubik"], r"--reference bicubik: .*did you mean `bicubic`"),
            (["--models", "a={m}", "--network_g", "b={{type: EDSR}}"], r"--network_g b=.*no model of that name"),
            (["--models", "a={m}/nothing"], r"no such weights file"),
        ],
    )
    def test_one_line(self, model, val_faces, tmp_path, words, message):
        words = [word.format(m=model) for word in words]
        with pytest.raises(UserError, match=message) as told:
            run(*words, "--gt", val_faces, "-o", tmp_path / "out")
        assert "\n" not in str(told.value)
        assert not (tmp_path / "out" / "comparison.md").exists()

    def test_a_metric_that_is_not_there(self, model, val_faces):
        with pytest.raises(UserError, match=r"no `psnrr` among the metrics; did you mean `psnr`"):
            run("--models", f"a={model}", "--metrics", "psnrr", "--gt", val_faces)

    def test_a_scale_that_no_model_has(self, model, val_faces):
        with pytest.raises(UserError, match=r"--model: network_g\.upscale: is 4, .*`scale` is 3"):
            run("--models", f"a={model}", "--scale", 3, "--gt", val_faces)

    def test_nothing_to_score(self, model, tmp_path):
        (tmp_path / "a.png").write_text("no picture")
        with pytest.raises(UserError, match=r"not one picture could be scored: .*a\.png"):
            run("--models", f"a={model}", "--gt", tmp_path, "-o", tmp_path / "out")

    def test_different_scales(self, model, lab, val_faces, tmp_path):
        other = lab.train("scale=2", "network_g.upscale=2", "train.total_iter=1")
        with pytest.raises(UserError, match=r"of different scales: a x4, b x2"):
            run("--models", f"a={model}", f"b={other}", "--gt", val_faces, "-o", tmp_path)


def test_set5_with_published_weights(tmp_path):
    """realesr-animevideov3 on Set5, MATLAB's LQ: 28.25 dB on Y by an independent run of BasicSR's network."""
    basicsr("archs.srvgg_arch")
    weights, set5 = shared("../weights/sr/realesr-animevideov3.pth"), shared("Set5")
    network = "m={type: basicsr/SRVGGNetCompact, num_conv: 16, upscale: 4}"
    metric = ["--metrics", "psnr_y", "--crop_border", 4, "--grid_every", 0, "-o", tmp_path]
    pictures = ["--gt", set5 / "GT", "--input", set5 / "LRbicx4"]
    run("--models", f"m={weights}", "--network_g", network, *pictures, *metric)
    means = {r["method"]: float(r["mean"]) for r in rows(tmp_path / "summary.csv")}
    assert means["m"] == pytest.approx(28.25, abs=0.02)
    assert means["bicubic"] == pytest.approx(28.42, abs=0.02)  # as quoted for MATLAB's


def test_excludes_zero():
    assert Estimate(1.0, 0.1, 2.0).excludes_zero
    assert Estimate(-1.0, -2.0, -0.1).excludes_zero
    assert not Estimate(1.0, -0.1, 2.0).excludes_zero
