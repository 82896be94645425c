"""The options of `collect` that share its draws on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from . import completion

if TYPE_CHECKING:
    from ..cluster import RayCluster

Ray = Annotated[
    str | None,
    typer.Option(
        help="Share the draws on a Ray cluster: auto for the running one, local to start one on "
        "this machine.",
        autocompletion=completion.words("auto", "local"),
    ),
]
RayAddress = Annotated[
    str | None, typer.Option(help="The Ray cluster's address, such as head:6379.")
]
RayWorkers = Annotated[
    int | None,
    typer.Option(min=1, help="Ray workers that ask the members on servers. Default: one per CPU."),
]


def ray_cluster(ray: str | None, address: str | None, workers: int | None) -> RayCluster | None:
    """Return the cluster that the options of this name ask for; None for none.

    Raises:
        ConfigurationError: `--ray` is neither auto nor local, or options contradict each other.
    """
    if ray is None and address is None:
        if workers is not None:
            raise ConfigurationError("--ray-workers needs a cluster: say --ray auto too.")
        return None
    if ray not in (None, "auto", "local") or (ray == "local" and address is not None):
        raise ConfigurationError(
            f"--ray takes auto or local, not {ray!r}: name another cluster with --ray-address."
            if ray != "local"
            else "--ray local starts a cluster on this machine: leave --ray-address out."
        )
    from ..cluster import RayCluster

    return RayCluster(address or ray, workers=workers)
