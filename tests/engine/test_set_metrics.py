"""Metrics of whole sets in validation and testing: tables, files, the best checkpoint."""

import csv
import json

import pytest
import torch
import yaml

from restore.apps.evaluate import evaluate
from restore.engine.validation import PictureMetric, SetMetric, Table, score
from restore.metrics.psnr_metric import psnr
from restore.registry import METRICS

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
FD = "val.metrics={psnr: {crop_border: 4}, fd_squeezenet: {weights: random}}"


class Gap:
    """The mean brightness of all predictions, less that of all GT: a set metric by hand."""

    higher_is_better = False
    protocol = "by hand"

    def keep(self, pred, gt):
        return {"gap": pred.mean() - gt.mean()}

    def figure(self, kept):
        return sum(part["gap"].item() for part in kept) / len(kept)

    def note(self, kept):
        return "a note"


class Faces:
    """Three pictures, the second of which cannot be scored."""

    keys = ("a", "b", "c")

    def __len__(self):
        return 3

    def load(self, index, draws):
        size = 8 if index == 1 else 16
        gt = torch.full((size, size, 3), 50 * index, dtype=torch.uint8).numpy()
        return {"lq": gt, "gt": gt, "key": self.keys[index], "path": self.keys[index]}


def test_one_figure_for_each_method():
    methods = {"dark": lambda lq, mask: lq * 0, "same": lambda lq, mask: lq}
    table = Table()
    scored = list(score(Faces(), methods, {"psnr": psnr(crop_border=4), "gap": Gap()}, 0, table))
    assert [list(s.scores["dark"]) for s in scored] == [["psnr"], ["psnr"]]
    assert table.set_aside.keys() == {"b"}
    assert table.means("dark")["gap"] == pytest.approx(-(0 + 100) / 2 / 255)
    assert table.means("same")["gap"] == 0
    assert list(table.means("same")) == ["psnr", "gap"]
    assert table.notes == ["gap: a note"]


def test_every_metric_is_of_one_kind():
    for entry in METRICS:
        if entry.module.startswith("restore."):
            assert hasattr(entry.build, "keep") != ("__call__" in dir(entry.build)), entry.name
    assert isinstance(Gap(), SetMetric)
    assert not isinstance(Gap(), PictureMetric)


def test_training_keeps_the_best_by_a_set_metric(lab):
    experiment = lab.train(FD, "val.best={metric: fd_squeezenet}")
    log = next(experiment.glob("*.log")).read_text()
    assert log.count("fd_squeezenet: of 3 pictures, fewer than 2,048") == 1  # not again at each validation
    assert log.count("fd_squeezenet: ") >= 3
    assert "best so far: val fd_squeezenet" in log
    assert (experiment / "checkpoints" / "best").is_file()


def test_test_writes_it_beside_the_rest(lab, capsys):
    experiment = lab.train()
    weights, results = (f"path.{key}" for key in ("pretrain_network_g", "results_root"))
    lq = "val.baselines=[bicubic]"
    options = lab.options(FD, lq, f"{weights}={experiment}", f"{results}={lab.root / 'results'}")
    table = evaluate(options)["val"]
    shown = capsys.readouterr().out
    assert "3 pictures" in shown
    assert "WARNING fd_squeezenet: of 3 pictures" in shown
    folder = lab.root / "results" / "tiny" / "val"
    facts = json.loads((folder / "scores.json").read_text())
    assert set(facts["means"]) == {"bicubic", "model"}
    for method, means in facts["means"].items():
        assert list(means) == ["psnr", "fd_squeezenet"]
        assert means["fd_squeezenet"] == table.whole[method]["fd_squeezenet"] > 0
    assert facts["notes"] == table.notes
    assert "fd_squeezenet" in (folder / "table.md").read_text()
    rows = list(csv.reader((folder / "scores.csv").open()))
    assert rows[0] == ["key", "method", "psnr"]
    assert len(rows) == 1 + 2 * 3


def test_a_set_metric_alone(lab):
    section = yaml.safe_load(lab.file.read_text())
    section["val"]["metrics"] = {"fd_squeezenet": {"weights": "random"}}
    lab.file.write_text(yaml.safe_dump(section))
    experiment = lab.train()
    assert (experiment / "checkpoints" / "best").is_file()
    paths = {"pretrain_network_g": experiment, "results_root": lab.root / "results"}
    options = lab.options(*(f"path.{key}={path}" for key, path in paths.items()))
    assert list(evaluate(options)["val"].means("model")) == ["fd_squeezenet"]
