"""The state of one account: its objects, its events and its clock, changed in transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs

from billing_stripe.testing.events import make_id
from billing_stripe.testing.fake_stripe.clock import Clock
from billing_stripe.testing.fake_stripe.errors import Json, StripeError, missing
from billing_stripe.testing.fake_stripe.journal import AUTOMATIC, Cause, Entry, Journal
from billing_stripe.testing.fake_stripe.kinds import Kind

S = TypeVar("S")

_ABSENT = object()
_PART: Kind[Any] = Kind(source=object, noun="", key=lambda source: None, render=lambda source, api_version: {})


@attrs.frozen
class Task:
    """Work that Stripe does by itself at some time."""

    at: datetime
    run: Callable[[], None]


def _own_clock(account: Account, source: Any) -> str | None:
    found: str | None = getattr(source, "test_clock", None)
    return found


@attrs.frozen(kw_only=True)
class Due(Generic[S]):
    """The work that Stripe does by itself for one type of objects."""

    source: type[S]
    tasks: Callable[[Account, S], Iterable[Task]]
    """Yields the future work for an object, those of equal time in order; what it yields depends on the object alone.

    A task must change the object so that it is not yielded again.
    """
    clock: Callable[[Account, S], str | None] = _own_clock
    """Returns the test clock that the object lives on; None for the account's clock."""


@attrs.frozen(kw_only=True)
class Follower(Generic[S]):
    """Work that follows events about one type of objects at once, in the same transaction."""

    source: type[S]
    follow: Callable[[Account, S], None]
    """Called after each event, with the object as it is then."""


class Account:
    """One account. Objects are frozen and addressed by id; an update stores another object under the same id.

    Changes and events of a transaction take effect together, or not at all.
    """

    def __init__(
        self,
        *,
        account_id: str,
        kinds: Sequence[Kind[Any]],
        api_version: str,
        clock: Clock,
        seed: str,
        platform: Account | None = None,
    ) -> None:
        """Create an empty account.

        Args:
            account_id: `acct_…`.
            kinds: of the objects that it may hold.
            api_version: the account's default.
            clock: shared by the accounts of a platform.
            seed: of its ids: equal seeds give equal ids.
            platform: the account that this one is connected to, whose webhooks name it.
        """
        self.account_id = account_id
        self.api_version = api_version
        self.clock = clock
        self.platform = platform
        self.journal = Journal(api_version)
        self.due: Sequence[Due[Any]] = ()
        """The work that resources do as time passes."""
        self.followers: Sequence[Follower[Any]] = ()
        """Work of resources upon events about the objects of others."""
        self.settings: dict[str, Any] = {}
        """Values that resources keep beside objects, by names of their own."""
        self._kinds: Mapping[type, Kind[Any]] = {kind.source: kind for kind in kinds}
        self._named = {kind.noun: kind for kind in kinds}
        self._objects: dict[str, Any] = {}
        self._changed: set[str] = set()
        self._by_type: dict[type, dict[str, Any]] = {}
        self._seed = seed
        self._issued = 0
        self._undo: list[tuple[str, Any]] | None = None
        self._emitted: list[Entry] = []
        self._cause = AUTOMATIC

    # --- reading -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The account's time; objects on a test clock have their own."""
        return self.clock.now()

    def find(self, source: type[S], identifier: str | None) -> S | None:
        """Return the object of this type with this id, or None."""
        found = self._objects.get(identifier or "")
        return found if isinstance(found, source) else None

    def get(self, source: type[S], identifier: str, param: str = "id") -> S:
        """Return the object of this type with this id.

        Raises: StripeError `resource_missing`, for an id in the path or in a parameter.
        """
        found = self.find(source, identifier)
        if found is None:
            raise missing(self.kind_of(source).noun, identifier, param)
        return found

    def all(self, source: type[S]) -> Iterator[S]:
        """Iterate over all objects of this type, newest first, as Stripe lists them."""
        return iter(list(reversed(self._by_type.get(source, {}).values())))

    def by_id(self, identifier: str) -> Any:
        """Return the object with this id, of whatever type, or None."""
        return self._objects.get(identifier)

    def kind_of(self, source: type[S]) -> Kind[S]:
        """Return the kind that stores this type. Raises LookupError if there is none."""
        return self._kinds[source]

    def kind_named(self, noun: str) -> Kind[Any]:
        """Return the kind whose `object` value this is; an empty one for objects that are only ever parts of others."""
        return self._named.get(noun, _PART)

    def show(self, source: Any, api_version: str) -> Json:
        """Render an object as an answer shows it."""
        return self.kind_of(type(source)).show(source, api_version)

    def take_changed(self) -> set[str]:
        """Return the ids of the objects that were added, replaced or removed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    # --- changing ------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, cause: Cause = AUTOMATIC) -> Iterator[None]:
        """Make all changes within the block take effect together; none of them do if it raises.

        An error marked as `committed` is a result: what happened before it stays. Transactions do not nest; an inner
        one is part of the outer one.
        """
        if self._undo is not None:
            yield
            return
        self._undo, self._emitted, self._cause = [], [], cause
        try:
            yield
        except BaseException as exc:
            if not (isinstance(exc, StripeError) and exc.committed):
                self._roll_back()
            raise
        finally:
            emitted, self._emitted = self._emitted, []
            self._undo, self._cause = None, AUTOMATIC
            self.journal.add(emitted)

    def new_id(self, prefix: str) -> str:
        """Return an id that no other object has."""
        self._issued += 1
        return make_id(prefix, self._seed, self.account_id, self._issued)

    def put(self, source: Any) -> None:
        """Add or replace an object without an event. Raises ValueError for one that has no id, such as a preview."""
        key = self.kind_of(type(source)).key(source)
        if key is None:
            raise ValueError(f"a {type(source).__name__} without an id, such as a preview, cannot be stored")
        self._remember(key)
        self._store(key, source)

    def create(self, source: S) -> S:
        """Add an object, with the event about it."""
        self.put(source)
        self.emit(f"{self.kind_of(type(source)).event_prefix}.created", source)
        return source

    def update(self, after: S, type_: str | None = None) -> S:
        """Replace an object, with an event about what changed; without one if nothing that is shown changed.

        Args:
            after: the object as it is now.
            type_: of the event, if it is not the kind's `updated`.
        """
        kind = self.kind_of(type(after))
        before = self._objects[kind.key(after) or ""]
        self.put(after)
        if kind.show(before, self.api_version) != kind.show(after, self.api_version):
            self.emit(type_ or f"{kind.event_prefix}.updated", after, before=before)
        return after

    def remove(self, identifier: str) -> None:
        """Remove an object without an event. Raises KeyError if there is none."""
        if identifier not in self._objects:
            raise KeyError(identifier)
        self._remember(identifier)
        self._store(identifier, _ABSENT)

    def emit(self, type_: str, source: Any, *, before: Any = None) -> Entry:
        """Create and return an event about an object as it is now; it takes effect with the transaction."""
        entry = Entry(
            event_id=self.new_id("evt"),
            type=type_,
            created_at=self.now,
            cause=self._cause,
            account_id=None if self.platform is None else self.account_id,
            kind=self.kind_of(type(source)),
            source=source,
            before=before,
        )
        if self._undo is None:
            self.journal.add([entry])
        else:
            self._emitted.append(entry)
        for follower in self.followers:
            if isinstance(source, follower.source):
                follower.follow(self, source)
        return entry

    def _store(self, key: str, source: Any) -> None:
        """Set or remove the object with an id; one that is replaced keeps its place in lists."""
        self._changed.add(key)
        before = self._objects.get(key, _ABSENT)
        if type(before) is not type(source) and before is not _ABSENT:
            del self._by_type[type(before)][key]
        if source is _ABSENT:
            self._objects.pop(key, None)
            return
        self._objects[key] = source
        self._by_type.setdefault(type(source), {})[key] = source

    def _remember(self, key: str) -> None:
        if self._undo is not None:
            self._undo.append((key, self._objects.get(key, _ABSENT)))

    def _roll_back(self) -> None:
        for key, before in reversed(self._undo or []):
            self._store(key, before)
        self._emitted.clear()


@attrs.frozen(kw_only=True)
class Deleted:
    """The answer about an object that was deleted."""

    identifier: str
    noun: str

    def render(self) -> Json:
        """Render it."""
        return {"id": self.identifier, "object": self.noun, "deleted": True}
