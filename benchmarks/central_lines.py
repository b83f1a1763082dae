"""Lines that much hangs on, and what a slip of the pen would make of each: `mutations.py` breaks them one at a time."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One line, or a few, of one file, and what they are broken into."""

    name: str
    file: str  # below restore/
    line: str  # as it stands, once, in the file; without the indentation of its first line
    broken: str
    near: str  # tests that should notice, below tests/, with spaces between


STEP, AVERAGE = (
    """for phase in self.task.phases:
                    if phase.due(self.stage_iter):
                        self.step(phase, steps)
                """,
    """for average in self.averages.values():
                    average.update()
                """,
)
SCHEDULE = """for schedule in self.schedules.values():
                    schedule.step(self.stage_iter)
                """
SAMPLE = 'draws = keyed.draws(self.seed, "train", place.epoch, place.position, attempt)'
GAN = 'return {"l_d_real": judged(self.judge, real, %s), "l_d_fake": judged(self.judge, fake, %s)}'
CLIP = "nn.utils.clip_grads_with_norm_(parameters, self.grad_clip, norm)"
BATCH_PART = "self.part = slice(number * batch_size // parts, (number + 1) * batch_size // parts)"
SYNC, RENAME = "_sync_folder(beside)\n            ", "os.replace(beside, target)\n            "
REPLACE = "if target.exists():\n                os.replace(target, replaced)\n            "

LOSSES = [
    Mutation(
        "pixel loss: sign",
        "losses/pixel_loss.py",
        "return F.l1_loss(step.pred, step.gt)",
        "return -F.l1_loss(step.pred, step.gt)",
        "losses/test_losses.py",
    ),
    Mutation(
        "GAN: real and fake swapped",
        "losses/gan_loss.py",
        GAN % ("True", "False"),
        GAN % ("False", "True"),
        "tasks/test_adversary.py",
    ),
    Mutation(
        "GAN: R1 is lazy and not weighted up",
        "tasks/adversary.py",
        "self.settings.r1_weight / 2 * self.settings.r1_every * self.penalty(step)",
        "self.settings.r1_weight / 2 * self.penalty(step)",
        "tasks/test_adversary.py",
    ),
    Mutation(
        "GAN: adaptive weight upside down",
        "tasks/adversary.py",
        "mean_(to_others).norm() / mean_(to_adversarial).norm()",
        "mean_(to_adversarial).norm() / mean_(to_others).norm()",
        "tasks/test_adversary.py",
    ),
    Mutation(
        "GAN: the discriminator's gradient reaches the generator",
        "tasks/adversary.py",
        "self.loss.view(step, step.pred.detach())",
        "self.loss.view(step, step.pred)",
        "tasks/test_adversary.py",
    ),
    Mutation(
        "hole loss: polarity",
        "losses/hole_loss.py",
        "weights = mask * self.hole + (1 - mask) * self.known",
        "weights = mask * self.known + (1 - mask) * self.hole",
        "losses/test_inpainting_losses.py",
    ),
]

MASKS = [
    Mutation(
        "composite: polarity",
        "tasks/inpainting_task.py",
        "torch.where(mask > 0, pred, lq)",
        "torch.where(mask > 0, lq, pred)",
        "tasks/test_inpainting.py",
    ),
    Mutation(
        "what is shown of a hole: polarity",
        "tasks/inpainting_task.py",
        "lq * (mask == 0)",
        "lq * (mask > 0)",
        "tasks/test_inpainting.py",
    ),
    Mutation(
        "metrics of a hole: polarity",
        "metrics/hole_metric.py",
        "~hole if self.outside else hole",
        "hole if self.outside else ~hole",
        "metrics/test_hole_metrics.py",
    ),
    Mutation(
        "mask files: polarity",
        "images.py",
        'white == (polarity == "white_missing")',
        'white != (polarity == "white_missing")',
        "data/test_occluded_dataset.py",
    ),
]

METRICS = [
    Mutation(
        "crop border: one side only",
        "metrics/protocol.py",
        "slice(crop_border, width - crop_border)",
        "slice(crop_border, width)",
        "metrics/test_psnr_ssim.py",
    ),
    Mutation(
        "PSNR: no rounding to 8 bits",
        "metrics/protocol.py",
        "clamp(0, 1).mul(255).round().double()",
        "clamp(0, 1).mul(255).double()",
        "metrics/test_psnr_ssim.py",
    ),
    Mutation(
        "luma: red and blue swapped",
        "metrics/protocol.py",
        "65.481 * red + 128.553 * green + 24.966 * blue",
        "24.966 * red + 128.553 * green + 65.481 * blue",
        "metrics/test_psnr_ssim.py",
    ),
    Mutation(
        "SSIM: constants",
        "metrics/ssim_metric.py",
        "_C1, _C2 = 0.01**2, 0.03**2",
        "_C1, _C2 = 0.01**2, 0.02**2",
        "metrics/test_psnr_ssim.py",
    ),
    Mutation(
        "best checkpoint: direction",
        "engine/validator.py",
        "sign = 1 if figure.higher_is_better else -1",
        "sign = -1 if figure.higher_is_better else 1",
        "engine/test_checkpoint.py",
    ),
]

STEPS = [
    Mutation(
        "EMA: before the step",
        "engine/trainer.py",
        STEP + SCHEDULE + AVERAGE,
        AVERAGE + STEP + SCHEDULE,
        "engine/test_update.py",
    ),
    Mutation(
        "EMA: shares swapped",
        "engine/average.py",
        "weight = 1 - min(self.decay, self.updates / (self.updates + 9))",
        "weight = min(self.decay, self.updates / (self.updates + 9))",
        "engine/test_update.py",
    ),
    Mutation(
        "EMA: no warm-up of the decay",
        "engine/average.py",
        "weight = 1 - min(self.decay, self.updates / (self.updates + 9))",
        "weight = 1 - self.decay",
        "engine/test_update.py",
    ),
    Mutation(
        "schedule: before the step",
        "engine/trainer.py",
        STEP + SCHEDULE,
        SCHEDULE + STEP,
        "engine/test_update.py",
    ),
    Mutation(
        "warm-up: late by one",
        "engine/schedules.py",
        "rate * (iteration + 1) / self.warmup_iter",
        "rate * iteration / self.warmup_iter",
        "engine/test_schedules.py",
    ),
    Mutation(
        "clipping: of gradients that are still scaled",
        "engine/update.py",
        "self.scaler.unscale_(optimizer)",
        "pass",
        "engine/test_update.py",
    ),
    Mutation("clipping: none", "engine/update.py", CLIP, "pass", "engine/test_update.py"),
    Mutation(
        "accumulation: sum for mean",
        "engine/trainer.py",
        "self.update.backward(total / len(steps))",
        "self.update.backward(total)",
        "engine/test_update.py",
    ),
    Mutation(
        "non-finite step: taken",
        "engine/update.py",
        "elif finite:",
        "else:",
        "engine/test_update.py",
    ),
]

KEYS = [
    Mutation(
        "sample's key: no seed",
        "data/loader.py",
        SAMPLE,
        SAMPLE.replace("self.seed", "0"),
        "data/test_loader.py",
    ),
    Mutation(
        "sample's key: no epoch",
        "data/loader.py",
        SAMPLE,
        SAMPLE.replace("place.epoch", "0"),
        "data/test_loader.py",
    ),
    Mutation(
        "sample's key: no position",
        "data/loader.py",
        SAMPLE,
        SAMPLE.replace("place.position", "0"),
        "data/test_loader.py",
    ),
    Mutation(
        "order's key: no epoch",
        "data/loader.py",
        'keyed.draws(self.seed, "order", epoch)',
        'keyed.draws(self.seed, "order")',
        "data/test_loader.py",
    ),
    Mutation(
        "evaluation's key: the number for the name",
        "engine/validation.py",
        'keyed.draws(seed, "evaluate", key)',
        'keyed.draws(seed, "evaluate", number)',
        "engine/test_sharded_scores.py",
    ),
]

RANKS = [
    Mutation(
        "reduction: sum for mean",
        "distributed/ranks.py",
        "tensor /= world()",
        "pass",
        "distributed/test_batch_norm.py",
    ),
    Mutation(
        "reduction with gradients: sum for mean",
        "distributed/ranks.py",
        "return total(tensor) / world() if world() > 1 else tensor",
        "return total(tensor) if world() > 1 else tensor",
        "distributed/test_batch_norm.py",
    ),
    Mutation(
        "batches: every rank the first part",
        "data/loader.py",
        BATCH_PART,
        "self.part = slice(0, batch_size // parts)",
        "data/test_loader.py",
    ),
    Mutation(
        "evaluation: every shard to the end",
        "engine/validation.py",
        "[index::count]",
        "[index:]",
        "engine/test_sharded_scores.py",
    ),
]

RECORDS = [
    Mutation(
        "resume: data from the start",
        "engine/trainer.py",
        "start=self.stage_iter,",
        "start=0,",
        "engine/test_resume.py",
    ),
    Mutation(
        "resume: the scheduler begins anew",
        "engine/schedules.py",
        'self.scheduler.load_state_dict(state["scheduler"])',
        "pass",
        "engine/test_schedules.py",
    ),
    Mutation(
        "resume: the scaler begins anew",
        "engine/update.py",
        'self.scaler.load_state_dict(state["scaler"])',
        "pass",
        "engine/test_resume.py engine/test_update.py",
    ),
    Mutation(
        "resume: the average begins anew",
        "engine/snapshot.py",
        'checkpoint.weights(f"{name}_ema")',
        "checkpoint.weights(name)",
        "engine/test_resume.py",
    ),
    Mutation(
        "checkpoint: renamed before it is synced",
        "engine/checkpoint.py",
        SYNC + REPLACE + RENAME,
        REPLACE + RENAME + SYNC.replace("beside", "target"),
        "engine/test_checkpoint.py engine/test_disk.py",
    ),
    Mutation(
        "checkpoint: files not synced",
        "engine/checkpoint.py",
        "os.fsync(file.fileno())",
        "pass",
        "engine/test_checkpoint.py engine/test_disk.py",
    ),
    Mutation(
        "checkpoint: hashes not compared",
        "engine/checkpoint.py",
        "if actual != expected:",
        "if False:",
        "engine/test_checkpoint.py",
    ),
    Mutation(
        "checkpoint: the best is deleted",
        "engine/checkpoint.py",
        "if path != best:",
        "if True:",
        "engine/test_checkpoint.py",
    ),
    Mutation(
        "atomic writing: in place",
        "images.py",
        'beside = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")',
        "beside = path",
        "test_images.py",
    ),
]

STRANGERS = [
    Mutation(
        "state of a run: runs code",
        "engine/checkpoint.py",
        'map_location="cpu", weights_only=True)',
        'map_location="cpu", weights_only=False)',
        "engine/test_checkpoint.py",
    ),
    Mutation(
        "foreign weights: run code",
        "weights.py",
        'map_location="cpu", weights_only=True)',
        'map_location="cpu", weights_only=False)',
        "test_weights.py",
    ),
    Mutation(
        "manifest: leaves its folder",
        "engine/checkpoint.py",
        "if any(Path(name).name != name",
        "if False and any(Path(name).name != name",
        "engine/test_checkpoint.py",
    ),
    Mutation(
        "demo: hands out files through links and dots",
        "demo/gate.py",
        "path.is_relative_to(self.files) and path.resolve(strict=True) == path and path.is_file()",
        "path.is_relative_to(self.files) and path.is_file()",
        "demo/test_demo.py",
    ),
]

PICTURES = [
    Mutation(
        "reading: BGR",
        "images.py",
        "rgb: Image = image[:, :, ::-1]",
        "rgb: Image = image",
        "test_images.py",
    ),
    Mutation(
        "range: [0, 1] where [-1, 1] is wanted",
        "features/arcface.py",
        "self.input_layer(2 * faces - 1)",
        "self.input_layer(faces)",
        "features/test_face_networks.py",
    ),
    Mutation(
        "kernels: not normalised",
        "degradations/kernels.py",
        "normalised: Floats = kernels / kernels.sum(axis=(1, 2), keepdims=True)",
        "normalised: Floats = kernels / kernels.max(axis=(1, 2), keepdims=True)",
        "degradations/test_kernels.py",
    ),
    Mutation(
        "blur: border repeated for mirrored",
        "degradations/convolution.py",
        'mode="reflect"',
        'mode="replicate"',
        "degradations/test_blur.py",
    ),
    Mutation(
        "JPEG: chroma of the nearest",
        "degradations/jpeg.py",
        "near = 3 * chroma",
        "chroma, near = 0 * chroma, 4 * chroma",
        "degradations/test_jpeg.py",
    ),
    Mutation(
        "shrinking: no antialiasing",
        "degradations/resize.py",
        "stretch = max(step, 1.0)",
        "stretch = 1.0",
        "degradations/test_resize.py",
    ),
    Mutation(
        "shrinking: off by half a pixel",
        "degradations/resize.py",
        "(np.arange(n_out)[:, None] + 0.5) * step - 0.5",
        "np.arange(n_out)[:, None] * step",
        "degradations/test_resize.py",
    ),
    Mutation(
        "faces: cut off by half a pixel",
        "faces/crop.py",
        "torch.from_numpy(LANDMARKS).double() * size - 0.5",
        "torch.from_numpy(LANDMARKS).double() * size",
        "faces/test_crop.py",
    ),
    Mutation(
        "faces: put back off by half a pixel",
        "inference/paste.py",
        "crop.places(window) + 0.5 - half",
        "crop.places(window) - half",
        "inference/test_paste.py",
    ),
    Mutation(
        "tiles: the margin counts",
        "engine/tiles.py",
        "margin = shared // 4",
        "margin = 0",
        "inference/test_tiling.py",
    ),
    Mutation(
        "tiles: half of each for their weights",
        "inference/tiling.py",
        "own / np.maximum(own + so_far, 1e-12)",
        "np.where(own + so_far > own, 0.5, 1)",
        "inference/test_tiling.py",
    ),
    Mutation(
        "DDNM: away from what is known",
        "diffusion/operators.py",
        "return x + self.pinv(y - self.forward(x))",
        "return x - self.pinv(y - self.forward(x))",
        "diffusion",
    ),
    Mutation(
        "attention: over the places",
        "archs/blocks/bipartite_attention.py",
        "return torch.softmax(queries @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5, dim=2)",
        "return torch.softmax(queries @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5, dim=1)",
        "archs/test_gansformer_arch.py",
    ),
]

MUTATIONS = [*LOSSES, *MASKS, *METRICS, *STEPS, *KEYS, *RANKS, *RECORDS, *STRANGERS, *PICTURES]
