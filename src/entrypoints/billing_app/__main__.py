"""`python -m billing_app` is the same as `billing`."""

from billing_app.program import main

main()
