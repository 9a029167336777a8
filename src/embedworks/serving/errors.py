"""Every failure leaves the server in one shape, the one that clients of the OpenAI interface read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from embedworks.foundation import EmbedworksError, InputError

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """A refusal with its HTTP status.

    Args:
        status: HTTP status code.
        message: What is wrong and how to mend it, for the client to show.
        code: A stable word that programs can switch on.
        parameter: The request field it is about.
        headers: Response headers that belong to it, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        parameter: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.parameter = parameter
        self.headers = dict(headers or {})


def error_body(status: int, message: str, *, code: str, parameter: str | None = None) -> bytes:
    """Return the JSON document of an error: ``{"error": {"message", "type", "param", "code"}}``."""
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error" if status < 500 else "server_error"
    )
    error: dict[str, Any] = {"message": message, "type": kind, "param": parameter, "code": code}
    # Escaping to ASCII keeps a message that quotes a lone surrogate encodable.
    return json.dumps({"error": error}).encode("ascii")


def error_response(error: ApiError) -> Response:
    """Return the response of a refusal."""
    body = error_body(error.status, error.message, code=error.code, parameter=error.parameter)
    return Response(body, status_code=error.status, headers=error.headers, media_type="application/json")


def internal_error() -> ApiError:
    """Return the refusal that says nothing of the inside: what went wrong stands in the server's log."""
    return ApiError(500, "the server could not answer; its log says why", code="internal_error")


def install_error_handlers(app: FastAPI) -> None:
    """Make ``app`` answer every exception in the one shape; unforeseen ones tell nothing of the inside."""

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error_response(error)

    async def known(_request: Request, error: Exception) -> Response:
        if isinstance(error, InputError):
            return error_response(ApiError(400, str(error), code="invalid_input"))
        logger.error("request failed: %s", error)
        return error_response(internal_error())

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return error_response(_validation_error(error))

    async def http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        return error_response(ApiError(error.status_code, str(error.detail), code=code, headers=error.headers))

    async def unforeseen(_request: Request, _error: Exception) -> Response:
        return error_response(internal_error())

    app.add_exception_handler(Exception, unforeseen)
    app.add_exception_handler(ApiError, refused)
    app.add_exception_handler(EmbedworksError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _validation_error(error: RequestValidationError) -> ApiError:
    # Only the first fault is named: a body can hold a million of them, and its content must not be echoed.
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    parameter = ".".join(location[1:4])[:80] or None
    if first["type"] == "json_invalid":
        return ApiError(400, "the body is not valid JSON", code="invalid_json")
    message = f"{parameter or location[0]}: {first['msg']}"
    return ApiError(422, message[:300], code="invalid_value", parameter=parameter)
