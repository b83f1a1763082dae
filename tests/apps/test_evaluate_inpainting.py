"""`restore test` of an inpainting model: every figure computed again from the pictures it wrote."""

import csv
import hashlib
import json
import math

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restore import cli, images, keyed
from restore.apps.extremes import Extremes
from restore.apps.judges import training_distances
from restore.apps.scores import Scores
from restore.apps.statistics import RESAMPLES, estimates
from restore.engine.validation import Scored, Table
from restore.errors import UserError
from restore.options.check import validate
from restore.options.document import Document
from restore.registry import ARCHS, Part
from restore.weights import read_weights, weights_bytes
from tests.metrics.test_identity_metrics import random_metric

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
NETWORK = {"type": "UNet", "num_feat": 4, "num_level": 2, "norm": "none"}
METRICS = ["psnr", "psnr_hole", "psnr_known", "mse_hole", "mse_known", "l1_hole", "ssim", "ssim_hole"]
METRICS += ["psnr_legacy_zeroed"]
BASELINES = ["input", "mean_fill", "telea", "navier_stokes"]
METHODS = [*BASELINES, "model", "model_raw"]


def run(*arguments):
    """Calls `restore test` with these arguments."""
    args = cli.build_parser().parse_args(["test", *map(str, arguments)])
    args.run(args)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A weights file of a tiny U-Net."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "unet.safetensors"
    path.write_bytes(weights_bytes(ARCHS.build(Part(**NETWORK)), {"arch": NETWORK, "scale": 1}))
    return path


def occlude(name, top):
    return ["--name", name, "--occlusion", f"[{{type: LowerFace, top: {top}}}]", "--baselines", *BASELINES]


@pytest.fixture(scope="module")
def results(model, faces, tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    more = ["--set", f"path.results_root={root}"]
    run("--model", model, "--gt", faces, "--metrics", *METRICS, *occlude("lower", 0.55), *more)
    return root / "lower" / faces.name


def rows(path):
    return list(csv.DictReader(path.open()))


def similarity(pred, gt):
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return structural_similarity(gt, pred, channel_axis=2, full=True, **how)[1].mean(axis=2)


def figures(pred, gt, hole):
    """NumPy, and scikit-image's map."""
    away = (pred.astype(np.float64) - gt) / 255
    inside = np.zeros_like(hole)
    inside[5:-5, 5:-5] = True
    zeroed = [picture * hole[..., None] for picture in (gt, pred)]
    with np.errstate(divide="ignore"):
        return {
            "psnr": peak_signal_noise_ratio(gt, pred, data_range=255),
            "psnr_hole": -10 * np.log10(np.mean(away[hole] ** 2)),
            "psnr_known": -10 * np.log10(np.mean(away[~hole] ** 2)),
            "mse_hole": np.mean(away[hole] ** 2),
            "mse_known": np.mean(away[~hole] ** 2),
            "l1_hole": np.abs(away[hole]).mean(),
            "ssim": similarity(pred, gt)[inside].mean(),
            "ssim_hole": similarity(pred, gt)[hole & inside].mean(),
            "psnr_legacy_zeroed": peak_signal_noise_ratio(*zeroed, data_range=255),
        }


def fill(name, picture, hole):
    if name == "mean_fill":
        return np.where(hole[..., None], np.rint(picture[~hole].mean(axis=0)), picture).astype(np.uint8)
    if name == "input":
        return picture
    how = cv2.INPAINT_TELEA if name == "telea" else cv2.INPAINT_NS
    return cv2.inpaint(np.ascontiguousarray(picture), hole.astype(np.uint8), 3, how)


def test_every_figure_from_the_written_pictures(results, faces):
    scores = rows(results / "scores.csv")
    assert len(scores) == 12 * len(METHODS)
    for row in scores:
        file, method = f"{row['key']}.png", row["method"]
        hole = images.read(results / "masks" / file)[..., 0] == 255
        masked = images.read(results / "masked" / file)
        where = {"model": results / file, "model_raw": results / "model_raw" / file}
        pred = images.read(where[method]) if method in where else fill(method, masked, hole)
        wanted = {"hole_area": hole.mean(), **figures(pred, images.read(faces / file), hole)}
        found = {name: float(row[name]) for name in wanted}
        assert found == pytest.approx(wanted, abs=1e-9, rel=1e-12), (row["key"], method)
        assert list(row) == ["key", "method", "hole_area", *METRICS]


def test_known_pixels_are_the_inputs(results, faces):
    for file in sorted(faces.glob("*.png")):
        hole = images.read(results / "masks" / file.name)[..., 0] == 255
        gt, pred, raw = (images.read(path / file.name) for path in (faces, results, results / "model_raw"))
        assert np.array_equal(pred[~hole], gt[~hole])
        assert np.array_equal(pred[hole], raw[hole])
        assert not np.array_equal(raw, pred)


def test_means_and_intervals(results):
    facts, scores = json.loads((results / "scores.json").read_text()), rows(results / "scores.csv")
    for method in METHODS:
        for name in METRICS:
            values = np.array([float(row[name]) for row in scores if row["method"] == method])
            if np.isfinite(values).all():
                assert facts["means"][method][name] == pytest.approx(values.mean(), rel=1e-12)
                low, high = facts["intervals"][method][name]
                drawn = np.random.default_rng(0).choice(values, (RESAMPLES, 12)).mean(axis=1)
                error = 0.1 * values.std()  # of two bootstraps with other draws
                assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=error + 1e-12)
            else:  # what is composited back has no error
                assert (facts["means"][method][name], name in facts["intervals"][method]) == (None, False)
    page = (results / "table.md").read_text()
    assert f"{facts['means']['model']['psnr_hole']:.4f} [{facts['intervals']['model']['psnr_hole'][0]:.4f}" in page
    assert "12 pictures" in page
    assert "too narrow" in page
    assert facts["protocols"]["psnr_hole"] in page


def test_masks_are_told_by_their_hash(results, faces):
    keys = [row["key"] for row in rows(results / "scores.csv") if row["method"] == "model"]
    every = b"".join(images.read(results / "masks" / f"{key}.png")[..., 0].tobytes() for key in keys)
    wanted = hashlib.sha256(every).hexdigest()
    assert json.loads((results / "scores.json").read_text())["masks_sha256"] == wanted
    assert f"masks: sha256 {wanted}" in (results / "table.md").read_text()


def test_twice_the_same_to_the_last_digit(results, model, faces, tmp_path):
    more = ["--set", f"path.results_root={tmp_path}"]
    run("--model", model, "--gt", faces, "--metrics", *METRICS, *occlude("lower", 0.55), *more)
    names = sorted(path.relative_to(results) for path in results.rglob("*.*"))
    assert len(names) == 4 * 12 + 6
    for name in names:
        assert (tmp_path / "lower" / results.name / name).read_bytes() == (results / name).read_bytes(), name


def test_by_the_size_of_the_hole(results):
    """The bins' means are those of their pictures."""
    scores = rows(results / "scores.csv")
    bins = json.loads((results / "by_hole_area.json").read_text())["bins"]
    assert sum(part["pictures"] for part in bins) == 12
    for part in bins:
        inside = [r for r in scores if part["low"] <= float(r["hole_area"]) < part["high"]]
        for method in METHODS:
            values = [float(r["psnr_hole"]) for r in inside if r["method"] == method]
            assert len(values) == part["pictures"]
            assert part["figures"][method]["psnr_hole"]["mean"] == pytest.approx(np.mean(values), rel=1e-12)
    assert "10% - 20%" in (results / "by_hole_area.md").read_text()


def scored(number, value, area=0.25, method="model"):
    picture, mask = torch.full((1, 3, 20, 30), number / 20), torch.zeros(1, 1, 20, 30)
    mask[:, :, : round(20 * area)] = 1
    preds = {"model": picture, "other": picture}
    return Scored(f"p{number}", picture, picture, preds, {name: {"psnr": value} for name in preds}, mask)


def test_bins_hold_each_picture_once_and_leave_out_those_without_a_hole():
    table = Table()
    for number, share in enumerate((0.0, 0.05, 0.1, 0.15, 0.2, 0.5, 0.95, 1.0)):
        table.add(scored(number, float(number) if share else math.nan, share))
    scores = Scores("x", table, {"psnr": random_metric("identity_cosine")})
    scores.measure(0)
    counts = {str(part): part.pictures for part in scores.bins}
    assert counts == {"0% - 10%": 1, "10% - 20%": 2, "20% - 30%": 1, "50% - 100%": 3}
    assert scores.bins[-1].figures["model"]["psnr"].mean == 6
    assert math.isnan(scores.bins[0].figures["model"]["psnr"].low)
    assert "1 pictures without a hole" in scores.hole_markdown()
    assert table.means("model") == {"psnr": 4.0}
    assert scores.figures["model"]["psnr"].mean == 4.0
    table.close({})
    assert table.notes == ["psnr: 1 of 8 pictures have no such figure, and no part in the mean"]


def test_no_figure_is_no_part_of_an_interval():
    """The pictures that have one get the interval that they would have by themselves, but for the draws."""
    values = np.random.default_rng(0).normal(20, 3, 400)
    holes = np.where(np.arange(800) % 2, np.nan, np.repeat(values, 2))
    both = estimates(np.stack([holes, np.repeat(values, 2)], 1), keyed.draws(0))
    alone = estimates(values[:, None], keyed.draws(1))
    assert both[0].mean == pytest.approx(values.mean(), abs=1e-12)
    assert (both[0].low, both[0].high) == pytest.approx((alone[0].low, alone[0].high), abs=0.03)
    none = estimates(np.full((5, 1), np.nan), keyed.draws(0))[0]
    assert all(map(math.isnan, (none.mean, none.low, none.high)))


@pytest.mark.parametrize("higher", [True, False])
def test_worst_and_best_pictures(tmp_path, monkeypatch, higher):
    told = []
    monkeypatch.setattr("restore.apps.report.Report.add", lambda self, scored, caption: told.append(caption))
    monkeypatch.setattr("restore.apps.report.Report.write", lambda self, path: None)
    extremes = Extremes("model", "psnr", higher)
    for number, value in enumerate((5.0, 9.0, math.nan, 1.0, 7.0, 3.0, 8.0, 2.0)):
        extremes.add(scored(number, value))
    extremes.write(tmp_path / "x.png", 1)
    worst, best = ["p3", "p7", "p5"], ["p1", "p6", "p4"]
    keys = [caption.split(": ")[1] for caption in told]
    assert keys == (worst + best if higher else best + worst)
    assert told[0].startswith(f"worst 1: p{3 if higher else 1}: psnr ")
    assert told[0].endswith("hole 25.0%")


def test_the_sheet_shows_them(results):
    """Six rows of three cells of 256 px, gaps of 4, captions of 22 and a header of 28."""
    sheet = images.read(results / "worst_best.png")
    assert sheet.shape == (28 + 6 * (256 + 22), 3 * 256 + 2 * 4, 3)
    own = [row for row in rows(results / "scores.csv") if row["method"] == "model"]
    worst = min(own, key=lambda row: float(row["psnr"]))
    first = images.read(results / "masked" / f"{worst['key']}.png")
    assert np.array_equal(sheet[50 : 50 + 256 : 4, :256:4], first)


def test_two_sets_in_one_table(model, faces, val_faces, tmp_path, capsys):
    data = {"type": "OccludedImageDataset", "occlusion": [{"type": "LowerFace"}]}
    sets = {"test": data | {"name": "one", "dataroot_gt": str(faces)}}
    sets["test_2"] = data | {"name": "two", "dataroot_gt": str(val_faces)}
    document = {
        "name": "cross",
        "task": {"type": "Inpainting"},
        "network_g": NETWORK,
        "datasets": sets,
        "path": {"pretrain_network_g": str(model), "results_root": str(tmp_path)},
        "val": {"metrics": {"psnr_hole": {}, "identity_cosine": {"weights": "random"}}, "baselines": ["telea"]},
    }
    from restore.apps.evaluate import evaluate

    tables = evaluate(validate(Document("test", document)))
    lines = (tmp_path / "cross" / "table.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["set", "pictures", "method", "psnr_hole", "identity_cosine"]
    shown = {(row[0], row[2]): row for row in cells[2:]}
    assert list(shown) == [(name, method) for name in ("one", "two") for method in ("telea", "model", "model_raw")]
    for (name, method), row in shown.items():
        means = tables[name].means(method)
        assert [cell.split(" [")[0] for cell in row[3:]] == [f"{mean:.4f}" for mean in means.values()]
    assert shown["two", "model"][1] == "3"
    printed = capsys.readouterr().out
    assert printed.count("masks: sha256") == 2
    assert "| set " in printed


def test_masks_from_files(model, faces, tmp_path):
    """White or black for missing: the same figures from the mask and its negative."""
    rng = np.random.default_rng(0)
    for file in sorted(faces.glob("*.png")):
        gt, hole = images.read(file), np.zeros((64, 64), bool)
        y, x = rng.integers(5, 30, 2)
        hole[y : y + 25, x : x + 20] = True
        images.write(tmp_path / "lq" / file.name, np.where(hole[..., None], np.uint8(0), gt))
        for name, white in (("white", hole), ("black", ~hole)):
            mask = np.repeat(np.where(white, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)
            images.write(tmp_path / name / file.name, mask)
    found = []
    for name in ("white", "black"):
        pairs = ["--input", tmp_path / "lq", "--gt", faces, "--mask", tmp_path / name]
        more = ["--mask_polarity", f"{name}_missing", "--name", name, "--set", f"path.results_root={tmp_path / 'out'}"]
        run("--model", model, *pairs, *more)
        found.append(rows(tmp_path / "out" / name / faces.name / "scores.csv"))
    assert found[0] == found[1]
    assert list(found[0][0]) == ["key", "method", "hole_area", "psnr", "psnr_hole", "ssim", "ssim_hole"]
    assert float(found[0][0]["hole_area"]) == 500 / 64**2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gt", "g"], "UNet has to be told what is missing"),
        (["--gt", "g", "--input", "l", "--occlusion", "[{type: LowerFace}]"], "--occlusion hides"),
        (["--mask", "m", "--gt", "g"], "--mask says"),
    ],
)
def test_what_cannot_be_tested_is_told(model, arguments, told):
    with pytest.raises(UserError, match=told):
        run("--model", model, *arguments)


class TestTrainingDistance:
    def options(self, losses):
        train = {"optim_g": {"type": "Adam", "lr": 1e-4}, "losses": losses, "total_iter": 1}
        document = {"name": "x", "network_g": NETWORK, "task": {"type": "Inpainting"}, "train": train}
        from restore.options.schema import Options

        return Options.model_validate(document)

    @pytest.mark.parametrize(
        ("section", "training"),
        [
            ({"type": "IdentityLoss", "weights": "random"}, True),
            ({"type": "IdentityLoss", "weights": "random", "network": "arcface"}, False),
            ({"type": "IdentityLoss"}, False),
            ({"type": "L1Loss"}, False),
        ],
    )
    def test_of_the_network_that_a_loss_used(self, tmp_path, section, training):
        metrics = {name: random_metric(name) for name in ("identity_cosine", "verification_far_1e_2")}
        wanted = list(metrics) if training else []
        plain, trained = self.options({"a": {"type": "L1Loss"}}), self.options({"a": section})
        assert training_distances(trained, metrics, tmp_path / "w.safetensors") == wanted
        for folder in (tmp_path / "x", tmp_path / "x" / "checkpoints" / "5"):  # of the experiment; of the checkpoint
            weights = tmp_path / "x" / "checkpoints" / "5" / "network_g.safetensors"
            weights.parent.mkdir(parents=True, exist_ok=True)
            saved = {"stages": [{"train": {"losses": {"face": section}}}]}
            (folder / "options.yml").write_text(json.dumps(saved))
            assert training_distances(plain, metrics, weights) == wanted
            (folder / "options.yml").write_text("a: [unclosed")
            assert training_distances(plain, metrics, weights) == []

    def test_it_is_called_so(self, model, val_faces, tmp_path, capsys):
        folder = tmp_path / "x" / "checkpoints" / "5"
        folder.mkdir(parents=True)
        (folder / "network_g.safetensors").write_bytes(model.read_bytes())
        losses = {"face": {"type": "IdentityLoss", "weights": "random"}}
        (folder / "options.yml").write_text(json.dumps({"train": {"losses": losses}}))
        override = "val.metrics={psnr_hole: {}, identity_cosine: {weights: random}}"
        more = ["--set", override, f"path.results_root={tmp_path}"]
        run("--model", folder, "--gt", val_faces, "--occlusion", "[{type: LowerFace}]", *more)
        page = (tmp_path / "5" / val_faces.name / "table.md").read_text()
        assert "identity_cosine (training distance)" in page
        assert "identity_cosine: through the network that the model was trained with: no judge of it" in page
        assert "identity_cosine (training distance)" in capsys.readouterr().out


def test_pictures_of_another_size_than_the_networks_are_told(model, val_faces, tmp_path, capsys):
    tensors = read_weights(model).tensors
    for trained, told in ((32, True), (64, False)):
        network = ARCHS.build(Part(**NETWORK))
        network.load_state_dict(tensors)
        path = tmp_path / f"{trained}.safetensors"
        path.write_bytes(weights_bytes(network, {"arch": NETWORK, "scale": 1, "size": trained}))
        more = ["--metrics", "psnr_hole", "--set", f"path.results_root={tmp_path}"]
        run("--model", path, "--gt", val_faces, "--occlusion", "[{type: LowerFace}]", *more)
        assert ("trained on pictures of 32 px, these have 64" in capsys.readouterr().out) == told
