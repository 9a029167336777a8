"""The page in a real browser: what a person sees, presses and reads, and that nothing of it comes from elsewhere.

With ``EMBEDWORKS_WRITE_PICTURES=1`` the pictures of the README are written to docs/assets.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedworks.serving import read_report
from embedworks.serving.app import PAGE_FOLDER

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
ASSETS = Path(__file__).parents[2] / "docs" / "assets"
PACKAGES = {"numpy", "rich", "httpx", "starlette", "scikit-learn", "pyarrow", "pandas"}
WRITE_PICTURES = os.environ.get("EMBEDWORKS_WRITE_PICTURES") == "1"

needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.is_file(), reason="Chromium is not installed at /usr/bin/chromium"),
]


# ---- without a browser -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PAGE_FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_scripts_never_parse_data_as_markup(path: Path) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"
    assert re.search(forbidden, path.read_text(encoding="utf-8")) is None


def test_the_page_is_whole_and_local() -> None:
    page = (PAGE_FOLDER / "index.html").read_text(encoding="utf-8")
    style = (PAGE_FOLDER / "page.css").read_text(encoding="utf-8")
    assert re.search(r"<style|style=|\son[a-z]+=|<script>|javascript:", page) is None
    named = re.findall(r'(?:src|href)="static/([^"]+)"', page) + re.findall(r'url\("([^"]+)"\)', style)
    for path in PAGE_FOLDER.glob("*.js"):
        named += re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8"))
    assert {name for name in named if not (PAGE_FOLDER / name).is_file()} == set()
    for path in (*PAGE_FOLDER.glob("*.js"), *PAGE_FOLDER.glob("*.css"), PAGE_FOLDER / "index.html"):
        addresses = set(re.findall(r"https?://[^\s\"']+", path.read_text(encoding="utf-8")))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_pair_of_text_and_ground_has_contrast_aa() -> None:
    style = (PAGE_FOLDER / "page.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r"\{([^{}]*--paper:[^{}]*)\}", style)
    ]
    assert len(themes) == 3
    assert themes[1] == themes[2]  # the dark theme stands twice: for the system's choice and for the button's
    pairs = [(text, ground) for text in ("ink", "quiet", "green", "red") for ground in ("paper", "raised", "sunk")]
    for theme in themes:
        for text, ground in [*pairs, ("marker-ink", "marker"), ("red", "red-wash"), ("ink", "red-wash")]:
            light, dark = sorted((_luminance(theme[text]), _luminance(theme[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


# ---- in the browser --------------------------------------------------------------------------------------------------


def until(page: Page, expression: str) -> None:
    """Wait for an expression to hold; the page's policy forbids what Playwright's own wait does (eval)."""
    end = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def ids_on(page: Page) -> list[str]:
    return page.locator(".title").all_text_contents()


def wait_for_meta(page: Page, said: str) -> None:
    page.locator("#meta", has_text=said).wait_for()


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """An index of real docstrings of installed packages, and the packaged model."""
    from embedworks.data.python_documentation import installed_packages, read_documentation
    from embedworks.encoders import load
    from embedworks.index import build_index

    packages = [package for package in installed_packages() if package.package in PACKAGES]
    corpus = read_documentation(packages, max_entries=1_200 if WRITE_PICTURES else 300)
    encoder = load("minilm", max_length=48)
    path = tmp_path_factory.mktemp("page") / "documentation.index"
    return build_index(corpus, encoder.encode(corpus.texts), path), encoder


class TestPage:
    pytestmark = needs_browser

    def test_examples_searching_and_the_address(self, start: Any, visit: Any) -> None:
        server = start(title="Small things", examples=("red apple", "blue car"))
        page = visit(server)
        page.get_by_role("button", name="red apple").click()
        page.locator(".result").first.wait_for()
        assert ids_on(page)[0] == "red.apple"
        assert page.locator(".result").first.locator("mark").all_text_contents() == ["red", "apple"]
        assert page.url.endswith("?q=red+apple")
        assert page.title() == "Small things"
        page.go_back()
        page.locator("#start").wait_for()
        assert page.locator("#query").input_value() == ""
        page.go_forward()
        page.locator(".result").first.wait_for()
        assert page.locator("#query").input_value() == "red apple"
        until(page, "document.getElementById('announcement').textContent.startsWith('6 results shown')")

    def test_a_shared_address_shows_the_same(self, start: Any, visit: Any) -> None:
        page = visit(start(), "?q=car&mode=vector&is.kind=thing&from.year=2023&where=year+%3C+2024")
        page.locator(".result").first.wait_for()
        assert ids_on(page) == ["red.car"]
        assert page.get_by_label("Meaning").is_checked()
        assert page.locator("[data-facet=kind][value=thing]").is_checked()
        assert page.locator("#composed-where").text_content() == (
            '"kind" = \'thing\' and "year" >= 2023 and (year < 2024)'
        )

    def test_facets_filter_and_count(self, start: Any, visit: Any) -> None:
        page = visit(start(), "?q=car")
        page.locator("[data-facet=kind][value=fruit]").check()
        wait_for_meta(page, "3 of 6 entries")
        assert {"red.apple", "green.apple", "emoji"} == set(ids_on(page))
        page.locator("[data-facet=kind][value=thing]").check()
        wait_for_meta(page, "5 of 6 entries")
        page.locator("[data-facet=tags][value=red]").check()
        wait_for_meta(page, "2 of 6 entries")
        assert set(ids_on(page)) == {"red.apple", "red.car"}
        page.locator("[data-facet=ripe][value=true]").check()
        wait_for_meta(page, "1 of 6 entries")
        assert ids_on(page) == ["red.apple"]
        page.go_back()
        wait_for_meta(page, "2 of 6 entries")
        page.get_by_label("year to").fill("2022")
        page.get_by_label("year to").press("Enter")
        wait_for_meta(page, "1 of 6 entries")
        assert ids_on(page) == ["red.apple"]
        page.get_by_role("button", name="Clear all filters").click()
        wait_for_meta(page, "6 entries")
        assert page.url.endswith("?q=car")

    def test_values_with_quotes_are_values(self, start: Any, visit: Any) -> None:
        page = visit(start(), "?q=car")
        page.locator("[data-facet=kind]").nth(2).check()
        wait_for_meta(page, "1 of 6 entries")
        assert ids_on(page) == ['o\'brien/"quoted"']

    def test_markup_in_data_stays_text(self, start: Any, visit: Any) -> None:
        page = visit(start(title="<img src=x onerror=document.title='owned'>"), "?q=script+title+owned")
        first = page.locator(".result").first
        first.wait_for()
        assert "<script>document.title = 'owned'</script>" in first.locator(".snippet").text_content()
        first.locator(".title").click()
        assert "<b>bold</b>" in first.locator(".whole").text_content()
        assert page.locator("#results script, #results b, #results i, #collection img").count() == 0
        assert page.title() != "owned"

    def test_the_keyboard_alone(self, start: Any, visit: Any) -> None:
        page = visit(start())
        page.locator("#start").wait_for()
        page.keyboard.press("Tab")  # away from the box
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "query"
        with page.expect_response(re.compile(r"/search\?query=apple&")):  # not the answer to "appl"
            page.keyboard.type("apple")
        until(page, "!document.body.classList.contains('busy')")
        wait_for_meta(page, "6 entries")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        focused = "document.activeElement.textContent"
        assert page.evaluate(focused) == ids_on(page)[1]
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
        assert page.locator(".result.open .whole").count() == 1
        page.keyboard.press("Escape")
        assert page.locator(".result.open").count() == 0
        second = ids_on(page)[1]
        page.keyboard.press("m")
        page.locator("#like", has_text=second).wait_for()
        until(page, f"!document.querySelector('#results').textContent.includes({second!r})")
        assert len(ids_on(page)) == 5
        assert page.evaluate(focused) == ids_on(page)[0]
        page.keyboard.press("Escape")
        page.locator("#like").wait_for(state="hidden")
        assert page.evaluate("document.activeElement.id") == "query"
        page.keyboard.press("Escape")
        page.locator("#start").wait_for()
        page.keyboard.type("a/b")
        assert page.locator("#query").input_value() == "a/b"

    def test_more_like_this_by_mouse_and_back(self, start: Any, visit: Any) -> None:
        page = visit(start(), "?q=red+apple")
        page.locator(".result").first.hover()
        page.get_by_role("button", name="More like red.apple").click()
        page.locator("#like").wait_for()
        assert "like=red.apple" in page.url
        page.go_back()
        page.locator("#like").wait_for(state="hidden")
        page.locator(".title", has_text="red.apple").wait_for()

    def test_themes(self, start: Any, visit: Any) -> None:
        server = start()
        ground = "getComputedStyle(document.body).backgroundColor"
        light, dark = "rgb(244, 245, 241)", "rgb(16, 22, 20)"
        page = visit(server, scheme="dark")
        assert page.evaluate(ground) == dark
        page.locator("#theme-button").click()
        assert page.evaluate(ground) == light
        page.reload()
        assert page.evaluate(ground) == light
        page.locator("#theme-button").click()
        assert page.locator("#theme-button").text_content() == "Theme: dark"
        assert visit(server, scheme="light").evaluate(ground) == light

    def test_no_motion_where_none_is_wanted(self, start: Any, visit: Any) -> None:
        page = visit(start(), reduced_motion="reduce")
        assert page.evaluate("getComputedStyle(document.getElementById('main')).transitionProperty") == "none"

    @pytest.mark.parametrize("width", [360, 768, 1920])
    def test_nothing_is_wider_than_the_window(self, start: Any, visit: Any, report_folder: Path, width: int) -> None:
        server = start(comparison=read_report(report_folder))
        for path in ("", "?q=apple&is.kind=fruit", f"?q={'long' * 60}"):
            page = visit(server, path, width=width, height=740)
            page.locator("#start, .result").first.wait_for()
            page.evaluate("document.getElementById('filters').open = true")
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

    def test_the_comparison_in_both_themes(self, start: Any, visit: Any, report_folder: Path) -> None:
        page = visit(start(comparison=read_report(report_folder)), "?q=apple")
        page.locator(".result").first.wait_for()
        page.locator("#comparison-link").click()
        page.locator("#comparison table").wait_for()
        assert page.locator("#comparison tbody tr").all_text_contents() == ["words67.50", "both73.84"]
        page.locator(".only-light").wait_for()
        until(page, "document.querySelector('.only-light').naturalWidth === 640")
        assert not page.locator(".only-dark").is_visible()
        page.emulate_media(color_scheme="dark")
        page.locator(".only-dark").wait_for()
        assert not page.locator(".only-light").is_visible()

    def test_a_wrong_filter_says_so_and_how_on(self, start: Any, visit: Any) -> None:
        page = visit(start(), "?q=car")
        page.locator(".result").first.wait_for()
        page.locator("#expression summary").click()
        page.locator("#where").fill("yeer > 5")
        page.locator("#where").press("Enter")
        page.locator("#trouble", has_text="did you mean 'year'").wait_for()
        assert page.locator("#where").get_attribute("aria-invalid") == "true"
        page.get_by_role("button", name="Remove the filters").click()
        page.locator("#trouble").wait_for(state="hidden")
        assert page.locator("#where").input_value() == ""
        assert len(visit.complaints) == 1  # the browser's own line about the answer 400
        visit.complaints.clear()

    def test_too_long_a_query_and_no_match(self, start: Any, visit: Any) -> None:
        page = visit(start(query_characters=20))
        page.locator("#query").fill("apple " * 10)
        page.locator("#trouble", has_text="shorten it").wait_for()
        page.locator("#query").fill("zebra")
        page.get_by_label("Words").check()
        page.locator("#nothing", has_text="No entry holds these words").wait_for()
        page.get_by_role("button", name="Search by meaning").click()
        page.locator(".result").first.wait_for()
        visit.complaints.clear()

    def test_the_key_is_asked_for_and_kept(self, start: Any, visit: Any) -> None:
        page = visit(start(api_key="right-key"), "?q=apple")
        page.locator("#key").fill("wrong-key")
        page.get_by_role("button", name="Use it").click()
        page.locator("#trouble").wait_for()
        page.locator("#key").fill("right-key")
        page.locator("#key").press("Enter")
        page.locator(".result").first.wait_for()
        page.reload()
        page.locator(".result").first.wait_for()
        assert "key" not in page.url
        visit.complaints.clear()

    def test_a_stopped_server_is_waited_for(self, start: Any, visit: Any) -> None:
        server = start()
        page = visit(server, "?q=apple")
        page.locator(".result").first.wait_for()
        server.stop()
        page.locator("#query").fill("car")
        page.locator("#trouble", has_text="The server does not answer").wait_for()
        assert page.locator("#trouble code").text_content() == "embedworks serve my.index"
        assert page.locator(".result").count() == 6  # what was found stays readable
        start(port=server.server.port)
        page.locator("#trouble").wait_for(state="hidden")
        page.locator(".title", has_text="car").first.wait_for()
        visit.complaints.clear()

    def test_an_empty_index_says_what_to_do(self, start: Any, visit: Any, tmp_path: Path) -> None:
        from embedworks.index import Index

        page = visit(start(index=Index.create(tmp_path / "empty.index", dimension=32)))
        page.locator("#start-lead", has_text="This index is empty").wait_for()

    def test_real_documentation_is_found_while_typing(self, start: Any, visit: Any, documentation: Any) -> None:
        index, encoder = documentation
        page = visit(start(index=index, encoder=encoder, title="Python documentation"))
        page.locator("#start").wait_for()
        page.evaluate(
            """() => {
              window.waits = [];
              let last = 0;
              document.getElementById("query").addEventListener("input", () => { last = performance.now(); }, true);
              new MutationObserver(() => {
                if (last) requestAnimationFrame(() => { window.waits.push(performance.now() - last); });
              }).observe(document.getElementById("results"), { childList: true });
            }"""
        )
        waits = []
        for query in ("smooth a noisy signal", "draw a progress bar", "set a timeout for a request", "invert a matrix"):
            page.locator("#query").fill("")
            page.locator("#start").wait_for()
            page.evaluate("window.waits = []")
            page.locator("#query").press_sequentially(query, delay=30)
            page.locator(".result").first.wait_for()
            until(
                page,
                "document.querySelector('#meta').offsetParent !== null && !document.body.classList.contains('busy')",
            )
            waits.append(page.evaluate("window.waits.at(-1)"))
        median = statistics.median(waits)
        print(f"last key to results: median {median:.0f} ms of {[round(wait) for wait in waits]}")  # noqa: T201
        assert median < 1000
        assert any("inv" in name or "linalg" in name or "pinv" in name for name in ids_on(page)), ids_on(page)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_pictures(self, start: Any, visit: Any, documentation: Any, tmp_path: Path, scheme: str) -> None:
        index, encoder = documentation
        server = start(index=index, encoder=encoder, title="Python documentation")
        page = visit(server, "?q=solve+a+system+of+linear+equations&is.kind=class&is.kind=function", scheme=scheme)
        page.locator(".result").nth(4).wait_for()
        until(
            page, "document.fonts.status === 'loaded' && document.querySelectorAll('[data-facet]:checked').length === 2"
        )
        page.locator("#query").focus()
        folder = ASSETS if WRITE_PICTURES else tmp_path
        folder.mkdir(parents=True, exist_ok=True)
        picture = folder / f"page-{scheme}.png"
        page.screenshot(path=picture)
        assert 20_000 < picture.stat().st_size < 200_000
