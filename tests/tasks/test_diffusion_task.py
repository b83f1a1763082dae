"""The diffusion task: what it learns from, exact resuming, and pictures restored by a network that never saw a mask."""

import json
import shutil

import pytest
import torch
from torch.nn import functional as F

from restore import cli, images
from restore.data.drawn import draw_face
from restore.engine.experiment import Experiment
from restore.engine.logging import Log
from restore.engine.methods import Model, model_methods
from restore.engine.trainer import Trainer
from restore.errors import UserError
from restore.registry import ARCHS, Part
from restore.weights import read_weights, weights_bytes
from tests.lab import assert_same_run

NETWORK = {"block_out_channels": [8, 8], "layers_per_block": 1, "attention_levels": [1], "norm_num_groups": 4}
COMMON = (
    "task={type: Diffusion, num_steps: 3}",
    f"network_g={{type: DenoisingUNet, {json.dumps(NETWORK)[1:-1]}}}",
    "datasets.train.transforms=[{type: RandomFlip}]",
    "train.losses={}",
    "train.optim_g.lr=0.005",
)
OVERRIDES = (
    *COMMON,
    "scale=1",
    "datasets.val.type=OccludedImageDataset",
    "datasets.val.occlusion=[{type: LowerFace}]",
    "val.metrics={psnr_hole: {}, psnr_known: {}}",
)
CPU = torch.device("cpu")


@pytest.fixture
def trainer(lab):
    def make(*overrides, common=OVERRIDES):
        options = lab.options(*common, *overrides)
        return Trainer(options, Experiment([options]), Log())

    return make


@pytest.fixture
def task(trainer):
    """The task with a network that is not at its beginning, where all predictions are alike."""

    def make(*overrides, common=OVERRIDES):
        task = trainer(*overrides, common=common).task
        torch.manual_seed(3)
        for parameter in task.network_g.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        task.network_g.eval()
        return task

    return make


def pictures(count, height=32, width=32):
    """LQ in steps of 8 bits, and masks."""
    generator = torch.Generator().manual_seed(1)
    lq = torch.randint(256, (count, 3, height, width), generator=generator) / 255
    return lq, (torch.rand(count, 1, height, width, generator=generator) > 0.6).float()


# ------------------------------------------------------------------------------------------------------- training


def test_the_loss_falls(lab, tmp_path):
    options = lab.options(*OVERRIDES, "train.total_iter=40", "val.metrics={}")
    run = Trainer(options, Experiment([options]), Log())
    with run._batches() as batches:
        (step,) = run._prepare(next(batches))

    def loss():
        losses = []
        for seed in range(4):
            torch.manual_seed(seed)
            losses.append(run.task.losses(step)["l_noise"].detach())
        return float(torch.stack(losses).mean())

    before = loss()
    lab.train(*OVERRIDES, "train.total_iter=40", "val.metrics={}")
    weights = read_weights(lab.experiment())
    run.task.network_g.load_state_dict(weights.tensors)
    assert loss() < 0.7 * before
    assert weights.facts["task"] == {"type": "Diffusion", "num_steps": 3}


def test_weights_are_those_of_the_clean_pictures_error(task):
    """Hang et al. (ICCV 2023), table 1: min(SNR, gamma) for |x0 - x0'|^2 is min(SNR, gamma) / SNR for the noise's."""
    own = task()
    time = torch.tensor([0, 10, 100, 300, 600, 999])
    x0, noise, predicted = torch.randn(3, 6, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = own.schedule.noised(x0, noise, time)
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[time]
    snr = alphas / (1 - alphas)
    error = (own.schedule.clean(noisy, predicted, time) - x0).square().mean((1, 2, 3))
    expected = torch.minimum(snr, torch.tensor(5.0)) * error
    assert torch.allclose(own.weights(time) * (predicted - noise).square().mean((1, 2, 3)), expected, rtol=1e-9)
    assert own.weights(time)[[0, -1]].tolist() == pytest.approx([5 / 9999, 1])
    assert task("task.min_snr=null").weights(time).tolist() == [1] * 6


def test_the_loss_is_the_error_of_the_noise(task):
    """With a network that predicts none, it is the mean square of the noise, in float32 also under bf16."""
    own = task("task.min_snr=null")
    own.forward = lambda x, time: torch.zeros_like(x)
    step = own.prepare({"gt": torch.rand(64, 3, 16, 16)}, 1)
    torch.manual_seed(0)
    assert float(own.losses(step)["l_noise"]) == pytest.approx(1, abs=0.02)  # of 49,152 squares: 3 standard errors


def test_resumed_equals_uninterrupted(lab):
    whole = lab.train(*OVERRIDES, "train.total_iter=6", runs="whole")
    lab.train(*OVERRIDES, "train.total_iter=6", "logger.save_checkpoint_freq=3", runs="cut")
    checkpoints = lab.experiment("cut") / "checkpoints"
    shutil.rmtree(checkpoints / "6")
    (checkpoints / "latest").unlink()
    lab.train(*OVERRIDES, "train.total_iter=6", runs="cut", flags=("--auto_resume",))
    assert_same_run(whole, lab.experiment("cut"))


def test_mistakes_are_told(lab):
    with pytest.raises(UserError, match="Diffusion has a loss of its own"):
        lab.train(*OVERRIDES, "train.losses={pixel: {type: L1Loss}}")
    with pytest.raises(UserError, match="MSRResNet predicts no noise; DenoisingUNet does"):
        lab.train(*OVERRIDES, "network_g={type: MSRResNet, upscale: 1}")
    with pytest.raises(UserError, match=r"train.losses: names no loss; such as `pixel: \{type: L1Loss\}`"):
        lab.options("train.losses={}")
    with pytest.raises(UserError, match="DenoisingUNet predicts noise, which is for `Diffusion`"):
        lab.options(*OVERRIDES, "task={type: Inpainting}", "train.losses={pixel: {type: L1Loss}}")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["task.sigma=0.1"], "task.sigma: ddnm takes the picture to be free of noise"),
        (["task.sigma=12", "task.step=diffpir"], "task.sigma.*1"),
        (["task.step=repaint", "task.num_steps=10"], "task.num_steps: repaint goes back by 10 steps"),
        (["scale=4"], "datasets.val.type: hides parts of pictures that keep their size"),
        (["task.start_from=0.0"], "start_from 0 leaves 1 times of 1000"),
    ],
)
def test_what_does_not_go_together_is_told(lab, overrides, told):
    with pytest.raises(UserError, match=told):
        lab.train(*OVERRIDES, *overrides)


def test_nothing_missing_is_told(task):
    own = task()
    with pytest.raises(UserError, match="nothing is missing of these pictures"):
        own.predict(own.network_g, pictures(1)[0])


# ---------------------------------------------------------------------------------------------------- restoration


@pytest.mark.parametrize("step", ["ddnm", "ddnm+", "diffpir", "repaint"])
@pytest.mark.parametrize("size", [(32, 32), (31, 26)], ids=["even", "odd"])
def test_known_pixels_stay_and_the_hole_does_not_matter(task, step, size):
    own = task(f"task.step={step}", f"task.num_steps={11 if step == 'repaint' else 3}")
    lq, mask = pictures(2, *size)
    pred = own.predict(own.network_g, lq, mask)
    assert pred.shape == lq.shape
    assert torch.equal(pred * (1 - mask), lq * (1 - mask))
    assert torch.equal(own.predict(own.network_g, lq * (1 - mask), mask), pred)


def test_a_pictures_result_hangs_on_the_picture_alone(task):
    """Whatever is beside it, up to float32's rounding in convolutions of other batches; and so from run to run."""
    own, again = task(), task()
    lq, mask = pictures(3)
    together = own.predict(own.network_g, lq, mask)
    alone = torch.cat([again.predict(again.network_g, lq[[n]], mask[[n]]) for n in (2, 1, 0)]).flip(0)
    assert torch.allclose(together, alone, atol=1e-3)
    assert torch.equal(own.predict(own.network_g, lq, mask), together)
    other = task("manual_seed=5")
    assert (other.predict(other.network_g, lq, mask) - together).abs().max() > 0.1


def test_candidates_differ_in_the_hole(task):
    own = task()
    lq, mask = pictures(1)
    first, second = (own.predict(own.network_g, lq, mask, candidate) for candidate in (0, 1))
    assert (first - second).abs().max() > 0.1
    assert torch.equal(first * (1 - mask), second * (1 - mask))


@pytest.mark.parametrize("height", [8, 7])
@pytest.mark.parametrize("start", ["null", 0.4])
def test_enlarged_pictures_shrink_to_lq(task, height, start):
    own = task(f"task.start_from={start}", common=COMMON)
    lq, _ = pictures(2, height, 9)
    pred = own.predict(own.network_g, lq)
    assert pred.shape == (2, 3, 4 * height, 36)
    assert torch.allclose(F.avg_pool2d(pred, 4), lq, atol=1e-5)
    mask = torch.zeros(2, 1, height, 9)
    mask[..., 2:5, 3:7] = 1
    pred = own.predict(own.network_g, lq, mask)
    assert torch.allclose(F.avg_pool2d(pred, 4) * (1 - mask), lq * (1 - mask), atol=1e-5)


def test_bicubic_too(task):
    from restore.diffusion.operators import BicubicDown

    own = task("task.downsample=bicubic", common=COMMON)
    lq, _ = pictures(1, 8, 10)
    pred = own.predict(own.network_g, lq)
    assert torch.allclose(BicubicDown(4, (32, 40)).forward(pred), lq, atol=1e-5)


def test_a_first_guess_is_near(task):
    """At the last of the times nothing is left of the guess, at the first all of it: a smooth hole."""
    own = task("task.start_from=0.0", "task.num_steps=1")
    lq, mask = torch.full((1, 3, 16, 16), 0.25), torch.zeros(1, 1, 16, 16)
    mask[..., 4:9, 4:9] = 1
    pred = own.predict(own.network_g, lq, mask)
    assert torch.allclose(pred, lq, atol=0.1)


@pytest.fixture
def rough(tmp_path):
    """A model that answers at once, as a weights file, and what it makes of a batch."""
    section = {"type": "UNet", "num_feat": 4, "num_level": 1, "norm": "none"}
    network = ARCHS.build(Part(**section)).eval()

    def save(**facts):
        path = tmp_path / "rough.safetensors"
        path.write_bytes(weights_bytes(network, {"arch": section} | facts))
        return path

    return save, network


def test_a_first_guess_may_be_a_model_s(task, rough):
    save, network = rough
    own = task("task.start_from=0.0", "task.num_steps=1", f"task.start_with={save()}")
    lq, mask = pictures(2)
    with torch.no_grad():
        guess = network(lq * (1 - mask), mask)
        pred = own.predict(own.network_g, lq, mask)
    assert torch.allclose(pred * mask, guess * mask, atol=0.1)
    assert (guess * mask - 0.5 * mask).abs().max() > 0.01
    assert torch.equal(pred * (1 - mask), lq * (1 - mask))


@pytest.mark.parametrize(
    ("facts", "start", "told"),
    [
        ({}, "null", "also say where to begin"),
        ({"arch": None}, "0.4", "does not say which network"),
        ({"scale": 4}, "0.4", "enlarges 4 times, `scale` is 1"),
        ({"task": {"type": "Diffusion"}}, "0.4", "is a diffusion itself"),
    ],
)
def test_what_cannot_guess_is_told(task, rough, facts, start, told):
    save, _ = rough
    with pytest.raises(UserError, match=told):
        task(f"task.start_from={start}", f"task.start_with={save(**facts)}")


def test_a_model_to_guess_with_that_is_not_there_is_told_with_its_line(task):
    with pytest.raises(UserError, match="task.start_with: no file or folder"):
        task("task.start_from=0.4", "task.start_with=experiments/nowhere")


# --------------------------------------------------------------------------------------------------- in the verbs


def test_restored_by_every_verb(lab, val_faces, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = lab.train(*OVERRIDES, "train.total_iter=2")
    options = lab.options(*OVERRIDES, f"path.pretrain_network_g={folder}")
    lq, mask = pictures(1)
    with torch.inference_mode():
        expected = model_methods(options, CPU)
        assert list(expected) == ["model"]
        assert torch.equal(Model(options, CPU).answer(0)(lq, mask), expected["model"](lq, mask))

    def restore(*arguments):
        args = cli.build_parser().parse_args(list(map(str, arguments)))
        args.run(args)

    pairs = ("--gt", val_faces, "--occlusion", "[{type: LowerFace}]")
    restore("test", "--model", folder, *pairs, "--name", "t", "--set", "task.num_steps=2", "path.results_root=r")
    assert (tmp_path / "r" / "t").is_dir()
    restore("test", "--model", folder, "--gt", val_faces, "--name", "sr", "--set", "scale=4", "path.results_root=r")
    models = ("--models", f"d2={folder}", f"d5={folder}", "--baselines", "--reference", "d2")
    restore("compare", *models, *pairs, "--task", "d5={num_steps: 5}", "-o", "c", "--grid_every", 0)
    told = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert told["methods"]["d5"]["task"]["num_steps"] == 5
    assert told["methods"]["d2"]["task"]["num_steps"] == 3
    for wrong, match in (("d7={num_steps: 5}", "no model of that name"), ("d5={num_step: 5}", "mean `num_steps`")):
        with pytest.raises(UserError, match=match):
            restore("compare", *models, *pairs, "--task", wrong, "-o", "c")
    images.write(tmp_path / "in.png", draw_face(0, 7, 64).image)
    for steps in (2, 4):
        task = f"{{num_steps: {steps}}}"
        told = ("--model", folder, "--mask", "lower", "--detector", "aligned", "--task", task, "--no_compare")
        restore("infer", tmp_path / "in.png", *told, "-o", f"i{steps}")
    assert "black to it" in capsys.readouterr().out
    source, two, four = (images.read(tmp_path / place / "in.png") for place in (".", "i2", "i4"))
    assert (two != four).any()
    restore("infer", tmp_path / "in.png", *told, "-o", "i5", "--seed", 5)
    assert (images.read(tmp_path / "i5" / "in.png") != four).any()
    assert (two[:24] == source[:24]).all()
