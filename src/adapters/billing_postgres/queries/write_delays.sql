-- Delays that processes measured, by minute, stage and bucket.

-- name: add_delays
-- Args: arrays of $1 minutes, $2 stages, $3 upper bounds, $4 counts; $5 the first minute to keep.
WITH swept AS (
    DELETE FROM billing_delays WHERE minute < $5
)
INSERT INTO billing_delays AS known (minute, stage, bound, count)
SELECT minute, stage, bound, count
FROM unnest($1::timestamptz[], $2::text[], $3::float8[], $4::bigint[]) AS t (minute, stage, bound, count)
ORDER BY minute, stage, bound  -- in one order, so that two processes never wait for each other
ON CONFLICT (minute, stage, bound) DO UPDATE SET count = known.count + excluded.count;

-- name: sum_delays
-- Args: $1 first minute. Returns: how many delays each bucket of a stage has since then.
SELECT min(minute) AS minute, stage, bound, sum(count)::bigint AS count
FROM billing_delays
WHERE minute >= $1
GROUP BY stage, bound;
