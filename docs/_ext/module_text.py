"""The docstring of a module, without its members."""

import importlib
import inspect

from docstrings import to_rest
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


class ModuleText(SphinxDirective):
    """Puts the docstring of the module that is its argument into the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Returns the parsed docstring."""
        (name,) = self.arguments
        text = inspect.getdoc(importlib.import_module(name)) or ""
        lines = StringList(to_rest(text.split("\n")), source=name)
        return self.parse_text_to_nodes("\n".join(lines))
