"""`RayCluster`: the Ray cluster that a collection runs on."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from ..bank.sample_bank import SampleBank
from ..bank.session import Session
from ..bank.units import Units
from ..errors import ConfigurationError
from ..local import is_embedded
from ..mux.slm_mux import SLMMux
from ..sampling.interrupt import Interrupt
from ..text import first_line
from .place import Place
from .ray_module import ray_module
from .setup import key_variables
from .workers import RayWorkers

#: Seconds that a cluster has to accept a connection.
_PATIENCE_S = 10.0


class RayCluster:
    """A Ray cluster to collect draws on: `collect(…, cluster=RayCluster())`.

    Members on servers are asked by `workers` processes, each of them one CPU's; an embedded model
    is held once per machine, by a process that takes what its `Member.resources` say. Processes
    and machines may be killed at any time: what had arrived is recorded, and others make the rest.

    Args:
        address: of a running cluster: "auto" for the one that this machine is part of, or
            "host:port"; "local" for one of this machine's own, which ends with this process; None
            for a running one, else "local".
        workers: processes that ask the members on servers; None for one per CPU of the cluster,
            as far as each has draws in flight for a question of a member.
        runtime_env: Ray's, for the workers: packages and folders that they need, never keys.

    Raises:
        ConfigurationError: `workers` is not a number of 1 or more.
    """

    def __init__(
        self,
        address: str | None = "auto",
        *,
        workers: int | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ):
        is_number = isinstance(workers, int) and not isinstance(workers, bool)
        if workers is not None and not (is_number and workers >= 1):
            raise ConfigurationError(f"workers must be 1 or more, or None, not {workers!r}.")
        self.address, self.workers = address, workers
        self.runtime_env = None if runtime_env is None else dict(runtime_env)

    def check(self, mux: SLMMux, bank: SampleBank, num_threads: int) -> None:
        """Connect, and check that a collection can run here.

        Raises:
            ConfigurationError: it cannot; the message says why.
            MissingExtra: Ray is not installed.
        """
        if self.workers is not None and self.workers > num_threads:
            raise ConfigurationError(
                f"workers must be at most num_threads ({num_threads}), the draws in flight that "
                f"they share, not {self.workers}."
            )
        key_variables(mux)
        Place.of(bank)
        self._connect()
        nodes = self._nodes()
        if bank.path is not None and len(nodes) > 1:
            raise ConfigurationError(
                f"The bank {bank.name} is a file on one machine, and the cluster has "
                f"{len(nodes)}: name a PostgreSQL database, postgresql://…, as the bank."
            )

    def conductor(self, session: Session, units: Units, interrupt: Interrupt) -> RayWorkers:
        """Return what conducts a collection here, within its block."""
        on_file = session.bank.path is not None
        return RayWorkers(
            session,
            units,
            interrupt,
            workers=self.workers or self._default_workers(session),
            runtime_env=self.runtime_env,
            only_node=ray_module().get_runtime_context().get_node_id() if on_file else None,
        )

    def _default_workers(self, session: Session) -> int:
        members = session.mux.members
        k = max((member.k or 1 for member in members if not is_embedded(member.lm)), default=1)
        cpus = int(ray_module().cluster_resources().get("CPU", 1))
        return max(1, min(cpus, session.num_threads // k))

    def _connect(self) -> None:
        ray = ray_module()
        if ray.is_initialized():
            return
        try:
            address = self._found()
            ray.init(address=address, log_to_driver=False, logging_level="WARNING")
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = self.address or "this machine"
            raise ConfigurationError(
                f"There is no Ray cluster to join at {where} ({first_line(error)}): start one with "
                "`ray start --head`, or name another address; None starts one here."
            ) from error

    def _found(self) -> str:
        """Return the address to join, "local" to start a cluster.

        Ray itself tries for minutes to reach a cluster that has ended.

        Raises:
            OSError, ValueError: nobody listens there, or it is no address.
        """
        if self.address == "local":
            return self.address
        services = ray_module()._private.services
        found: str | None = services.canonicalize_bootstrap_address(self.address)
        if found is None and self.address is not None:
            raise ConnectionError("none runs here")
        if found is not None:
            host, _, port = found.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S).close()
            except OSError:
                if self.address is not None:
                    raise
                found = None  # one that has ended
        return found or "local"

    @staticmethod
    def _nodes() -> list[dict[str, Any]]:
        return [node for node in ray_module().nodes() if node["Alive"]]
