"""Errors of an application that runs billing inside itself, beside those of the domain."""

from billing_core.errors import BillingError


class BillingDisabledError(BillingError):
    """ENABLE_BILLING is false: nothing is open, and nothing is known of any tenant."""

    code = "billing_disabled"

    def __init__(self) -> None:
        super().__init__("billing is switched off: set ENABLE_BILLING=true, or ask `billing.enabled` first")


class NotOpenError(BillingError):
    """The object is used before it was opened, or after it was closed: a bug of the application."""

    code = "not_open"

    def __init__(self) -> None:
        super().__init__("billing is not open: use it inside `async with billing:`, which belongs into the start-up")


class StreamResetError(BillingError):
    """The position to continue from does not exist in the present history, for example after a restored backup.

    Load the state again, then stream after `position`.
    """

    code = "stream_reset"

    def __init__(self, position: str) -> None:
        super().__init__(f"load the state again, then continue after {position}")
        self.position = position
        """The position to continue from, in the present history."""


class StreamRefusedError(BillingError):
    """A stream cannot begin: answer with `status`."""

    status: int


class BadPositionError(StreamRefusedError, ValueError):
    """The text is no position of a stream. A client sent it."""

    code, status = "bad_position", 400

    def __init__(self) -> None:
        super().__init__("a position is one that /state or a message of the stream has")


class TooManyStreamsError(StreamRefusedError):
    """This process serves as many streams as BILLING_STREAM_MAX_CONNECTIONS allows, or it is closing."""

    code, retryable, status = "too_many_streams", True, 503
