"""Everything that an application asks of the provider, in one object."""

import attrs

from billing_core.operations.account import AccountReader
from billing_core.operations.answers import AnswerKeeper
from billing_core.operations.checkouts import CheckoutOperations
from billing_core.operations.credits import CreditOperations
from billing_core.operations.customers import CustomerOperations
from billing_core.operations.in_short import OperationsInShort
from billing_core.operations.invoices import InvoiceOperations
from billing_core.operations.payment_methods import PaymentMethodOperations
from billing_core.operations.plans import PlanCatalogReader
from billing_core.operations.ports import BillingReader, PreviewGateway
from billing_core.operations.requests import Operator
from billing_core.operations.runner import OperationRunner
from billing_core.operations.seats import CountSeats, SeatSync
from billing_core.operations.subscriptions import SubscriptionOperations
from billing_core.state.ports import Clock, TenantReader
from billing_core.state.rules import RulesBook


@attrs.frozen(kw_only=True)
class Operations(OperationsInShort):
    """The operations of one process, in short, and all of them by what they are about.

    Every operation of a part that writes takes a `Caller`: the tenant, the request id of the decision, and who decided.
    """

    plans: PlanCatalogReader
    invoices: InvoiceOperations
    credits: CreditOperations
    customers: CustomerOperations

    def seat_sync(self, count: CountSeats, *, actor: str = "seat sync") -> SeatSync:
        """Return what keeps seats at the number that the application counts."""
        return SeatSync(self.subscriptions, count, actor=actor)


def compose_operations(
    *,
    runner: OperationRunner,
    stored: TenantReader,
    rules: RulesBook,
    reader: BillingReader,
    previews: PreviewGateway,
    answers: AnswerKeeper,
    clock: Clock,
    portal_configuration: str | None = None,
) -> Operations:
    """Put the operations of one process together.

    Args:
        runner: runs all of them.
        stored: the state of tenants.
        rules: the plans in force.
        reader: reads from the provider what is not part of the state.
        previews: asks the provider what something would cost.
        answers: shows what the provider answers.
        clock: the time up to which a checkout is open.
        portal_configuration: the configuration of the portal that set-up made.
    """
    operator = Operator(runner=runner, accounts=AccountReader(stored, rules))
    customers = CustomerOperations(operator=operator, reader=reader)
    return Operations(
        plans=PlanCatalogReader(stored=stored, rules=rules),
        subscriptions=SubscriptionOperations(
            operator=operator, customers=customers, reader=reader, previews=previews, stored=stored
        ),
        checkout=CheckoutOperations(
            operator=operator,
            customers=customers,
            reader=reader,
            answers=answers,
            clock=clock,
        ),
        payment_methods=PaymentMethodOperations(
            operator=operator, customers=customers, reader=reader, portal_configuration=portal_configuration
        ),
        invoices=InvoiceOperations(operator=operator, reader=reader, stored=stored, previews=previews),
        credits=CreditOperations(operator=operator, reader=reader),
        customers=customers,
    )
