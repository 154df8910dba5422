"""Test the documentation site in a real browser. The tests build the site as `make docs` does."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import expect

from docs import build_site as builder

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(120)  # the first test builds the site and starts the browser


def build(folder):
    """Run the site builder in a copy of the project. Return the completed process."""
    command = [sys.executable, "docs/build_site.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=90)


def copied(folder):
    """Copy the project to a folder, so that a test cannot change the original. Return the copy's path."""
    kept_out = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "*.egg-info")
    return shutil.copytree(ROOT, folder, ignore=kept_out)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the built site."""
    project = copied(tmp_path_factory.mktemp("site") / "payctl")
    done = build(project)
    assert (done.returncode, done.stderr) == (0, "")
    return project / "build" / "site"


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    """Return a copy of the project whose pages a test can change."""
    return copied(tmp_path_factory.mktemp("draft") / "payctl")


class Page(HTMLParser):
    """A page's anchors and links, and the files that a browser loads for it."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        """Record the tag's anchor, link or loaded file."""
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        pictures = [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.loaded += [*pictures, *([given["src"]] if "src" in given else [])]
        if "href" in given:
            (self.loaded if tag == "link" else self.links).append(given["href"])


@pytest.fixture(scope="module")
def pages(site):
    """Return a mapping from each of the site's files to the parsed page."""
    found = {file: Page(file) for file in site.rglob("*.html")}
    assert len(found) > 40
    return found


def test_each_link_and_anchor_of_the_site_leads_somewhere(site, pages):
    """Every link on the site leads to a file in the site, and every linked anchor exists."""
    broken = []
    for file, page in pages.items():
        base = site if file.name == "404.html" else file.parent
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path).lstrip("/") if file.name == "404.html" else unquote(parts.path)
            target = (base / path).resolve() if path else file
            target = target / "index.html" if target.is_dir() else target
            known = target in pages and (not parts.fragment or unquote(parts.fragment) in pages[target].ids)
            if not (known or (target.is_file() and not parts.fragment)) and parts.fragment != "__skip":
                broken.append(f"{file.relative_to(site)}: {link}")
    assert broken == []


def test_the_site_loads_nothing_from_another_host(pages):
    """No page loads a script, a style sheet, a font or a picture from another host."""
    assert {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc} == set()


def test_every_page_in_the_navigation_exists():
    """Every page in the navigation exists. Otherwise, for example after a rename, the site's build would fail."""
    pages = {place for _, place in builder.places()}
    named = {path for path in builder.listed(builder.NAVIGATION) if not path.endswith("*")}
    assert named - pages == set()


@pytest.mark.parametrize(
    ("page", "text", "complaint"),
    [
        ("docs/runbook.md", "[a page](nothing.md)", "page does not exist"),
        ("docs/runbook.md", "[an anchor](deploy.md#nothing)", "anchor does not exist"),
        ("docs/elsewhere/page.md", "# A page", "not in the navigation of docs/build_site.py: elsewhere/page.md"),
    ],
)
def test_a_page_that_leads_nowhere_stops_the_build(draft, page, text, complaint):
    """The builder stops at a broken link, a broken anchor, or a page that is not in the navigation.

    The error names the cause.
    """
    file = draft / page
    before = file.read_text("utf-8") if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{before or ''}\n{text}\n", "utf-8")
    try:
        done = build(draft)
    finally:
        file.unlink() if before is None else file.write_text(before, "utf-8")
    assert done.returncode == 1
    assert complaint in done.stderr


@pytest.fixture(scope="module")
def address(site):
    """Yield the site's address on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Suppress the server's own log."""

    handler = functools.partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def opened(browser, address):
    """Yield a function that opens a page in a browser. The function takes the page's path and the colour scheme.

    If the page sends a request to another host, the test fails.
    """
    asked, errors, contexts = [], [], []

    def open_page(path, scheme="light"):
        context = browser.new_context(color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []


@pytest.mark.parametrize(("word", "title"), [("superseded", "DeadEvents"), ("OUTBOX_BATCH_SIZE", "The environment")])
def test_a_reader_finds_a_word(opened, word, title):
    """The search box finds the pages that contain a word, even without a search server."""
    page = opened("index.html")
    page.get_by_role("button", name="Search").first.click()
    # Keys pressed before the dialog has the focus are lost, and the search then waits for a word.
    box = page.get_by_role("combobox", name="Search")
    expect(box).to_be_focused(timeout=45_000)
    box.fill(word)
    expect(page.get_by_role("listbox")).to_contain_text(title, timeout=45_000)


def test_a_reader_opens_a_page_from_the_navigation(opened):
    """Clicking a section of the navigation and then one of its pages opens that page."""
    page = opened("index.html")
    page.get_by_role("link", name="Reference").first.click()
    page.get_by_role("link", name="Metrics").first.click()
    expect(page.locator("h1")).to_contain_text("Metrics")
    assert page.url.endswith("/reference/metrics.html")


def test_the_site_follows_the_reader_s_light_and_dark_colours(opened):
    """On the site, text is darker than its background in the light theme and lighter in the dark theme."""
    brightness = """() => {
      const of = (text) => text.match(/[0-9.]+/g).slice(0, 3).reduce((sum, each) => sum + Number(each), 0)
      const body = getComputedStyle(document.body)
      return [of(body.color), of(body.backgroundColor)]
    }"""
    for scheme in ("light", "dark"):
        text, background = opened("runbook.html", scheme).evaluate(brightness)
        assert (text < background) is (scheme == "light")


def test_a_page_fits_a_phone(opened):
    """On a narrow screen, only wide tables and code blocks scroll sideways. The page itself does not."""
    page = opened("reference/environment.html")
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= 400")
