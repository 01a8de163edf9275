"""Outgoing webhooks over HTTP: which addresses may be reached, signatures, and the sender."""
