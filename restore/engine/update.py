"""From losses to new weights: precision, gradient norm, clipping, and steps that are skipped when a number is none."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from restore.options.schema import Precision
from restore.tasks.task import Phase

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Update:
    """Takes optimizer steps. A step whose loss or gradients are not all finite leaves the weights alone and is counted.

    On CUDA the decision stays on the device: a fused optimizer is handed the flag, and nobody waits for it. The counts
    are tensors on the device for the same reason; `Trainer` reads them when it logs.
    """

    def __init__(self, precision: Precision, grad_clip: float | None, device: torch.device) -> None:
        self.device = device
        self.half = _HALVES.get(precision)
        self.double = precision == "fp64"
        self.grad_clip = grad_clip
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)  # steps of the whole run
        self.rows: dict[str, Tensor] = {}  # by phase, its last ones without a good one between

    @property
    def in_row(self) -> int:
        """The skipped steps in a row of the phase that has most of them; a discriminator may be well meanwhile."""
        return max(map(int, self.rows.values()), default=0)

    def autocast(self) -> AbstractContextManager[object]:
        """The context a forward pass runs in."""
        return torch.autocast(self.device.type, self.half) if self.half else nullcontext()

    def cast(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch in the precision of the networks' weights."""
        return {name: tensor.double() for name, tensor in batch.items()} if self.double else batch

    def backward(self, total: Tensor) -> None:
        """Adds the gradients of a scalar; they are no numbers either where it is none."""
        one = total.detach() * 0 + 1  # but NaN for a NaN and for infinity, whose gradient may well be finite
        self.scaler.scale(total).backward(one)  # type: ignore[no-untyped-call]

    def apply(self, phase: Phase) -> Tensor:
        """Steps the phase's optimizer and clears its gradients. Returns the norm of the gradients before clipping."""
        optimizer, parameters = phase.optimizer, phase.parameters
        self.scaler.unscale_(optimizer)
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = norm_of_all(gradients)
        if self.grad_clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.grad_clip, norm)
        finite = torch.isfinite(norm)
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
        elif self.device.type == "cuda" and getattr(optimizer, "_step_supports_amp_scaling", False):
            optimizer.grad_scale, optimizer.found_inf = None, (~finite).float()  # type: ignore[attr-defined]
            optimizer.step()
        elif finite:
            optimizer.step()
        optimizer.zero_grad()
        self.skipped += ~finite
        self.rows[phase.name] = torch.where(finite, 0, self.rows.get(phase.name, 0) + 1)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """The counts, and the scaler's state."""
        rows = {name: int(count) for name, count in self.rows.items()}
        return {"skipped": int(self.skipped), "rows": rows, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self.skipped.fill_(state["skipped"])
        self.rows = {name: torch.tensor(count, device=self.device) for name, count in state["rows"].items()}
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def norm_of_all(tensors: list[Tensor]) -> Tensor:
    """Their 2-norm, as of one long vector: `nn.utils.get_total_norm` at half its cost, as all are of one device."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return norm
