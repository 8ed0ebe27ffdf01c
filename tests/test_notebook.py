"""docs/quickstart.ipynb from top to bottom, in a kernel, at a tiny size; and what a notebook shows."""

import os
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
SHRINK = "from tiny import shrink\nshrink(config)\nconfig.sample.every_images = 24"


def tagged(notebook, tag):
    """The place of the one cell with a tag."""
    (place,) = [i for i, cell in enumerate(notebook.cells) if tag in cell.metadata.get("tags", [])]
    return place


@pytest.mark.slow
def test_the_quickstart_runs_from_top_to_bottom(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")  # kept small
    assert notebook.cells[tagged(notebook, "install")].source.startswith("%pip install")
    del notebook.cells[tagged(notebook, "install")]
    notebook.cells.insert(tagged(notebook, "length") + 1, nbformat.v4.new_code_cell(SHRINK))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    cells = {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}
    shows = {name: [o for o in cell.outputs if "image/png" in o.get("data", {})] for name, cell in cells.items()}
    assert len(shows["data"]) == len(shows["sample"]) == 1
    assert len(shows["train"]) >= 2  # sheets, when they are written
    printed = "".join(o.get("text", "") for o in cells["train"].outputs)
    assert "run.py" not in printed and "t2igan.load('runs/quickstart')" in printed
    assert "attributes" in "".join(o.get("text", "") for o in cells["evaluate"].outputs)
    assert "absl" not in "".join(o.get("text", "") for cell in cells.values() for o in cell.outputs)
    assert (tmp_path / "runs" / "quickstart" / "snapshot.safetensors").is_file()
