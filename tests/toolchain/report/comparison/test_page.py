"""The page in a real browser: it opens, draws, sorts, filters, and asks nobody for anything."""

import json
import re
import shutil
import time

import pytest

from toolchain.report.comparison.page import page
from toolchain.report.comparison.summary import summary_of

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage"),
    "--window-size=1300,900",
)
EVIL = "</script><script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def summary(make):
    """The small comparison, of a second model too, with a method that failed, one without its budget, and a rude name."""
    cells = [*make.compared().cells]
    cells += [make.cell("sfp", seed, judged=None, latency=(), failed=EVIL) for seed in (1, 2, 3)]
    cells += [make.cell("layers", seed, 0.7, model="other") for seed in (1, 2)]
    cells += [make.cell("l1", seed, 0.72, model="other", within=False, latency=()) for seed in (1, 2)]
    return summary_of([make.compared(cells=cells, name=EVIL, missing=make.missing("layers", 9))])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver (`make packages`)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def opened(browser, summary, tmp_path_factory):
    """The browser with the page."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(summary), encoding="utf-8")
    browser.get(path.as_uri())
    return browser


def until(browser, script, wanted=True):
    """Wait until ``script`` gives what is ``wanted``, for seconds; give what it gave."""
    for _ in range(100):
        found = browser.execute_script(f"return {script}")
        if found == wanted or (wanted is True and found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{script} stayed {found!r}, expected {wanted!r}")


def traces(browser, name):
    """Bring a plot near, and give the names of what it draws."""
    browser.execute_script(f"document.getElementById('plot-{name}').scrollIntoView()")
    until(browser, f"document.querySelectorAll('#plot-{name} svg.main-svg').length > 0")
    return browser.execute_script(f"return document.getElementById('plot-{name}').data.map((trace) => trace.name)")


def choose(browser, select, text):
    browser.execute_script(
        "const [id, text] = arguments; const select = document.getElementById(id);"
        "select.value = [...select.options].find((option) => option.text === text).value;"
        "select.dispatchEvent(new Event('change', { bubbles: true }))",
        select,
        text,
    )


def column(browser, head):
    """The visible lines' cells under ``head``, as text."""
    return browser.execute_script(
        "const { tHead, tBodies } = document.getElementById('numbers');"
        "const under = (cell) => cell.querySelector('button').textContent.startsWith(arguments[0]);"
        "const place = [...tHead.rows[0].cells].find(under).cellIndex;"
        "const shown = [...tBodies[0].rows].filter((row) => !row.hidden);"
        "return shown.map((row) => row.cells[place].firstChild.textContent)",
        head,
    )


def click_head(browser, head):
    return browser.execute_script(
        "const heads = [...document.querySelectorAll('#numbers thead th')];"
        "const head = heads.find((cell) => cell.querySelector('button').textContent.startsWith(arguments[0]));"
        "head.querySelector('button').click(); return head.getAttribute('aria-sort')",
        head,
    )


def test_nothing_in_the_file_is_fetched(summary):
    text = page(summary)
    assert text.count("plotly.js v") == 1
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=(?!\"data:)", text)
    # Names are text wherever they stand.
    assert EVIL not in text
    assert "1 cell of the recipe is not done yet" in text


def test_each_plot_is_drawn_when_it_comes_near(opened):
    assert opened.title.startswith("</script>")
    assert until(opened, "document.querySelectorAll('#plot-distribution svg').length", 0) == 0
    assert set(traces(opened, "latency")) == {
        "original",
        "<b>layers</b>",
        "psr",
        "l1",
        "scratch",
        "Pareto front of the means",
    }
    assert "<b>layers</b>" in traces(opened, "macs")
    assert "psr" in traces(opened, "snr")
    assert len(traces(opened, "confusion")) == len(traces(opened, "confusion-original")) == 1
    assert len(traces(opened, "plan")) == 2
    assert traces(opened, "distribution")[-1] == "<b>layers</b>"
    until(opened, "document.querySelectorAll('#plot-latency .scatterlayer .trace').length > 4")


def test_another_runtime_draws_other_latencies(opened):
    traces(opened, "latency")
    script = "document.getElementById('plot-latency').data.at(-1).x[0]"
    before = opened.execute_script(f"return {script}")
    choose(opened, "choose-setting", "openvino")
    until(opened, f"Math.abs({script} - {before} / 3) < 0.001")
    # The table follows, and back again.
    shown = "[...document.querySelectorAll('#numbers thead th[data-setting]')].map((head) => head.hidden)"
    assert until(opened, shown, [True, True, False, False])
    choose(opened, "table-setting", "onnxruntime")
    until(opened, f"Math.abs({script} - {before}) < 1e-9")
    assert until(opened, shown, [False, False, True, True])


def test_the_first_two_plots_may_show_one_budget_alone(opened):
    points = "document.getElementById('plot-macs').data.at(-1).x.length"
    traces(opened, "macs")
    assert opened.execute_script(f"return {points}") == 2
    choose(opened, "choose-scope", "this budget")
    until(opened, points, 1)
    until(opened, "document.querySelector('.scope').textContent", "net on tiny, 50 % fewer MACs.")
    choose(opened, "choose-scope", "all budgets")
    until(opened, points, 2)


def test_a_model_that_failed_says_why(opened):
    told = opened.execute_script(
        "const row = [...document.querySelectorAll('#numbers tbody tr')].find("
        "(one) => one.cells[0].textContent.trim() === 'sfp'); row.querySelector('button.origin').click();"
        "const text = document.getElementById('origin-text').textContent; document.getElementById('origin').close();"
        "return [row.querySelector('.remarks').textContent, text]"
    )
    assert told == [f"failed with seeds 1, 2, 3: {EVIL}"] * 2


def test_another_model_has_its_own_budgets_and_methods(opened):
    choose(opened, "choose-model", "other")
    # One budget is no choice.
    assert opened.execute_script("return document.getElementById('choose-budget').closest('label').hidden")
    assert "psr" not in traces(opened, "snr")
    choose(opened, "choose-model", "net")
    choose(opened, "choose-budget", "at least 2 times as fast")
    until(opened, "document.querySelector('.chosen').textContent", "net on tiny, at least 2 times as fast.")
    choose(opened, "choose-budget", "50 % fewer MACs")


def test_the_table_sorts_by_number_both_ways_and_the_missing_come_last(opened):
    assert click_head(opened, "accuracy") == "ascending"
    up = column(opened, "accuracy")
    numbers = [float(text) for text in up[:-1]]
    assert numbers == sorted(numbers)
    assert click_head(opened, "accuracy") == "descending"
    down = column(opened, "accuracy")
    assert down[0] == "95.00"
    assert [float(text) for text in down[:-1]] == numbers[::-1]
    # sfp failed.
    assert up[-1] == down[-1] == "\N{EN DASH}"
    assert click_head(opened, "method") == "ascending"
    methods = opened.execute_script(
        "return [...document.querySelectorAll('#numbers tbody tr')].map((row) => row.cells[0].textContent.trim())"
    )
    assert methods == sorted(methods)


def test_the_table_filters_by_words_and_by_choice(opened):
    lines = opened.execute_script("return document.querySelectorAll('#numbers tbody tr').length")
    opened.execute_script(
        "const box = document.getElementById('search'); box.value = 'L1 net'; box.dispatchEvent(new Event('input'))"
    )
    until(opened, "document.getElementById('shown').textContent", f"2 of {lines} lines")
    assert set(column(opened, "model")) == {"net"}
    opened.execute_script(
        "const select = document.querySelector('[data-filter=budget]'); select.value = '50 % fewer MACs';"
        "select.dispatchEvent(new Event('change'))"
    )
    assert column(opened, "verdict") == ["worse"]
    opened.execute_script(
        "const box = document.getElementById('search'); box.value = ''; box.dispatchEvent(new Event('input'));"
        "const select = document.querySelector('[data-filter=budget]'); select.value = '';"
        "select.dispatchEvent(new Event('change'))"
    )
    until(opened, "document.getElementById('shown').textContent", f"{lines} of {lines} lines")


def test_a_number_says_where_it_comes_from(opened):
    opened.execute_script(
        "const row = [...document.querySelectorAll('#numbers tbody tr')].find("
        "(one) => one.cells[0].textContent.trim() === 'l1' && one.dataset.model === 'net');"
        "row.querySelector('[data-origin=accuracy]').click()"
    )
    told = until(opened, "document.getElementById('origin').open && document.getElementById('origin-text').textContent")
    assert "seed 1: 8" in told
    assert "n = 3" in told
    opened.execute_script("document.getElementById('origin').close()")


def test_on_a_phone_nothing_is_wider_than_the_page(opened):
    phone = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        until(opened, "document.documentElement.scrollWidth <= 400")
        traces(opened, "latency")
        until(opened, "document.querySelector('#plot-latency .main-svg').clientWidth <= 400")
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_plots_keep_their_height_when_the_window_gets_narrower(opened):
    for name in ("latency", "macs", "snr", "confusion", "plan", "distribution"):
        traces(opened, name)
    try:
        for width in (1100, 700, 1300):
            opened.set_window_size(width, 900)
            for name in ("plan", "confusion", "snr", "latency"):
                drawn = f"document.querySelector('#plot-{name} .main-svg').clientWidth"
                opened.execute_script(f"document.getElementById('plot-{name}').scrollIntoView()")
                until(opened, f"{drawn} === document.getElementById('plot-{name}').clientWidth")
            assert opened.execute_script("return document.getElementById('plot-latency').clientHeight") > 400
            assert opened.execute_script("return document.getElementById('plot-plan').clientHeight") == 150 + 20 * 6
            box = "document.getElementById('plot-confusion')"
            until(opened, f"{box}.clientHeight === Math.min({box}.clientWidth, 560)")
    finally:
        opened.set_window_size(1300, 900)


def test_the_buttons_of_a_plot_do_not_lie_on_it(opened):
    traces(opened, "confusion")
    bar, cells = opened.execute_script(
        "const box = document.getElementById('plot-confusion');"
        "const of = (name) => box.querySelector(name).getBoundingClientRect();"
        "return [of('.modebar-group').bottom, of('.nsewdrag').top]"
    )
    assert bar <= cells


def test_on_paper_every_plot_is_drawn_and_everything_is_open(opened):
    opened.get(opened.current_url)
    until(opened, "document.readyState", "complete")
    empty = "[...document.querySelectorAll('.plot')].filter((box) => !box.querySelector('svg.main-svg')).length"
    closed = "document.querySelectorAll('details:not([open])').length"
    assert opened.execute_script(f"return {empty}") > 0
    before = opened.execute_script(f"return {closed}")
    assert before > 0
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script(f"return [{empty}, {closed}]") == [0, 0]
    assert opened.execute_script("return document.querySelector('#plot-snr .main-svg').clientWidth") <= 703
    opened.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert opened.execute_script(f"return {closed}") == before


def test_the_search_reads_only_what_is_shown(opened):
    shown = "document.getElementById('shown').textContent"
    lines = opened.execute_script("return document.querySelectorAll('#numbers tbody tr').length")
    search = (
        "const box = document.getElementById('search'); box.value = arguments[0]; box.dispatchEvent(new Event('input'))"
    )
    # A kind is no column.
    opened.execute_script(search, "channels removed")
    until(opened, shown, f"0 of {lines} lines")
    hidden = opened.execute_script(
        "return [...document.querySelectorAll('#numbers tbody td[data-setting]')].find((cell) => cell.hidden && "
        "cell.dataset.value).firstChild.textContent"
    )
    opened.execute_script(search, f" {hidden} ")
    rows = opened.execute_script(
        "return [...document.querySelectorAll('#numbers tbody tr')].filter((row) => !row.hidden && "
        "![...row.cells].some((cell) => !cell.hidden && cell.textContent.includes(arguments[0]))).length",
        hidden,
    )
    assert rows == 0
    opened.execute_script(search, "")
    until(opened, shown, f"{lines} of {lines} lines")


def test_no_error_is_logged_and_nothing_is_asked_of_a_network(opened):
    # The last test of the file: it reads what all of them left.
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    asked = []
    for entry in opened.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        # The tab that the browser opens with has pages of its own.
        if message["method"] == "Network.requestWillBeSent" and message["params"]["documentURL"].startswith("file:"):
            asked.append(message["params"]["request"]["url"])
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_comparison_of_which_nothing_is_done_opens_too(browser, make, tmp_path):
    browser.get_log("browser")
    path = tmp_path / "report.html"
    path.write_text(
        page(summary_of([make.compared(cells=[], originals=[], missing=make.missing("lcp", *range(9)))])),
        encoding="utf-8",
    )
    browser.get(path.as_uri())
    browser.execute_script("document.getElementById('plot-latency').scrollIntoView()")
    until(browser, "document.getElementById('plot-latency').textContent", "No latency is measured for this choice.")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
