"""What the pages say is true: their commands parse, and run; files that they name exist; their examples work."""

import argparse
import ast
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from restore import cli
from restore.errors import UserError
from restore.inference.model import shipped
from restore.options.load import load, read_extended
from restore.registry import REGISTRIES
from tests import documents, reader
from tests.documents import REPOSITORY, Command, blocks, commands, inline_commands, pages

OUTPUTS = (  # lines that a command wrote; a block that begins so is output as a whole
    "restore/\n",
    "17:14:13 saved experiments",
    "RuntimeError: boom",
    "stopped: SIGUSR1: saved at iteration 478",
    "the page is at",
)
SCRIPTS = {"restore/train.py": "train", "restore/test.py": "test", "restore/infer.py": "infer"}
OWN = {  # programs whose commands are looked at closely, and why those of some are never run here
    "restore": None,
    "python": None,
    "torchrun": "starts several processes; tests/distributed does",
    "sbatch": "needs SLURM; tests/slurm hands such scripts to a real one",
    "make": "installs into a new environment, and runs all tests",
    "pip": "installs; tests/test_docker.py does so from an empty folder",
}
# Of others' programs we only know that they are meant: they fetch, copy, or need a cluster or a daemon.
OTHERS = {".", "cp", "curl", "docker", "echo", "git", "hf", "mkdir", "python3", "scancel", "sed", "sha256sum", "squeue",
          "tail", "tar", "tensorboard", "xargs"}  # fmt: skip
NAMED = r"(?<![\w/.-])(?:options|docs|restore|benchmarks|tests)/[\w/]+\.(?:yml|png|jpg|py|md|sbatch)\b"
READERS_OWN = {"options/mine.yml", "options/test/mine.yml", "options/test/x.yml", "options/train/x.yml", "my.yml",
               "x.yml", "restore/losses/slope_loss.py"}  # fmt: skip

MINUTES = "trains for minutes to hours; tests/test_recipes.py takes two steps of its option file"
DOWNLOAD = "needs a download"
PUBLISHED = "needs others' weights or data; tests/archs, tests/test_recipes.py and tests/test_diffusers_folder.py"
CLUSTER = "needs SLURM; tests/slurm hands such scripts to a real one"
NOT_RUN = {  # what commands begin with, and why they are only parsed
    "python restore/train.py -opt options/train/": MINUTES,
    "python restore/test.py -opt options/test/sr/": PUBLISHED,
    "python restore/test.py -opt options/test/inpainting/": PUBLISHED,
    "restore compare --gt datasets/celebahq_64_val.lmdb": "needs six trainings; tests/apps/test_compare.py",
    "restore infer photo.jpg --model experiments/pretrained_models/": PUBLISHED,
    "restore prepare download": DOWNLOAD,
    "restore weights fetch": DOWNLOAD,
    "restore slurm -opt options/train/": "needs the recipe's data; tests/apps/test_slurm.py",
    "restore slurm -opt options/mine.yml": CLUSTER,
    "restore sweep -opt": "trains nine times; tests/apps/test_sweep.py",
    "restore infer photos/ -o unmasked/ --model experiments/unmask --mask face_mask --shard": CLUSTER,
    "restore test -opt options/test/mine.yml --shard": CLUSTER,
    "restore prepare lmdb /data/faces": CLUSTER,
    "restore test -opt options/test/x.yml --shard": "stands for the reader's own; tests/apps/test_evaluate_shards.py",
    "python restore/test.py -opt my.yml": "stands for the reader's own file, with LaMa's weights",
    "restore demo": "serves until it is stopped: `test_the_page_starts_and_ends`",
}
NOT_RUN_PYTHON = {  # lines of examples
    "enhance = Enhancer(model, outscale=2, ": "needs a photo of three people; tests/inference/test_enhance.py",
    'data, at, state = open("squeezenet_v1.1.bin"': DOWNLOAD,
    'state = torch.load("best.ckpt"': DOWNLOAD,
    'state = torch.jit.load(str(find("big_lama"))': DOWNLOAD,
}

COMMANDS = commands(OUTPUTS)
RUN = [c for c in COMMANDS if OWN.get(c.words[0], "not ours") is None and "-c" not in c.words]
RUN = [c for c in RUN if not c.text.replace("'", "").startswith(tuple(NOT_RUN))]
PYTHON = [each for each in blocks("python") if not any(line in each.text for line in NOT_RUN_PYTHON)]
SLURM = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "4",
         "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_STEP": "1"}  # fmt: skip
by_place = {"ids": lambda each: each.place}


# --------------------------------------------------------------------------------------------------------- parsing


@pytest.mark.parametrize("command", COMMANDS, **by_place)
def test_a_command_is_one_that_its_program_takes(command, monkeypatch):
    program = command.words[0]
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert program in OWN or program in OTHERS, f"{command.place}: {program}: a program that nobody knows"
    if program in OWN:
        {"make": make, "pip": pip, "torchrun": torchrun, "sbatch": sbatch}.get(program, parse)(command, monkeypatch)


@pytest.mark.parametrize("passage", inline_commands(), **by_place)
def test_a_command_in_the_text_has_a_verb_and_options_that_there_are(passage, monkeypatch):
    words = tuple(passage.text.split(" >")[0].split())
    if words[:2] == ("python", words[1]) and "benchmarks" in words[1]:
        parse(Command(passage.place, words), monkeypatch)
        return
    words = arguments_of(Command(passage.place, words))
    parser = cli.build_parser()
    while words and (verbs := verbs_of(parser)) and not words[0].startswith("-"):
        assert words[0] in verbs, f"{passage.place}: no verb `{words[0]}`"
        parser, words = verbs[words[0]], words[1:]
    unknown = [word for word in words if word.startswith("--") and word not in parser._option_string_actions]
    assert not unknown, f"{passage.place}: {passage.text}"


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: verb
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, verb in action.choices.items()
    }


def parse(command: Command, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace | None:
    """Its arguments, as the real parser takes them."""
    words = command.words
    if words[1] == "-c":
        ast.parse(words[2])
        return None
    try:
        if words[0] == "python" and words[1].startswith("benchmarks/"):
            return parse_benchmark(words, monkeypatch)
        return cli.build_parser().parse_args(arguments_of(command))
    except SystemExit as end:
        pytest.fail(f"{command.place}: {command.text}: not taken, exit code {end.code}")


def arguments_of(command: Command) -> tuple[str, ...]:
    """What the command `restore` gets, also by one of its scripts."""
    first, *rest = command.words
    return tuple(rest) if first == "restore" else (SCRIPTS[rest[0]], *rest[1:])


@pytest.mark.parametrize(
    "line",
    [
        "restore infer photo.jpg --modle x",
        "restore infre photo.jpg",
        "python restore/train.py --opt x.yml",
        "python benchmarks/start.py --nothing",
        "torchrun --nproc-per-node 2 restore/train.py -opt x.yml --resume_auto",
        "sbatch options/slurm/none.sbatch x.yml",
        "sbatch nobody_wrote_this.sbatch",
        "make nothing",
        "pip install 'restore-faces[nothing]'",
        "retsore infer photo.jpg",
    ],
)
def test_a_mistake_is_seen(line, monkeypatch):
    with pytest.raises((AssertionError, pytest.fail.Exception, SystemExit)):
        test_a_command_is_one_that_its_program_takes(Command("page:1", tuple(shlex.split(line))), monkeypatch)


PAGE = """\
# A page

```
restore infer 'a b.jpg' \\
    --model x      # a comment
for name in one two; do
  restore inspect experiments/${name} | tee log > out
done
SIZE=3 restore list '[{type: Blur,
  sigma: 1}]' && make test
written: x
```

    restore plot a
    restore plot b -o c.svg

```
$ restore check
x is wrong
```

```bash
job=$(sbatch --parsable x.sbatch)
```

```python
restore = 1
```
"""


def test_commands_are_read_as_a_shell_reads_them(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text(PAGE)
    monkeypatch.setattr(documents, "REPOSITORY", tmp_path)
    assert [(command.place, command.text) for command in commands(("written:",))] == [
        ("README.md:4", "restore infer 'a b.jpg' --model x"),
        ("README.md:7", "restore inspect experiments/one"),
        ("README.md:7", "tee log"),
        ("README.md:7", "restore inspect experiments/two"),
        ("README.md:7", "tee log"),
        ("README.md:9", "restore list '[{type: Blur,   sigma: 1}]'"),
        ("README.md:9", "make test"),
        ("README.md:14", "restore plot a"),
        ("README.md:15", "restore plot b -o c.svg"),
        ("README.md:18", "restore check"),
        ("README.md:23", "sbatch --parsable x.sbatch"),
    ]


class Parsed(Exception):
    """A benchmark has read its arguments."""


def parse_benchmark(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(words[1].removesuffix(".py").replace("/", "."))
    really = argparse.ArgumentParser.parse_args

    def parse_args(self, *rest):
        really(self, *rest)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", list(words[1:]))
        with pytest.raises(Parsed):
            module.main()


def make(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search(rf"^{command.words[1]}:", (REPOSITORY / "Makefile").read_text(), flags=re.M), command.place


def pip(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extras have to be those of setup.py."""
    extras = set(re.findall(r'^        "(\w+)": [\[r]', (REPOSITORY / "setup.py").read_text(), flags=re.M))
    for named in re.findall(r"(?:restore-faces|\.)\[([\w,]+)\]", command.text):
        assert set(named.split(",")) <= extras, command.place


def torchrun(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.run import get_args_parser

    args = get_args_parser().parse_args(command.words[1:])
    parse(Command(command.place, ("python", args.training_script, *args.training_script_args)), monkeypatch)


def sbatch(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script is one that ships, one that `restore slurm` writes, or one that the page shows."""
    if "--wrap" in command.words:
        wrapped = command.words[command.words.index("--wrap") + 1]
        parse(Command(command.place, tuple(shlex.split(wrapped))), monkeypatch)
        return
    script, *arguments = [word for word in command.words[1:] if not word.startswith("-")]
    if script.startswith("options/"):
        assert (REPOSITORY / script).is_file(), command.place
        parse(Command(command.place, ("python", "restore/train.py", "-opt", *arguments)), monkeypatch)
    elif script.startswith("experiments/"):
        recipes = (REPOSITORY / "options").rglob("*.yml")
        assert Path(script).stem in {read_extended(path).data.get("name") for path in recipes}, command.place
    else:
        assert any(f"--job-name={Path(script).stem}" in block.text for block in blocks("bash")), command.place


# ----------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("page", pages())
def test_a_page_names_files_and_pages_that_there_are(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    named = re.findall(NAMED, text)
    linked = [(REPOSITORY / page).parent / target for target in re.findall(r"\]\(([\w./-]+)\)", text)]
    missing = [name for name in sorted({*named} - READERS_OWN) if not (REPOSITORY / name).exists()]
    assert missing + [str(path) for path in linked if not path.exists()] == []


OPTION_FILES = sorted({w for c in COMMANDS for w in c.words if w.endswith(".yml") and w not in READERS_OWN})


@pytest.mark.parametrize("name", OPTION_FILES)
def test_an_option_file_that_a_command_names_can_be_read(name):
    assert (REPOSITORY / name).is_file()
    assert read_extended(REPOSITORY / name).data


@pytest.mark.parametrize("block", blocks("yaml"), **by_place)
def test_an_example_in_yaml_is_yaml(block):
    assert yaml.safe_load(block.text)


@pytest.mark.parametrize("start", NOT_RUN)
def test_what_is_not_run_is_still_said_somewhere(start):
    assert any(c.text.replace("'", "").startswith(start) for c in COMMANDS)


@pytest.mark.parametrize("line", [*OUTPUTS, *NOT_RUN_PYTHON])
def test_what_is_left_out_is_still_there(line):
    assert any(line in block.text for block in blocks("", "python"))


def test_what_others_programs_are_allowed_is_used():
    assert {c.words[0] for c in COMMANDS} >= OTHERS


# --------------------------------------------------------------------------------------------------------- running

NET = ("network_g.num_feat=8", "network_g.num_block=1")  # that of `reader.furnish`
ADDED = {  # to commands, so that they take seconds
    "train": ("--set", "train.total_iter=2", "train.warmup_iter=0", "device=cpu", *NET),
    "test": ("--set", "device=cpu"),
    "infer": ("--device", "cpu"),
    "unmask": ("--device", "cpu"),
    "drawn": ("--count", "4", "--val", "2", "--size", "64", "--workers", "1", "--overwrite"),
    "landmarks": ("--detector", "aligned"),
    "lmdb": ("--overwrite",),
    "masks": ("--overwrite",),
}
REPLACED = {  # behind options; the frame of a drawn face is known without a detector
    "--size": "32",
    "--split": "0.5,0.25,0.25",
    "--detector": "aligned",
}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory, faces, val_faces) -> Path:
    return reader.furnish(tmp_path_factory.mktemp("reader"), faces, val_faces)


@pytest.fixture
def folder(furnished, tmp_path, monkeypatch) -> Path:
    """A reader's folder for one command, which is entered. Nothing is fetched there."""
    shutil.copytree(furnished, tmp_path / "reader", copy_function=copy)
    monkeypatch.chdir(tmp_path / "reader")
    monkeypatch.setattr("urllib.request.urlopen", offline)
    return tmp_path / "reader"


def copy(source: str, target: str) -> None:
    """What is large, and nothing writes to, is linked."""
    (os.link if source.endswith(".pth") else shutil.copy2)(source, target)


def offline(*_, **__):
    raise urllib.error.URLError("a test that fetches nothing")


def seconds_apart(commands):
    """The commands as parameters; exporting takes seconds."""
    return [pytest.param(c, marks=pytest.mark.slow if c.words[:2] == ("restore", "export") else ()) for c in commands]


@pytest.mark.parametrize("command", seconds_apart(RUN), **by_place)
def test_a_command_runs(command, folder):
    words = small(arguments_of(command))
    reader.experiments_for(folder, words)
    if words[0] == "train":
        shutil.rmtree("experiments")
    if words[0] == "unmask":
        shutil.copy("masked.jpg", "photo.jpg")
        shutil.copytree("masked", "photos", dirs_exist_ok=True)
    with skipping_what_is_missing(words):
        reader.call(*words)


def small(words: tuple[str, ...]) -> list[str]:
    """The same command, on small things."""
    words = [REPLACED.get(before, word) for before, word in pairwise(("", *words))]
    words = [re.sub(r"num_steps: \d+", "num_steps: 3", word) for word in words]
    added = ADDED.get(words[words[0] == "prepare"], ())
    if words[0] == "test" and "-opt" in words:
        added = (*added, *NET)
    if words[0] in ("infer", "unmask") and "--detector" not in words:
        added = (*added, "--detector", "aligned")
    if "--faces" in words:
        added = (*added, "--size", "128")
    return [*words, *added]


@contextmanager
def skipping_what_is_missing(words: Sequence[str] = ()) -> Iterator[None]:
    """Skips where pretrained weights, a model that ships or an extra are not here."""
    if "film.mp4" in words:
        pytest.importorskip("av", reason="needs PyAV (extra `video`)")
    if words[:1] == ["export"]:
        pytest.importorskip("onnxscript", reason="needs the extra `export`")
    try:
        yield
    except UserError as error:
        if "restore-faces[spandrel]" in str(error) and find_spec("spandrel") is None:
            pytest.skip("needs the extra `spandrel`")
        if "cannot be fetched" in str(error):
            pytest.skip(str(error)[:100])
        if "no model that ships" in str(error) and len(shipped()) < 5:
            pytest.skip("a model that is to ship is not here yet")
        raise


@pytest.mark.slow
def test_a_script_in_a_process_of_its_own_does_the_same(folder):
    reader.call("infer", "photo.jpg", "--task", "sr", "-o", "here", "--device", "cpu")
    words = [REPOSITORY / "restore/infer.py", "photo.jpg", "--task", "sr", "-o", "there", "--device", "cpu"]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    assert (folder / "here/photo.jpg").read_bytes() == (folder / "there/photo.jpg").read_bytes()


@pytest.mark.slow
def test_the_page_starts_and_ends(tmp_path):
    """As docs/demo.md shows it, on a port that is free."""
    pytest.importorskip("gradio", reason="needs the extra `demo`")
    command = [sys.executable, "-u", "-m", "restore", "demo", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as server:
        try:
            address = re.search(r"the page is at (http://127\.0\.0\.1:\d+)", server.stdout.readline())[1]
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert answer.status == 200
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


# -------------------------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("example", PYTHON, **by_place)
def test_an_example_in_python_runs(example, folder, monkeypatch):
    for registry in REGISTRIES.values():  # what it registers is forgotten again
        registry.discover()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    with skipping_what_is_missing(["export"] if "photo_x4." in example.text else []):
        for name in re.findall(r'"(photo_x4\.\w+)"', example.text):
            reader.call("export", "experiments/quickstart", name)
        exec(compile(example.text, example.place, "exec"), {"__name__": "example"})


@pytest.mark.parametrize("example", blocks("python"), **by_place)
def test_an_example_in_python_is_python(example):
    compile(example.text, example.place, "exec")


@pytest.fixture
def part(folder, monkeypatch) -> str:
    """The option file of the README's example of a part, its part beside it."""
    (folder / "slope_loss.py").write_text(next(each.text for each in PYTHON if "class SlopeLoss" in each.text))
    (folder / "sharper.yml").write_text(next(each.text for each in blocks("yaml") if "plugins: [sl" in each.text))
    shutil.copy(folder / "options" / "quickstart.yml", folder)
    return "sharper.yml"


def test_the_example_of_a_part_trains(part, capsys):
    reader.call(*small(("train", "-opt", part)), "logger.print_freq=1", "datasets.train.gt_size=32")
    assert "l_edges" in capsys.readouterr().out


def test_a_misspelt_argument_of_the_example_is_explained_as_promised(part):
    with pytest.raises(UserError, match=r"reech: unknown key.*did you mean `reach`\?"):
        load(part, ["train.losses.edges.reech=2"])
