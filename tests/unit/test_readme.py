"""The example in the README is a program that does what its last comment says."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_example_prints_what_it_promises() -> None:
    """Somebody who copies it sees an event become a tenant's state."""
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    promised = re.search(r"asyncio\.run\(main\(\)\)  # (.+)", example)
    assert promised
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == (promised[1], "")


def test_its_links_lead_somewhere() -> None:
    """Every page of ours that it points to is there."""
    targets = re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (README.parent / target).exists()] == []
