"""Billing as time passes: subscriptions, invoices and payments, apart from the endpoints that start them."""
