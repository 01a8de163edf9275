-- tenant_subscriptions_standing begins with the tenant, too.
DROP INDEX tenant_subscriptions_tenant;
