"""The data directory of a run, removed when the run is over."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing_embedded.account import reachable_folder, server_account
from billing_embedded.home import Home


@contextmanager
def temporary_folder(data_dir: Path, *, keep: bool) -> Iterator[None]:
    """Remove the folder after the block, unless it is to be kept or another process uses it by then."""
    try:
        yield
    finally:
        home = Home(data_dir)
        if not keep and data_dir.is_dir() and home.take():
            # Under root the servers may keep their files elsewhere.
            shutil.rmtree(reachable_folder(data_dir, server_account(data_dir)), ignore_errors=True)
            shutil.rmtree(data_dir, ignore_errors=True)
