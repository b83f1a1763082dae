"""Learning rates: BasicSR's, torch's, the warm-up, and each of them resumed."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from restore.engine.checkpoint import state_bytes
from restore.engine.schedules import Schedule
from restore.errors import UserError
from restore.options.schema import Part
from restore.registry import OPTIMIZERS, SCHEDULERS
from tests.oracles import basicsr

LR = 2e-4


def optimizer(lr=LR, kind=torch.optim.SGD, **args):
    torch.manual_seed(0)
    return kind(torch.nn.Linear(2, 2).parameters(), lr=lr, **args)


def schedule(section=None, warmup=0, lr=LR):
    return Schedule(Part(**section) if section else None, warmup, 100, optimizer(lr))


def rates(plan, count, start=0):
    """The rate of each iteration, the first being number `start + 1`."""
    told = []
    for iteration in range(start + 1, start + count + 1):
        told.append(plan.rates()[0])
        plan.optimizer.step()
        plan.step(iteration)
    return told


def basicsr_rates(scheduler, count, warmup):
    """What BasicSR's `update_learning_rate` sets before each iteration."""
    told = []
    for iteration in range(1, count + 1):
        if iteration > 1:
            scheduler.step()
        if iteration < warmup:
            for group in scheduler.optimizer.param_groups:
                group["lr"] = group["initial_lr"] / warmup * iteration
        told.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
    return told


COSINES = [
    {"periods": [40]},
    {"periods": [10, 10, 20], "restart_weights": [1, 0.5, 0.25], "eta_min": 1e-7},
    {"periods": [7, 33], "restart_weights": [1, 2], "eta_min": 1e-5},
]


@pytest.mark.parametrize("warmup", [-1, 0, 1, 8])
@pytest.mark.parametrize("args", COSINES)
def test_cosine_with_restarts_equals_basicsr(args, warmup):
    module = basicsr("models.lr_scheduler")
    theirs = module.CosineAnnealingRestartLR(optimizer(), **({"restart_weights": [1]} | args))
    ours = schedule({"type": "CosineAnnealingRestartLR", **args}, warmup)
    assert rates(ours, 40) == pytest.approx(basicsr_rates(theirs, 40, warmup), rel=1e-12)


MILESTONES = {"milestones": [12, 20, 30], "gamma": 0.5}


def test_multi_step_equals_basicsr():
    theirs = basicsr("models.lr_scheduler").MultiStepRestartLR(optimizer(), **MILESTONES)
    assert rates(schedule({"type": "MultiStepLR", **MILESTONES}), 40) == pytest.approx(basicsr_rates(theirs, 40, 0))


def test_warm_up_equals_basicsr_and_leaves_no_trace():
    """BasicSR's own multi-step rate goes on from the warm-up's last one, 7/8 of what the file says, to the end."""
    theirs = basicsr("models.lr_scheduler").MultiStepRestartLR(optimizer(), **MILESTONES)
    section = {"type": "MultiStepLR", **MILESTONES}
    assert rates(schedule(section, 8), 7) == pytest.approx(basicsr_rates(theirs, 7, 8), rel=1e-12)
    assert rates(schedule(section, 8), 40)[7:] == rates(schedule(section), 40)[7:]


def test_cosine_with_restarts_equals_its_formula():
    args = {"periods": [10, 30], "restart_weights": [1, 0.5], "eta_min": 1e-6}
    expected = []
    for iteration in range(40):
        start, period, weight = (0, 10, 1) if iteration <= 10 else (10, 30, 0.5)
        expected.append(1e-6 + weight * 0.5 * (LR - 1e-6) * (1 + math.cos(math.pi * (iteration - start) / period)))
    assert rates(schedule({"type": "CosineAnnealingRestartLR", **args}), 40) == pytest.approx(expected, rel=1e-12)


def test_cosine_stays_after_its_last_period():
    plan = schedule({"type": "CosineAnnealingRestartLR", "periods": [5, 5], "eta_min": 1e-6})
    assert rates(plan, 30)[10:] == pytest.approx([1e-6] * 20)


@pytest.mark.parametrize("args", [{"periods": []}, {"periods": [3, 4], "restart_weights": [1]}])
def test_cosine_of_wrong_periods_is_told(args):
    with pytest.raises(UserError, match="restart_weights"):
        schedule({"type": "CosineAnnealingRestartLR", **args})


def test_multi_step_equals_torchs():
    torchs = lr_scheduler.MultiStepLR(optimizer(), [3, 7], 0.3)
    ours = schedule({"type": "MultiStepLR", "milestones": [3, 7], "gamma": 0.3})
    assert rates(ours, 12) == basicsr_rates(torchs, 12, 0)


def test_warm_up_alone_is_linear():
    assert rates(schedule(None, 4), 6) == pytest.approx([LR / 4, LR / 2, 3 * LR / 4, LR, LR, LR])


NEEDED = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [3, 7]},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 10},
    "CosineAnnealingWarmRestarts": {"T_0": 4},
    "CyclicLR": {"base_lr": 1e-5, "max_lr": 1e-3, "step_size_up": 3},
    "OneCycleLR": {"max_lr": 1e-3, "total_steps": 40},
    "CosineAnnealingRestartLR": {"periods": [4, 30]},
}


def offered():
    return [entry.name for entry in SCHEDULERS]


@pytest.mark.parametrize("name", offered())
def test_every_scheduler_by_name_goes_on_exactly(name):
    section = {"type": name, **NEEDED.get(name, {})}
    make = lambda: Schedule(Part(**section), 5, 100, optimizer(momentum=0.9))  # noqa: E731
    whole = rates(make(), 20)
    for stop in (2, 5, 11):
        first = make()
        rates(first, stop)
        state = roundtrip({"schedule": first.state_dict(), "optimizer": first.optimizer.state_dict()})
        second = make()
        second.optimizer.load_state_dict(state["optimizer"])
        second.load_state_dict(state["schedule"], stop)
        assert rates(second, 20 - stop, stop) == whole[stop:], stop


def roundtrip(state):
    import io

    return torch.load(io.BytesIO(state_bytes(state)), weights_only=True)


@pytest.mark.parametrize("name", [entry.name for entry in OPTIMIZERS])
def test_every_optimizer_by_name_trains_and_goes_on_exactly(name):
    def run(steps, state=None, weight=None):
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 4)
        entry = OPTIMIZERS.get(name)
        plan = entry.build(layer.parameters(), lr=0.01)
        if state is not None:
            layer.load_state_dict(weight)
            plan.load_state_dict(roundtrip(state))
        for number in steps:
            plan.zero_grad()
            layer(torch.full((1, 4), float(number))).square().sum().backward()
            plan.step()
        return layer.state_dict(), plan.state_dict()

    whole, _ = run(range(8))
    weight, state = run(range(5))
    resumed, _ = run(range(5, 8), state, weight)
    assert torch.equal(whole["weight"], resumed["weight"])
    assert not torch.equal(whole["weight"], run([])[0]["weight"])


@pytest.mark.parametrize("eta_min", [0.0, 1e-6])
def test_cosine_over_the_whole_training_is_torchs_with_its_length(eta_min):
    """torch.optim.lr_scheduler.CosineAnnealingLR in its closed form: its recursion drifts by rounding."""
    ours = rates(schedule({"type": "CosineLR", "eta_min": eta_min}), 100)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer(), T_max=100, eta_min=eta_min)
    expected = []
    for _ in range(100):
        expected.append(theirs.optimizer.param_groups[0]["lr"])
        theirs.optimizer.step()
        theirs.step()
    assert ours == pytest.approx(expected, rel=1e-6, abs=1e-12)
