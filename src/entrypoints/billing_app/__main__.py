"""`python -m billing_app` is the same as `billing`."""

from billing_app.cli import main

main()
