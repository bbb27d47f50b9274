"""Control groups: limits and usage, of trees as kernels and container runtimes lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.capture.cgroups import cpu_limit, memory_limit

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 30 0:27 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def tree(root: Path, cgroup: str, mounts: str, **files: str) -> Path:
    """Make the files of a kernel: what it says of this process, and the groups."""
    everything = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts}
    everything |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in everything.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_version_2(tmp_path: Path) -> None:
    files = {
        "user/job/cpu.max": "150000 100000\n",
        "user/job/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        "user/job/memory.max": "1000000\n",
        "user/job/memory.current": "700000\n",
        "user/job/memory.stat": "anon 1\ninactive_file 200000\n",
    }
    root = tree(tmp_path, "0::/user/job\n", V2, **files)
    cpu, memory = cpu_limit(root), memory_limit(root)
    assert cpu is not None
    assert memory is not None
    assert (cpu.processors, cpu.used()) == (1.5, 2.5)
    assert (memory.size, memory.used()) == (1_000_000, 500_000)


def test_the_lowest_limit_on_the_way_up_counts_and_its_group_tells_the_usage(tmp_path: Path) -> None:
    files = {
        "a/cpu.max": "200000 100000\n",
        "a/cpu.stat": "usage_usec 7000000\n",
        "a/memory.max": "500\n",
        "a/memory.current": "100\n",
        "a/b/cpu.max": "max 100000\n",
        "a/b/cpu.stat": "usage_usec 1\n",
        "a/b/memory.max": "900\n",
        "a/b/memory.current": "90\n",
    }
    root = tree(tmp_path, "0::/a/b\n", V2, **files)
    cpu, memory = cpu_limit(root), memory_limit(root)
    assert cpu is not None
    assert memory is not None
    assert (cpu.processors, cpu.used()) == (2.0, 7.0)
    assert (memory.size, memory.used()) == (500, 100)


@pytest.mark.parametrize("own", ["/docker/1f2e", "/docker/1f2e/inner"])
@pytest.mark.parametrize("mounted", ["/", "/docker/1f2e"])
def test_version_1_in_a_container(tmp_path: Path, own: str, mounted: str) -> None:
    """The container's group is mounted as if it were the root; the path is the host's."""
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/cpuacct.usage": "3000000000\n",
        "memory/memory.limit_in_bytes": "4096\n",
        "memory/memory.usage_in_bytes": "2048\n",
        "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 1024\n",
        "memory/inner/memory.limit_in_bytes": "9223372036854771712\n",
    }
    root = tree(tmp_path, f"5:memory:{own}\n4:cpu,cpuacct:{own}\n1:name=systemd:/\n", V1.format(root=mounted), **files)
    cpu, memory = cpu_limit(root), memory_limit(root)
    assert cpu is not None
    assert memory is not None
    assert (cpu.processors, cpu.used()) == (0.5, 3.0)
    assert (memory.size, memory.used()) == (4096, 1024)


def test_version_1_with_accounts_in_a_tree_of_their_own(tmp_path: Path) -> None:
    mounts = (
        "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n32 30 0:28 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
    )
    files = {"cpu/job/cpu.cfs_quota_us": "300000", "cpu/job/cpu.cfs_period_us": "100000", "cpuacct/job/cpuacct.usage": "9000000000"}
    root = tree(tmp_path, "2:cpu:/job\n1:cpuacct:/job\n", mounts, **files)
    cpu = cpu_limit(root)
    assert cpu is not None
    assert (cpu.processors, cpu.used()) == (3.0, 9.0)


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "max 100000\n", "memory.max": "max\n"},
        {"cpu.max": "0 0\n", "memory.max": "0\n"},
        {"cpu.max": "nonsense\n"},
        {},
    ],
)
def test_no_limit(tmp_path: Path, files: dict[str, str]) -> None:
    root = tree(tmp_path, "0::/\n", V2, **files)
    assert (cpu_limit(root), memory_limit(root)) == (None, None)


def test_no_control_groups(tmp_path: Path) -> None:
    assert (cpu_limit(tmp_path), memory_limit(tmp_path)) == (None, None)


def test_a_limit_without_usage(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/\n", V2, **{"cpu.max": "100000 100000", "memory.max": "5"})
    cpu, memory = cpu_limit(root), memory_limit(root)
    assert cpu is not None
    assert memory is not None
    assert (cpu.used(), memory.used()) == (None, None)
