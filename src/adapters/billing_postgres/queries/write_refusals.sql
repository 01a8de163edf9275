-- Refused webhooks, by day and reason.

-- name: add_refusals
-- Args: arrays of $1 days, $2 reasons, $3 counts, $4 largest sizes; $5 the first day to keep.
WITH swept AS (
    DELETE FROM stripe_refused_webhooks WHERE day < $5
)
INSERT INTO stripe_refused_webhooks AS known (day, reason, count, largest)
SELECT day, reason, count, largest
FROM unnest($1::date[], $2::text[], $3::bigint[], $4::bigint[]) AS t (day, reason, count, largest)
ORDER BY day, reason  -- in one order, so that two servers never wait for each other
ON CONFLICT (day, reason) DO UPDATE SET
    count = known.count + excluded.count,
    largest = greatest(known.largest, excluded.largest);

-- name: list_refusals
-- Args: $1 first day.
SELECT day, reason, count, largest FROM stripe_refused_webhooks WHERE day >= $1 ORDER BY day, reason;
