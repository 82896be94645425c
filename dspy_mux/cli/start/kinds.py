"""Tell model servers apart by endpoints of their own, and read what each says of its models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...text import parameters_text, shortened

#: Endpoints that only some servers have, below their address.
OWN_PATHS = (
    "/api/extra/version",  # KoboldCpp
    "/api/v0/models",  # LM Studio
    "/api/version",  # Ollama
    "/api/tags",  # Ollama
    "/props",  # llama.cpp
    "/get_model_info",  # SGLang
    "/version",  # vLLM
)
OLLAMA = "Ollama"
MUX = "dspy-mux"
ANY = "OpenAI-compatible server"
#: What servers call themselves in `owned_by` of the models that they list.
_OWNERS = {"vllm": "vLLM", "llamacpp": "llama.cpp", "sglang": "SGLang", "dspy-mux": MUX}
#: Numbers above this are no size of anything.
_LARGEST = 10**15
#: Characters of what a server says of itself and its models.
_LONGEST = 60
#: Models that do not answer questions, where the server does not say so.
_OTHER_USE = re.compile(
    r"embed|rerank|minilm|colbert|whisper|(?:^|[/_-])(?:bge|gte|e5|tts)[-_:]", re.IGNORECASE
)


@dataclass(frozen=True)
class Model:
    """A model that a server lists.

    Attributes:
        about: its size and the like, for people.
        not_for: why it is left out; empty for a model that answers questions.
        elsewhere: whether the server hands its questions on to another machine.
    """

    id: str
    about: str = ""
    not_for: str = ""
    elsewhere: bool = False


def kind_of(listed: Sequence[Mapping[str, Any]], own: Mapping[str, Any]) -> tuple[str, str]:
    """Return a server's kind and version; an empty version where it does not say one.

    Args:
        listed: the models of its /v1/models.
        own: what it answered at `OWN_PATHS`, objects only.
    """
    if _of(own, "/api/extra/version").get("result") == "KoboldCpp":
        return "KoboldCpp", _version(own, "/api/extra/version")
    if any("state" in model for model in objects(_of(own, "/api/v0/models").get("data"))):
        return "LM Studio", ""
    if "default_generation_settings" in _of(own, "/props"):
        return "llama.cpp", ""
    if "model_path" in _of(own, "/get_model_info"):
        return "SGLang", ""
    if "models" in _of(own, "/api/tags") and _version(own, "/api/version"):
        return OLLAMA, _version(own, "/api/version")
    owner = next((str(model.get("owned_by")) for model in listed), "")
    kind = _OWNERS.get(owner, ANY)
    return kind, _version(own, "/version") if kind == "vLLM" else ""


def models_of(
    kind: str, listed: Sequence[Mapping[str, Any]], own: Mapping[str, Any]
) -> list[Model]:
    """Return a server's models, as its own endpoint describes them where it has one."""
    if kind == OLLAMA:
        return [_ollama(model) for model in objects(_of(own, "/api/tags").get("models"))]
    if kind == "LM Studio":
        return [_lm_studio(model) for model in objects(_of(own, "/api/v0/models").get("data"))]
    if kind == MUX:
        return [Model(_name(model, "id"), not_for="a mux itself") for model in listed]
    return [_plain(model) for model in listed]


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a JSON list; none of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def use_of(name: str, capabilities: object = None) -> str:
    """Return what a model is for instead, empty where it answers questions.

    Args:
        capabilities: what its server says that it can do, where it does.
    """
    if isinstance(capabilities, list) and capabilities:
        if "completion" in capabilities:
            return ""
        return f"for {', '.join(map(str, capabilities))}"
    return "by its name no chat model" if _OTHER_USE.search(name) else ""


def size_text(size: object) -> str:
    """Return a number of bytes for people; empty for anything else.

    >>> size_text(1_929_912_432), size_text(98_362_432)
    ('1.9 GB', '98 MB')
    """
    if not isinstance(size, int) or not 0 < size < _LARGEST:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _ollama(model: Mapping[str, Any]) -> Model:
    details = _of(model, "details")
    name = _name(model, "model", "name")
    elsewhere = bool(model.get("remote_host"))
    about = [details.get("parameter_size"), details.get("quantization_level")]
    about += ["runs on another machine"] if elsewhere else [size_text(model.get("size"))]
    families = f"{details.get('family')} {name}"
    # Ollama's names of the architecture of embedding models: bert, nomic-bert, …
    bert = "bert" in str(details.get("family"))
    use = "for embedding" if bert else use_of(families, model.get("capabilities"))
    return Model(name, _words(about), use, elsewhere)


def _lm_studio(model: Mapping[str, Any]) -> Model:
    name = _name(model, "id")
    loaded = "loaded" if model.get("state") == "loaded" else ""
    use = "for embedding" if model.get("type") == "embeddings" else use_of(name)
    return Model(name, _words([model.get("arch"), model.get("quantization"), loaded]), use)


def _plain(model: Mapping[str, Any]) -> Model:
    name, meta = _name(model, "id"), _of(model, "meta")
    length = model.get("max_model_len") or meta.get("n_ctx")
    context = f"{length} tokens of context" if isinstance(length, int) else ""
    about = [_count_text(meta.get("n_params")), meta.get("ftype"), size_text(meta.get("size"))]
    return Model(name, _words([*about, context]), use_of(name))


def _count_text(count: object) -> str:
    if not isinstance(count, int) or not 0 < count < _LARGEST:
        return ""
    return parameters_text(count)


def _words(about: Sequence[object]) -> str:
    """Return words in one line: a server says them, and they are written into a file."""
    return ", ".join(_line(word) for word in about if isinstance(word, str) and word)


def _line(text: str) -> str:
    return shortened("".join(sign for sign in text if sign.isprintable()), _LONGEST)


def _name(model: Mapping[str, Any], *keys: str) -> str:
    return next((model[key] for key in keys if isinstance(model.get(key), str)), "")


def _of(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _version(own: Mapping[str, Any], path: str) -> str:
    return _line(str(_of(own, path).get("version") or ""))
