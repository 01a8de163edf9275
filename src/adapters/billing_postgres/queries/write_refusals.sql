-- Refused webhooks, by hour and reason.

-- name: add_refusals
-- Args: arrays of $1 hours, $2 reasons, $3 counts, $4 largest sizes; $5 the first hour to keep.
WITH swept AS (
    DELETE FROM billing_refused_webhooks WHERE hour < $5
)
INSERT INTO billing_refused_webhooks AS known (hour, reason, count, largest)
SELECT hour, reason, count, largest
FROM unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::bigint[]) AS t (hour, reason, count, largest)
ORDER BY hour, reason  -- in one order, so that two servers never wait for each other
ON CONFLICT (hour, reason) DO UPDATE SET
    count = known.count + excluded.count,
    largest = greatest(known.largest, excluded.largest);

-- name: list_refusals
-- Args: $1 first hour.
SELECT hour, reason, count, largest FROM billing_refused_webhooks WHERE hour >= $1 ORDER BY hour, reason;
