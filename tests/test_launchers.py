"""The place of one process among several, as launchers tell it or as flags give it."""

import os
import re

import pytest

from t2igan.errors import UserError
from t2igan.training.distributed.launchers import Place, find

SLURM = {
    "SLURM_JOB_ID": "12345",
    "SLURM_STEP_NODELIST": "node[007-008,020],other",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
}
OPEN_MPI_4 = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}
OPEN_MPI_5 = {name: value for name, value in OPEN_MPI_4.items() if "hnp" not in name}
OPEN_MPI_5["PMIX_NAMESPACE"] = "prterun-a-1@1"


def test_a_process_alone_has_no_place():
    assert find({}) is None
    assert find({}, processes=1) is None and find({}, "a:1", 1, 0) is None
    assert find(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None  # an interactive shell in a job of four tasks
    assert find({"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) is None  # the batch script itself
    assert find({"JOB_COMPLETION_INDEX": "3"}) is None  # an indexed job may be of single processes


def test_slurm_tells_everything_and_as_jax_sees_it(monkeypatch):
    from jax._src.clusters import SlurmCluster

    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    for nodes in ("node7", "node7,node9", "node[007-008,020],other", "node[001,007-015],host2"):
        monkeypatch.setenv("SLURM_STEP_NODELIST", nodes)
        coordinator = SlurmCluster.get_coordinator_address(60, None)
        assert find(os.environ) == Place(coordinator, 4, 3, None)


def test_open_mpi_tells_all_but_where_to_meet_in_its_fifth_version(monkeypatch):
    from jax._src.clusters import OmpiCluster

    monkeypatch.setenv("OMPI_MCA_orte_hnp_uri", OPEN_MPI_4["OMPI_MCA_orte_hnp_uri"])
    place = find(OPEN_MPI_4)
    assert place.coordinator.split(":")[0] == OmpiCluster.get_coordinator_address(60, None).split(":")[0] == "10.96.0.1"
    assert (place.processes, place.process, place.local_devices) == (4, 2, (1,))
    with pytest.raises(UserError, match="--coordinator is missing, which Open MPI does not tell"):
        find(OPEN_MPI_5)
    assert find(OPEN_MPI_5, "head:1234") == Place("head:1234", 4, 2, (1,))
    here = OPEN_MPI_5 | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
    assert find(here).coordinator.startswith("127.0.0.1:")
    assert find(here).coordinator == find(here | {"OMPI_COMM_WORLD_RANK": "1"}).coordinator
    # mpirun inside a Slurm job: its numbers count, not those of Slurm's own step
    assert find(SLURM | OPEN_MPI_4).process == 2


def test_kubernetes_tells_the_number():
    assert find({"JOB_COMPLETION_INDEX": "3"}, "train-0.train:1234", 8) == Place("train-0.train:1234", 8, 3)


def test_processes_of_one_machine_share_its_accelerators():
    two = SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_LOCALID": "1"}
    assert find(two).local_devices == (1,)
    assert find(two | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}).local_devices == (1,)
    # The launcher has shared them out, or the user has.
    assert find(two | {"CUDA_VISIBLE_DEVICES": "1"}).local_devices is None
    assert find(two | {"SLURM_GPUS_PER_TASK": "2"}).local_devices is None
    assert find(two | {"JAX_LOCAL_DEVICE_IDS": "2,3"}).local_devices is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("a:1", None, None), "--processes and --process are missing"),
        ((None, 2, 0), "--coordinator is missing; each of several processes needs"),
        (("a:1", 2, None), "--process is missing"),
        (("a:1", 2, 2), "--process=2 must lie between 0 and 1, for --processes=2"),
        (("a:1", 2, -1), "--process=-1 must lie"),
        (("a:1", 0, 0), "--processes=0 must be 1 or more"),
        (("a", 2, 0), "--coordinator=a is not HOST:PORT"),
        (("a:b", 2, 0), "--coordinator=a:b is not HOST:PORT"),
        (("a:70000", 2, 0), "--coordinator=a:70000 is not HOST:PORT"),
    ],
)
def test_what_cannot_be_a_place(given, words):
    with pytest.raises(UserError, match=re.escape(words)):
        find({}, *given)


def test_a_launcher_that_says_nonsense():
    with pytest.raises(UserError, match="SLURM_PROCID='x', set by the launcher, is no number"):
        find(SLURM | {"SLURM_PROCID": "x"})
