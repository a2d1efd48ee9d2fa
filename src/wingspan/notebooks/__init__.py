"""Notebooks: JupyterLab with a pool beside it, and cells that are maps.

server.py       JupyterLab or Notebook, with the attendant beside it
attendant.py    a process that has the pool ready, and stops it when the server has ended, however it ended
"""
