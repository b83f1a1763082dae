"""What may stand in an option file: typed, frozen sections with BasicSR's names where it has one."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from restore.options.paths import DataPath
from restore.ranges import LARGEST, Count, Positive, Share
from restore.registry import (
    ArchPart,
    Kind,
    MetricPart,
    OptimizerPart,
    Part,
    SchedulerPart,
    TaskPart,
)

Baseline = Literal["nearest", "bilinear", "bicubic", "lanczos", "input", "mean_fill", "telea", "navier_stokes"]
Precision = Literal["fp64", "fp32", "bf16", "fp16"]
Seconds = Annotated[float, Field(gt=0)]
Folder = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[\w][\w.\-]*$", max_length=200)]


class Section(BaseModel):
    """Base of the sections: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainData(Part):
    """The training set: a part of DATASETS, and how it is drawn from."""

    name: str | None = None
    batch_size: Positive = 16  # of one optimizer step, over all processes
    num_workers: Count = 2
    dataset_enlarge_ratio: Positive = 1  # an epoch is this many passes
    degrade_on: Literal["worker", "device"] = "worker"  # where a `degradation` runs; for a GPU `device` is faster
    max_set_aside: Share = 0.01  # the run stops when more than this share of the records is unreadable
    stage_to: Folder | None = None  # a disk of the node, such as $TMPDIR, that its LMDBs are copied to first


class EvalData(Part):
    """A validation or test set: a part of DATASETS, and the name it has in logs and tables."""

    name: str | None = None
    stage_to: Folder | None = None  # as for training


class Datasets(BaseModel):
    """`train`, and any number of `val`, `val_2`, ..., `test`, `test_2`, ..."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Annotated[EvalData, Kind("datasets")]] = Field(init=False)

    train: Annotated[TrainData, Kind("datasets")] | None = None

    def evaluation(self, prefix: Literal["val", "test"]) -> dict[str, EvalData]:
        """The sections called `prefix` or `prefix_*`, in the order of the file."""
        extra = self.__pydantic_extra__ or {}
        return {key: data for key, data in extra.items() if key.split("_")[0] == prefix}


class Loss(Part):
    """A weighted loss."""

    weight: float = 1.0


class Discriminator(Section):
    """How discriminators are trained, and when they begin to count."""

    start: Positive = 1  # iteration of the stage from which it is trained, and the generator hears of it
    every: Positive = 1
    r1_weight: Annotated[float, Field(ge=0)] = 0.0  # gradient penalty on real pictures, by custom 10
    r1_every: Positive = 16
    adaptive_weight: bool = False  # scale the adversarial loss so that its gradient is as large as the others'


class Train(Section):
    """How to train."""

    total_iter: Positive | None = None
    total_epoch: Positive | None = None
    optim_g: OptimizerPart
    optim_d: OptimizerPart | None = None
    discriminator: Discriminator = Discriminator()
    scheduler: SchedulerPart | None = None
    warmup_iter: Annotated[int, Field(ge=-1, le=LARGEST)] = 0  # the rate grows linearly over the first iterations
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0  # 0 keeps no average
    losses: dict[str, Annotated[Loss, Kind("losses")] | None] = {}  # most tasks need some
    accumulate: Positive = 1  # parts that a batch is computed in, where memory is short
    grad_clip: Annotated[float, Field(gt=0)] | None = None  # largest gradient norm
    precision: Precision = "fp32"  # fp64 is for proofs
    sync_bn: bool = False  # batch norm over the pictures of all processes, instead of each one's own
    channels_last: bool = True
    compile: bool = False
    deterministic: bool = False
    grad_checkpointing: bool = False  # recompute activations in the backward pass: less memory, more time
    max_nonfinite: Positive = 20  # steps in a row with a loss or gradient that is no number, before the run stops


class Best(Section):
    """Which figure decides the best checkpoint."""

    metric: str
    dataset: str = "val"
    better: Literal["higher", "lower"] | None = None  # None: as the metric itself says


class Val(Section):
    """How to validate."""

    val_freq: Positive = 5000
    metrics: dict[str, MetricPart] = {}
    best: Best | None = None  # None: the first metric on the first validation set
    save_img: bool = False
    num_pictures: Count = 4  # pictures of each set shown in TensorBoard
    tile: Positive | None = None  # LQ pixels; None: whole pictures
    tile_overlap: Count = 32
    baselines: list[Baseline] = []  # interpolations, or fills of what is missing, scored beside the model
    report: bool = False  # draw one picture with LQ, baselines, model and GT side by side


class Logger(Section):
    """What is written, and when."""

    print_freq: Positive = 100
    save_checkpoint_freq: Positive = 5000
    keep_checkpoints: Count = 3  # the newest ones; 0 keeps all. The best one is always kept.
    use_tb_logger: bool = True


class Paths(Section):
    """Where things are."""

    experiments_root: Folder = "experiments"
    results_root: Folder = "results"
    pretrain_network_g: DataPath | None = None
    param_key_g: str | None = None  # for BasicSR's .pth: `params` or `params_ema`; None takes what is there, EMA first
    strict_load_g: bool = True
    pretrain_network_d: DataPath | None = None
    param_key_d: str | None = None
    strict_load_d: bool = True
    pretrain_network_d_parts: DataPath | None = None
    param_key_d_parts: str | None = None
    strict_load_d_parts: bool = True


class Distributed(Section):
    """How long the processes of a job wait for each other, in seconds."""

    start_timeout: Seconds = 300.0  # for all of them to come
    timeout: Seconds = 1800.0  # for one of them to finish what the others have finished: a slow disk, a slow picture
    silence: Seconds = 60.0  # for a sign of life, before the job ends


class StageName(Section):
    """Which of several stages this is, and where it begins."""

    name: Name
    start_from: Literal["last", "best"] = "last"  # the weights of the stage before


class Stage(StageName):
    """One of several stages of a training: what it overrides."""

    datasets: dict[str, Any] = {}
    network_d: dict[str, Any] | None = None
    network_d_parts: dict[str, Any] | None = None
    path: dict[str, Any] = {}
    train: dict[str, Any] = {}
    val: dict[str, Any] = {}
    logger: dict[str, Any] = {}


class Options(Section):
    """One experiment, or one stage of it."""

    name: Name
    task: TaskPart = Part(type="Restoration")
    scale: Positive = 1
    manual_seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    plugins: list[str] = []
    network_g: ArchPart
    network_d: ArchPart | None = None
    network_d_parts: ArchPart | None = None  # the discriminator of eyes and mouth
    datasets: Datasets = Datasets()
    path: Paths = Paths()
    train: Train | None = None
    val: Val = Val()
    logger: Logger = Logger()
    dist: Distributed = Distributed()
    stages: list[Stage] | None = None
    stage: StageName | None = None  # the stage that these options are of; `load_stages` writes it
