"""What tests of views share: own folders, a browser."""

from _browser import browser, page
from _own_folders import data_dir

__all__ = ["browser", "data_dir", "page"]
