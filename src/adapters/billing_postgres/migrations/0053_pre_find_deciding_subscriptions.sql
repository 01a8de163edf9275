-- Everything that decides on the access that a subscription gives, as one text; null where the clock may end that access.
-- Subscriptions of a tenant with the same text give the same access, so an event reads only the latest of them.
CREATE FUNCTION billing_standing(
    status text, ended boolean, plan_code text, collection_method text, collection_paused boolean, pause_behavior text,
    out_of_scope boolean, may_end boolean
) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN ended OR NOT (may_end OR status IN ('trialing', 'incomplete')) THEN
        quote_literal(status) || quote_nullable(plan_code) || quote_nullable(collection_method)
        || quote_nullable(pause_behavior) || collection_paused::text || out_of_scope::text
    END
$$;

CREATE VIEW billing_standings AS
SELECT
    subscription_id,
    tenant_id,
    status,
    ended,
    billing_standing(
        status COLLATE "C", ended, plan_code, collection_method, collection_paused, pause_behavior, out_of_scope,
        cancel_at_period_end OR cancel_at IS NOT NULL OR test_clock IS NOT NULL
    ) AS standing,
    coalesce(ended_at, current_period_start) AS latest
FROM tenant_subscriptions;

-- In the words of the view.
CREATE INDEX tenant_subscriptions_standing ON tenant_subscriptions (
    tenant_id,
    billing_standing(
        status COLLATE "C", ended, plan_code, collection_method, collection_paused, pause_behavior, out_of_scope,
        cancel_at_period_end OR cancel_at IS NOT NULL OR test_clock IS NOT NULL
    ),
    coalesce(ended_at, current_period_start) DESC NULLS LAST,
    subscription_id
);
