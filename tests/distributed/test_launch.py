"""Which of how many processes this is, as launchers say it in the environment."""

import pytest

from restore.distributed.launch import Launch, first_host
from restore.errors import Fault, UserError
from tests.distributed.ranks import environment

# As `srun` of SLURM 23.11 sets them for the last of 11 tasks on three nodes.
SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "11",
    "SLURM_STEP_NODELIST": "gpu[03-04,9]",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2),3",
    "SLURM_NODEID": "2",
    "SLURM_PROCID": "10",
    "SLURM_LOCALID": "2",
}
# As torchrun of PyTorch 2 sets them on the second of two nodes.
TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "gpu03",
    "MASTER_PORT": "29400",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2",
}


def test_srun():
    launch = Launch.of_environment(SRUN)
    assert (launch.rank, launch.world, launch.local_rank, launch.local_world) == (10, 11, 2, 3)
    assert (launch.by, launch.address, launch.hosts, launch.attempt) == ("srun", "gpu03", True, 0)
    assert str(launch).startswith(f"11 processes, started by srun, 3 of them on {launch.host}, where rank 10 is")


@pytest.mark.parametrize(
    ("counts", "node", "tasks"), [("4(x2),3", 0, 4), ("4(x2),3", 1, 4), ("2", 0, 2), ("1,5", 1, 5)]
)
def test_tasks_on_this_node(counts, node, tasks):
    launch = Launch.of_environment(SRUN | {"SLURM_STEP_TASKS_PER_NODE": counts, "SLURM_NODEID": str(node)})
    assert launch.local_world == tasks


def test_all_ranks_of_a_step_meet_at_one_port_and_other_steps_at_others():
    def port(**changed):
        return Launch.of_environment(SRUN | changed).port

    assert port() == port(SLURM_PROCID="0", SLURM_NODEID="0", SLURM_LOCALID="0")
    steps = [port(SLURM_JOB_ID=str(job), SLURM_STEP_ID=str(step)) for job in range(4711, 4721) for step in range(5)]
    assert len(set(steps)) == len(steps)
    assert all(1024 < port(SLURM_JOB_ID=str(job)) < 32768 for job in (1, 10**5, 2**31 - 1))  # Linux's own begin there


def test_what_the_user_sets_comes_first():
    launch = Launch.of_environment(SRUN | {"MASTER_ADDR": "10.0.0.3", "MASTER_PORT": "12345"})
    assert (launch.address, launch.port) == ("10.0.0.3", 12345)


def test_torchrun():
    launch = Launch.of_environment(TORCHRUN)
    wanted = Launch(5, 8, 1, 4, "torchrun", "gpu03", 29400, hosts=False, attempt=2)
    assert launch == wanted
    assert Launch.of_environment(TORCHRUN | SRUN) == wanted  # torchrun inside of a step counts
    static = TORCHRUN | {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    assert Launch.of_environment(static).hosts


def test_alone():
    assert Launch.of_environment({}) == Launch()
    batch_script = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_NODEID": "0"}
    assert Launch.of_environment(batch_script) == Launch()
    assert str(Launch()).startswith("one process on ")


@pytest.mark.parametrize(
    "broken", [SRUN | {"SLURM_JOB_ID": "x"}, SRUN | {"SLURM_STEP_NODELIST": ""}, SRUN | {"SLURM_NODEID": "9"}]
)
def test_a_broken_environment_is_told(broken):
    with pytest.raises(UserError, match="environment is incomplete .*; start with torchrun or srun"):
        Launch.of_environment(broken)


@pytest.mark.parametrize(
    "missing", [*sorted(SRUN.keys() - {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}), "WORLD_SIZE", "MASTER_PORT"]
)
def test_a_variable_that_is_missing_is_told(missing):
    launcher = SRUN if missing in SRUN else TORCHRUN
    with pytest.raises(UserError, match=missing):
        Launch.of_environment({name: value for name, value in launcher.items() if name != missing})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-05,9]", "gpu03"),
        ("a1,b2", "a1"),
        ("n[1-3]-ib0", "n1-ib0"),
        ("n[7]", "n7"),
        ("n[2,4-5],m1", "n2"),
        ("login.cluster.org", "login.cluster.org"),
        ("m1,n[2-4]", "m1"),
        ("rack1-node[010-012].hpc", "rack1-node010.hpc"),
    ],
)
def test_first_host(nodes, first):
    assert first_host(nodes) == first


def test_the_environment_of_these_tests_is_one_of_srun():
    launch = Launch.of_environment(environment(1, 2, 5000))
    assert (launch.by, launch.rank, launch.world, launch.port) == ("srun", 1, 2, 5000)


@pytest.mark.parametrize(("local_rank", "tells"), [(0, True), (1, False)])
def test_what_every_process_finds_is_told_once_a_node(local_rank, tells):
    launch = Launch(rank=3, world=4, local_rank=local_rank, local_world=2)
    with pytest.raises(Fault if tells else SystemExit) as caught, launch.told_once():
        raise Fault("x")
    assert tells or caught.value.code == Fault.exit_code
