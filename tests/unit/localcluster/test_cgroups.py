"""The plan of control groups, from the mounts of real machines."""

from __future__ import annotations

import json

import pytest

from localcluster.cgroups import CgroupPlan, Tree, plan_cgroups
from localcluster.errors import LocalClusterError

PURE_V2 = """\
22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
24 22 0:22 / /sys rw,nosuid - sysfs sysfs rw
31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
"""
HYBRID_SYSTEMD = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 24 0:25 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:26 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:27 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
35 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:13 - cgroup cgroup rw,cpu,cpuacct
36 30 0:31 / /sys/fs/cgroup/memory rw shared:14 - cgroup cgroup rw,memory
37 30 0:32 / /sys/fs/cgroup/pids rw shared:15 - cgroup cgroup rw,pids
38 30 0:33 / /sys/fs/cgroup/cpuset rw shared:16 - cgroup cgroup rw,cpuset,clone_children
39 30 0:34 / /sys/fs/cgroup/devices rw shared:17 - cgroup cgroup rw,devices
40 30 0:35 / /sys/fs/cgroup/freezer rw shared:18 - cgroup cgroup rw,freezer,release_agent=/bin/agent
"""
ALL_V2 = "cpuset cpu io memory hugetlb pids rdma misc"


def test_on_v2_the_box_gets_one_group_and_every_controller_that_the_kubelet_wants() -> None:
    plan = plan_cgroups(PURE_V2, "box", available=ALL_V2, enabled=ALL_V2)
    assert plan.version == 2
    assert plan.groups == ("/sys/fs/cgroup/box",)
    assert plan.trees == ()
    assert plan.enable == ()
    assert plan.delegate == ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def test_on_v2_only_controllers_that_nobody_enabled_are_enabled_so_that_only_those_are_taken_back() -> None:
    plan = plan_cgroups(PURE_V2, "box", available=ALL_V2, enabled="cpu memory pids")
    assert plan.enable == ("cpuset", "io", "hugetlb")


def test_on_v2_optional_controllers_may_be_missing() -> None:
    plan = plan_cgroups(PURE_V2, "box", available="cpu memory pids", enabled="")
    assert plan.delegate == ("cpu", "memory", "pids")


def test_on_v2_a_missing_memory_controller_is_refused_by_name() -> None:
    with pytest.raises(LocalClusterError, match="controllers memory, which /sys/fs/cgroup does not have"):
        plan_cgroups(PURE_V2, "box", available="cpuset cpu io pids", enabled="")


def test_on_a_hybrid_machine_the_box_gets_the_v1_trees_and_not_the_empty_v2_one() -> None:
    plan = plan_cgroups(HYBRID_SYSTEMD, "box")
    assert plan.version == 1
    assert "/sys/fs/cgroup/unified/box" not in plan.groups
    assert "/sys/fs/cgroup/cpu,cpuacct/box" in plan.groups
    assert "/sys/fs/cgroup/systemd/box" in plan.groups
    assert len(plan.groups) == len(plan.trees) == 7


def test_a_v1_tree_is_mounted_again_by_its_controllers_and_by_no_flag() -> None:
    trees = {tree.name: tree for tree in plan_cgroups(HYBRID_SYSTEMD, "box").trees}
    assert trees["cpu,cpuacct"] == Tree("cpu,cpuacct", "cpu,cpuacct")
    assert trees["cpuset"].options == "cpuset"
    assert trees["freezer"].options == "freezer"
    assert trees["systemd"].options == "none,name=systemd"
    assert trees["systemd"].controllers == frozenset()
    assert trees["cpu,cpuacct"].controllers == {"cpu", "cpuacct"}


def test_on_v1_missing_controllers_are_refused_by_name() -> None:
    without = "\n".join(
        line for line in HYBRID_SYSTEMD.splitlines() if "/memory" not in line and "/pids" not in line
    )
    with pytest.raises(LocalClusterError, match="v1 cgroup controllers memory, pids: mount them"):
        plan_cgroups(without, "box")


@pytest.mark.parametrize(
    "mounts",
    [
        "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n",
        "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n31 24 0:27 / /mnt/elsewhere rw - cgroup2 cgroup2 rw\n",
    ],
)
def test_no_control_groups_is_refused_with_the_remedy(mounts: str) -> None:
    with pytest.raises(LocalClusterError, match="mount cgroup2 there first"):
        plan_cgroups(mounts, "box", available=ALL_V2)


@pytest.mark.parametrize("mounts", [PURE_V2, HYBRID_SYSTEMD])
def test_a_plan_survives_its_way_into_the_box(mounts: str) -> None:
    plan = plan_cgroups(mounts, "box", available=ALL_V2, enabled="cpu")
    assert CgroupPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
