-- What is going to happen to a subscription: the id of its schedule, the coming phases of it, and a change that waits to be
-- paid. Schedules of before show their phases with their next event.
ALTER TABLE tenant_subscriptions
    ADD COLUMN schedule_id    text COLLATE "C",
    ADD COLUMN pending_change jsonb NOT NULL DEFAULT 'null',
    ADD COLUMN planned        jsonb NOT NULL DEFAULT '[]';
