"""Several processes of `billing serve` or `billing worker` under one supervisor.

`supervisor` starts them, restarts those that end, and ends all of them together. `child` is the program of one of them,
`assignment` the message that says what it runs, and `tasks` what that may be. `ports` are the addresses that they share
or have each to itself, and `running` is common to them and to a process that stands alone.
"""
