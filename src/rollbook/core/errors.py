"""Our exceptions. Foreign ones end at the adapter that meets them.

RollbookError
├── ConfigError               refuse to start; names the setting
├── InvalidObject             a manifest or a value we cannot read; becomes a condition, never a crash
├── KubeError                 the API server's answers
│   ├── Conflict              somebody wrote first: read again
│   ├── NotFound
│   ├── Forbidden             a missing RBAC rule, or a namespace that is terminating
│   ├── Gone                  the resource version is too old: list again
│   └── Unavailable           timeouts, connection errors, 429, 5xx: try again later
├── LeadershipLost            our Lease has run out: neither write nor send
└── SinkError                 a tracking API's answers
    ├── SinkUnavailable       timeouts, 408, 429, 5xx: the same delivery again, later
    ├── SinkUnauthorized      401 and 403: the sink waits for another credential, its deliveries wait with it
    └── SinkRejected          every other refusal: this delivery is parked with the sink's message
"""


class RollbookError(Exception):
    """The root of everything we raise."""


class ConfigError(RollbookError):
    """A setting is missing or wrong; the message names it and what is allowed."""


class InvalidObject(RollbookError):
    """An object or a value cannot be read as what it should be."""


class KubeError(RollbookError):
    """The API server did not do what we asked."""


class Conflict(KubeError):
    """The object was written, created or replaced by somebody else first."""


class NotFound(KubeError):
    """The object, or its kind, does not exist."""


class Forbidden(KubeError):
    """RBAC does not allow it, or the namespace is terminating."""


class Gone(KubeError):
    """The resource version or the continue token is too old."""


class Unavailable(KubeError):
    """The API server cannot be reached or asks us to come back.

    Attributes:
        retry_after: seconds the server asked us to wait, if it did.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LeadershipLost(RollbookError):
    """The Lease's deadline has passed."""


class SinkError(RollbookError):
    """A delivery was not accepted."""


class SinkUnavailable(SinkError):
    """The sink cannot take it now.

    Attributes:
        retry_after: seconds the sink asked us to wait, if it did.
        sent: whether the request may have taken effect (its answer is unknown).
    """

    def __init__(self, message: str, *, retry_after: float | None = None, sent: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.sent = sent


class SinkUnauthorized(SinkError):
    """The credential is refused; nothing is lost, the sink waits for another one."""


class SinkRejected(SinkError):
    """The sink refuses this delivery for good; the message is the sink's, masked and bounded."""
