"""The way through a rotation: each step is verified at the running servers before the next one is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import attrs

from billing_app.secret import Secret
from billing_app.settings import Settings
from billing_app.setup.env_local import EnvChange
from billing_app.setup.rotation.plans import Rotation, require_changeable, write
from billing_app.setup.rotation.servers import ServerSecrets, ServerUnreadableError
from billing_app.setup.rotation.steps import Standing, Step

_POLL: Final = 2.0


class Dialog(Protocol):
    """The operator, who is shown each step, gives the new secret, and consents to the removal of the old one."""

    def shows(self, standing: Standing, rotation: Rotation, servers: Sequence[ServerSecrets]) -> None:
        """Show where the rotation stands, and what it waits for."""
        ...

    def wrote(self, change: EnvChange) -> None:
        """Show what was written."""
        ...

    def asks_for_new(self, rotation: Rotation) -> str:
        """Return the new secret."""
        ...

    def asks_to_remove(self, rotation: Rotation) -> None:
        """Return if the old secrets may be removed; abort otherwise."""
        ...


@attrs.frozen(kw_only=True)
class Outcome:
    """Where a rotation stands when the command ends."""

    standing: Standing
    rotation: Rotation
    servers: tuple[ServerSecrets, ...]
    changes: tuple[EnvChange, ...]
    completed: bool
    """Whether this command saw the rotation end."""


async def rotate(
    rotation: Rotation,
    settings: Settings,
    dialog: Dialog,
    *,
    read: Callable[[], Awaitable[Sequence[ServerSecrets]]],
    wait: bool,
    only_show: bool,
) -> Outcome:
    """Take the steps that can be taken now.

    Args:
        rotation: the secrets as configured.
        settings: those that this command was started with.
        dialog: the operator.
        read: reads what the running servers use.
        wait: whether to wait for restarts and webhooks, rather than to end there and be repeated.
        only_show: whether to change nothing.

    Raises: OperatorError.
    """
    changes: list[EnvChange] = []
    under_way = False
    shown: Standing | None = None
    while True:
        try:
            servers = tuple(await read())
        except ServerUnreadableError:
            if shown is None or not wait:
                raise
            await asyncio.sleep(_POLL)  # it is being restarted
            continue
        standing = rotation.standing(servers, datetime.now(UTC))
        if standing != shown:
            dialog.shows(standing, rotation, servers)
            shown = standing
        completed = standing.step is Step.BEGIN and under_way
        if standing.step is Step.BEGIN and not completed and not only_show:
            require_changeable(rotation)
            new = dialog.asks_for_new(rotation).strip()
            await rotation.check(new, settings)
            rotation = rotation.with_new(Secret(new))
            changes.append(_write(rotation, dialog))
        elif standing.step is Step.REMOVE and not only_show:
            require_changeable(rotation)
            dialog.asks_to_remove(rotation)
            rotation = rotation.without_old()
            changes.append(_write(rotation, dialog))
        elif completed or only_show or not wait:
            return Outcome(
                standing=standing, rotation=rotation, servers=servers, changes=tuple(changes), completed=completed
            )
        else:
            await asyncio.sleep(_POLL)
        under_way = under_way or standing.step is not Step.BEGIN


def _write(rotation: Rotation, dialog: Dialog) -> EnvChange:
    change = write(rotation)
    dialog.wrote(change)
    return change
