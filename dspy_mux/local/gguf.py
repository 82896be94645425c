"""Inspect a GGUF file before it is loaded: its format, template, control tokens, fingerprint."""

from __future__ import annotations

import hashlib
import mmap
import re
import struct
from pathlib import Path
from typing import Any

from ..errors import LocalModelError

_MAGIC = b"GGUF"
_TEMPLATE_KEY = b"tokenizer.chat_template"
_STRING_TYPE = 8
#: The metadata come before the tensors; the largest tokenizers in use take under 32 MiB.
_METADATA_BOUND = 64 * 2**20
_SAMPLE = 64 * 2**10
#: Types of metadata values, as the format numbers them.
_NUMBERS = dict(enumerate(["B", "b", "H", "h", "I", "i", "f", "?", "_", "_", "Q", "q", "d"]))
_ARRAY_TYPE = 9
#: The types of a vocabulary's tokens that are none of its text: control, and defined by its makers.
_CONTROL, _DEFINED = 3, 4
#: Makers also define tokens for tabs, spaces and HTML tags; those in brackets steer.
_BRACKETED = re.compile(r"<\|.*\|>|<｜.*｜>|\[/?[A-Z_]+\]|</?[a-z_]*(?:turn|tool|think)[a-z_]*>")
_UNUSED = re.compile(r"<unused\d+>")


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


def control_tokens(path: Path) -> tuple[str, ...]:
    """Return the tokens of a file's vocabulary that steer the model, such as `<|im_end|>`.

    In a prompt they begin and end turns, whoever wrote them. Empty where the file does not say.
    """
    try:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        ):
            tokens, types = _vocabulary(view)
    except (OSError, ValueError, struct.error, KeyError):
        return ()  # llama.cpp says what is wrong with it
    return tuple(
        token
        for token, kind in zip(tokens, types, strict=False)
        if len(token) > 1
        and not _UNUSED.fullmatch(token)
        and (kind == _CONTROL or (kind == _DEFINED and _BRACKETED.fullmatch(token)))
    )


def _vocabulary(view: mmap.mmap) -> tuple[list[str], list[int]]:
    """Return the tokens in a file's metadata, and the type of each."""
    reader = _Metadata(view)
    _, _, _, count = reader.numbers("IIQQ")
    found: dict[str, Any] = {}
    for _ in range(count):
        key = reader.text()
        value = reader.value(keep=key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"))
        found[key] = value
        if len(found.keys() & {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type"}) == 2:
            break
    return found.get("tokenizer.ggml.tokens") or [], found.get("tokenizer.ggml.token_type") or []


class _Metadata:
    """Reads metadata in order."""

    def __init__(self, view: mmap.mmap):
        self._view, self._at = view, 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        form = f"<{form}"
        values = struct.unpack_from(form, self._view, self._at)
        self._at += struct.calcsize(form)
        return values

    def text(self) -> str:
        (length,) = self.numbers("Q")
        start, self._at = self._at, self._at + length
        if self._at > len(self._view):
            raise ValueError("the text goes beyond the file")
        return self._view[start : self._at].decode("utf-8", "replace")

    def value(self, *, keep: bool) -> Any:
        """Return the value that follows; None for an array that is not to be kept."""
        (kind,) = self.numbers("I")
        if kind == _STRING_TYPE:
            return self.text()
        if kind != _ARRAY_TYPE:
            return self.numbers(_NUMBERS[kind])[0]
        inner, count = self.numbers("IQ")
        if count > len(self._view):
            raise ValueError("the array goes beyond the file")
        if inner == _STRING_TYPE:
            texts = [self.text() for _ in range(count)]
            return texts if keep else None
        numbers = self.numbers(f"{count}{_NUMBERS[inner]}")
        return list(numbers) if keep else None
