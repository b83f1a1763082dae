"""Steps that are skipped, accumulated, clipped and averaged."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from restore.engine.average import Average
from restore.engine.trainer import Trainer
from restore.engine.update import Update
from restore.errors import Fault
from restore.losses.loss import Loss
from restore.losses.pixel_loss import L1Loss
from restore.tasks.task import Phase
from tests.lab import assert_same_run, last

NAN, INF = float("nan"), float("inf")


def spoil(monkeypatch, iterations, change):
    """L1 losses become `change(loss)` at some iterations."""
    count = iter(range(1, 10**6))

    def forward(self, step):
        loss = torch.nn.functional.l1_loss(step.pred, step.gt)
        return change(loss) if next(count) in iterations else loss

    monkeypatch.setattr(L1Loss, "forward", forward)


def weights_after_each_step(monkeypatch):
    seen = []
    step = Trainer.step

    def stepping(self, phase, steps):
        step(self, phase, steps)
        network = self.task.networks["network_g"]
        seen.append({name: value.clone() for name, value in network.state_dict().items()})

    monkeypatch.setattr(Trainer, "step", stepping)
    return seen


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "change",
    [lambda loss: loss * NAN, lambda loss: loss + INF, lambda loss: loss.detach() * NAN + 0 * loss],
    ids=["nan", "infinite with a finite gradient", "nan that is detached"],
)
def test_a_step_without_a_finite_loss_is_skipped_and_counted(lab, monkeypatch, capsys, precision, change):
    spoil(monkeypatch, {6, 7}, change)
    seen = weights_after_each_step(monkeypatch)
    run = lab.train(f"train.precision={precision}")
    state = last(run).state()["update"]
    assert equal(seen[4], seen[5])
    assert equal(seen[4], seen[6])
    assert not equal(seen[6], seen[7])
    assert state["skipped"] == 2
    assert state["rows"] == {"g": 0}
    assert "skipped: 2" in capsys.readouterr().out
    assert all(value.isfinite().all() for value in load_file(last(run).weights("network_g_ema")).values())


def test_steps_in_a_row_are_counted_by_phase():
    update = Update("fp32", None, torch.device("cpu"))
    phases = {}
    for name in ("g", "d"):
        weight = nn.Parameter(torch.ones(()))
        phases[name] = Phase(name, [], nn.Identity(), torch.optim.SGD([weight], lr=0.1), lambda step: {})
    for factor in (NAN, 1.0, NAN, 1.0):  # the discriminator is well, the generator gets nowhere
        for name, value in (("g", NAN), ("d", factor)):
            update.backward(phases[name].parameters[0] * value)
            update.apply(phases[name])
    assert update.in_row == 4
    assert int(update.skipped) == 6
    again = Update("fp32", None, torch.device("cpu"))
    again.load_state_dict(update.state_dict())
    assert again.in_row == 4
    assert again.state_dict() == update.state_dict()


def test_skipped_steps_are_on_the_board(lab, monkeypatch):
    from tests.engine.test_board import read

    spoil(monkeypatch, {2}, lambda loss: loss * NAN)
    events = read(lab.train("logger.use_tb_logger=true"))
    assert [event.value for event in events.Scalars("train/skipped_steps")] == [1, 1, 1]


def test_too_many_in_a_row_stop_the_run(lab, monkeypatch):
    spoil(monkeypatch, range(5, 100), lambda loss: loss * NAN)
    with pytest.raises(Fault, match="iteration 8: the last 4 steps had a loss or gradient that is no finite number"):
        lab.train("train.max_nonfinite=4")
    assert last(lab.experiment()).iteration == 4  # and not 6, after two of them


def test_a_run_that_bad_steps_have_stopped_goes_on_as_if_there_had_been_none(lab, monkeypatch):
    whole = lab.train(runs="whole")
    with monkeypatch.context() as patch:
        spoil(patch, range(5, 100), lambda loss: loss * NAN)
        with pytest.raises(Fault, match="--auto_resume goes on from iteration 4"):
            lab.train("train.max_nonfinite=8")
    assert last(lab.experiment()).state()["best"] is None  # the weights of a bad step are not the best
    assert_same_run(whole, lab.train(flags=("--auto_resume",)))


def test_a_checkpoint_that_was_due_after_a_bad_step_follows_a_good_one(lab, monkeypatch):
    spoil(monkeypatch, {8, 9}, lambda loss: loss * NAN)
    run = lab.train("logger.keep_checkpoints=0", "val.val_freq=100")
    assert sorted(path.name for path in (run / "checkpoints").glob("[0-9]*")) == ["10", "12", "4"]


def test_fewer_in_a_row_do_not(lab, monkeypatch):
    spoil(monkeypatch, {2, 3, 5, 6, 7, 9, 10}, lambda loss: loss * NAN)
    assert last(lab.train("train.max_nonfinite=4")).state()["update"]["skipped"] == 7


def test_the_end_tells_of_skipped_steps(lab, monkeypatch, capsys):
    spoil(monkeypatch, {11}, lambda loss: loss * NAN)
    lab.train("logger.print_freq=100")
    assert "1 steps were skipped" in capsys.readouterr().out


def phase_of(network, batches, optimizer=None):
    loss = lambda step: {"l": ((network(step.lq) - step.gt) ** 2).mean()}  # noqa: E731
    return Phase("g", [network], network, optimizer or torch.optim.SGD(network.parameters(), lr=0.1), loss)


@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_accumulated_parts_equal_the_whole_batch(lab, accumulate):
    trainers = []
    for parts in (1, accumulate):
        options = lab.options(f"train.accumulate={parts}", "datasets.train.batch_size=8")
        from restore.engine.experiment import Experiment
        from restore.engine.logging import Log

        trainer = Trainer(options, Experiment([options]), Log())
        trainer.task.networks["network_g"].double()
        trainers.append(trainer)
    with trainers[0]._batches() as batches:
        batch = next(batches)
    batch.tensors = {name: tensor.double() / 255 for name, tensor in batch.tensors.items()}
    for trainer in trainers:
        phase = trainer.task.phases[0]
        trainer.step(phase, trainer._prepare(batch))
    one, other = (trainer.task.networks["network_g"].state_dict() for trainer in trainers)
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=0, atol=1e-12), name
    assert trainers[0].meter.read()["l_pixel"] == pytest.approx(trainers[1].meter.read()["l_pixel"], abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])  # with fp16, of gradients that were scaled up
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_clipping_equals_torchs(scale, precision):
    torch.manual_seed(0)
    ours = torch.nn.Linear(4, 4)
    theirs = copy.deepcopy(ours)
    x = torch.randn(8, 4)
    update = Update(precision, grad_clip=0.5, device=torch.device("cpu"))
    phase = phase_of(ours, x)
    update.backward(ours(x).square().mean() * scale)
    norm = update.apply(phase)
    (theirs(x).square().mean() * scale).backward()
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    torch.optim.SGD(theirs.parameters(), lr=0.1).step()
    assert torch.equal(norm, expected)
    assert torch.equal(ours.weight, theirs.weight)


def test_each_step_is_taken_at_its_own_rate(lab, monkeypatch):
    """Twelve iterations, warmed up over three, the rate halved after the sixth and the tenth."""
    rates = []
    step = Trainer.step

    def stepping(self, phase, steps):
        rates.extend(group["lr"] for group in phase.optimizer.param_groups)
        step(self, phase, steps)

    monkeypatch.setattr(Trainer, "step", stepping)
    lab.train()
    assert rates == pytest.approx([0.001 * share for share in (1 / 3, 2 / 3, *[1] * 4, *[0.5] * 4, 0.25, 0.25)])


def test_average_equals_the_formula(lab, monkeypatch):
    seen = weights_after_each_step(monkeypatch)
    run = lab.train("train.ema_decay=0.8")
    expected = seen[0]
    for number, weights in enumerate(seen[1:], 1):
        stays = min(0.8, number / (number + 9))
        expected = {name: stays * expected[name] + (1 - stays) * weights[name] for name in weights}
    for name, value in load_file(last(run).weights("network_g_ema")).items():
        assert torch.allclose(value, expected[name], rtol=0, atol=1e-7), name


def test_the_average_has_the_running_statistics_of_its_past():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    average = Average(network, 0.5)
    means, counts = [], []
    for seed in range(30):
        network(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) + seed)
        average.update()
        means.append(network[1].running_mean.clone())
        counts.append(int(network[1].num_batches_tracked))
    expected = means[0]
    for number, mean in enumerate(means[1:], 1):
        stays = min(0.5, number / (number + 9))
        expected = stays * expected + (1 - stays) * mean
    assert torch.allclose(average.module[1].running_mean, expected, atol=1e-6)
    assert int(average.module[1].num_batches_tracked) == counts[-1] == 30
    assert not any(p.requires_grad for p in average.module.parameters())


def test_no_average_no_file(lab):
    assert not last(lab.train("train.ema_decay=0")).weights("network_g_ema").exists()


def test_the_average_is_what_is_validated(lab, capsys):
    def psnr(**overrides):
        lab.train("train.optim_g.lr=0.01", *(f"train.{k}={v}" for k, v in overrides.items()), flags=("--archive",))
        return [line for line in capsys.readouterr().out.splitlines() if "validation" in line][-1].split("psnr")[1]

    assert psnr(ema_decay=0) != psnr(ema_decay=0.9)
    assert psnr(ema_decay=0.000001) == psnr(ema_decay=0)


def test_loss_base_is_a_module():
    with pytest.raises(NotImplementedError):
        Loss()(None)
