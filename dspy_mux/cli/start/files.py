"""Write the files of `dspy-mux init`: each whole or not at all, and none over another unasked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ...errors import ConfigurationError, StorageError

#: Modules that a task cannot be called after: `import csv` in it, say, would import itself.
_TAKEN = {*sys.stdlib_module_names, "dspy", "dspy_mux"}


def check_new(path: Path, *, force: bool) -> None:
    """Check that a file can be written.

    Raises:
        ConfigurationError: it is a folder, cannot be written, or is there already.
    """
    if not os.path.isdir(path.parent):
        raise ConfigurationError(
            f"There is no folder {str(path.parent)!r} to write {path.name} in."
        )
    if not str(path).isprintable() or '"' in str(path):  # it is written into files
        raise ConfigurationError(f"{str(path)!r} has quotes or control characters: rename it.")
    if os.path.isdir(path):
        raise ConfigurationError(f"{str(path)!r} is a folder: name a file in it.")
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"The folder {str(path.parent)!r} cannot be written to.")
    try:
        path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be written: {error.strerror}.") from error
    if not force:
        raise ConfigurationError(
            f"{str(path)!r} is there already: name another file, or overwrite it with --force."
        )


def task_module(path: Path) -> str:
    """Return the name by which a task file is imported from the current folder.

    Raises:
        ConfigurationError: it cannot be.
    """
    try:
        parts = path.resolve().relative_to(Path.cwd().resolve()).with_suffix("").parts
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--task {str(path)!r} is not below the current folder, which tasks are imported from."
        ) from error
    if path.suffix != ".py" or not all(part.isidentifier() for part in parts):
        raise ConfigurationError(
            f"--task {str(path)!r} cannot be imported: name it like a module, such as my_task.py."
        )
    if parts[0] in _TAKEN:
        raise ConfigurationError(
            f"--task {str(path)!r} would hide Python's own module {parts[0]}: name it otherwise."
        )
    return ".".join(parts)


def write_files(texts: Mapping[Path, str], *, force: bool) -> None:
    """Write all files; an interrupt or an error before the last is written leaves none in part.

    Raises:
        ConfigurationError: one has come to be there since it was checked.
        StorageError: the disk refuses one.
    """
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in texts}
    try:
        for path, text in texts.items():
            parts[path].write_text(text, encoding="utf-8")
        for path in texts:
            check_new(path, force=force)
        for path, part in parts.items():
            os.replace(part, path)
    except OSError as error:
        raise StorageError(f"{str(path)!r} cannot be written: {error.strerror}.") from error
    finally:
        for part in filter(os.path.lexists, parts.values()):
            part.unlink()
