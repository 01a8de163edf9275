"""The values that no log line may show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from billing_app.secret import Secret
from billing_app.settings.settings import Settings, declared_sections


def hidden_values(settings: Settings) -> Sequence[str]:
    """Return the secrets of a configuration; of a URL, its password and the values of its query."""
    return [text for secret in _secrets(settings) for text in secret.hidden()]


def _secrets(settings: Settings) -> Iterator[Secret]:
    for section in declared_sections():
        for field, setting in section.settings.items():
            value = getattr(getattr(settings, section.name), field) if setting.secret else None
            yield from value if isinstance(value, tuple) else (value,) if isinstance(value, Secret) else ()
