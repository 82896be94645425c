"""Three small models on Ollama answer together, and the verdict says how far to trust them.

    ollama pull qwen2.5:3b && ollama pull gemma3:1b && ollama pull llama3.2:3b
    python examples/ollama_pool.py "What is the capital of Libya?"

Each model is asked three times. `frugal` makes a draw only where it can still change the answer:
the verdict counts those that it spared. Without a question, it asks two of its own.
"""

from __future__ import annotations

import sys

import dspy

from dspy_mux import AllMembersFailed, SLMMux

OLLAMA = "http://localhost:11434"
MODELS = ("qwen2.5:3b", "gemma3:1b", "llama3.2:3b")  # the first wins a tie
QUESTIONS = ("What is the capital of Libya?", "What is 17 + 25?")


def mux_of_models() -> SLMMux:
    pool = [dspy.LM(f"ollama_chat/{model}", api_base=OLLAMA) for model in MODELS]
    return SLMMux("question -> answer", lms=pool, k=3, temperature=0.5, schedule="frugal")


def tell(mux: SLMMux, question: str) -> None:
    """Print the answer, how sure the pool is of it, and what every member said."""
    verdict = mux(question=question).verdict
    print(question)
    print(f"  {verdict.answer}  ({verdict.member}, confidence {verdict.confidence:.2f})")
    spared = sum(ballot.spared for ballot in verdict.ballots)
    print(f"  {verdict.calls} calls, {spared} draws spared")
    for ballot in verdict.ballots:
        for cause, count in ballot.abstentions.items():
            print(f"  {ballot.member} gave no answer {count} times: {cause}")


def main() -> None:
    mux = mux_of_models()
    for question in sys.argv[1:] or QUESTIONS:
        try:
            tell(mux, question)
        except AllMembersFailed as failed:
            sys.exit(f"No model answered. Does Ollama run at {OLLAMA}? {failed}")


if __name__ == "__main__":
    main()
