"""Reads a guide, a percent script, as a notebook."""

import jupytext
import nbformat

# Before the first cell of every guide, and not shown: figures that a cell ends in.
_SETUP = "%matplotlib inline"


def read(text: str) -> nbformat.NotebookNode:
    """Returns the notebook of the text of a percent script."""
    notebook = jupytext.reads(text, fmt="py:percent")
    setup = nbformat.v4.new_code_cell(_SETUP, metadata={"tags": ["remove-cell"]})
    notebook.cells.insert(0, setup)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook
