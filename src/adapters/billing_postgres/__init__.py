"""The inbox, the state, the history and the outbox in Postgres 14 or newer."""
