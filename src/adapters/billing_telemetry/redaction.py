"""Removal of secrets from log lines: by the values that a process knows, by the names of keys, and by shape."""

import re
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"

_SECRET_KEY: Final = re.compile(
    r"secret|token|ticket|passw|passphrase|authorization|cookie|signature|credential|(?:api|private)_?key", re.I
)
_CONTENT_KEY: Final = re.compile(r"(?:.*_)?(?:payload|body)", re.I)
"""Keys that may hold customer data; their values are never logged."""

_HEADERS: Final = r"(?:proxy-)?authorization|(?:set-)?cookie|stripe-signature|webhook-signature|x-api-key"
_SECRET_SHAPES: Final = (
    (re.compile(r"\b((?:sk|rk|pk)_(?:org_)?(?:test|live)_)[A-Za-z0-9]+"), r"\1…"),  # keys of the Stripe API
    (re.compile(r"\b(whsec_)[A-Za-z0-9+/=_-]+"), r"\1…"),  # signing secrets of webhooks
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "[token]"),  # JWTs
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), r"\1…"),
    (re.compile(rf"(?i)\b((?:{_HEADERS})['\"]?\s*[:=,]\s*b?['\"]?)[^'\"\r\n…]+"), r"\1…"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^:/?#\s@]*:)\S+@"), r"\1…@"),  # passwords in URLs, up to the last @
    (re.compile(r"(?i)\b(https?://)[^:/?#\s@]+@"), r"\1…@"),  # a token in place of a user
    (re.compile(rf"(?i)([?&][^=&\s]*(?:{_SECRET_KEY.pattern})[^=&\s]*=)[^&\s'\"#]+"), r"\1…"),  # in queries
)
_SHORTEST: Final = 8
"""Characters of a value that is searched for; a shorter one is too likely to be a word of the text."""


class Redaction:
    """A structlog processor that leaves no secret in an entry, whatever part of it the secret is in."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        """Search for these values, too, which need not look like secrets: quoted for a URL as well as plain."""
        forms = {
            form for each in secrets if _is_searched(each) for form in (each, quote(each, safe=""), quote_plus(each))
        }
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Redact an entry; numbers stay."""
        return {self.hide(key): self._clean(key, value) for key, value in event.items()}

    def hide(self, text: str) -> str:
        """Return the text with every known value and everything masked that has the shape of a secret."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        for shape, replacement in _SECRET_SHAPES:
            text = shape.sub(replacement, text)
        return text

    def _clean(self, key: str, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if _SECRET_KEY.search(key) or _CONTENT_KEY.fullmatch(key):
            return REDACTED
        if isinstance(value, Mapping):
            return {self.hide(str(name)): self._clean(str(name), each) for name, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean("", each) for each in value]
        return self.hide(value if isinstance(value, str) else str(value))


def _is_searched(value: str) -> bool:
    """Return whether a value can be searched for: a password such as `postgres` is a word of many lines."""
    return len(value) >= _SHORTEST and not value.isalpha()
