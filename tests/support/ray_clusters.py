"""A Ray cluster of several nodes on this machine, for the tests of a module.

with ray_cluster(nodes=2) as cluster: ...  # a head without CPUs, and two nodes of one CPU
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Ray reports to nobody, and serves no page.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    # A node counts as dead after some seconds, rather than half a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
NODE = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


@contextmanager
def ray_cluster(nodes: int, cpus: float = 1) -> Iterator[Any]:
    """Run a cluster that this process has joined: a head without CPUs, and worker nodes.

    It yields Ray's `Cluster`.
    """
    os.environ.update(ENVIRONMENT)
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus, **NODE)
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
