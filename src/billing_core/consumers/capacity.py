"""The tenants that a process can take on at a time."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

from billing_core.consumers.values import ConsumerName


class Capacity:
    """Counts the tenants in work. Handlers with a transaction share a number of them, over all consumers.

    A claim never waits for a transaction: its lease would run meanwhile, and with it the attempts of a message that no
    handler has seen.
    """

    def __init__(self, *, tenants: int, transactions: int) -> None:
        """`tenants`: of one consumer whose handler has no transaction. `transactions`: of all others together."""
        self._tenants = tenants
        self._transactions = transactions
        self._busy: defaultdict[ConsumerName, int] = defaultdict(int)
        self._taken: defaultdict[ConsumerName, int] = defaultdict(int)
        self._counter = itertools.count(1)

    def limits(
        self, plain: Sequence[ConsumerName], transactional: Sequence[ConsumerName]
    ) -> Iterator[dict[ConsumerName, int]]:
        """Yield the number of tenants to claim by consumer. Count those that were claimed before the next claim.

        Consumers that had a transaction longest ago come first. One claim is enough as long as a transaction is free
        for each consumer; otherwise the next claim is for consumers that get what the first ones do not need.
        """
        asking = {name: limit for name in plain if (limit := self._tenants - self._busy[name]) > 0}
        waiting = sorted(transactional, key=self._taken.__getitem__)
        while True:
            free = max(self._transactions, 0)  # below zero while a handler that was replaced is at work
            asked, waiting = waiting[:free], waiting[free:]
            asking |= {name: free // len(asked) for name in asked}
            if not asking:
                return
            yield asking
            asking = {}

    def take(self, name: ConsumerName, *, transactional: bool) -> None:
        """Count a tenant that is being worked on."""
        if transactional:
            self._transactions -= 1
            self._taken[name] = next(self._counter)
        else:
            self._busy[name] += 1

    def free(self, name: ConsumerName, *, transactional: bool) -> None:
        """Count a tenant no more that was taken."""
        if transactional:
            self._transactions += 1
        else:
            self._busy[name] -= 1
