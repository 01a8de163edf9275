"""Several processes of `billing serve` or `billing worker` under one supervisor.

`supervisor` starts them, restarts those that end, and ends all of them together; `child` is the program of one of them,
`assignment` the message that says what it runs, and `ports` the addresses that they share or have each to itself.
"""
