"""The pages in a real browser, headless, opened from disk with the network off: what moves when it is used."""

import json
import re
import shutil

import landscape_runs
import pytest

from jsep import report

pytestmark = pytest.mark.slow

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
DESKTOP, PHONE = (1280, 900), (360, 740)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium with a profile of its own and no network."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: make test-slow installs it"
    )
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("no chromium with chromedriver on this machine: .ci/browser installs them where it may")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, write_run, make_result, make_metrics, make_maps):
    """The page of one run and the one that compares it with another."""
    parent = tmp_path_factory.mktemp("runs")
    maps = make_maps(num_pairs=3, num_courses=2)
    # One attack that loses the prediction on its way.
    maps["sep_neg/course_predicted"] = maps["sep_neg/course_predicted"] + (maps["course_steps"] > 20)
    run = write_run(parent / "digits", result=make_result(), metrics=make_metrics(2, 4), maps=maps)
    page = report.write(run)
    other = write_run(parent / "other", result=make_result())
    landscapes = [
        landscape_runs.write(parent / "first"),
        # It has no "standard", and so nothing to draw for it.
        landscape_runs.write(parent / "second", seed=2, rows=landscape_runs.make_result()["rows"][1::2]),
    ]
    both = report.write_comparison(landscapes, parent / "landscapes.html")
    return {
        "landscape": report.write(landscapes[0]),
        "landscapes": both,
        "run": page,
        "compare": report.write_comparison([run, other], parent / "compare.html"),
    }


def go(browser, leave):
    """Leaves the page by a call, and waits for the next.

    The driver can hold the old page's load for the new one's where both have the same address, and what a test then
    chooses is lost with the old page: so the old one is marked.
    """
    from selenium.common.exceptions import JavascriptException
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_script("window.isLeft = true")
    leave()
    arrived = "return window.isLeft === undefined && document.readyState === 'complete'"
    # A question asked between the two pages ends in an error, not in an answer.
    wait = WebDriverWait(browser, 60, ignored_exceptions=[JavascriptException])
    wait.until(lambda _: browser.execute_script(arrived))


def open_page(browser, path, size=DESKTOP, scheme="light"):
    """Opens a page from disk and returns (one element, all elements, run a script)."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    go(browser, lambda: browser.get(path.as_uri()))
    browser.execute_script("localStorage.clear()")
    go(browser, lambda: browser.get(path.as_uri()))

    def find(selector):
        return browser.find_element("css selector", selector)

    def find_all(selector):
        return browser.find_elements("css selector", selector)

    return find, find_all, browser.execute_script


def press(browser, *keys):
    """Keys for whatever has the focus."""
    browser.switch_to.active_element.send_keys(*keys)


def picture(run_script, name):
    return run_script("return document.getElementById(arguments[0]).toDataURL()", f"tile-{name}")


def state(run_script):
    """What the gallery shows: images, maps, curve with its mark, words."""
    return {
        **{
            name: picture(run_script, name)
            for name in ("victim", "now", "change", "now-map", "change-map", "target-map")
        },
        "curve": run_script("return document.querySelector('#curve .line:not(.other)').getAttribute('d')"),
        "mark": run_script("return document.getElementById('curve-now').getAttribute('cx')"),
        "reading": run_script("return document.getElementById('reading').textContent"),
        "bars": run_script("return document.getElementById('bars').textContent"),
        "title": run_script("return document.getElementById('curve-title').textContent"),
        "rows": run_script("return document.getElementById('curve-rows').textContent"),
    }


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def choose(run_script, name, value):
    selector = f"input[name={name}][value='{value}']"
    run_script(f'document.querySelector("{selector}").click()')


def choose_metric(run_script, value):
    run_script(
        "const metric = document.getElementById('metric'); metric.value = arguments[0];"
        "metric.dispatchEvent(new Event('change'))",
        value,
    )


@pytest.mark.parametrize("which", ["run", "compare", "landscape", "landscapes"])
def test_page_opens_from_disk_without_network_and_without_errors(browser, pages, which):
    browser.get_log("performance")
    browser.get_log("browser")
    open_page(browser, pages[which])
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert pages[which].as_uri() in asked
    assert all(address.startswith(("file://", "data:")) for address in asked), asked
    assert browser.get_log("browser") == []


def test_slider_moves_image_map_and_curve_together_by_keyboard(browser, pages):
    from selenium.webdriver.common.keys import Keys

    _, _, run_script = open_page(browser, pages["run"])
    run_script("document.getElementById('step').focus()")
    press(browser, Keys.HOME)
    start = state(run_script)
    assert start["reading"].startswith("Step 0 of 100")
    assert start["now"] == start["victim"]
    press(browser, Keys.ARROW_RIGHT)
    first = state(run_script)
    assert changed(start, first) >= {"now", "change", "now-map", "change-map", "mark", "reading"}
    assert not changed(start, first) & {"victim", "target-map", "curve", "title"}
    assert first["reading"].startswith("Step 10 of 100")
    assert run_script("return document.getElementById('step').getAttribute('aria-valuetext')").startswith("step 10, ")
    press(browser, Keys.END)
    last = state(run_script)
    assert last["reading"].startswith("Step 100 of 100")
    assert float(last["mark"]) > float(first["mark"]) > float(start["mark"])
    press(browser, Keys.ARROW_LEFT)
    assert state(run_script)["reading"].startswith("Step 40 of 100")


def test_curve_has_the_losses_of_the_maps_and_the_reading_says_when_the_prediction_is_lost(browser, pages, make_maps):
    _, _, run_script = open_page(browser, pages["run"])
    maps = make_maps(num_pairs=3, num_courses=2)
    choose(run_script, "method", "sep_neg")
    course, target = maps["sep_neg/course_maps"][0], maps["sep_neg/target_map"][0]
    losses = 64**2 * ((course - target) ** 2).mean((1, 2))
    reading = state(run_script)["reading"]
    ends = (f"{float(f'{loss:.3g}'):g}" for loss in (losses[-1], losses[0]))
    assert (
        "SEP −, sharpened: explanation loss to the target's map [N²·MSE] {}, at the start {}".format(*ends) in reading
    )
    assert "The prediction has changed" in reading
    run_script("const s = document.getElementById('step'); s.value = 0; s.dispatchEvent(new Event('input'))")
    assert "The prediction is unchanged" in state(run_script)["reading"]
    cosines = (course * target).sum((1, 2)) / ((course**2).sum((1, 2)) * (target**2).sum()) ** 0.5
    choose_metric(run_script, "cosine")
    assert f"{float(f'{cosines[0]:.3g}'):g}, at the start" in state(run_script)["reading"]


def test_every_choice_changes_what_the_gallery_says(browser, pages):
    _, find_all, run_script = open_page(browser, pages["run"])
    before = state(run_script)
    for name, value, expected in [
        ("pair", "1", {"victim", "now", "now-map", "target-map", "curve", "rows"}),
        ("method", "mat", {"now", "now-map", "target-map", "curve", "reading"}),
        ("scale", "max", {"now-map", "bars", "curve", "reading", "rows"}),
    ]:
        choose(run_script, name, value)
        after = state(run_script)
        assert changed(before, after) >= expected, name
        before = after
    for value in [option.get_attribute("value") for option in find_all("#metric option")][1:]:
        choose_metric(run_script, value)
        after = state(run_script)
        assert changed(before, after) >= {"title", "reading", "curve"}, value
        before = after


def test_play_goes_through_the_steps_and_stops(browser, pages):
    from selenium.webdriver.support.ui import WebDriverWait

    find, _, run_script = open_page(browser, pages["run"])
    assert run_script("const p = document.getElementById('play'); p.click(); return p.textContent") == "Pause"
    WebDriverWait(browser, 20).until(lambda _: find("#play").text == "Play")
    assert state(run_script)["reading"].startswith("Step 100 of 100")
    # A second press in the middle stops.
    words = run_script("const p = document.getElementById('play'); p.click(); p.click(); return p.textContent")
    assert words == "Play"
    assert state(run_script)["reading"].startswith("Step 0 of 100")


def test_click_on_the_curve_goes_to_its_nearest_step(browser, pages):
    _, _, run_script = open_page(browser, pages["run"])
    run_script(
        "const c = document.getElementById('curve'), b = c.getBoundingClientRect();"
        "c.dispatchEvent(new MouseEvent('click', {clientX: b.left + 60, clientY: b.top + 50}))"
    )
    assert state(run_script)["reading"].startswith("Step 0 of 100")


@pytest.mark.parametrize("which", ["run", "compare"])
def test_table_sorts_both_ways_by_keyboard(browser, pages, which):
    from selenium.webdriver.common.keys import Keys

    find, find_all, run_script = open_page(browser, pages[which])
    heads = find_all("[data-group]:not([hidden]) thead button")
    place = next(index for index, head in enumerate(heads) if head.text == "loss at end")

    def column():
        return [float(cell.get_attribute("data-value"))
                for cell in find_all(f"[data-group]:not([hidden]) tbody tr > :nth-child({place + 1})")]  # fmt: skip

    before = column()
    run_script("arguments[0].focus()", heads[place])
    press(browser, Keys.ENTER)
    falling = column()
    assert falling == sorted(before, reverse=True)
    assert heads[place].find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    assert find("#table-status").text == "Sorted by loss at end, largest first."
    press(browser, Keys.SPACE)
    assert column() == sorted(before)
    assert find("#table-status").text == "Sorted by loss at end, smallest first."


def test_choices_of_the_table_change_what_it_shows(browser, pages):
    find, find_all, run_script = open_page(browser, pages["run"])
    assert [box.is_displayed() for box in find_all("[data-group]")].count(True) == 1
    first = find("[data-group]:not([hidden]) caption").text
    choose(run_script, "spread", "interval")
    cell = find("[data-group]:not([hidden]) tbody tr td:nth-child(3)").text
    assert re.search(r"^9\d\.\d 9\d\.\d … 9\d\.\d$", " ".join(cell.split())), "the mean and its 95 % interval"
    choose(run_script, "group", "Free of the scale of the map")
    assert find("[data-group]:not([hidden]) caption").text != first
    _, find_all, run_script = open_page(browser, pages["compare"])
    choose(run_script, "only", "mat")
    rows = [row for row in find_all("[data-group]:not([hidden]) tbody tr") if row.is_displayed()]
    assert [row.get_attribute("data-method") for row in rows] == ["mat", "mat"]


def test_tab_reaches_every_control_and_the_focus_is_seen(browser, pages):
    from selenium.webdriver.common.keys import Keys

    _, _, run_script = open_page(browser, pages["run"])
    seen = []
    for _ in range(80):
        press(browser, Keys.TAB)
        name, outline = run_script(
            "const e = document.activeElement, seen = e.type === 'radio' ? e.nextElementSibling : e;"
            "const name = e.id || (e.name && 'choice of ' + e.name) || e.textContent.trim();"
            "return [name, getComputedStyle(seen).outlineStyle]"
        )
        assert outline == "solid", f"{name!r} shows no focus"
        seen.append(name)
        if name == "choice of spread":
            break
    assert seen[0] == "Skip to the content"
    order = ("theme", "choice of pair", "choice of method", "play", "step", "choice of scale", "metric")
    places = [seen.index(name) for name in (*order, "choice of group", "choice of spread")]
    assert places == sorted(places)


@pytest.mark.parametrize("which", ["run", "compare", "landscape", "landscapes"])
@pytest.mark.parametrize("size", [pytest.param(DESKTOP, marks=pytest.mark.long), PHONE], ids=["desktop", "phone"])
def test_page_never_scrolls_sideways(browser, pages, which, size):
    _, _, run_script = open_page(browser, pages[which], size)
    run_script("for (const folded of document.querySelectorAll('details')) folded.open = true")
    widest, seen = run_script("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
    assert widest == seen <= size[0]


def luminance(run_script):
    colour = run_script("return getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3


def test_dark_follows_the_system_and_the_button(browser, pages):
    find, _, run_script = open_page(browser, pages["run"], scheme="light")
    assert luminance(run_script) > 200
    find("#theme").click()
    assert luminance(run_script) < 60
    assert find("#theme").text == "Light"
    # The choice is kept.
    go(browser, browser.refresh)
    assert luminance(run_script) < 60
    find, _, run_script = open_page(browser, pages["run"], scheme="dark")
    assert luminance(run_script) < 60
    find("#theme").click()
    assert luminance(run_script) > 200


def test_comparison_lists_every_run_with_a_link_to_its_page(browser, pages):
    _, find_all, _ = open_page(browser, pages["compare"])
    assert [row.text for row in find_all("#runs tbody th")] == ["digits", "other"]
    go(browser, find_all("#runs tbody a")[0].click)
    assert browser.current_url == pages["run"].as_uri()


def test_figures_take_the_colours_of_the_page_and_keep_their_text(browser, pages):
    """The same drawing on light and on dark: its ink is the page's, and its words can be found."""
    for scheme in ("light", "dark"):
        find, find_all, run_script = open_page(browser, pages["landscapes"], scheme=scheme)
        ink = run_script("return getComputedStyle(document.body).color")
        words = find_all("svg.chart text")
        assert ink in {word.value_of_css_property("fill") for word in words}
        assert "standard" in {word.text for word in words}
        ground = run_script("return getComputedStyle(document.querySelector('svg.chart path')).fill")
        assert ground == run_script("return getComputedStyle(document.body).backgroundColor")


def test_figures_scroll_in_their_box_on_a_phone(browser, pages):
    _, find_all, run_script = open_page(browser, pages["landscape"], PHONE)
    boxes = find_all("figure .scroll")
    assert boxes
    for box in boxes:
        assert box.get_attribute("tabindex") == "0"
        inside, seen = run_script("return [arguments[0].scrollWidth, arguments[0].clientWidth]", box)
        assert inside > seen


@pytest.mark.parametrize("which", ["landscape", "landscapes"])
def test_tables_of_other_kinds_sort_numbers_as_numbers(browser, pages, which):
    find, find_all, run_script = open_page(browser, pages[which])
    table = "table.sortable"
    heads = find_all(f"{table}:first-of-type thead button")
    place = next(index for index, head in enumerate(heads) if head.text == "loss at end")
    run_script("arguments[0].click()", heads[place])
    body = heads[place].find_element("xpath", "ancestor::table").find_elements("css selector", "tbody tr")
    values = [float(row.find_elements("css selector", "td, th")[place].get_attribute("data-value")) for row in body]
    assert values == sorted(values, reverse=True)
    assert find("#table-status").text == "Sorted by loss at end, largest first."
