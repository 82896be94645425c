"""Read invoices out of messages into a pydantic model; a message may hold none.

    python examples/extraction.py        # with Ollama and its models below

Two draws agree where they found the same invoice, field by field: "1,200.00" and 1200 are one
total. The type admits None, so "there is no invoice" is an answer that members can agree on. A
reply that breaks the model's constraints is no answer: that draw abstains.
"""

from __future__ import annotations

import datetime

import dspy
import pydantic

from dspy_mux import SLMMux

MODELS = ("qwen2.5:3b", "gemma3:1b", "llama3.2:3b")
MESSAGES = (
    "Please pay invoice A-17 by 3 March 2026: 1,200.00 in total.",
    "Thank you for lunch! See you in spring.",
)


class Invoice(pydantic.BaseModel):
    number: str
    total: float = pydantic.Field(ge=0)
    due: datetime.date | None = None


class Extract(dspy.Signature):
    """Read the invoice out of the message. Answer null where the message holds none."""

    message: str = dspy.InputField()
    invoice: Invoice | None = dspy.OutputField()


def main() -> None:
    pool = [dspy.LM(f"ollama_chat/{model}") for model in MODELS]
    mux = SLMMux(dspy.Predict(Extract), lms=pool, k=3, temperature=0.5)
    for message in MESSAGES:
        pred = mux(message=message)
        sure = f"confidence {pred.verdict.confidence:.2f}"
        if pred.invoice is None:
            print(f"no invoice ({sure}): {message}")
        else:
            invoice = pred.invoice
            print(f"{invoice.number}: {invoice.total:.2f}, due {invoice.due} ({sure})")


if __name__ == "__main__":
    main()
