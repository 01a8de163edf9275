"""Why an event is ignored: a closed set, for it is stored and counted by."""

from typing import Final

UNHANDLED_TYPE: Final = "unhandled_type"
"""An event type that says nothing about subscriptions, invoices or customers."""
THIN: Final = "thin"
"""An event that names an object without showing it."""
UNEXPECTED_OBJECT: Final = "unexpected_object"
"""The event's type promises one kind of object, and it carries another."""
UNREADABLE_OBJECT: Final = "unreadable_object"
"""The object lacks what it cannot be recorded without: its id, its status, an invoice's currency."""
NO_CUSTOMER: Final = "no_customer"
"""The object belongs to nobody, as the session of a guest does."""
UNREADABLE_BODY: Final = "unreadable_body"
"""The stored bytes are no event."""
UNFINISHED_CHECKOUT: Final = "unfinished_checkout"
"""A checkout session that nobody has completed."""
