-- The provider's account and mode whose data this database holds: one row, written when a server or worker starts. A key of
-- another account, or of the other mode, would mix the data of two.
CREATE TABLE billing_provider_account (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    livemode   boolean NOT NULL,
    account_id text COLLATE "C"  -- null until the provider has named it
);

-- A database that was in use before holds the mode of the events that it has applied.
INSERT INTO billing_provider_account (livemode)
SELECT livemode FROM stripe_events JOIN stripe_event_dispatch ON event = id WHERE status = 'applied' ORDER BY id DESC LIMIT 1;
