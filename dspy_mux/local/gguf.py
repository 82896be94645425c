"""Inspect a GGUF file before it is loaded: its format, its chat template, its fingerprint."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

from ..errors import LocalModelError

_MAGIC = b"GGUF"
_TEMPLATE_KEY = b"tokenizer.chat_template"
_STRING_TYPE = 8
#: The metadata come before the tensors; the largest tokenizers in use take under 32 MiB.
_METADATA_BOUND = 64 * 2**20
_SAMPLE = 64 * 2**10


def has_chat_template(path: Path) -> bool:
    """Return whether the file's metadata hold a chat template (`tokenizer.chat_template`).

    Raises:
        LocalModelError: the file cannot be read or is not GGUF.
    """
    try:
        with open(path, "rb") as file:
            if file.read(4) != _MAGIC:
                raise LocalModelError(
                    f"{path} is not a GGUF file: give the path of a .gguf file made for llama.cpp."
                )
            # A metadata key is stored as its length (u64), its bytes and its value's type (u32).
            # Searching for that avoids a walk through hundreds of thousands of tokenizer strings.
            entry = (
                len(_TEMPLATE_KEY).to_bytes(8, "little")
                + _TEMPLATE_KEY
                + _STRING_TYPE.to_bytes(4, "little")
            )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return view.find(entry, 0, min(len(view), _METADATA_BOUND)) >= 0
    except OSError as error:
        raise LocalModelError(
            f"{path} cannot be read ({error.strerror or error}): check the path."
        ) from error


def fingerprint(path: Path) -> str:
    """Return eight hex digits that tell weights files apart.

    They hash the size and 64 KiB samples across the file. DSPy's cache knows a model only by its
    name, so two files of one name must differ; hashing gigabytes at every start would take seconds.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    with open(path, "rb") as file:
        for step in range(33):
            file.seek(max(0, size - _SAMPLE) * step // 32)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:8]
