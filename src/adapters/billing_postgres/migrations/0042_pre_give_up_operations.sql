-- Operators can give up an operation whose outcome cannot be found out, and see why the last attempt left it unresolved.
ALTER TABLE gateway_operations
    ADD COLUMN last_error      text,
    ADD COLUMN given_up_by     text,
    ADD COLUMN given_up_reason text,
    DROP CONSTRAINT gateway_operations_status_check,
    ADD CONSTRAINT gateway_operations_status_check
        CHECK (status IN ('begun', 'done', 'refused', 'not_done', 'given_up')),
    ADD CONSTRAINT gateway_operations_given_up CHECK ((status = 'given_up') = (given_up_by IS NOT NULL));

-- Old operations are deleted, and so are the notes of their events.
CREATE INDEX gateway_operations_resolved ON gateway_operations (resolved_at) WHERE status <> 'begun';
CREATE INDEX operation_echoes_event ON operation_echoes (event);
