"""`restore slurm` and options/slurm: what the scripts ask for, what they start, and how they tell the end."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from restore import cli
from restore.apps.batch_script import SHIPPED_TO, Resources, batch_script, shipped
from restore.apps.job_options import wall_seconds
from restore.errors import UserError

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "slurm.md"

# What `squeue -o %l` of SLURM 22.05.8 shows for `sbatch --time=...`, in seconds; it rounds up to whole minutes.
WALLS = {
    "8:00": 480,
    "90": 5400,
    "90:00": 5400,
    "1:120": 180,
    "0:90:00": 5400,
    "1:2:3": 3780,
    "1-30": 2 * 86400 + 21600,
}
WALLS |= {"2-12:5": 2 * 86400 + 43500, "1-2:3:4": 86400 + 7440, "2-12": 2 * 86400 + 43200}

STUBS = {
    "srun": '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\n[ "$1" != true ] || exit "${STUB_LOST:-0}"\n"$@"\n',
    "scontrol": "#!/bin/bash\n"
    '[ "$1" != requeue ] || { echo "$2" >> "$STUB_SEEN.requeued"; echo refused >&2; exit "${STUB_REQUEUE:-0}"; }\n'
    'echo "   Requeue=1 Restarts=${STUB_RESTARTS:-0} BatchFlag=1"\n'
    'echo "   PreemptEligibleTime=2026-11-21T17:49:21 PreemptTime=${STUB_PREEMPTED:-None}"\n'
    'echo "   Command=$STUB_COMMAND"\n',
    "python": '#!/bin/bash\n"$STUB_PYTHON" -c "import json, sys; print(json.dumps(sys.argv[1:]))" "$@" > "$STUB_SEEN"\n'
    'echo "$SRUN_CPUS_PER_TASK" "$OMP_NUM_THREADS" "$PWD" >> "$STUB_SEEN"\nexit "${STUB_CODE:-0}"\n',
    "sbatch": '#!/bin/bash\necho "$@" >> "$STUB_SEEN"\n'
    '[ -z "$STUB_REFUSES" ] || { echo "sbatch: error: $STUB_REFUSES" >&2; exit 1; }\necho "Submitted batch job 12"\n',
}


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    """SLURM's commands, which are not needed here, and a python that notes how it is called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in STUBS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SRUN_"))]:
        monkeypatch.delenv(name)
    job = {"SLURM_JOB_ID": "12", "SLURM_CPUS_PER_TASK": "3", "SLURM_JOB_NODELIST": "gpu1", "SLURM_JOB_NUM_NODES": "2"}
    mine = {"STUB_PYTHON": sys.executable, "STUB_SEEN": str(tmp_path / "seen"), "STUB_COMMAND": "/nowhere/x.sbatch"}
    for name, value in (job | mine | {"PATH": f"{folder}:{os.environ['PATH']}"}).items():
        monkeypatch.setenv(name, value)
    return folder


def job(script: str, *arguments: str, cwd: Path) -> tuple[int, str]:
    """The exit code of a script and the last line of its log."""
    command = ["bash", "-c", script, "slurm_script", *arguments]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout.splitlines()[-1]


def seen(tmp_path: Path) -> tuple[list[str], str]:
    """The arguments that `python` was called with, and its environment in one line."""
    arguments, environment = (tmp_path / "seen").read_text().splitlines()
    return json.loads(arguments), environment


def slurm(*arguments: str) -> None:
    """`restore slurm`."""
    cli._run(["slurm", *map(str, arguments)])


@pytest.fixture
def work(lab, monkeypatch):
    """The laboratory, worked in: its `tiny.yml` has a batch of four."""
    monkeypatch.chdir(lab.root)
    return lab.root


def generated(work: Path, *arguments: str) -> str:
    """The script that `restore slurm` writes with these arguments."""
    slurm("-opt", "tiny.yml", "-o", "made.sbatch", *arguments)
    return (work / "made.sbatch").read_text()


def directives(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


# -- what ships


def test_the_shipped_scripts_are_what_the_template_gives():
    here = {path.name: path.read_text() for path in SHIPPED_TO.iterdir()}
    assert here == shipped(), "run `python -m restore.apps.batch_script`"


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_script_asks_for_what_a_run_that_survives_needs(name):
    text = shipped()[name]
    lines = directives(text)
    assert {"--signal=USR1@120", "--requeue", "--open-mode=append", "--time=8:00:00"} <= set(lines)
    assert ("--output=%x-%A_%a.out" if name == "array.sbatch" else "--output=%x-%j.out") in lines
    assert ("--gres=gpu" in text) != (name == "cpu.sbatch")
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", [*shipped(), "chain", "made"])
def test_a_script_is_correct_shell(name, work):
    made = {"chain": ["--chain", "3"], "made": ["--nodes", "2", "--gpus", "2", "--set", "datasets.train.num_workers=0"]}
    text = generated(work, *made[name]) if name in made else shipped()[name]
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-"], input=text, text=True, check=True)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_script_finds_the_project_and_the_option_file(name, stubs, tmp_path, monkeypatch):
    project, elsewhere = tmp_path / "my project", tmp_path / "else where"
    (project / "restore").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "my x.yml").touch()
    called = f"{project}/options/slurm/{name} my x.yml /a/options/slurm/b.yml"  # what SLURM tells, the arguments too
    monkeypatch.setenv("STUB_COMMAND", called)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    code, line = job(shipped()[name], "my x.yml", "--set", "a='$(touch hacked)'", cwd=elsewhere)
    assert (code, line) == (0, "job 5_7: finished (exit code 0)")
    arguments, environment = seen(tmp_path)
    own = {"array.sbatch": ["--set", "name=my x_seed7", "manual_seed=7"], "cpu.sbatch": ["--set", "device=cpu"]}
    train = ["-m", "restore", "train", "-opt", str(elsewhere / "my x.yml"), "--auto_resume"]
    assert arguments == [*train, *own.get(name, []), "--set", "a='$(touch hacked)'"]
    assert environment == f"3 3 {project}"
    assert not (project / "hacked").exists()


def test_a_copy_of_a_shipped_script_stays_where_it_is_submitted(stubs, tmp_path):
    job(shipped()["one_gpu.sbatch"], "options/x.yml", cwd=tmp_path)
    arguments, environment = seen(tmp_path)
    assert arguments[4] == "options/x.yml"  # no such file here: a recipe that ships, or train's error
    assert environment == f"3 3 {tmp_path}"


def test_a_shipped_script_asks_for_an_option_file(stubs, tmp_path):
    code, line = job(shipped()["one_gpu.sbatch"], cwd=tmp_path)
    assert code
    assert "name an option file" in line


def test_a_wheel_brings_the_scripts(tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    assert {path.name for path in (tmp_path / "restore" / "recipes" / "slurm").iterdir()} == set(shipped())


# -- how a job ended


@pytest.mark.parametrize(
    ("code", "restarts", "start", "told"),
    [
        (0, 0, 0, "finished"),
        (0, 3, 3, "finished"),
        (1, 0, 0, "failed: the first error above says why"),
        (2, 0, 0, "not run: the option file or the input is wrong, as said above"),
        (75, 0, 0, "stopped before its end, and saved; submit the same again to go on"),
        (75, 1, 0, "stopped before its end, and saved; SLURM starts it again"),
        (75, 2, 1, "stopped before its end, and saved; SLURM starts it again"),
        (75, 2, 2, "stopped before its end, and saved; submit the same again to go on"),
        (138, 0, 0, "ended by SLURM before the training could save"),
        (143, 1, 0, "ended by SLURM before the training could save; SLURM starts it again"),
        (
            137,
            0,
            0,
            "killed; submitted again it goes on from the last checkpoint; with more --mem where oom stands above",
        ),
    ],
)
def test_the_last_line_and_the_exit_code_tell_how_it_ended(code, restarts, start, told, stubs, tmp_path, monkeypatch):
    """`restarts`: what SLURM says of the job when it ends; `start`: what the job was told when it began."""
    monkeypatch.setenv("STUB_CODE", str(code))
    monkeypatch.setenv("STUB_RESTARTS", str(restarts))
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(start))
    ended = job(shipped()["one_gpu.sbatch"], "x.yml", cwd=tmp_path)
    assert ended == (code, f"job 12: {told} (exit code {code})")


@pytest.mark.parametrize("code", [0, 1, 2, 75, 143])
@pytest.mark.parametrize("refused", [0, 1])
def test_a_preempted_job_asks_to_be_queued_again(code, refused, stubs, tmp_path, monkeypatch):
    """SLURM would do it at the end of the grace time, when a job that has saved is gone."""
    for name, value in {"CODE": str(code), "PREEMPTED": "2026-11-21T18:01:57", "REQUEUE": str(refused)}.items():
        monkeypatch.setenv(f"STUB_{name}", value)
    ended = job(shipped()["one_gpu.sbatch"], "x.yml", cwd=tmp_path)
    assert ended[0] == code
    assert (tmp_path / "seen.requeued").exists() == (code in (75, 143))
    assert ("preempted, and queued again" in ended[1]) == (code in (75, 143) and not refused)
    assert ("submit the same again" in ended[1]) == (code == 75 and bool(refused))


@pytest.mark.parametrize(
    ("code", "lost", "starts", "refused", "told"),
    [
        (1, 1, 0, 0, "a node does not answer; queued again"),
        (137, 124, 9, 0, "a node does not answer; queued again"),
        (1, 0, 0, 0, "failed: the first error above says why"),  # a crash of the training: the nodes are well
        (1, 1, 10, 0, "failed: the first error above says why"),  # not for ever
        (1, 1, 0, 1, "failed: the first error above says why"),
        (0, 1, 0, 0, "finished"),
        (2, 1, 0, 0, "not run: the option file or the input is wrong, as said above"),
        (75, 1, 0, 0, "stopped before its end, and saved; submit the same again to go on"),
        (143, 1, 0, 0, "ended by SLURM before the training could save"),
    ],
)
def test_a_job_that_lost_a_node_asks_to_be_queued_again(
    code, lost, starts, refused, told, stubs, tmp_path, monkeypatch
):
    values = {"CODE": code, "LOST": lost, "REQUEUE": refused, "RESTARTS": starts}
    for name, value in values.items():
        monkeypatch.setenv(f"STUB_{name}", str(value))
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(starts))
    (stubs / "sleep").write_text('#!/bin/bash\necho "sleep $1" >> "$STUB_SEEN.requeued"\n')
    (stubs / "sleep").chmod(0o755)
    ended = job(shipped()["many_nodes.sbatch"], "x.yml", cwd=tmp_path)
    assert ended == (code, f"job 12: {told} (exit code {code})")
    requeued = tmp_path / "seen.requeued"
    asked = requeued.read_text().splitlines() if requeued.exists() else []
    assert asked == (["12", "sleep 2"] if "queued again" in told else ["12"] if refused else [])


def test_a_long_run_that_lost_a_node_is_queued_again_however_often_it_was(stubs, tmp_path, monkeypatch):
    for name, value in {"STUB_CODE": 1, "STUB_LOST": 1, "SLURM_RESTART_COUNT": 50, "SECONDS": 301}.items():
        monkeypatch.setenv(name, str(value))
    assert "queued again" in job(shipped()["many_nodes.sbatch"], "x.yml", cwd=tmp_path)[1]


def test_only_scripts_of_several_nodes_ask_the_nodes(work):
    assert [name for name, text in shipped().items() if "SLURM_JOB_NUM_NODES" in text] == ["many_nodes.sbatch"]
    assert "SLURM_JOB_NUM_NODES" in generated(work, "--nodes", "2", "--gpus", "2")
    assert "SLURM_JOB_NUM_NODES" not in generated(work, "--gpus", "2")


def test_the_signal_of_a_requeue_does_not_cut_off_the_last_line(stubs, tmp_path, monkeypatch):
    """SLURM sends it to all that belongs to the job's shell, `scontrol` too."""
    (stubs / "scontrol").write_text("#!/bin/bash\nkill -TERM $PPID $$; sleep 0.2; echo PreemptTime=2026\n")
    monkeypatch.setenv("STUB_CODE", "75")
    line = job(shipped()["one_gpu.sbatch"], "/x.yml", cwd=tmp_path)[1]
    assert line.endswith("preempted, and queued again (exit code 75)")


def test_a_task_of_an_array_is_not_taken_for_another(stubs, tmp_path, monkeypatch):
    """SLURM 22.05: the last task has the array's own number as its job, and by that number all tasks are shown."""
    (stubs / "scontrol").write_text('#!/bin/bash\n[ "$3" = 5_7 ] || echo Restarts=1\necho Restarts=0\n')
    for name, value in {"SLURM_JOB_ID": "5", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STUB_CODE", "75")
    line = job(shipped()["array.sbatch"], "x.yml", cwd=tmp_path)[1]
    assert line == "job 5_7: stopped before its end, and saved; submit the same again to go on (exit code 75)"


def test_a_job_without_a_controller_tells_its_end_all_the_same(stubs, tmp_path):
    (stubs / "scontrol").write_text("#!/bin/bash\necho unreachable >&2\nexit 1\n")
    assert job(shipped()["one_gpu.sbatch"], "x.yml", cwd=tmp_path) == (0, "job 12: finished (exit code 0)")


def test_the_shell_outlives_the_signal_that_reaches_it_too(stubs, tmp_path):
    (stubs / "python").write_text("#!/bin/bash\nkill -TERM $PPID; sleep 0.2; exit 75\n")
    (stubs / "srun").write_text('#!/bin/bash\nshift 2; exec "$@"\n')
    code, line = job(shipped()["one_gpu.sbatch"], "x.yml", cwd=tmp_path)
    assert code == 75
    assert "saved" in line


def test_a_link_of_a_chain_says_that_the_next_goes_on(work, stubs, monkeypatch):
    script = generated(work, "--chain", "3").replace(shlex.quote(sys.executable), "python")
    monkeypatch.setenv("STUB_CODE", "75")
    assert job(script, cwd=work)[1].endswith("the next job of the chain goes on (exit code 75)")


# -- what is written for an experiment


def test_a_written_script_starts_exactly_this_experiment(work, stubs, tmp_path, capsys):
    odd = work / "it's $(touch hacked) `x`"
    odd.mkdir()
    (odd / "an 'x' file.yml").write_text((work / "tiny.yml").read_text())
    value = 'train.optim_g={type: Adam, lr: 1e-3} # it\'s "$HOME"'
    os.chdir(odd)
    slurm("-opt", "an 'x' file.yml", "--gpus", "2", "--set", value, "manual_seed=3", "-o", "a job.sbatch")
    script = (odd / "a job.sbatch").read_text().replace(shlex.quote(sys.executable), "python")
    assert job(script, cwd=tmp_path)[0] == 0
    arguments, environment = seen(tmp_path)
    train = [str(REPOSITORY / "restore" / "train.py"), "-opt", str(odd / "an 'x' file.yml"), "--auto_resume"]
    assert arguments == [*train, "--set", value, "manual_seed=3"]
    assert environment == f"3 3 {odd}"
    assert not list(tmp_path.rglob("hacked"))


def test_an_option_file_with_a_line_end_in_its_name_adds_no_line(work):
    name = "a\n#SBATCH --wrap=x\ntouch hacked\n.yml"
    (work / name).write_text((work / "tiny.yml").read_text())
    slurm("-opt", name, "-o", "made.sbatch")
    text = (work / "made.sbatch").read_text()
    head = text[: text.index("\ncd ")]  # sbatch reads to the first command
    assert "--wrap=x" not in directives(head)
    assert all(line.startswith("#") or not line for line in head.splitlines())


def test_gpus_are_of_each_node(work, capsys):
    made = generated(work, "--gpus", "2", "--nodes", "2", "--time", "2-12", "--mem", "30G", "--partition", "q")
    asked = ["--partition=q", "--mem=30G", "--job-name=tiny", "--time=2-12", "--nodes=2", "--gres=gpu:2"]
    assert directives(made)[: len(asked) + 1] == [*asked, "--ntasks-per-node=2"]
    out = capsys.readouterr().out
    assert out.startswith(made)
    assert "tiny: 4 GPUs in all (2 on each of 2 nodes), batch 4 = 1 a GPU; wall 2 days, 12:00:00" in out
    assert "submit it with: sbatch made.sbatch" in out


def test_no_gpus_train_on_the_cpu(work):
    text = generated(work, "--gpus", "0")
    assert "--set device=cpu" in text
    assert "gpu" not in " ".join(directives(text))
    assert "--ntasks-per-node=1" in directives(text)
    assert "--cpus-per-task=8" in directives(text)


def test_a_process_gets_a_core_and_one_for_each_worker(work):
    assert "--cpus-per-task=4" in directives(generated(work, "--set", "datasets.train.num_workers=3"))
    assert "--cpus-per-task=3" in directives(generated(work, "--cpus", "3", "--set", "datasets.train.num_workers=3"))


@pytest.mark.parametrize(("wall", "lead"), [("2", 60), ("10", 60), ("10:01", 120), ("8:00:00", 120), ("1-0", 120)])
def test_a_short_wall_is_told_later(work, wall, lead):
    assert f"--signal=USR1@{lead}" in directives(generated(work, "--time", wall))


def test_a_chain_is_not_put_back(work):
    lines = directives(generated(work, "--chain", "3"))
    assert {"--no-requeue", "--dependency=singleton"} < set(lines)
    assert "--requeue" not in lines


def test_a_script_of_the_experiments_name_does_not_take_its_name(work, lab):
    slurm("-opt", "tiny.yml", "--set", f"path.experiments_root={work / 'runs'}")
    assert (work / "runs" / "tiny.sbatch").is_file()
    assert lab.train("train.total_iter=1").is_dir()  # without --auto_resume, which would forgive a folder


def test_an_earlier_script_is_kept(work, capsys):
    generated(work)
    (work / "made.sbatch").write_text("by hand\n")
    generated(work)
    assert (work / "made.sbatch~").read_text() == "by hand\n"
    assert "made.sbatch~" in capsys.readouterr().err
    generated(work)
    assert (work / "made.sbatch~").read_text() == "by hand\n"


# -- what is refused


@pytest.mark.parametrize("text", WALLS)
def test_a_wall_is_read_as_slurm_reads_it(text):
    assert -(-wall_seconds(text) // 60) * 60 == WALLS[text]


@pytest.mark.parametrize("text", ["", "8h", "1:2:3:4", "1-", "-5", "1-2:3:4:5", "8:00:00\n", "٣", " 8", "1.5"])
def test_a_wall_that_slurm_would_refuse_is_refused(text):
    with pytest.raises(ValueError, match="no time limit"):
        wall_seconds(text)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--time", "1"], "60 s, too short"),
        (["--time", "8h"], "no time limit"),
        (["--gpus", "-1"], "below 0"),
        (["--nodes", "0"], "below 1"),
        (["--chain", "0"], "below 1"),
        (["--mem", "30 GB"], "such as 30G"),
        (["--partition", "a\n#SBATCH --wrap=x"], "cannot be handed to SLURM"),
        (["--account", "a b"], "cannot be handed to SLURM"),
        (["--constraint", "'a'"], "cannot be handed to SLURM"),
    ],
)
def test_what_slurm_would_refuse_or_misread_is_refused(arguments, told, work, capsys):
    with pytest.raises(SystemExit) as ended:
        generated(work, *arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gpus", "3"], r"batch_size: 4 cannot be shared out over 3 processes; .*batch_size=3 or 6$"),
        (["--gpus", "4", "--nodes", "2"], r"batch_size: 4 .* 8 processes; .*batch_size=8$"),
        (["--gpus", "4", "--set", "train.accumulate=2"], r"over 4 processes times accumulate 2; .*batch_size=8$"),
        (["--cpus", "2", "--set", "datasets.train.num_workers=3"], r"3 workers .* --cpus 2; write --cpus 4, or"),
        (["--set", "train.total_iter=-1"], "total_iter"),
        (["--set", "train=null"], "no `train` section"),
    ],
)
def test_a_job_that_could_not_train_is_not_written(arguments, told, work):
    with pytest.raises(UserError, match=told):
        generated(work, *arguments)
    assert not (work / "made.sbatch").exists()


def test_a_batch_named_in_the_refusal_is_accepted(work):
    generated(work, "--gpus", "3", "--set", "datasets.train.batch_size=6")


def test_a_place_that_cannot_be_written_is_told(work):
    with pytest.raises(UserError, match="cannot be written"):
        slurm("-opt", "tiny.yml", "-o", "tiny.yml/x.sbatch")


# -- submitting


@pytest.mark.parametrize(("arguments", "times"), [([], 1), (["--chain", "3"], 3)])
def test_submit_tells_what_sbatch_says(arguments, times, work, stubs, tmp_path, capsys):
    generated(work, "--submit", *arguments)
    assert (tmp_path / "seen").read_text() == times * "made.sbatch\n"
    assert capsys.readouterr().out.endswith(times * "Submitted batch job 12\n")


def test_a_refusal_of_sbatch_is_told(work, stubs, tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_REFUSES", "invalid partition specified: q")
    with pytest.raises(UserError, match=r"made.sbatch: not submitted: .*invalid partition specified: q"):
        generated(work, "--submit", "--chain", "3")
    assert (tmp_path / "seen").read_text() == "made.sbatch\n"


def test_without_sbatch_the_script_is_there_and_one_line_says_so(work, monkeypatch):
    monkeypatch.setenv("PATH", str(work))
    with pytest.raises(UserError, match=r"made.sbatch: not submitted: sbatch is not on this machine"):
        generated(work, "--submit")
    assert (work / "made.sbatch").is_file()


# -- the page


def test_the_pages_commands_parse_and_name_every_script():
    page = PAGE.read_text()
    assert all(f"`{name}`" in page for name in shipped())
    commands = [line.split("  #")[0] for line in page.splitlines() if line.startswith("restore ")]
    assert len(commands) >= 3
    for command in commands:
        cli.build_parser().parse_args(shlex.split(command)[1:])


def test_the_template_takes_braces_as_they_are():
    text = batch_script("{title}", Resources("{name}"), "cd {place}", 'echo "${train[@]}"')
    assert all(
        word in text for word in ("# {title}", "{name}", "cd {place}", "${train[@]}", "${SLURM_RESTART_COUNT:-0}")
    )
