"""The page of a real hub in a real browser: what a person does there from the first link to the last deed."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import Window, chromium
from tests.e2e.lab import Lab
from tests.profile import PATIENCE
from tests.services import redis_server
from tests.waiting import until

PASSWORD = "correct horse battery"
#: The DAG of the walk: no run of it starts by itself within the test, and there are dates that one can ask for. While there is a file `hold`, the log
#: ends with its fifth line.
WALK = """
    from datetime import datetime
    from rqflow import DAG, BashOperator, Param
    with DAG("walk", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, tags=["ngs"],
             description="Counts lines", params={{
                 "sample": Param("liver", type="string", enum=["liver", "kidney"], description="Whose lines"),
                 "lines": Param(2, type="integer", minimum=1, maximum=20)}}) as dag:
        count = BashOperator(task_id="count", bash_command=\"\"\"
            for line in $(seq {{{{ params.lines }}}}); do
                echo "line $line of {{{{ params.sample }}}}"
                while [ $line = 5 ] && [ -e {folder}/hold ]; do sleep 0.05; done
            done\"\"\")
        check = BashOperator(task_id="check", bash_command="{check}")
        count >> check
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(params=["embedded", "redis_and_mariadb"])
def hub(request: pytest.FixtureRequest, new_lab: Callable[..., Lab]) -> Lab:
    """A home with all services, by `rqflow up` on the embedded default and on servers alike."""
    servers = {}
    if request.param != "embedded":
        servers = {"redis_url": request.getfixturevalue("lab_redis"), "database_url": request.getfixturevalue("mariadb_database")}
    lab = new_lab(**servers, environ={"RQFLOW__WEBSERVER__PORT": "0"})
    if servers:
        lab.run("db", "upgrade")
    lab.run("up")

    return lab


def set_up(lab: Lab) -> tuple[str, str]:
    """The address of the page, and the path of the link that makes the first admin."""
    until(lambda: list(lab.home.glob("state/*/webserver.url")), what="the web server to be there")  # the command takes long to be run over and over
    until(lambda: "answers on" in lab.run("health", "--component", "webserver", code=None).stdout, what="the web server to listen")
    found = re.search(r"(http://[^/\s]+)(/setup/\S+)", lab.run("user", "setup-link").stdout)
    assert found
    return found[1], found[2]


def walk(lab: Lab, check: str) -> None:
    """Submit the DAG of the walk; `check` is the command of its second task."""
    lab.run("submit", lab.dag(WALK.format(check=check, folder=lab.folder)))


def log_in(page: Page, name: str = "ann") -> None:
    """Fill in the login that is shown."""
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def make_admin(page: Page, link: str) -> None:
    """Use a one-time link."""
    page.goto(link)
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".flash")).to_have_text("Welcome, ann.")


def head_says(page: Page, state: str) -> None:
    """Wait until the head of a run's page has this state."""
    expect(page.locator("#run-head .badge, #run-head .state").first).to_have_text(re.compile(state), timeout=60_000)


@pytest.mark.timeout(240)
def test_from_the_first_link_to_the_last_deed(hub: Lab, browser: Browser) -> None:
    url, link = set_up(hub)
    walk(hub, check="echo cannot go on >&2; exit 3")
    (hub.folder / "hold").touch()
    window = Window(browser, url, viewport={"width": 1440, "height": 900})
    page = window.page
    make_admin(page, link)
    # The link is good once.
    window.forgive(r"409 .*/setup/")
    page.goto(link)
    expect(page.locator("form[action^='/setup']")).to_have_count(0)
    page.goto("/")
    page.locator(".top .menu summary").click()
    page.get_by_role("button", name="Log out").click()
    log_in(page)
    expect(page).to_have_url(f"{url}/")
    # From the list of DAGs a run starts by a form made of its params.
    page.get_by_role("navigation", name="Main").get_by_role("link", name="DAGs").click()
    page.get_by_role("link", name="Start a run of walk").click()
    dialog = page.locator("#dialog")
    dialog.get_by_label("sample").select_option("kidney")
    dialog.get_by_label("lines").fill("20")
    dialog.get_by_role("button", name="Start the run").click()
    page.wait_for_url("**/runs/*")
    expect(page.locator(".flash")).to_contain_text("started")
    page.evaluate("window.same = true")
    # The log of the first task grows while it is looked at.
    page.locator(".run-rows a[data-task=count]").click()
    expect(page.locator(".log-text >> nth=0")).to_have_text("line 1 of kidney")
    lines = page.locator(".log-text", has_text="of kidney")
    expect(lines).to_have_count(5)
    (hub.folder / "hold").unlink()
    expect(lines).to_have_count(20)
    expect(page.locator(".log-end")).to_contain_text("exit 0")
    # The second one fails; its log says why.
    head_says(page, "failed")
    page.locator(".run-rows a[data-task=check]").click()
    expect(page.locator(".log-text >> nth=0")).to_have_text("cannot go on")
    expect(page.locator(".log-end")).to_contain_text("exit 3")
    assert page.evaluate("window.same"), "the page was never loaded anew"
    # Its file is mended, and it runs again; the preview says what, and what is new.
    walk(hub, check="echo well")
    page.locator("#panel").get_by_role("link", name="Clear…").click()
    expect(dialog.locator(".run-means")).to_contain_text("1 task")
    expect(dialog.locator(".run-news")).to_contain_text("bash_command")
    dialog.get_by_role("button", name="Run 1 task again").click()
    page.wait_for_load_state()
    head_says(page, "success")
    expect(page.locator(".log-text >> nth=0")).to_have_text("well")
    steer(page)
    window.close()


def steer(page: Page) -> None:
    """Run past dates after a look at them; pause the DAG; delete it."""
    page.goto("/dags/walk")
    page.locator(".head-actions summary").click()
    page.get_by_role("link", name="Run past dates").click()
    page.get_by_role("textbox", name="First date").fill("2026-01-02")
    page.get_by_role("textbox", name="Last date").fill("2026-01-03")
    page.get_by_role("button", name="Show the dates").click()
    expect(page.get_by_role("region", name="What it would do")).to_contain_text("2 dates")
    page.get_by_role("button", name="Start it").click()
    page.wait_for_url("**/backfills/*")
    expect(page.locator(".backfill-head")).to_contain_text("success", timeout=60_000)
    page.goto("/dags/walk")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("h1")).to_contain_text("paused")
    page.locator(".head-actions summary").click()
    page.get_by_role("link", name="Delete").click()
    dialog = page.locator("#dialog")
    dialog.get_by_label("Type its name to delete it").fill("walk")
    dialog.get_by_role("button", name="Delete it").click()
    page.wait_for_url("**/dags")
    expect(page.locator(".flash")).to_contain_text("walk")
    expect(page.locator("a.name", has_text="walk")).to_have_count(0)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A hub with a scheduler and a worker for the tests below, on a Redis of its own and SQLite."""
    folder = tmp_path_factory.mktemp("standing")
    (folder / "redis").mkdir()
    with redis_server(folder / "redis", "--appendonly", "yes") as url:
        lab = Lab(folder / "lab", redis_url=url)
        try:
            lab.hub()
            lab.worker("-n", "2")
            lab.run("user", "add", "ann", "--role", "admin", "--password-stdin", stdin=f"{PASSWORD}\n")
            yield lab
        finally:
            lab.close()


def served(lab: Lab, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """Start a web server; where it listens."""
    process = lab.start("webserver", "-p", str(port))
    said = lab.root / f"webserver-{len(lab.processes) - 1}.log"
    until(lambda: "listening on http" in said.read_text() or process.poll() is not None, what="the web server to listen")
    found = re.search(r"listening on (\S+)", said.read_text())
    assert found, said.read_text()
    return process, found[1]


def shown_until(page: Page, what: Callable[[], bool]) -> None:
    """Load the page again until it says so, as a person without scripts does."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, page.locator("main").inner_text()
        page.wait_for_timeout(200)
        page.reload()


def test_without_scripts_login_lists_run_log_trigger_clear_and_pause_work(standing: Lab, browser: Browser) -> None:
    walk(standing, check="echo cannot go on; exit 3")
    process, url = served(standing)
    window = Window(browser, url, viewport={"width": 390, "height": 844}, java_script_enabled=False)
    page = window.page
    page.goto("/dags")
    log_in(page)
    page.get_by_role("link", name="Start a run of walk").click()
    page.get_by_label("lines").fill("1")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator(".flash")).to_contain_text("started")
    head = page.locator("#run-head .state").first
    shown_until(page, lambda: "failed" in head.inner_text())
    page.locator(".run-rows a[data-task=check]").click()
    shown_until(page, lambda: "exit 3" in page.locator(".log-frame").inner_text() and page.locator(".log-text").count() > 0)
    expect(page.locator(".log-text >> nth=0")).to_have_text("cannot go on")
    walk(standing, check="echo well")
    page.locator("#panel").get_by_role("link", name="Clear…").click()
    expect(page.locator(".run-news")).to_contain_text("bash_command")
    page.get_by_role("button", name="Run 1 task again").click()
    shown_until(page, lambda: "success" in head.inner_text())
    page.goto("/dags?q=walk")
    page.get_by_role("switch", name="Active: pause walk").click()
    expect(page.get_by_role("switch", name="Paused: let walk go on")).to_be_visible()
    page.goto("/dags/walk")
    expect(page.locator("h1")).to_contain_text("paused")
    page.goto("/runs")
    expect(page.get_by_role("link", name=re.compile("^manual__"))).to_have_count(1)
    window.close()
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_a_lost_server_is_said_and_the_page_goes_on_by_itself_when_it_is_back(standing: Lab, browser: Browser) -> None:
    standing.run("submit", standing.dag("""
        from rqflow import DAG, BashOperator
        with DAG("late"):
            BashOperator(task_id="a", bash_command="until [ -e go ]; do sleep 0.1; done", cwd="{folder}")
    """.replace("{folder}", str(standing.folder))))
    process, url = served(standing)
    window = Window(browser, url)
    # What a browser says of a server that is away.
    window.forgive("net::ERR_|Failed to fetch")
    page = window.page
    page.goto("/dags/late/trigger")
    log_in(page)
    page.get_by_role("button", name="Start the run").click()
    head_says(page, "running")
    page.evaluate("window.same = true")
    process.kill()
    process.wait()
    expect(page.locator("#lost")).to_contain_text("Connection to the server lost", timeout=60_000)
    (standing.folder / "go").touch()
    until(lambda: standing.show(standing.latest())["state"] == "success", what="the run to end")
    _, again = served(standing, int(url.rpartition(":")[2]))
    assert again == url
    head_says(page, "success")
    expect(page.locator("#lost")).to_be_hidden()
    assert page.evaluate("window.same")
    window.close()
