"""The contracts of the inbox ports, in memory and on Postgres."""

import pytest
from tests.contract.conftest import InMemory, OnPostgres

from billing_core.testing.inbox.event_inbox import EventInboxContract
from billing_core.testing.inbox.event_queue import EventQueueContract
from billing_core.testing.inbox.event_selector import EventSelectorContract
from billing_core.testing.inbox.known_events import KnownEventsContract
from billing_core.testing.inbox.replay_queue import ReplayQueueContract

pytestmark = pytest.mark.stripe


class TestMemoryEventInbox(InMemory, EventInboxContract): ...


class TestPostgresEventInbox(OnPostgres, EventInboxContract): ...


class TestMemoryEventQueue(InMemory, EventQueueContract): ...


class TestPostgresEventQueue(OnPostgres, EventQueueContract): ...


class TestMemoryKnownEvents(InMemory, KnownEventsContract): ...


class TestPostgresKnownEvents(OnPostgres, KnownEventsContract): ...


class TestMemoryReplayQueue(InMemory, ReplayQueueContract): ...


class TestPostgresReplayQueue(OnPostgres, ReplayQueueContract): ...


class TestMemoryEventSelector(InMemory, EventSelectorContract): ...


class TestPostgresEventSelector(OnPostgres, EventSelectorContract): ...
