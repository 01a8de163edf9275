-- The traceparent of the span that stored an event; null where nothing was traced. Processing continues that trace.
ALTER TABLE stripe_events ADD COLUMN trace_context text;
