"""The composition root: every object gets what it asks for, on adapters of any kind.

A type checker does not see what a provider is given, so these tests do its work.
"""

from typing import Any, get_type_hints

import pytest
from dependency_injector import containers, errors, providers
from tests.wiring import misfits

from billing_app.container import Adapters, Container, memory_adapters
from billing_app.http.services import Services
from billing_app.secret import Secret
from billing_app.settings import Settings, StripeSettings, Switches
from billing_app.worker import Worker
from billing_core.inbox.intake import Intake
from billing_core.inbox.thin_events import ThinEventResolver
from billing_core.state.refetch import Refetcher
from billing_core.stream.backfill import Backfiller
from billing_memory.gateway import MemoryGateway
from billing_memory.stream.bus import NullEventBus

SETTINGS = Settings(
    switches=Switches(billing=True, stream_replay=True),
    stripe=StripeSettings(webhook_secrets=(Secret("whsec_container"),)),
)


def in_memory(settings: Settings = SETTINGS, **replaced: Any) -> containers.DynamicContainer:
    """A complete container on memory adapters."""
    gateway = MemoryGateway()
    given = {**memory_adapters(settings), "gateway": gateway, "thin_gateway": gateway, "settings": settings, **replaced}
    return Container(**given)


def test_every_object_gets_what_it_asks_for() -> None:
    """Each argument is an instance of its parameter's annotation, and none is missing or unknown."""
    container = in_memory()
    container.check_dependencies()
    assert misfits(container) == []
    made = {name: provider() for name, provider in container.providers.items()}
    kinds = {"intake": Intake, "worker": Worker, "services": Services, "refetcher": Refetcher, "backfiller": Backfiller}
    assert {name: type(made[name]) for name in kinds} == kinds
    assert isinstance(made["resolver"], ThinEventResolver)


def test_every_adapter_has_a_dependency_that_demands_its_port() -> None:
    """The typed dictionary of adapters, and what the container checks at run time, say the same."""
    demanded = {
        name: provider.instance_of
        for name, provider in Container.providers.items()
        if isinstance(provider, providers.Dependency)
    }
    assert demanded == {**get_type_hints(Adapters), "settings": Settings}


@pytest.mark.parametrize("port", get_type_hints(Adapters))
def test_a_container_refuses_what_is_no_adapter_of_a_port(port: str) -> None:
    """The dependency is named when it is first needed."""
    container = in_memory(**{port: object()})
    with pytest.raises(errors.Error, match="is not an instance of"):
        container.providers[port]()


def test_what_is_switched_off_or_cannot_be_asked_is_left_out() -> None:
    """Everything else is there, and gets what it asks for, so that health and metrics can be shown."""
    off = Settings(switches=Switches(billing=False, stream_replay=False))
    container = in_memory(off, gateway=None, thin_gateway=None, bus=NullEventBus())
    assert misfits(container) == []
    assert [container.providers[name]() for name in ("intake", "refetcher", "refetch", "resolver", "backfiller")] == [
        None
    ] * 5


def test_an_authenticator_of_the_host_takes_the_place_of_ours() -> None:
    """Any provider can be replaced by a keyword of a fresh container, and what depends on it gets the replacement."""

    class Host:
        async def authenticate(self, request: object) -> Any: ...

        async def still_valid(self, principal: object) -> bool: ...

    host = Host()
    container = in_memory(authenticator=host)
    assert misfits(container) == []
    assert container.services().authenticator is host


class Miswired:
    """Ways to get a wiring wrong that run without an error until the object is used."""

    @staticmethod
    def swap_arguments(container: Any) -> None:
        container.publisher.add_kwargs(history=container.outbox, outbox=container.history)

    @staticmethod
    def swap_observers(container: Any) -> None:
        container.dispatcher.add_kwargs(observe=container.observers.provided.refetched)

    @staticmethod
    def swap_callables(container: Any) -> None:
        container.dispatcher.add_kwargs(publish=container.refetch, refetch=container.publish)

    @staticmethod
    def swap_queues(container: Any) -> None:
        container.replayer.add_kwargs(queue=container.event_log, events=container.replay_queue)

    @staticmethod
    def swap_policies(container: Any) -> None:
        container.publisher.add_kwargs(policy=container.settings.provided.dispatch)

    @staticmethod
    def swap_positions(container: Any) -> None:
        first, second = container.leases.args
        container.leases.set_args(second, first)

    @staticmethod
    def swap_given_to_a_function(container: Any) -> None:
        container.backfiller.add_kwargs(outbox=container.bus, bus=container.outbox)

    @staticmethod
    def give_none(container: Any) -> None:
        container.service.add_kwargs(rules=None)

    @staticmethod
    def forget_an_argument(container: Any) -> None:
        container.service.set_kwargs(
            **{name: each for name, each in container.service.kwargs.items() if name != "rules"}
        )

    @staticmethod
    def invent_an_argument(container: Any) -> None:
        container.worker.add_kwargs(patience=3)


WAYS = [name for name in vars(Miswired) if not name.startswith("_")]


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_wiring_is_found(way: str) -> None:
    """The check above can fail: each of these containers is complete and wrong."""
    container = in_memory()
    getattr(Miswired, way)(container)
    container.check_dependencies()
    assert misfits(container) != []


def test_each_required_argument_is_missed() -> None:
    """Leave out one argument of one object at a time: the check names the object."""
    names = [
        (name, argument)
        for name, provider in Container.providers.items()
        if isinstance(provider, providers.BaseSingleton)
        for argument in provider.kwargs
        if (name, argument) not in OPTIONAL
    ]
    assert len(names) > 50
    for name, argument in names:
        container = in_memory()
        provider = container.providers[name]
        provider.set_kwargs(**{key: value for key, value in provider.kwargs.items() if key != argument})
        assert misfits(container) != [], f"{name} without {argument}"


OPTIONAL = {
    ("bus_watch", "compared"),
    ("consumer_metrics", "ran"),
    ("service", "notify"),
    ("publisher", "tracer"),
    ("services", "tracing"),
    ("batches", "tracer"),
    ("quiet_batches", "tracer"),
    ("batches", "resolver"),
    ("batches", "refetch"),
    ("quiet_service", "notify"),
    ("quiet_batches", "resolver"),
    ("quiet_batches", "refetch"),
    ("services", "epoch"),
    ("entitlement_loader", "meter"),
    ("entitlements", "policy"),
    ("entitlements", "observe"),
}
"""Arguments that have a default."""
