"""The scripts of docs/large_jobs.md on a real SLURM: the parts of a job array make what one process makes."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.lab import REPOSITORY, last, tiny_options

pytestmark = pytest.mark.slow
PAGE = REPOSITORY / "docs" / "large_jobs.md"


class Work:
    """A folder to submit the page's scripts from."""

    def __init__(self, cluster, folder: Path, faces: Path) -> None:
        self.cluster, self.folder = cluster, folder
        scripts = re.findall(r"```bash\n(#!.*?)```", PAGE.read_text(), re.DOTALL)
        for name, script in zip(("faces", "merge", "infer", "test"), scripts, strict=True):
            here = script.replace("/data/faces", str(faces)).replace("--size 256", "--size 48")
            (folder / f"{name}.sbatch").write_text(here)

    def submit(self, name: str, *options: str):
        """Submits one of the scripts, with more options of sbatch."""
        script = self.folder / f"{name}.sbatch"
        return self.cluster.submit(script, name=name, options=(f"--chdir={self.folder}", *options))

    def restore(self, *arguments: str) -> None:
        """The same in one process."""
        self.cluster.run("restore", *arguments, folder=self.folder)

    def files(self, name: str) -> dict[str, bytes]:
        """What was written, but for the parts' own files."""
        found = {path.relative_to(self.folder / name): path for path in (self.folder / name).rglob("*")}
        return {
            str(path): file.read_bytes()
            for path, file in found.items()
            if file.is_file() and "shards" not in path.parts
        }


@pytest.fixture(scope="module")
def work(cluster, faces, tmp_path_factory) -> Work:
    """Where the page's scripts are submitted."""
    if shutil.which("restore", path=cluster.environment["PATH"]) is None:
        pytest.skip("the command `restore` is not installed: pip install -e .")
    return Work(cluster, tmp_path_factory.mktemp("work"), faces)


def test_an_lmdb_in_parts_and_their_merge(work, faces):
    parts = work.submit("faces", "--array=1-3")
    merge = work.submit("merge", f"--dependency=afterok:{parts.number}")
    work.restore("prepare", "lmdb", str(faces), "whole/faces.lmdb", "--size", "48")
    merge.ends("COMPLETED")
    assert [parts.task(number).fields()["ExitCode"] for number in (1, 2, 3)] == ["0:0"] * 3
    assert len(list((work.folder / "datasets").glob("faces_*-of-3.lmdb"))) == 3
    whole = work.files("whole/faces.lmdb")
    assert "data.mdb" in whole
    assert work.files("datasets/faces.lmdb") == whole


def test_a_test_set_in_parts(work, desk, faces, val_faces):
    section = tiny_options(faces, val_faces)
    section["datasets"] = {"test": section["datasets"]["val"] | {"dataroot_gt": str(faces)}}
    section["path"] = {"pretrain_network_g": str(last(desk.whole()).path)}
    (work.folder / "options" / "test").mkdir(parents=True)
    (work.folder / "options" / "test" / "mine.yml").write_text(yaml.safe_dump(section))
    parts = work.submit("test", "--array=1-2")
    work.restore("test", "-opt", "options/test/mine.yml", "--set", "path.results_root=alone")
    for number in (1, 2):
        parts.task(number).ends("COMPLETED")
    alone = work.files("alone")
    assert "tiny/test/scores.csv" in alone
    assert work.files("results") == alone
