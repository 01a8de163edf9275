"""Setting up billing with a Stripe account: keys, catalog, webhooks, and the file that holds the secrets."""
