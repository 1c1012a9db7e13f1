"""Every error the gateway names. The class owns its HTTP status and its machine-readable code.

An edge renders them in its own envelope; see `edge/middleware.py`. The message is for the person who reads it and
says what to do. It never holds a secret, nor the user's words.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Something went wrong that has a name.

    Attributes: `status` (HTTP), `code` (stable, for programs), `message` (for people), `field` (the input at fault,
    if one is), `retry_after` (seconds until trying again may help, if it may).
    """

    status = 500
    code = "internal"

    def __init__(self, message: str, *, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after


class SettingsError(GatewayError):
    """A setting is unknown, of the wrong type, or at odds with another. Ends the start with exit code 2."""

    code = "settings"


class StartError(GatewayError):
    """A part that the gateway cannot start without is not there. Ends the start with exit code 1."""

    code = "start"


# --- what the client did ------------------------------------------------------------------------------------------


class BadRequest(GatewayError):
    """The request cannot be understood or is not valid; `field` names what is wrong."""

    status = 400
    code = "bad_request"


class Unauthorized(GatewayError):
    """A token is needed here, and none or an unknown one came."""

    status = 401
    code = "unauthorized"


class Forbidden(GatewayError):
    """The one who asks may not do this."""

    status = 403
    code = "forbidden"


class NotFound(GatewayError):
    """There is no such thing, or not for the one who asks."""

    status = 404
    code = "not_found"


class MethodNotAllowed(GatewayError):
    """The path exists, with other methods."""

    status = 405
    code = "method_not_allowed"


class Conflict(GatewayError):
    """The request contradicts what is there."""

    status = 409
    code = "conflict"


class PayloadTooLarge(GatewayError):
    """The body is over its bound."""

    status = 413
    code = "too_large"


class UnsupportedMediaType(GatewayError):
    """The body is of a type that this path does not take."""

    status = 415
    code = "unsupported_media_type"


# --- what a part did ----------------------------------------------------------------------------------------------


class Unavailable(GatewayError):
    """A part is away or busy; trying again later may help."""

    status = 503
    code = "unavailable"


class StoreUnavailable(Unavailable):
    """PostgreSQL does not answer."""

    code = "store_unavailable"


class PoolExhausted(StoreUnavailable):
    """Every database connection was busy for as long as a request may wait."""

    code = "pool_exhausted"


class JournalFull(Unavailable):
    """The journal reached its bound while PostgreSQL was away."""

    code = "journal_full"


class ModelError(GatewayError):
    """The language model or the embedding model failed."""

    status = 502
    code = "model_error"


class ModelUnavailable(ModelError):
    """The model server cannot be reached."""

    status = 503
    code = "model_unavailable"


class ModelTimeout(ModelError):
    """The model did not answer within its time."""

    status = 504
    code = "model_timeout"


class ModelNotFound(ModelError):
    """The model server does not have this model."""

    status = 404
    code = "model_not_found"


class ModelRefused(ModelError):
    """The model server said no to this request (its own status and words)."""

    code = "model_refused"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class QueueFull(Unavailable):
    """As many turns wait for the model as may wait."""

    code = "queue_full"


class QueueTimeout(Unavailable):
    """The turn could not start within its time."""

    code = "queue_timeout"


class Preempted(Unavailable):
    """Background work gave its place at the model to a turn."""

    code = "preempted"
