"""The contract of AuditLog, and of the AuditTrail that it reads back."""

from billing_core.oversight.ports import AuditLog
from billing_core.testing.suite import Suite


class AuditLogContract(Suite):
    """A durable note of every action, from its beginning. A binding provides `audit_log`, empty."""

    async def test_an_action_is_noted_from_the_beginning(self, audit_log: AuditLog) -> None:
        """An interrupted one stays without an end; hostile text is stored as text."""
        cut = await audit_log.begin("replay", actor="ann", reason=None, filter={"type": ["invoice.*"]})
        done = await audit_log.begin("ignore", actor="bob\x00", reason="noise \ud800", filter={"id": ["\x00"]})
        await audit_log.finish(done, {"ignored": 3})
        await audit_log.finish(done, {"ignored": 4})
        last, first = await audit_log.latest(limit=5)
        assert (last.audit_id, last.action, last.actor[:3], last.result) == (done, "ignore", "bob", {"ignored": 3})
        assert last.finished_at is not None
        assert [each.audit_id for each in await audit_log.latest(limit=5, action="replay")] == [cut]
        assert await audit_log.latest(limit=5, before=done, actor="ann") == [first]
        assert await audit_log.latest(limit=5, before=done, actor="bob") == []
        assert [each.audit_id for each in await audit_log.latest(limit=1)] == [done]
        assert (first.audit_id, first.actor, first.filter) == (cut, "ann", {"type": ["invoice.*"]})
        assert (first.finished_at, first.result) == (None, None)

    async def test_a_running_action_shows_its_progress(self, audit_log: AuditLog) -> None:
        """The last one, and when; not once it has ended."""
        running = await audit_log.begin("replay", actor="ann", reason=None, filter={})
        assert (await audit_log.latest(limit=1))[0].progressed_at is None
        for seen in (0, 256):
            assert await audit_log.advance(running, {"seen": seen}) is False
        (entry,) = await audit_log.latest(limit=1)
        assert (entry.progress, entry.result) == ({"seen": 256}, None)
        assert entry.progressed_at is not None
        await audit_log.finish(running, {"seen": 300})
        assert await audit_log.advance(running, {"seen": 400}) is False
        assert (await audit_log.latest(limit=1))[0].progress == {"seen": 256}

    async def test_a_running_action_can_be_canceled(self, audit_log: AuditLog) -> None:
        """It learns so with its next step; the first who asks is recorded. One that has ended cannot be."""
        running = await audit_log.begin("replay", actor="ann", reason=None, filter={})
        other = await audit_log.begin("replay", actor="ann", reason=None, filter={})
        assert await audit_log.cancel(running, actor="bob") is True
        assert await audit_log.cancel(running, actor="eve") is True
        assert await audit_log.advance(running, {}) is True
        assert await audit_log.advance(other, {}) is False
        assert (await audit_log.latest(limit=2))[1].canceled_by == "bob"
        await audit_log.finish(running, {})
        assert await audit_log.cancel(running, actor="bob") is False
        assert await audit_log.cancel(other + 1, actor="bob") is False
