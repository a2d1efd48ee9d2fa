"""The faces in a real browser: the dashboard's page, and the widget in JupyterLab."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import wingspan
from _browser import picture, violations
from _waiting import PATIENCE, NotInTime, until
from wingspan.cli._main import cli
from wingspan.cli.views import _page_to
from wingspan.notebooks._dashboard import Everything
from wingspan.views._server import Dashboard

ONE = wingspan.Options(workers=1)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture
def dashboard():
    """A dashboard of this test's maps and runs."""
    served = Dashboard(Everything().lives)
    thread = threading.Thread(target=served.serve, daemon=True)
    thread.start()
    yield served
    served.close()
    thread.join()


@pytest.fixture
def gated(tmp_path):
    """A map whose components wait for a file, but for the first three; the third fails, with hostile text."""
    gate = tmp_path / "gate"

    def component(number, gate=str(gate), text=HOSTILE):
        import os
        import time

        print(text)
        if number == 2 and not os.path.exists(gate):  # noqa: PTH110 - in a worker
            raise ValueError(text)
        while number > 2 and not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.05)
        return text

    m = wingspan.map(component, range(40), pool="local", tag="shown", options=ONE)
    until(lambda: m.status().counts[wingspan.ComponentStatus.ERRORED], "the third has failed")
    yield m, gate
    gate.touch()
    m.remove()


def asked(dashboard, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=PATIENCE)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def text_of(page, selector):
    """The text of the first such element. (Playwright's own waiting evaluates text as a script, which the
    page forbids.)
    """
    return page.locator(selector).first.inner_text()


@pytest.mark.parametrize("path", ["/", "/list", "/view.js", "/events?of=map%20shown", "/cells", "/nothing"])
def test_only_who_has_the_token_gets_an_answer(dashboard, path):
    """Without the token, with a wrong one, or under a name that only pretends to be this machine, there
    is none.
    """
    assert asked(dashboard, "GET", path)[0] == 403
    assert asked(dashboard, "GET", path, Cookie=f"{dashboard.cookie}=wrong")[0] == 403
    token = f"{dashboard.cookie}={dashboard.token}"
    assert asked(dashboard, "GET", path, Cookie=token, Host="evil.example:80")[0] == 403


def test_other_pages_cannot_press_buttons(dashboard, gated):
    """An action needs the cookie and a header that a form of another page cannot set, and must be one
    that is offered.
    """
    m, _ = gated
    token = f"{dashboard.cookie}={dashboard.token}"
    body = json.dumps({"of": "map shown", "action": "hold"})
    assert asked(dashboard, "POST", "/act", body, Cookie=token)[0] == 403
    assert asked(dashboard, "POST", "/act", body, X_Wingspan="1")[0] == 403
    for wrong in (b"", b"{", b"[]", b'{"of": "map nothing", "action": "hold"}', b"x" * (1 << 17)):
        assert asked(dashboard, "POST", "/act", wrong, Cookie=token, X_Wingspan="1")[0] == 404
    refused = json.dumps({"of": "map shown", "action": "release"})
    assert asked(dashboard, "POST", "/act", refused, Cookie=token, X_Wingspan="1")[0] == 409
    assert m.status().workers == {"running": 1}


@pytest.mark.parametrize(
    "path",
    ["/detail?of=map+shown&number=-1", "/detail?of=map+shown", "/cells?of=map+shown&first=0&stop=x&layer=state",
     "/cells?of=map+shown&first=0&stop=9&layer=odd", "/detail?of=map+other&number=0", "/%2e%2e/view.js"],
)  # fmt: skip
def test_questions_that_make_no_sense(dashboard, gated, path):
    """They are answered in a sentence, and nothing breaks."""
    status, data = asked(dashboard, "GET", path, Cookie=f"{dashboard.cookie}={dashboard.token}")
    assert status == 404
    assert json.loads(data)["said"]


DEEP = b"[" * 60000


@pytest.mark.parametrize(
    ("sent", "status"),
    [("GET http://[ HTTP/1.1\r\n\r\n", b"403"),
     ("POST / HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\nX-Wingspan: 1\r\nContent-Length: 60000\r\n\r\n", b"404"),
     ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"403")],
    ids=["address", "deep", "smuggled"],
)  # fmt: skip
def test_what_no_browser_sends(dashboard, capfd, sent, status):
    """It gets one answer, and nothing is said on the person's terminal."""
    request = sent.format(f"{dashboard.cookie}={dashboard.token}").encode()
    with socket.create_connection(("127.0.0.1", dashboard.port), timeout=PATIENCE) as connection:
        connection.sendall(request + DEEP if status == b"404" else request)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1") == 1
    assert capfd.readouterr().err == ""


def test_the_token_is_in_no_argument_of_the_browser(monkeypatch):
    """Everybody on the machine can read the arguments of programs: the browser is started with the name of
    a file that only this user can read, and that leads to the address.
    """
    launched = []

    def launch(page):
        launched.append((page, Path(page).stat().st_mode & 0o777, Path(page).read_text()))
        raise KeyboardInterrupt

    monkeypatch.setattr("click.launch", launch)
    said = CliRunner().invoke(cli, ["dashboard"])
    [(page, mode, text)] = launched
    address = re.search(r"http://127\.0\.0\.1:\d+/\?token=[\w-]+", said.output)[0]
    assert mode == 0o600
    assert "token" not in page
    assert address in text
    assert not Path(page).exists()


def test_a_connection_that_is_broken_off_says_nothing(dashboard, capfd):
    """A browser that goes away in the middle of a request leaves no traceback on the person's terminal."""
    before = answering()
    with socket.create_connection(("127.0.0.1", dashboard.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET / HT")
        until(lambda: answering() - before, "a thread for it")
        # Closed without waiting for anything: the other side is told of a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: not answering() - before, "the end of its thread")
    assert capfd.readouterr().err == ""


def answering():
    """Threads of a dashboard that answer a connection."""
    return {thread for thread in threading.enumerate() if "process_request_thread" in thread.name}


@pytest.mark.slow
def test_the_page_in_a_browser(dashboard, gated, page):
    """The list, the live face, a component by keyboard, the errors; hostile text is text; then all is
    done, live, by a button.
    """
    m, gate = gated
    with _page_to(dashboard.url) as way:
        page.goto(way.as_uri())
        page.wait_for_selector(".ws-board[aria-busy=false]")  # keys are of no use before the grid is there
    assert "token" not in page.url
    until(lambda: "1 errored" in text_of(page, ".ws-legend"), lambda: text_of(page, ".ws"))
    page.locator(".ws-board").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator(".ws-cursor").inner_text() == "2 errored"
    page.keyboard.press("Enter")
    page.wait_for_selector(".ws-detail dl")
    assert HOSTILE in page.locator(".ws-detail").inner_text()
    picture(page, "dashboard")
    page.keyboard.press("Escape")
    assert page.locator(".ws-detail").is_hidden()
    page.get_by_role("tab", name=re.compile("Errors")).click()
    assert HOSTILE in page.locator(".ws-group").first.inner_text()
    page.get_by_role("tab", name=re.compile("Errors")).press("ArrowLeft")
    assert page.get_by_role("tab", name="Workers").get_attribute("aria-selected") == "true"
    gate.touch()
    page.get_by_role("button", name="Run failed ones again").click()
    until(lambda: text_of(page, ".ws-state") == "done", lambda: text_of(page, ".ws"))
    assert m.status().is_done
    # So far only cells that changed were painted; all are, once the board has had the focus.
    page.get_by_role("tab", name="Components").click()
    canvas, board = page.locator(".ws-board canvas"), page.locator(".ws-board")
    painted = canvas.evaluate("canvas => canvas.toDataURL()")
    board.focus()
    assert canvas.evaluate("canvas => canvas.toDataURL()") != painted
    board.evaluate("board => board.blur()")
    assert canvas.evaluate("canvas => canvas.toDataURL()") == painted


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_everybody_can_use_the_page(dashboard, gated, browser, scheme, width):
    """axe-core finds nothing, in light and dark, wide and narrow, with a component and with errors shown;
    nothing is cut off.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(dashboard.url)
    page.wait_for_selector(".ws-board[aria-busy=false]")  # keys are of no use before the grid is there
    until(lambda: "1 errored" in text_of(page, ".ws-legend"), lambda: text_of(page, ".ws"))
    page.locator(".ws-board").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".ws-detail dl")
    assert violations(page) == []
    page.get_by_role("tab", name=re.compile("Errors")).click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    picture(page, f"dashboard-{scheme}-{width}")
    context.close()


@pytest.mark.slow
def test_the_report_in_a_browser(gated, page, tmp_path):
    """axe-core finds nothing in a report, and nothing of it is executed."""
    m, gate = gated
    gate.touch()
    m.wait(timeout=PATIENCE, errors_ok=True)
    page.goto(m.report(tmp_path / "r.html").as_uri())
    assert violations(page) == []
    picture(page, "report")
    assert page.locator("h1").inner_text() == "shown"


CELLS = [
    "import wingspan, pathlib, time\n"
    "def component(number, gate=str(pathlib.Path('gate').absolute())):\n"
    "    import os\n"
    "    while number > 2 and not os.path.exists(gate): time.sleep(0.05)\n"
    "    if number == 1: raise ValueError('<img src=x onerror=alert(1)>')\n"
    "    return number\n"
    "m = wingspan.map(component, range(40), pool='local', tag='live', options=wingspan.Options(workers=1), exist_ok=True)\n"
    "m",
    "m",
    "wingspan.dashboard()",
]


#: Where the widget is looked at, by the module that starts it: the page of a notebook, and what tells there
#: that the kernel is ready. Before that, the page asks which kernel is wanted instead of running the cells.
APPLICATIONS = {
    "jupyterlab": ("lab/tree", lambda page: "Python 3 (ipykernel) | Idle" in page.locator("#jp-main-statusbar").inner_text()),
    "notebook": ("notebooks", lambda page: page.locator(".jp-NotebookKernelStatus-fade").count() == 1),
}  # fmt: skip


@pytest.fixture
def opened(application, tmp_path, data_dir):
    """JupyterLab or Notebook with a notebook of `CELLS`: its folder, the notebook's address, and what tells
    that its kernel is ready.
    """
    pytest.importorskip(application)
    pytest.importorskip("anywidget")
    folder = tmp_path / "work"
    folder.mkdir()
    cells = [
        {
            "cell_type": "code",
            "id": f"c{at}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": cell,
        }
        for at, cell in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "live.ipynb").write_text(json.dumps(notebook))
    log = tmp_path / "server.log"
    words = [
        "-m",
        application,
        "--no-browser",
        "--allow-root",
        "--ServerApp.port=0",
        "--ServerApp.ip=127.0.0.1",
    ]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
                   "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"), "WINGSPAN_DATA_DIR": str(data_dir)}  # fmt: skip
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, *words, f"--ServerApp.root_dir={folder}"],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        found = until(
            lambda: re.search(r"http://127\.0\.0\.1:(\d+)/\w+\?token=(\w+)", log.read_text()), log.read_text
        )
        place, is_ready = APPLICATIONS[application]
        yield folder, f"http://127.0.0.1:{found[1]}/{place}/live.ipynb?token={found[2]}", is_ready
    finally:
        server.terminate()
        server.wait()


def painted(face, cell):
    """Red, green and blue of a cell that is in the first line of the grid."""
    return face.locator(".ws-board canvas").evaluate(
        "(canvas, cell) => [...canvas.getContext('2d').getImageData(18 * cell + 4, 13, 1, 1).data.slice(0, 3)]",
        cell,
    )


def shade(face, state):
    """Red, green and blue of a state."""
    text = face.evaluate(f"face => getComputedStyle(face).getPropertyValue('--ws-{state}')")
    return [int(text.strip()[at : at + 2], 16) for at in (1, 3, 5)]


def cells_run(page):
    """Ask for all cells to be run; whether they are. A page that is busy with itself loses the request."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()

    def begun():
        page.screenshot()
        return any(
            re.search(r"[*\d]", prompt) for prompt in page.locator(".jp-InputPrompt").all_inner_texts()
        )

    with contextlib.suppress(NotInTime):
        return until(begun, seconds=15)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_widget_in_a_notebook(application, opened, page):
    """In JupyterLab and in Notebook 7: cells are run; the views go from waiting to done by themselves; keys
    show a component; a button does again what failed.
    """
    folder, address, is_ready = opened
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell")

    def comes(condition: Callable[[], bool]) -> None:
        def drawn() -> bool:
            # Headless, Chromium draws when it is asked for a picture. JupyterLab shows outputs as it draws.
            page.screenshot()
            return condition()

        until(drawn, page.locator("body").inner_text)

    def all_are(state: str) -> bool:
        return bool(page.locator(f".ws-state[data-state={state}]").count() == len(CELLS))

    comes(lambda: is_ready(page))
    until(lambda: cells_run(page), page.locator("body").inner_text)
    faces = page.locator("div.ws")
    comes(lambda: faces.count() == len(CELLS))
    comes(lambda: all_are("running"))
    first = faces.nth(0)
    comes(lambda: "1 errored" in first.locator(".ws-legend").first.inner_text())
    picture(page, f"{application}-running")
    comes(lambda: first.locator(".ws-board[aria-busy=false]").count() == 1)
    comes(lambda: painted(first, 0) == shade(first, "completed"))
    comes(lambda: painted(first, 39) == shade(first, "idle"))
    first.locator(".ws-board").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    comes(lambda: first.locator(".ws-detail dl").is_visible())
    assert "<img src=x" in first.locator(".ws-detail").inner_text()
    assert violations(page, "div.ws") == []
    (folder / "gate").touch()
    comes(lambda: all_are("errored"))
    first.get_by_role("button", name="Run failed ones again").click()
    comes(lambda: first.locator(".ws-said").inner_text() == "1 component will be done again")
    comes(lambda: all_are("errored"))
    picture(page, f"{application}-done")


@pytest.mark.slow
def test_a_chain_in_a_browser(dashboard, gated, page):
    """The page of a map that waits for another one has a line with a bar for that one, too."""
    later = gated[0].map(len, pool="local", tag="later", options=ONE)
    page.goto(dashboard.url)
    page.get_by_text("later").first.click()
    page.wait_for_selector(".ws-before li")
    assert text_of(page, ".ws-before li span") == "shown: 2 of 40, 1 failed"
    assert page.locator(".ws-before .ws-bar span").count() == 3
    assert violations(page) == []
    later.remove()
