"""One collection on many machines, on Ray.

    from dspy_mux.cluster import RayCluster

    collect(mux, examples, metric, "postgresql://…", cluster=RayCluster("auto", workers=8))

Requires the `ray` extra: pip install 'dspy-mux[ray]'. `docs/scale.md` says what runs where, and
what survives what.
"""

from __future__ import annotations

from ..sampling.members import Resources
from .ray_cluster import RayCluster

__all__ = ["RayCluster", "Resources"]
