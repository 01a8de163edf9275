"""The data directory of a run, removed when the run is over."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing_embedded.data_directory import DataDirectory
from billing_embedded.system_user import reachable_folder, server_user


@contextmanager
def temporary_folder(data_dir: Path, *, keep: bool) -> Iterator[None]:
    """Remove the folder after the block, unless it is to be kept or another process uses it by then."""
    try:
        yield
    finally:
        directory = DataDirectory(data_dir)
        if not keep and data_dir.is_dir() and directory.take():
            # Under root the servers may keep their files elsewhere.
            shutil.rmtree(reachable_folder(data_dir, server_user(data_dir)), ignore_errors=True)
            shutil.rmtree(data_dir, ignore_errors=True)
