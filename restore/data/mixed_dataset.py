"""Several data sets drawn from with weights."""

from typing import Annotated

from pydantic import Field

from restore.data.image_dataset import PictureDataset
from restore.data.key_index import JoinedKeys
from restore.data.sample import Sample
from restore.errors import UserError
from restore.keyed import Draws
from restore.registry import DATASETS, DatasetPart

Parts = Annotated[list[DatasetPart], Field(min_length=1)]


@DATASETS.register
class MixedDataset:
    """Draws each sample from one of several data sets, chosen by weight.

    Args:
        datasets: the data sets.
        weights: how often each is drawn from, in proportion; None goes by their sizes.
    """

    def __init__(self, datasets: Parts, weights: list[float] | None = None) -> None:
        self.datasets: list[PictureDataset] = [DATASETS.build(part) for part in datasets]
        sizes = [len(dataset) for dataset in self.datasets]
        weights = weights or [float(size) for size in sizes]
        if len(weights) != len(sizes) or min(weights) < 0 or sum(weights) <= 0:
            raise UserError(f"MixedDataset: {len(sizes)} data sets need as many weights, none negative; got {weights}")
        self.shares = [weight / sum(weights) for weight in weights]
        self.keys = JoinedKeys([dataset.keys for dataset in self.datasets])

    def __len__(self) -> int:
        return len(self.keys)

    def load(self, index: int, draws: Draws) -> Sample:
        """A sample of a data set drawn by weight; `index` only tells the draws apart."""
        dataset = self.datasets[int(draws.choice(len(self.datasets), p=self.shares))]
        return dataset.load(int(draws.integers(len(dataset))), draws)
