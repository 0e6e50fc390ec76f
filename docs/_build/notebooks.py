"""Runs notebooks in place, so that their outputs can be read without running them.

    python docs/_build/notebooks.py notebooks/01_explain_and_attack.ipynb ...

Their paths on this machine and the times of running are left out.
"""

import os
import sys
from pathlib import Path

import nbclient
import nbformat


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in `folder`. Raises: nbclient's CellExecutionError with the cell that fails."""
    book = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        book, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}, record_timing=False
    )
    client.execute()
    for cell in book.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            # What a library warns about is not about the reader.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return book


def main() -> None:
    os.environ.setdefault("PYTHONPATH", os.getcwd())
    for name in sys.argv[1:]:
        path = Path(name)
        nbformat.write(execute(path, path.parent), path)
        print(f"{name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
