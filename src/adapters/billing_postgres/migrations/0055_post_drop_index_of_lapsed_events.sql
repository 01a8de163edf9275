-- stripe_event_dispatch_unlinked replaces it; only older processes used it.
DROP INDEX stripe_event_dispatch_lapsed;
