"""What `make bench` runs: each script with its arguments, how long it takes on two cores, and where its figures go."""

from typing import NamedTuple

SPEED, FAULTS, HOUSE = "Speed and memory", "Faults and bad input", "Tests and installations"

FACES = "$RESTORE_SHARED/data"


class Run(NamedTuple):
    """One benchmark."""

    name: str  # of its results: <name>.md and <name>.json
    command: str  # script, beside this one, and arguments; `$NAME` is of the environment
    minutes: float  # that it takes on two cores
    section: str = SPEED  # of RESULTS.md

    @property
    def limit(self) -> float:
        """Minutes after which it is killed."""
        return 3 * self.minutes + 5

    def line(self, quick: bool) -> str:
        """Script and arguments."""
        return f"{self.command} --quick" if quick else self.command


RUNS = (
    Run("start", "start.py", 2),
    Run("quickstart", "quickstart.py", 2),
    Run("train_step", "train_step.py --only overhead --only breakdown --only basicsr", 13),
    Run("gan", "train_step.py --only gan", 2),
    Run("data", "data.py", 2),
    Run("degradations", "degradations.py", 4),
    Run("occlusions", "occlusions.py", 1.5),
    Run("metrics", "metrics.py", 1),
    Run("detectors", f"detectors.py {FACES}/faces_celebahq512/val {FACES}/faces_congress160", 2),
    Run("generators", "generators.py", 8),
    Run("diffusion", "diffusion.py", 4),
    Run("scaling", "scaling.py", 5),
    Run("infer", "infer.py", 8),
    Run("paste", "paste.py", 2),
    Run("tasks", "steps.py --only tasks", 6),
    Run("steps", "steps.py --only files --only profile --only validation", 22),
    Run("flat", "flat.py", 8),
    Run("million", "million.py", 4),
    Run("curves", "curves.py", 4),
    Run("kill9", "kill9.py --times 20", 10, FAULTS),
    Run("kill_ranks", "kill_ranks.py", 4, FAULTS),
    Run("bad_input", "bad_input.py", 1, FAULTS),
    Run("faults", "faults.py", 60, FAULTS),
    Run("fuzz", "fuzz.py", 60, FAULTS),
    Run("mutations", "mutations.py", 60, HOUSE),
    Run("installs", "installs.py", 60, HOUSE),
)
