"""What a process may use: affinity and memory of the system, within the limits of control groups."""

import pytest

from nas.engine.machine.limits import free_memory, processors

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine({"proc/self/cgroup": "0::/a"})`: a machine of 8 processors with these files of the kernel."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)

    def call(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return call


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        # The limit of a group above its own; and a path that only the host knows.
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/job\n3:memory:/job\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_processors_are_those_of_affinity_and_quota(machine, files, found):
    assert processors(machine(files)) == found


MEMINFO = {"proc/meminfo": f"MemTotal: 99999999 kB\nMemAvailable: {8 * 2**20} kB\n"}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, None),
        (MEMINFO, 8 * GIB),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "0::/job\n",
                "sys/fs/cgroup/job/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/job/memory.current": f"{3 * GIB}\n",
                "sys/fs/cgroup/job/memory.stat": f"anon 1\ninactive_file {GIB}\n",
            },
            2 * GIB,
        ),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "0::/job\n",
                "sys/fs/cgroup/job/memory.max": "max\n",
                "sys/fs/cgroup/job/memory.current": f"{3 * GIB}\n",
            },
            8 * GIB,
        ),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "3:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{2 * GIB}\n",
            },
            0,
        ),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "3:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{2 * GIB}\n",
            },
            8 * GIB,
        ),
    ],
)
def test_free_memory_is_that_of_system_and_container(machine, files, found):
    assert free_memory(machine(files)) == found
