"""Validation in training, shared by two and three ranks, comes out as on one process."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from restore import images
from restore.data.drawn import draw_face
from tests.distributed.ranks import train
from tests.lab import last

PICTURES = 5  # which do not divide by the ranks
COMMON = (
    "task={type: ToldRestoration}",
    "train.precision=fp64",
    "train.total_iter=4",
    "datasets.train.batch_size=6",
    "val.val_freq=2",
    "val.metrics={psnr: {crop_border: 4}, psnr_y: {}, fd_squeezenet: {weights: random}}",
    "val.num_pictures=4",
    "val.save_img=true",
    "logger.use_tb_logger=true",
)


@pytest.fixture
def validated(lab):
    """Trains on some ranks, by one figure or another for the best. Gives the experiment."""
    faces = lab.root / "five"
    for index in range(200, 200 + PICTURES):
        images.write(faces / f"{index}.png", draw_face(0, index, 64).image)

    def run(ranks: int, best: str):
        own = (f"datasets.val.dataroot_gt={faces}", f"val.best={{metric: {best}}}")
        return train(lab, ranks, *COMMON, *own, runs=f"{best}_{ranks}")

    return run


@pytest.mark.slow
@pytest.mark.parametrize("best", ["psnr_y", "fd_squeezenet"])
def test_the_best_checkpoint_and_its_figure(validated, best):
    alone, *shared = (validated(ranks, best) for ranks in (1, 2, 3))
    wanted = last(alone).state()["best"]
    assert wanted["value"] > 0
    for experiment in shared:
        found = last(experiment).state()["best"]
        assert found["iter"] == wanted["iter"]
        assert found["value"] == pytest.approx(wanted["value"], rel=0, abs=1e-9)
        assert (experiment / "checkpoints" / "best").read_text() == (alone / "checkpoints" / "best").read_text()
        assert lines(experiment) == lines(alone)


def test_pictures_are_where_they_are_on_one_process(validated):
    alone, shared = validated(1, "psnr"), validated(2, "psnr")
    one, other = board(alone), board(shared)
    assert one.Tags()["images"] == other.Tags()["images"]
    assert len(one.Tags()["images"]) == 4
    for tag in one.Tags()["images"]:
        assert [e.step for e in one.Images(tag)] == [e.step for e in other.Images(tag)] == [2, 4]
        assert [e.encoded_image_string for e in one.Images(tag)] == [e.encoded_image_string for e in other.Images(tag)]
    written = [sorted(path.relative_to(run) for path in run.rglob("*.png")) for run in (alone, shared)]
    assert written[0] == written[1]
    assert len(written[0]) == 2 * PICTURES


def board(experiment) -> EventAccumulator:
    found = EventAccumulator(str(experiment / "tb"))
    found.Reload()
    return found


def lines(experiment) -> list[str]:
    """What the log says of validations, without the time: each once."""
    log = next(experiment.glob("*.log")).read_text().splitlines()
    return [line.split(" ", 2)[2] for line in log if "validation" in line or "best so far" in line or "fewer" in line]
