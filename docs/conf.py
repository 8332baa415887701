"""The settings of the site: Sphinx, MyST Markdown, guides that run.

`python docs/build.py` builds and checks it. No step asks the network for anything.
"""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]
# The kernels that run the guides import this tfhyper, quietly.
os.environ["PYTHONPATH"] = os.pathsep.join(
    x for x in (str(DOCS.parent), os.environ.get("PYTHONPATH")) if x
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfhyper.version import __version__  # noqa: E402

project = "tfhyper"
author = "The tfhyper authors"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "docstrings",
    "reference",
    "repository_pages",
]
exclude_patterns = [
    "_build",
    "_ext",
    "manual",
    "**.ipynb_checkpoints",
    "jupyter_execute",
]
root_doc = "index"
# A name in backticks is a link where it is the name of something on this site.
default_role = "py:obj"
nitpicky = False
toc_object_entries_show_parents = "hide"
highlight_language = "python"

# Guides: percent scripts, run at every build. A cache would stay green over a library
# that changed under them.
nb_custom_formats = {".guide.py": "guide_reader.read"}
nb_execution_mode = os.environ.get("TFHYPER_DOCS_EXECUTION", "force")
# Seconds for a cell; a machine that does other work needs more.
nb_execution_timeout = int(os.environ.get("TFHYPER_DOCS_TIMEOUT", "180"))
# A guide that fails is a warning, with its traceback, and warnings are errors: so all
# that fail are told, where an exception would stop at the first without its cause.
nb_execution_raise_on_error = False
# What a guide writes goes with it.
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_merge_streams = True
# What TensorFlow says of the machine on its start is not for readers.
nb_output_stderr = "remove"
nb_execution_excludepatterns = []
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Formulas are plain text: no script from elsewhere draws them.
myst_links_external_new_tab = False

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [
    ("Call arguments", "params_style"),
    "Input shape",
    "Output shape",
    "Reference",
    "Sources",
]

html_theme = "pydata_sphinx_theme"
html_title = "tfhyper"
html_static_path = ["_static"]
html_css_files = ["tfhyper.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "tfhyper"},
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "pygments_light_style": "friendly",
}
html_sidebars = {"index": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
