-- The log of what operators did to stored events.

-- name: begin_audit
-- An operator is told that the action was accepted, so the commit is durable.
-- Args: $1 action, $2 actor, $3 reason, $4 filter (JSON). Returns: the entry's number.
INSERT INTO billing_audits (action, actor, reason, filter) VALUES ($1, $2, $3, $4::text::jsonb)
RETURNING audit_id, (SELECT billing_commit_durably()) AS durability;

-- name: finish_audit
-- Args: $1 entry, $2 result (JSON).
UPDATE billing_audits SET finished_at = now(), result = $2::text::jsonb WHERE audit_id = $1 AND finished_at IS NULL;

-- name: advance_audit
-- Args: $1 entry, $2 progress (JSON). Returns: whether it is to end; no row once it has ended.
UPDATE billing_audits SET progress = $2::text::jsonb, progressed_at = now()
WHERE audit_id = $1 AND finished_at IS NULL
RETURNING canceled_by IS NOT NULL AS canceled;

-- name: cancel_audit
-- Args: $1 entry, $2 actor. Returns: the entry, unless it has ended.
UPDATE billing_audits SET canceled_by = coalesce(canceled_by, $2)
WHERE audit_id = $1 AND finished_at IS NULL
RETURNING audit_id;
