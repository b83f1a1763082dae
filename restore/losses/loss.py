"""What every loss is."""

from torch import Tensor, nn

from restore.step import Step


class Loss(nn.Module):
    """Base of the losses: a module, so that networks inside it move to the device with it."""

    wants_features = False  # whether it reads `step.features_pred` and `step.features_real`

    def __init__(self) -> None:  # spelled out: the signature is the schema of the loss's options
        super().__init__()

    def forward(self, step: Step) -> Tensor:
        """A scalar, the mean over the samples of `step`."""
        raise NotImplementedError
