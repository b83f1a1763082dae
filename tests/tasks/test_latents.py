"""Networks with latents in their tasks: which result is asked for, and what the shipped games teach them."""

from pathlib import Path

import pytest
import torch

from restore.engine.experiment import Experiment
from restore.engine.logging import Log
from restore.engine.methods import Model
from restore.engine.trainer import Trainer
from restore.errors import UserError
from restore.options.load import load

RECIPES = Path(__file__).parents[2] / "options" / "train" / "inpainting"
TINY = "{num_feat: 4, num_level: 2, num_latent: 3, latent_dim: 8, num_mapping: 1}"
HIDDEN = ("type=OccludedImageDataset", "occlusion=[{type: Centre}]", "gt_size=null")


@pytest.mark.parametrize("task", ["Inpainting", "Restoration"])
def test_a_number_is_a_picture_whatever_stands_beside_it(lab, task):
    mask_channel = str(task == "Inpainting").lower()
    network = "{type: GANsformer, mask_channel: " + mask_channel + ", " + TINY[1:]
    hidden = (f"datasets.{name}.{more}" for name in ("train", "val") for more in HIDDEN if task == "Inpainting")
    options = lab.options("scale=1", f"task.type={task}", f"network_g={network}", *hidden)
    model = Model(options, torch.device("cpu"))
    lq, mask = torch.rand(3, 3, 24, 20), torch.ones(3, 1, 24, 20)
    mask[..., :8] = 0

    def predict(number, of=slice(None)):
        return model.task.predict(model.network, lq[of], mask[of], candidate=number)

    with torch.no_grad():
        state = torch.get_rng_state()
        results = [predict(number) for number in range(4)]
        assert torch.equal(torch.get_rng_state(), state)  # nobody else's draws are moved
        torch.rand(7)  # whatever was drawn before
        assert torch.equal(results[0], model.task.predict(model.network, lq, mask))
        for number, result in enumerate(results):
            assert torch.equal(result, predict(number))
            torch.testing.assert_close(predict(number, slice(1, 2)), result[1:2])
            if task == "Inpainting":
                assert torch.equal(result[..., :8], lq[..., :8])
    hole = torch.stack(results)[..., 8:]
    assert hole.std(dim=0).mean() > 1e-3  # over the latents; colours begin faint


def test_a_network_without_latents_has_one_result(lab):
    model = Model(lab.options(), torch.device("cpu"))
    with pytest.raises(UserError, match="MSRResNet makes one result of a picture"):
        model.task.predict(model.network, torch.rand(1, 3, 16, 16), candidate=1)


@pytest.mark.parametrize("recipe", ["GANsformer", "GANsformer_simplex"])
def test_the_adversary_of_a_recipe_is_heard_by_every_parameter(recipe, faces, val_faces):
    overrides = [f"datasets.{name}.dataroot_gt={path}" for name, path in (("train", faces), ("val", val_faces))]
    overrides += ["datasets.train.batch_size=2", "train.losses.perceptual_small=null", "network_g.num_feat=4"]
    options = load(RECIPES / f"train_{recipe}_unmask_celebahq_small.yml", overrides)
    trainer = Trainer(options, Experiment([options]), Log())
    with trainer._batches() as batches:
        trainer.iter += 1
        (step,) = trainer._prepare(next(batches))
    task, adversary = trainer.task, trainer.task.adversaries[0]
    task.generator_losses(step)["l_adversarial"].backward()
    for name, parameter in task.network_g.named_parameters():
        assert parameter.grad.norm() > 0, name
    assert step.logits_pred.shape == (2, 1, 1, 1)  # one judgement, so that R1's weight is the paper's
    step.iter = 16
    adversary.discriminator_losses(step)["l_d_r1"].backward()
    gradients = [parameter.grad for name, parameter in adversary.network.named_parameters() if "weight" in name]
    assert all(gradient.isfinite().all() and gradient.norm() > 0 for gradient in gradients)
