"""The receivers that operators add, change and remove while workers run."""

from collections.abc import Callable
from datetime import timedelta

import attrs

from billing_core.consumers.ports import ConsumerRegister, RegisteredConsumer
from billing_core.consumers.runner import ConsumerRunner
from billing_core.consumers.values import Consumer, ConsumerName
from billing_core.outgoing.delivering import WebhookDeliverer
from billing_core.outgoing.ports import WebhookEndpoints
from billing_core.periodic import Periodic


@attrs.frozen(kw_only=True)
class ReceiversReport:
    """The registered consumers, and the receivers that this process began or ended to deliver to."""

    registered: tuple[RegisteredConsumer, ...] = ()

    begun: tuple[ConsumerName, ...] = ()
    ended: tuple[ConsumerName, ...] = ()
    refused: tuple[ConsumerName, ...] = ()
    """Receivers that were found since the last report to have the name of a handler in the code of this process."""


class ReceiverFollower(Periodic[ReceiversReport]):
    """Keeps the runner's handlers equal to the receivers in the store."""

    def __init__(
        self,
        *,
        endpoints: WebhookEndpoints,
        register: ConsumerRegister,
        runner: ConsumerRunner,
        deliverer: WebhookDeliverer,
        every: timedelta,
        observe: Callable[[ReceiversReport], None],
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._endpoints = endpoints
        self._register = register
        self._runner = runner
        self._deliverer = deliverer
        self._served: dict[ConsumerName, Consumer] = {}
        self._taken: frozenset[ConsumerName] = frozenset()

    async def run_once(self) -> ReceiversReport:
        """Read the receivers, and begin or end with those that changed.

        One whose name has a handler in the code of this process is left out: it must not stop the other consumers.
        """
        endpoints = await self._endpoints.current()
        found = tuple(await self._register.registered())
        registered = {each.consumer.name: each.consumer for each in found}
        self._deliverer.learn(endpoints)
        wanted = {each.consumer: registered[each.consumer] for each in endpoints if each.consumer in registered}
        ended = [name for name, consumer in self._served.items() if wanted.get(name) != consumer]
        for name in ended:
            self._runner.unsubscribe(name)
            del self._served[name]
        new = [name for name in wanted if name not in self._served]
        taken = frozenset(name for name in new if self._runner.handles(name))
        refused, self._taken = taken - self._taken, taken
        begun = [name for name in new if name not in taken]
        for name in begun:
            # Not registered again: an operator may have removed it since it was read.
            self._runner.subscribe(wanted[name], self._deliverer.handler(name), registered=True)
            self._served[name] = wanted[name]
        return ReceiversReport(
            registered=found,
            begun=tuple(begun),
            ended=tuple(name for name in ended if name not in begun),
            refused=tuple(sorted(refused)),
        )
