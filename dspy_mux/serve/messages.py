"""Messages of a conversation, as OpenAI's protocol has them and members are sent them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import dspy
from pydantic import BaseModel, Field

from .errors import APIError


class TextPart(BaseModel):
    """Text."""

    type: Literal["text"]
    text: str


class RefusalPart(BaseModel):
    """What an assistant refused with."""

    type: Literal["refusal"]
    refusal: str


class ImageAddress(BaseModel):
    """An image, by its data or its address."""

    url: str = Field(description="A data: URI; an http(s) address where the server takes those.")
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(BaseModel):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageAddress


class AudioData(BaseModel):
    """A recording."""

    data: str = Field(description="In base64.", pattern=r"^[A-Za-z0-9+/]*={0,2}$")
    format: Literal["wav", "mp3"]


class AudioPart(BaseModel):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: AudioData


Part = Annotated[TextPart | RefusalPart | ImagePart | AudioPart, Field(discriminator="type")]


class CalledFunction(BaseModel):
    """A function that was called."""

    name: str
    arguments: str


class ToolCall(BaseModel):
    """A call that an assistant made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(BaseModel):
    """A message of a conversation; fields beside these are not handed on."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The text of it, without images."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""

    def as_sent(self, *, image_urls: bool) -> dict[str, Any]:
        """Return the message as members are sent it.

        Args:
            image_urls: whether images may be named by http(s) addresses.

        Raises:
            APIError: one is, and may not be, or is named otherwise.
        """
        for part in self.content if isinstance(self.content, list) else ():
            if isinstance(part, ImagePart):
                check_image(part.image_url.url, "messages", image_urls=image_urls)
        sent = self.model_dump(exclude_none=True)
        if not self.tool_calls:  # members' servers refuse an empty list
            sent.pop("tool_calls", None)
        return sent


def check_image(url: str, param: str, *, image_urls: bool) -> None:
    """Refuse an image that is not sent along.

    Args:
        param: where it was found.
        image_urls: whether it may be named by an http(s) address.
    """
    # Where a provider takes no addresses, DSPy's clients fetch them from this machine.
    schemes = ("data:image/", *(("https://", "http://") if image_urls else ()))
    if not url.lower().startswith(schemes):
        raise APIError(
            400,
            "Images are taken as data: URIs; addresses only where the server is started with "
            "--image-urls.",
            param=param,
            code="unsupported_value",
        )


def check_file(file: dspy.File, param: str, *, image_urls: bool) -> None:
    """Refuse a file that is not sent along.

    Args:
        param: where it was found.
        image_urls: whether it may be named by a provider's number.
    """
    # Providers look numbers up among the files of whose key is used: the server's.
    is_named = file.file_id is not None and not image_urls
    if is_named or not (file.file_data or "data:").lower().startswith("data:"):
        raise APIError(
            400,
            "Files are taken as data: URIs; a file_id only where the server is started with "
            "--image-urls.",
            param=param,
            code="unsupported_value",
        )
