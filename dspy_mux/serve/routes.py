"""The endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import jsonschema  # noqa: F401  (read lazily, and needed)
import prometheus_client  # noqa: F401
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from ..mux.ensemble import Ensemble
from . import bodies, events, question as asked, responses, responses_wire, schemas
from .asking import Asking
from .desk import Desk
from .errors import APIError
from .failures import internal_error
from .guard import Guard
from .json_body import StrictResponse, StrictRoute
from .keys import KeyRing
from .models import served_models
from .openapi import openapi_document
from .responses import ResponseBody
from .responses_wire import ResponsesRequest
from .settings import ServeSettings
from .wire import ChatRequest, MuxRequest

Value = TypeVar("Value")
#: Headers with the verdict's figures.
_FIGURES = {
    "x-mux-member": "Who gave the answer.",
    "x-mux-confidence": "The verdict's confidence.",
    "x-mux-trusted": "true, false, or unknown without a threshold.",
    "x-mux-calls": "LM calls that were made.",
}


async def signed_in(request: Request) -> str | None:
    """Return the name of a request's key; None where none is needed."""
    return request.app.state.keys.name_of(request.headers.get("authorization", ""))


#: The name of the key that a request came with.
KeyName = Annotated[str | None, Depends(signed_in)]


def application(muxes: Mapping[str, Ensemble], settings: ServeSettings) -> FastAPI:
    """Return the application; see `create_app`."""
    from .. import __version__

    app = FastAPI(title="dspy-mux", version=__version__, docs_url=None, redoc_url=None)
    desk = app.state.desk = Desk(served_models(muxes), settings)
    app.router.route_class = StrictRoute
    keys = app.state.keys = KeyRing(settings.keys)
    _handle_errors(app)
    _add_public(app, desk)
    _add_models(app, desk)
    _add_questions(app, desk)
    app.openapi = lambda: openapi_document(app, settings)
    app.add_middleware(Guard, settings=settings, keys=keys, count=desk.metrics.refused)
    if settings.origins:  # around the guard, so that a page can read its refusals
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[*_FIGURES, "retry-after", "x-should-retry"],
        )
    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(APIError)
    async def refuse(request: Request, error: APIError) -> StrictResponse:
        if not error.is_counted:
            request.app.state.desk.metrics.refused(error.code)
        return StrictResponse(error.body(), error.status, error.headers())

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> StrictResponse:
        return await refuse(request, bodies.not_valid(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> StrictResponse:
        refused = APIError(error.status_code, f"{error.detail}.", code=None)
        return StrictResponse(refused.body(), refused.status, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, _: Exception) -> StrictResponse:  # which uvicorn logs
        return await refuse(request, internal_error())


def _add_public(app: FastAPI, desk: Desk) -> None:
    @app.get("/healthz")
    async def health() -> dict[str, Literal["ok"]]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @app.get(
        "/readyz",
        response_model=schemas.Readiness,
        responses={503: {"model": schemas.Readiness, "description": "Questions get no answer."}},
    )
    async def ready() -> StrictResponse:
        """Whether questions are answered, and which members have failed of late."""
        body, is_ready = bodies.readiness(desk)
        return StrictResponse(body, 200 if is_ready else 503)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        from .page import page

        body, headers = page()
        return Response(body, headers=headers)


def _add_models(app: FastAPI, desk: Desk) -> None:
    wanted = [Depends(signed_in)]

    @app.get("/v1/models", dependencies=wanted, response_model=schemas.ModelList)
    async def models() -> dict[str, Any]:
        """List what can be asked: each mux, and each of its members alone."""
        return {"object": "list", "data": [bodies.model(one) for one in desk.models.values()]}

    @app.get("/v1/models/{name:path}", dependencies=wanted, response_model=schemas.ListedModel)
    async def model(name: str) -> dict[str, Any]:
        """Describe one model."""
        return bodies.model(desk.model(name))

    @app.get("/v1/mux", dependencies=wanted, response_model=schemas.MuxList)
    async def muxes() -> dict[str, Any]:
        """Describe each mux: inputs, members, rule."""
        return {"muxes": [bodies.mux(one) for one in desk.models.values() if one.member is None]}

    @app.get("/v1/mux/{name:path}", dependencies=wanted, response_model=schemas.MuxInFull)
    async def mux(name: str) -> dict[str, Any]:
        """Describe a mux, with its inputs and outputs as JSON schemas."""
        return bodies.mux_in_full(desk.model(name))

    @app.get(
        "/metrics",
        dependencies=wanted,
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Return the server's figures in Prometheus's text format."""
        body, kind = desk.metrics.page()
        return Response(body, media_type=kind)


def _add_questions(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/chat/completions", responses=_answers(schemas.ChatCompletion))
    async def complete(body: ChatRequest, request: Request, key: KeyName) -> Response:
        """Answer a conversation, or a program's inputs in its last message."""
        question = asked.of_chat(desk.model(body.model), body, desk.settings)
        if body.stream:
            wants_usage = bool(body.stream_options and body.stream_options.include_usage)
            asking = Asking(desk, question, key)
            return _Events(asking, events.completion(asking, usage=wants_usage))
        with desk.admitted(question, key) as ticket:
            answer = await _unless_left(request, desk.answer(ticket))
        return StrictResponse(bodies.completion(answer), headers=answer.headers)

    @app.post("/v1/responses", responses=_answers(schemas.ResponseObject))
    async def respond(body: ResponsesRequest, request: Request, key: KeyName) -> Response:
        """Answer a request of the Responses API; nothing is stored."""
        model = desk.model(body.model)
        question = responses_wire.question_of(model, body, desk.settings)
        written = ResponseBody(model, body)
        if body.stream:
            asking = Asking(desk, question, key)
            return _Events(asking, responses.stream(asking, written))
        with desk.admitted(question, key) as ticket:
            answer = await _unless_left(request, desk.answer(ticket))
        return StrictResponse(written.of(answer), headers=answer.headers)

    @app.post("/v1/mux/{name:path}", responses=_answers(schemas.MuxAnswer))
    async def ask(name: str, body: MuxRequest, request: Request, key: KeyName) -> Response:
        """Answer named inputs with named outputs, and the verdict in full."""
        question = asked.of_inputs(desk.model(name), body, desk.settings)
        if body.stream:
            asking = Asking(desk, question, key)
            return _Events(asking, events.named(asking))
        with desk.admitted(question, key) as ticket:
            answer = await _unless_left(request, desk.answer(ticket))
        return StrictResponse(answer.body(), headers=answer.headers)


def _answers(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe a question's responses: a body, or a stream of events."""
    headers = {
        name: {"description": about, "schema": {"type": "string"}}
        for name, about in _FIGURES.items()
    }
    return {
        200: {
            "model": model,
            "description": "The answer; with `stream`, server-sent events.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "headers": headers,
        }
    }


class _Events(StreamingResponse):
    """Server-sent events of a question, which ends with the response."""

    def __init__(self, asking: Asking, chunks: AsyncGenerator[str, None]):
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(chunks, media_type="text/event-stream", headers=headers)
        self._asking = asking

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._asking.end()


async def _unless_left(request: Request, work: Awaitable[Value]) -> Value:
    """Return what comes of `work`; end it where the client hangs up."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise APIError(499, "The client hung up.", code="client_closed_request")
        return await task
    finally:
        for one in (task, leaving):
            if not one.done():
                one.cancel()
                await asyncio.wait([one])


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
