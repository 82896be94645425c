"""The tests on other Pythons, on the lowest versions and on the next DSPy: `make test-lowest`,
`make test-pythons`, `make test-next`.

A missing Python ends its session with an error that names it; nothing is skipped silently.
"""

import shlex

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"

EXTRAS = "local,optimize,report,parquet,postgres,ray,reasoning,datasets,serve,docs,dev"


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """The newest versions that the requirements admit."""
    session.install("--upgrade", "--editable", f".[{EXTRAS}]")
    _pytest(session)


@nox.session(python="3.10")
def lowest(session: nox.Session) -> None:
    """The lowest versions that pyproject.toml declares, on the lowest Python."""
    session.install("--resolution", "lowest-direct", "--editable", f".[{EXTRAS}]")
    _pytest(session)


@nox.session(python="3.13")
def next(session: nox.Session) -> None:
    """The newest DSPy that the index has, pre-releases too, beyond the range we declare."""
    session.install("--upgrade", "--editable", f".[{EXTRAS}]")
    # By itself, and without its bound: only then may it be a version that pyproject.toml refuses.
    session.install("--upgrade", "--prerelease", "if-necessary-or-explicit", "dspy>=3.4.1.dev0")
    session.run("python", "-c", "import dspy; print('DSPy', dspy.__version__)")
    _pytest(session)


def _pytest(session: nox.Session) -> None:
    # A file that kills its worker ends the run: with another worker, xdist may wait for ever.
    at_once = shlex.split(
        "--numprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0"
    )
    session.run(
        "python",
        "-m",
        "pytest",
        *at_once,
        *session.posargs,
        env={"DSPY_MUX_ACCEPT_LICENSE": "gemma"},
    )
