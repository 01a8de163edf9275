-- When an invoice's payments failed: a JSON array of instants, ascending. Grace counts from the first one, and each is
-- announced once. Empty for what failed before this release.
ALTER TABLE subscription_invoices ADD COLUMN failed_at jsonb NOT NULL DEFAULT '[]';
