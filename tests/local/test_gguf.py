"""Weights files given by path: their format, their chat template, their names."""

from __future__ import annotations

import pytest

from dspy_mux.errors import ConfigurationError, LocalModelError
from dspy_mux.local import LlamaEngine, gguf


class TestFiles:
    def test_a_chat_template_is_found_in_the_metadata(self, chat_file, base_file):
        assert gguf.has_chat_template(chat_file)
        assert not gguf.has_chat_template(base_file)

    def test_a_file_of_another_format_is_named(self, tmp_path):
        (tmp_path / "x.gguf").write_bytes(b"PK\3\4")
        with pytest.raises(LocalModelError, match=r"x\.gguf is not a GGUF file"):
            LlamaEngine(tmp_path / "x.gguf")
        with pytest.raises(LocalModelError, match="There is no weights file"):
            LlamaEngine(tmp_path / "y.gguf")
        with pytest.raises(LocalModelError, match="the catalog has smollm2-135m"):
            LlamaEngine("mystery")

    def test_files_of_one_name_differ_in_the_cache(self, chat_file, tmp_path):
        (tmp_path / "other").mkdir()
        twin = tmp_path / "other" / chat_file.name
        changed = bytearray(chat_file.read_bytes())
        changed[-1] = 1
        twin.write_bytes(changed)

        models = {LlamaEngine(file).model for file in (chat_file, twin, str(chat_file))}
        assert len(models) == 2
        assert all(model.startswith("local/chatty@") for model in models)

    @pytest.mark.parametrize(
        "settings",
        [{"slots": 0}, {"context": 10}, {"threads": 0}, {"threads": True}, {"slots": 1.5}],
    )
    def test_numbers_that_cannot_be_meant_are_refused(self, chat_file, settings):
        with pytest.raises(
            ConfigurationError,
            match=f"{next(iter(settings))} of a local model must be a whole number",
        ):
            LlamaEngine(chat_file, **settings)
