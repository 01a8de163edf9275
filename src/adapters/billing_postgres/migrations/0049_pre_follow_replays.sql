-- The progress of actions that run for long, and the wish of an operator that one ends, which its process reads with each step.
ALTER TABLE billing_audits
    ADD COLUMN progress      jsonb,
    ADD COLUMN progressed_at timestamptz,
    ADD COLUMN canceled_by   text;
