"""A Ray cluster of several nodes of one core on this machine: `python ray_cluster.py FOLDER NODES`.

It says in one line of JSON the address and each node's process, obeys `kill NUMBER` and `end`, and ends with its input.
Ray finds its own address by a socket to the outside, which sends nothing, and which the tests' guard refuses: hence
a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}


def process_of(node: Any) -> int:
    """The process that has all others of a node as its children."""
    return int(node.all_processes["raylet"][0].process.pid)


def main() -> None:
    """Serve until told to end."""
    folder, count = sys.argv[1], int(sys.argv[2])
    os.environ.update(RAY_TMPDIR=folder, RAY_USAGE_STATS_ENABLED="0", RAY_memory_monitor_refresh_ms="0")
    from ray.cluster_utils import Cluster

    (Path(folder) / "ray").mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
    try:
        nodes = [cluster.head_node, *(cluster.add_node(**SMALL) for _ in range(count - 1))]
        print(json.dumps({"address": cluster.address, "nodes": [process_of(node) for node in nodes]}), flush=True)
        for line in sys.stdin:
            if line.startswith("kill"):
                cluster.remove_node(nodes[int(line.split()[1])], allow_graceful=False)
            print("done", flush=True)
            if line.startswith("end"):
                return
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
