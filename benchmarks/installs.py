"""Clean installs: new environments from a clone, a wheel and an sdist, and whether what is promised works in them.

Each variant of an install has an environment of its own, which is removed when its commands have run. `readme` is
installed as the README says, `oldest` with the lowest versions that requirements.txt allows; the others lie over one
environment that holds requirements.txt and nothing else, so that PyTorch is unpacked once for each Python. pip is asked
with its usual settings; PIP_CONSTRAINT and PIP_INDEX_URL change where PyTorch comes from.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import REPOSITORY, Claim, add_out, publish, table, verdict

PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")
LIMIT = 1200.0  # seconds for one command; the tests have their own
HELP = 0.5  # the bar: seconds for `restore --help`
TESTS = {
    "smoke": "tests/options tests/test_registry.py tests/test_images.py tests/test_weights.py "
    "tests/data/test_loader.py tests/data/test_lmdb_store.py tests/inference/test_tiling.py -m 'not slow'",
    "fast": "tests -m 'not slow'",
    "all": "tests",
}
OPENCV = "tests/test_images.py tests/faces tests/degradations tests/occlusions tests/photos tests/metrics"
TESTERS = "pytest pytest-xdist hypothesis scikit-image jsonschema"

DRAW = (
    'python -c "from restore import images; from restore.data.drawn import draw_face; '
    "images.write('photo.png', draw_face(0, 1, 96).image)\""
)
QUICKSTART = (
    "restore prepare drawn datasets/drawn_faces --count 24 --val 4 --size 96 --workers 1",
    "restore check -opt options/quickstart.yml",
    "restore train -opt options/quickstart.yml --set train.total_iter=20 val.val_freq=20 logger.print_freq=10",
    "restore test --model experiments/quickstart --gt datasets/drawn_faces/val.lmdb --baselines bicubic",
)
ENLARGE = (DRAW, "restore infer photo.png --model photo_x4 -o larger", "test -s larger/photo.png")
PACKAGED = (  # what somebody has who never saw the repository
    "restore --help",
    "python -m restore --version",
    "restore demo --help",
    "restore list",
    *QUICKSTART,
    *ENLARGE,
    "python -c \"import restore; restore.load_model('face_unmask')\"",
)
FILM = (
    "python -c \"import av, numpy\nwith av.open('film.mp4', 'w') as out:\n"
    " stream = out.add_stream('mpeg4', rate=25, width=64, height=64, pix_fmt='yuv420p')\n"
    " for frame in [av.VideoFrame.from_ndarray(numpy.zeros((64, 64, 3), 'uint8'), format='rgb24')] * 3 + [None]:\n"
    '  out.mux(stream.encode(frame))"'
)


class Variant(NamedTuple):
    """One way to install, and what has to work then, as lines of a shell. CLONE and DIST are folders.

    `installs` run in the clone, `runs` in an empty folder; those of `below` have requirements.txt below them already.
    A line that ends with `# optional` may fail, which is told.
    """

    name: str
    what: str
    installs: tuple[str, ...]
    runs: tuple[str, ...]
    below: bool = True


class Done(NamedTuple):
    """What came of a variant."""

    versions: str
    seconds: float  # of installing
    passed: list[str]  # what each command that worked is called
    failed: list[str]  # each command that did not, with its last word
    remarks: list[str]
    best_help: float | None = None


def variants(tests: str, jobs: int) -> list[Variant]:
    """All of them."""
    plain = "pip install --quiet ."
    pytest = f"python -m pytest -p no:cacheprovider -n {jobs} --dist loadfile"
    lines = readme_lines()
    in_clone = tuple(f"cd $CLONE && {line}" for line in lines if not line.startswith("pip"))
    installs = tuple(line for line in lines if line.startswith("pip"))
    return [
        Variant(
            "readme",
            f"the README's lines, then the {tests} tests",
            installs,
            (*in_clone, f"cd $CLONE && {pytest} {TESTS[tests]}"),
            below=False,
        ),
        Variant(
            "oldest",
            "the lowest versions of requirements.txt (Python 3.11), then the smoke tests",
            (oldest(), f"{plain} {TESTERS}"),
            (*PACKAGED, f"cd $CLONE && {pytest} {TESTS['smoke']}"),
            below=False,
        ),
        Variant("plain", "`pip install .`, no extra, no tools of developers", (plain,), PACKAGED),
        Variant("wheel", "a wheel, in an empty folder", ("pip install --quiet $DIST/*.whl",), PACKAGED),
        Variant(
            "sdist",
            "an sdist, in an empty folder; its own tests",
            (f"pip install --quiet $DIST/*.tar.gz {TESTERS}",),
            (*PACKAGED, f"tar xf $DIST/*.tar.gz && cd restore_faces-* && {pytest} {TESTS['smoke']}"),
        ),
        *(
            Variant(
                f"opencv{major}",
                f"OpenCV {major}; tests of pictures, faces, degradations, occlusions, metrics",
                (f"{plain} {TESTERS} '{version}'",),
                (*PACKAGED, f"cd $CLONE && {pytest} {OPENCV} -m 'not slow'"),
            )
            for major, version in ((4, "opencv-python<5"), (5, "opencv-python>=5"))
        ),
        Variant(
            "basicsr",
            "with basicsr and facexlib",
            (f"{plain} {TESTERS} scipy tqdm requests", *(f"pip install --quiet --no-deps {p}" for p in GUESTS)),
            (
                *ENLARGE,
                "restore list archs basicsr/RRDBNet",
                f"cd $CLONE && {pytest} tests/test_guest.py tests/test_registry.py tests/faces tests/degradations "
                "-m 'not slow'",
            ),
        ),
        *(Variant(name, f"`[{name}]` alone", (f"pip install --quiet '.[{name}]'",), runs) for name, runs in EXTRAS),
    ]


GUESTS = ("basicsr==1.4.2", "facexlib==0.3.0")
EXTRAS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("plot", (*QUICKSTART, "restore plot experiments/quickstart -o curves.svg", "test -s curves.svg")),
    (
        "demo",
        ("timeout --preserve-status -s INT 60 restore demo --port 0 | tee told", "grep 'the page is at' told"),
    ),
    (
        "export",
        (
            DRAW,
            "restore export photo_x4 photo_x4.onnx",
            "restore infer photo.png --model photo_x4.onnx -o exported",
            "test -s exported/photo.png",
        ),
    ),
    (
        "spandrel",
        (
            DRAW,
            "restore export photo_x4 photo_x4.pth",
            "restore list archs Spandrel",
            'python -c "from restore.registry import ARCHS, Part; '
            "print(ARCHS.build(Part(type='Spandrel', file='photo_x4.pth')).scale)\"",
        ),
    ),
    ("video", (FILM, "restore infer film.mp4 --task sr -o films", "test -s films/film.mp4")),
)


def readme_lines() -> list[str]:
    """The commands of the README's block of plain pip lines, but for the environment itself and what never ends."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S) if "pip install -e" in block)
    return [line for line in block.splitlines() if not line.startswith(("python3 -m venv", "tensorboard"))]


def oldest() -> str:
    """What installs the lowest version of each line in requirements.txt, with its last corrections."""
    lines = (line.split("#")[0].strip() for line in (REPOSITORY / "requirements.txt").read_text().splitlines())
    pairs = (line.split(">=") for line in lines if line)
    return "pip install --quiet " + " ".join(f"{name}=={low}{'.*' if '.' in low else '.0.*'}" for name, low in pairs)


# ------------------------------------------------------------------------------------------------------ one variant


class Place(NamedTuple):
    """Where all happens: the clone, what was built of it, and room for environments."""

    folder: Path

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def dist(self) -> Path:
        return self.folder / "dist"


def shell(line: str, cwd: Path, environment: Path, place: Place) -> tuple[bool, str]:
    """Runs a line with an environment's programs. Returns whether it worked, and all that it said."""
    given = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    given |= {"VIRTUAL_ENV": str(environment), "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    given |= {"CLONE": str(place.clone), "DIST": str(place.dist)}
    given.setdefault("OMP_NUM_THREADS", "1")
    command = ["bash", "-euo", "pipefail", "-c", line]
    with tempfile.TemporaryFile("w+", errors="replace") as output:  # a pipe would stay open in what outlives the shell
        process = subprocess.Popen(command, cwd=cwd, env=given, stdout=output, stderr=output, start_new_session=True)
        try:
            worked = process.wait(LIMIT) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            worked = False
            output.write(f"\nno end after {LIMIT:g} s\n")
        output.seek(0)
        return worked, output.read()


def new_environment(python: str, folder: Path, below: Path | None) -> Path:
    """A new environment, seeing the packages in the folder `below` after its own."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    if below is not None:
        (next(folder.glob("lib/python*/site-packages")) / "below.pth").write_text(f"{below}\n")
    return folder


def try_variant(variant: Variant, python: str, below: Path | None, place: Place, verbose: bool) -> Done:
    """Installs it, runs its commands, and removes it."""
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        environment = new_environment(python, Path(folder) / "environment", below if variant.below else None)
        here = Path(folder) / "empty"
        here.mkdir()
        passed: list[str] = []
        failed: list[str] = []
        remarks: list[str] = []
        began = time.perf_counter()
        spent = 0.0
        for line in (*variant.installs, *variant.runs):
            installing = line in variant.installs
            worked, said = shell(line, place.clone if installing else here, environment, place)
            spent = time.perf_counter() - began if installing else spent
            if verbose:
                print(f"{variant.name}: {'ok' if worked else 'FAILED'}: {line}\n{'' if worked else said[-6000:]}")
            if worked:
                passed.append(called(line, said))
            elif "# optional" in line:
                remarks.append(f"optional, cannot be installed here: `{called(line)}`: {last_word(said)}")
            else:
                failed.append(f"`{called(line, said)}`: {last_word(said)}")
                if installing:
                    break
        seconds = None if failed else best_help(here, environment, place)
        return Done(versions(environment, place), spent, passed, failed, remarks, seconds)


def called(line: str, said: str = "") -> str:
    """A line of the shell in short; of tests, how many passed."""
    if "pytest" in line and (counts := re.findall(r"^=*\s*(\d+ (?:passed|failed|error).*?) in [\d.]+ ?s", said, re.M)):
        return f"tests: {counts[-1]}"
    line = re.sub(r"^cd \$CLONE && ", "", line.split("#")[0].strip())
    return line if len(line) < 60 else f"{line[:57]}..."


def last_word(said: str) -> str:
    """The last lines that say something, on one line of a table."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join(lines[-2:])[-300:].replace("|", "\\|") or "no word"


def best_help(here: Path, environment: Path, place: Place) -> float:
    """Seconds that `restore --help` takes: the best of seven, as other work only adds to it."""

    def once() -> float:
        began = time.perf_counter()
        shell("restore --help", here, environment, place)
        return time.perf_counter() - began

    return min(once() for _ in range(7))


def versions(environment: Path, place: Place) -> str:
    """Of the packages that matter most."""
    ask = (
        'python -c "from importlib.metadata import *\n'
        "for name in ('torch', 'numpy', 'opencv-python', 'basicsr'):\n"
        ' try: print(name, version(name))\n except PackageNotFoundError: pass"'
    )
    return ", ".join(shell(ask, place.folder, environment, place)[1].split("\n")[:-1])


# ------------------------------------------------------------------------------------------------------ all of them


def measure(args: argparse.Namespace, place: Place) -> Iterator[str | Claim]:
    """A table for each Python, and a claim for each variant."""
    chosen = [v for v in variants(args.tests, args.jobs) if args.only is None or v.name in args.only]
    if args.quick:
        chosen = [shortened(v) for v in chosen if v.name in ("wheel", "sdist")]
    build(place, args.quick)
    found = {name: path for name in args.python if (path := working(name))}
    results: dict[str, dict[str, Done]] = {}
    for python in found.values():
        name = told_version(python)
        results[name] = try_all(chosen, python, place, args)
        yield f"## {name}\n\n{rows_of(chosen, results[name])}"
    if absent := [name for name in args.python if name not in found]:
        yield f"Not on this machine: {', '.join(absent)}."
    for variant in chosen:
        tried = {name: done[variant.name] for name, done in results.items() if variant.name in done}
        yield claim(variant, tried, absent)


def try_all(chosen: Sequence[Variant], python: str, place: Place, args: argparse.Namespace) -> dict[str, Done]:
    """Each variant on one Python, one after the other."""
    done = {}
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        below = outer_packages() if args.quick else None
        for variant in sorted(chosen, key=lambda variant: variant.below):  # the shared one last, for the disk's sake
            if variant.name == "oldest" and "3.11" not in told_version(python):
                continue  # newer Pythons have no wheels of them
            if variant.below and below is None:
                below = requirements(python, Path(folder) / "below", place)
            done[variant.name] = try_variant(variant, python, below, place, args.verbose)
    return done


def requirements(python: str, folder: Path, place: Place) -> Path:
    """The packages of a new environment with requirements.txt. Raises `RuntimeError`."""
    environment = new_environment(python, folder, None)
    worked, said = shell("pip install --quiet -r requirements.txt", place.clone, environment, place)
    if not worked:
        raise RuntimeError(last_word(said))
    return next(environment.glob("lib/python*/site-packages"))


def outer_packages() -> Path:
    """Those of the interpreter that runs this."""
    return Path(next(path for path in sys.path if path.endswith("-packages")))


def shortened(variant: Variant) -> Variant:
    """Installed alone over packages that are there, and tried for seconds: for the tests of this script."""
    kind = {"wheel": "whl", "sdist": "tar.gz"}[variant.name]
    pip = f"pip install --quiet --no-deps --no-build-isolation --force-reinstall $DIST/*.{kind}"
    return variant._replace(installs=(pip,), runs=("restore --help", "python -m restore --version"))


def build(place: Place, quick: bool) -> None:
    """A clone of what is committed, and a wheel and an sdist of it."""
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, place.clone], check=True)
    isolation = ["--no-isolation"] if quick else []
    command = [sys.executable, "-m", "build", *isolation, "--outdir", str(place.dist), str(place.clone)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"python -m build: {last_word(done.stdout + done.stderr)}")


def working(name: str) -> str | None:
    """The path of a Python, if it is there and starts: a version manager's stand-in may not."""
    path = shutil.which(name)
    return path if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0 else None


def told_version(python: str) -> str:
    """`Python 3.13.0`."""
    return subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def rows_of(chosen: Sequence[Variant], done: dict[str, Done]) -> str:
    """The table of one Python."""
    rows = []
    for variant in chosen:
        if (result := done.get(variant.name)) is None:
            continue
        tests = [name for name in result.passed if name.startswith("tests:")]
        ran = f"{len(result.passed)} commands" + (f"; {'; '.join(tests)}" if tests else "")
        remarks = [*result.failed, *result.remarks]
        helped = "" if result.best_help is None else f"{result.best_help:.2f}"
        cells = [f"{result.seconds:.0f}", result.versions, ran, helped, verdict(not result.failed)]
        rows.append([f"`{variant.name}`: {variant.what}", *cells, "; ".join(remarks)])
    return table(["", "install, s", "versions", "worked", "`--help`, s", "", "remarks"], rows)


def claim(variant: Variant, done: dict[str, Done], absent: Sequence[str]) -> Claim:
    """One variant on all Pythons."""
    counts = {name: (len(each.passed), len(each.passed) + len(each.failed)) for name, each in done.items()}
    ours = "; ".join(f"{name}: {good} of {tried} commands" for name, (good, tried) in counts.items())
    reasons = [f"{name}: {reason}" for name, each in done.items() for reason in (*each.failed, *each.remarks)]
    reasons += [f"{name} is not on this machine" for name in absent]
    slow = [each.best_help for each in done.values() if each.best_help is not None and each.best_help > HELP]
    reasons += [f"`restore --help` takes {seconds:.2f} s" for seconds in slow]
    met = not slow and not any(each.failed for each in done.values()) if done else None
    bar = f"all commands work, `restore --help` within {HELP} s"
    return Claim(f"installs.{variant.name}", variant.what, ours, bar=bar, met=met, why="; ".join(reasons))


def main() -> None:
    """Parses the command line and installs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="PYTHON", help="names or paths (3.11 to 3.14)")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="of readme, oldest, plain, wheel, ... (all)")
    parser.add_argument("--tests", choices=TESTS, default="fast", help="which of them `readme` runs (fast)")
    parser.add_argument("--jobs", type=int, default=2, help="test files at a time (2)")
    parser.add_argument("--quick", action="store_true", help="wheel and sdist over the packages that are here: seconds")
    parser.add_argument("--verbose", action="store_true", help="tell each command, and all that a failed one said")
    add_out(parser)
    args = parser.parse_args()
    if args.quick:
        args.python = [sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        publish("Clean installs", measure(args, Place(Path(folder))), args.out)


if __name__ == "__main__":
    main()
