-- Events that died because no plan had their price are due again: such a subscription is now stored without a plan.
-- Their attempts no longer count, as after a replay.
UPDATE stripe_event_dispatch
SET status = 'due', due_at = now(), forgiven = attempt, finished_at = NULL
WHERE status = 'dead' AND reason = 'unknown_price';
