"""Notebooks: JupyterLab with a pool beside it, cells that are maps, and all maps and runs in one view.

server.py       JupyterLab or Notebook, with the attendant beside it
attendant.py    a process that has the pool ready, and stops it when the server has ended, however it ended
page.py         what JupyterLab's page asks the server: which pool it is; labextension/ shows it in the status
bar magic.py        %wingspan and %%wingspan            cells.py   what such a cell means images.py
notebook images; recipes/ and image/ are what they are made of _dashboard.py   all maps and runs, for
notebooks, pages and terminals
"""

from wingspan._lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wingspan.notebooks._dashboard import dashboard as dashboard

__all__ = ["dashboard"]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(globals(), {"dashboard": "wingspan.notebooks._dashboard"})
