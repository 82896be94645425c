"""The ways to name a cluster: the command line, MuxOptimizer and the comparison."""

from __future__ import annotations

import dspy
import pytest
from rich.console import Console

from dspy_mux import ConfigurationError, MuxOptimizer, SLMMux
from eval.compare.methods import Options
from eval.compare.run import compare

from ..cli.conftest import dspy_mux, refused  # noqa: F401  (fixtures)
from ..support.small_task import member, small_task

COLLECT = ("collect", "programs.everyday", "--pool")


class Full:
    """A cluster that refuses every collection."""

    def check(self, mux, bank, num_threads):
        raise ConfigurationError(f"The cluster has no room for {len(mux.members)} members.")


def pool(tmp_path):
    path = tmp_path / "pool.toml"
    path.write_text('[[members]]\nmodel = "openai/x"\napi_base = "http://localhost:1/v1"\n')
    return path


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--ray-workers", "2"], "--ray-workers needs a cluster: say --ray auto too"),
        (["--ray", "head:6379"], "not 'head:6379': name another cluster with --ray-address"),
        (["--ray", "local", "--ray-address", "head:6379"], "leave --ray-address out"),
    ],
)
def test_options_that_name_no_cluster(tmp_path, refused, options, sentence):  # noqa: F811
    bank = tmp_path / "bank.sqlite"
    assert sentence in refused(*COLLECT, pool(tmp_path), "--bank", bank, *options)


def test_the_command_joins_the_cluster_it_names(tmp_path, refused):  # noqa: F811
    pytest.importorskip("ray")
    bank = tmp_path / "bank.sqlite"
    said = refused(*COLLECT, pool(tmp_path), "--bank", bank, "--ray-address", "localhost:1")
    assert "There is no Ray cluster to join at localhost:1 " in said
    assert not bank.exists()


def test_an_optimizer_draws_on_its_cluster():
    lms = {"a": dspy.utils.DummyLM([{"answer": "4"}] * 8)}
    mux = SLMMux(dspy.Predict("question -> answer"), lms, k=2)
    examples = [dspy.Example(question="2 + 2?", answer="4").with_inputs("question")]
    optimizer = MuxOptimizer(lambda example, prediction, trace=None: True, cluster=Full())
    with pytest.raises(ConfigurationError, match="The cluster has no room for 1 members"):
        optimizer.compile(mux, trainset=examples)


def test_a_comparison_draws_on_its_cluster(tmp_path):
    members = [member(name, lambda split, i, draw: i + 1) for name in "ab"]
    options = Options(methods=("slm_mux",), cluster=Full())
    with pytest.raises(ConfigurationError, match="The cluster has no room for 2 members"):
        compare(
            [small_task()], lambda task: members, options, out=tmp_path / "run", console=Console()
        )
