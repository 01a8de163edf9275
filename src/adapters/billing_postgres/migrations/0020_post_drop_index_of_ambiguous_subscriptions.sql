-- tenant_subscriptions_uncertain replaces it; only older processes used it.
DROP INDEX tenant_subscriptions_doubtful;
