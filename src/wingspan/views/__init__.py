"""What is shown of a map or a run: one model, and its faces (a widget in notebooks, a page, a report, a
terminal).

Maps and runs are `Source`s. This room knows neither.
"""

from wingspan._lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wingspan.views._live import Live as Live
    from wingspan.views._live import live as live
    from wingspan.views._model import Cells as Cells
    from wingspan.views._model import Detail as Detail
    from wingspan.views._model import ErrorGroup as ErrorGroup
    from wingspan.views._model import HoldGroup as HoldGroup
    from wingspan.views._model import Report as Report
    from wingspan.views._model import View as View
    from wingspan.views._model import WorkerSpan as WorkerSpan
    from wingspan.views._report import report_html as report_html
    from wingspan.views._source import Source as Source

_HOMES = {
    **dict.fromkeys(
        ("Cells", "Detail", "ErrorGroup", "HoldGroup", "Report", "View", "WorkerSpan"),
        "wingspan.views._model",
    ),
    **dict.fromkeys(("Live", "live"), "wingspan.views._live"),
    "report_html": "wingspan.views._report",
    "Source": "wingspan.views._source",
}

__all__ = [
    "Cells",
    "Detail",
    "ErrorGroup",
    "HoldGroup",
    "Live",
    "Report",
    "Source",
    "View",
    "WorkerSpan",
    "live",
    "report_html",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(globals(), _HOMES)
