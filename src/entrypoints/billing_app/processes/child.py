"""One process of a group: `python -m billing_app.processes.child NAME`, which only a supervisor starts.

The name is for lists of processes. Standard input and output are pipes of the supervisor; see `Lifeline`.
"""

import sys

from billing_app.exit_status import errors_end_the_program
from billing_app.garbage import collected_seldom
from billing_app.is_program import IS_PROGRAM
from billing_app.lifeline import Lifeline
from billing_app.processes.assignment import receive
from billing_app.processes.running import run_process


def main() -> None:
    """Run what the supervisor assigns, until it closes the pipe or a signal ends this process."""
    IS_PROGRAM.set(True)
    with collected_seldom(), errors_end_the_program():
        task = receive(sys.stdin.buffer)
        running = task.run(task.settings, account_id=task.account_id, lifeline=Lifeline.inherited())
        run_process(task.settings, running, name=task.name)


if __name__ == "__main__":
    main()
