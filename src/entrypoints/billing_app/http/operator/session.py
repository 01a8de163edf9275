"""Handlers about the operator and the log of what operators did."""

from billing_app.http.operator.answers import AuditsAnswer, SessionAnswer, audit_answer
from billing_app.http.operator.calling import OperatorCall


async def show_session(call: OperatorCall[None]) -> SessionAnswer:
    """Answer who is signed in, and the mode and account that this server serves."""
    stripe = call.services.settings.stripe
    return SessionAnswer(
        subject=call.operator.subject,
        role=call.operator.role,
        expires_at=call.operator.expires_at,
        livemode=stripe.livemode,
        account=stripe.account_id,
    )


async def list_audits(call: OperatorCall[None]) -> AuditsAnswer:
    """Answer a page of the audit log."""
    limit = call.query.limit
    found = await call.tools.audits.latest(
        limit=limit,
        action=call.query.text("action"),
        actor=call.query.text("actor"),
        before=call.query.number("before"),
    )
    return AuditsAnswer(
        audits=tuple(map(audit_answer, found)), next_before=found[-1].audit_id if len(found) == limit else None
    )
