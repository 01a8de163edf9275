"""Commands carried out at Stripe, one module per area; `gateway` finds the right one."""
