-- The flow of events over a time, for charts. The index of receipts has blocks of rows in the order of their arrival.

-- name: count_flow
-- Args: $1 since, $2 until, $3 step. Returns: the counts of each step that has any; those of ends are of events received since.
WITH received AS (
    SELECT e.received_at, d.status, d.finished_at, d.sequence
    FROM stripe_events AS e JOIN stripe_event_dispatch AS d ON d.event = e.id
    WHERE e.received_at >= $1 AND e.received_at < $2
)
SELECT at, sum(stored)::bigint AS stored, sum(applied)::bigint AS applied, sum(ignored)::bigint AS ignored,
       sum(dead)::bigint AS dead, sum(messages)::bigint AS messages
FROM (
    SELECT date_bin($3, received_at, $1) AS at, count(*) AS stored, 0 AS applied, 0 AS ignored, 0 AS dead, 0 AS messages
    FROM received
    GROUP BY at
    UNION ALL
    SELECT date_bin($3, finished_at, $1), 0, count(*) FILTER (WHERE status = 'applied'),
           count(*) FILTER (WHERE status = 'ignored'), count(*) FILTER (WHERE status = 'dead'), count(sequence)
    FROM received
    WHERE finished_at >= $1 AND finished_at < $2 AND status IN ('applied', 'ignored', 'dead')
    GROUP BY 1
) AS counted
GROUP BY at
ORDER BY at;

-- name: measure_delays
-- Args: $1 since, $2 until, $3 how many of the latest events. Returns: the median and the 95th percentile of their delay.
WITH latest AS (
    SELECT created_at, received_at, duplicates
    FROM stripe_events
    WHERE received_at >= $1 AND received_at < $2
    ORDER BY id DESC
    LIMIT $3
)
SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY received_at - created_at) AS sent,
       coalesce(sum(duplicates), 0)::bigint AS duplicates
FROM latest;
