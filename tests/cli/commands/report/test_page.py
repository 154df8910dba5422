"""Test the HTML file that `payctl report --html` writes, and the display of the file in a real browser."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from tests.cli.commands.report.conftest import ACCOUNT, HOSTILE, new_story, night
from tests.cli.conftest import clean_environment
from tests.conftest import engine_of
from ticketbottle_payctl.cli.commands.report import page
from ticketbottle_payctl.cli.commands.report.document import Section
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.formats import rfc3339

NAMES = ("dead", "waiting", "rates", "lag", "refused", "runs")
READS = pytest.mark.xdist_group("browser")
"""A mark for tests that read the shared page. These tests run in the same worker as the browser tests."""
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 800}


class Elements(HTMLParser):
    """A parser that collects the names of all elements and attributes on a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attrs):
        """Record the names of an element and of its attributes."""
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


@pytest.fixture(scope="module")
def night_report(postgres, clones, template_database, payctl_command, tmp_path_factory):
    """Return the report on the test night, as a page and as a JSON document. All tests share one report."""
    name = clones.create(template_database, prefix="night")
    engine = engine_of(postgres.url(name))
    with engine.begin() as connection:
        told = night(new_story(connection))
    path = tmp_path_factory.mktemp("page") / "report.html"
    window = ("--since", rfc3339(told.since), "--until", rfc3339(told.until))
    done = subprocess.run(
        [*payctl_command, "report", *window, "--html", str(path), "-o", "json"],
        env=clean_environment({"DATABASE_URL": postgres.url(name)}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    engine.dispose()
    clones.drop(name)
    return SimpleNamespace(path=path, document=json.loads(done.stdout))


@pytest.fixture(scope="module")
def written(night_report):
    """Return the HTML file with the report on the test night."""
    return night_report.path


@READS
def test_the_page_is_one_private_file_that_loads_nothing(written):
    """The HTML report does not contain scripts, links or style attributes. Only its owner can read the file."""
    text = written.read_text("utf-8")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert "default-src 'none'; style-src 'sha256-" in text
    parser = Elements()
    parser.feed(text)
    assert parser.tags & {"script", "link", "img", "iframe", "object", "a", "image", "use", "foreignobject"} == set()
    assert [
        name for name in parser.attributes if name in {"src", "href", "xlink:href", "style"} or name[:2] == "on"
    ] == []
    assert set(re.findall(r"https?://[^\"' <]+", text)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@import" not in text
    assert "url(" not in text


@READS
def test_html_in_an_error_text_is_shown_as_text(written):
    """The HTML report shows HTML in a stored error as plain text, and does not show account numbers."""
    text = written.read_text("utf-8")
    assert HOSTILE[:40] in unescape(text)
    assert "<script" not in text
    assert ACCOUNT.split("=")[1] not in text
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_markup_that_reaches_the_page_is_shown_as_text():
    """The HTML report shows tags, links, images and entities in its Markdown source as plain text."""
    hostile = (
        "<script>x</script> [a](https://x.invalid) ![b](https://x.invalid/i) <https://x.invalid> &lt;b&gt; x.invalid"
    )
    parser = Elements()
    parser.feed(
        page.page(hostile, [Section(hostile), Section(f"<div>{hostile}</div>\n\n[c]\n\n[c]: https://x.invalid")], {})
    )
    assert parser.tags == {"html", "head", "meta", "title", "style", "body", "main", "section", "p"}


@READS
def test_each_plot_has_a_description(written):
    """The HTML report contains two images of each plot, one for wide screens and one for phones.

    Each image has a description.
    """
    text = written.read_text("utf-8")
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    assert len(labels) == 2 * len(NAMES)
    assert len(set(labels)) == len(NAMES)
    assert len(text) < 400_000


def test_stdout_has_the_verdict_and_the_file(told, ask, tmp_path):
    """With --html, the JSON document of `report` names the file, and the page's heading is the document's verdict."""
    path = tmp_path / "report.html"
    result = ask("report", "--since", rfc3339(told.since), "--html", str(path))["result"]
    assert result["html"] == str(path)
    assert f"<h1>! {result['verdict']}</h1>" in path.read_text("utf-8")
    assert f"<title>{result['verdict']}</title>" in path.read_text("utf-8")


def files(place):
    """Return the paths that --html refuses, each with part of the error message and whether --force helps."""
    other = place / "other.txt"
    other.write_text("kept", "utf-8")
    taken, link, folder, dangling = (
        place / name for name in ("taken.html", "link.html", "folder.html", "dangling.html")
    )
    taken.write_text("kept", "utf-8")
    link.symlink_to(other)
    dangling.symlink_to(place / "nowhere.txt")
    folder.mkdir()
    os.mkfifo(place / "fifo.html")
    return {
        "taken.html": ("already exists", True),
        "link.html": ("is not a regular file", False),
        "dangling.html": ("is not a regular file", False),
        "folder.html": ("is not a regular file", False),
        "fifo.html": ("is not a regular file", False),
        "none/report.html": ("there is no directory", False),
    }


@pytest.mark.parametrize(
    "name", ["taken.html", "link.html", "dangling.html", "folder.html", "fifo.html", "none/report.html"]
)
@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
def test_no_file_is_overwritten_and_no_link_is_followed(name, force, invoke, database_url, tmp_path):
    """`report --html` does not follow links, and replaces an existing file only with --force.

    The new file has mode 0600.
    """
    said, helps = files(tmp_path)[name]
    target = tmp_path / name
    options = ["--html", str(target), *(["--force"] if force else [])]
    result = invoke("report", *options, DATABASE_URL=database_url)
    if force and helps:
        assert result.exit_code == 0
        assert target.read_text("utf-8").startswith("<!doctype html>")
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    else:
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr
        assert (tmp_path / "taken.html").read_text("utf-8") == "kept"
    assert (tmp_path / "other.txt").read_text("utf-8") == "kept"
    assert not (tmp_path / "nowhere.txt").exists()
    assert list(tmp_path.glob(".payctl-*")) == []


@pytest.mark.parametrize("library", ["vl_convert", "markdown_it"])
def test_without_the_extra_the_error_says_what_to_install(library, monkeypatch, invoke, tmp_path):
    """Without the libraries for HTML reports, `report --html` exits with 3 and says what to install."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match="--html needs the report extra"):
        page.require_libraries()
    assert not page.has_libraries()
    result = invoke("report", "--html", str(tmp_path / "report.html"))
    assert (result.exit_code, result.stdout) == (3, "")
    assert "pip install --require-hashes -r locks/report.txt" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_libraries_are_loaded_only_for_a_page():
    """Importing the report command loads neither the plot library nor the Markdown library."""
    code = "import sys; import ticketbottle_payctl.cli.commands.report.command; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"vl_convert", "markdown_it"} & set(loaded) == set()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["1200 px", "phone"])
def test_a_browser_shows_every_plot_and_requests_nothing_else(written, browser, size, scheme):
    """A browser shows every plot in the HTML report.

    The browser requests only the report, and does not log any messages.
    """
    context = browser.new_context(viewport=size, color_scheme=scheme)
    tab, told, asked = context.new_page(), [], []
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(written.as_uri())
    shown = tab.locator("figure svg:visible")
    boxes = [shown.nth(number).bounding_box() for number in range(shown.count())]
    colours = tab.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert (told, asked) == ([], [written.as_uri()])
    assert len(boxes) == len(NAMES)
    assert all(box["width"] >= 300 and box["height"] >= 90 for box in boxes)
    assert tab.evaluate("document.documentElement.scrollWidth") == size["width"]
    assert colours == (
        ["rgb(255, 255, 255)", "rgb(28, 39, 51)"] if scheme == "light" else ["rgb(18, 24, 31)", "rgb(228, 233, 239)"]
    )
    fills = tab.evaluate(
        """[...document.querySelectorAll('figure svg [fill^="var("], figure svg [stroke^="var("]')]
        .map(mark => getComputedStyle(mark)).map(style => style.fill + style.stroke)"""
    )
    assert len({*fills}) >= 5, "the CSS variables colour the plots"
    assert tab.evaluate("document.scripts.length") == 0
    context.close()


def test_the_printed_page_is_light_and_has_every_plot(written, browser):
    """The printed HTML report has the wide plots on a white background, even if the screen is dark."""
    context = browser.new_context(color_scheme="dark")
    tab = context.new_page()
    tab.goto(written.as_uri())
    tab.emulate_media(media="print")
    assert tab.locator(".wide svg:visible").count() == len(NAMES)
    assert tab.locator(".narrow svg:visible").count() == 0
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    context.close()


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["1200 px", "phone"])
def test_no_word_of_a_command_is_broken_and_it_can_be_copied(night_report, browser, size):
    """The HTML report does not break words in a command, so the text that a user copies is the exact command."""
    context = browser.new_context(viewport=size)
    tab = context.new_page()
    tab.goto(night_report.path.as_uri())
    heights = tab.evaluate("[...document.querySelectorAll('br + code span')].map(word => word.offsetHeight)")
    copied = tab.evaluate("[...document.querySelectorAll('br + code')].map(command => command.innerText)")
    context.close()
    assert len(heights) > 100
    assert max(heights) < 30
    assert {item["command"] for item in night_report.document["items"]} <= set(copied)
    assert night_report.document["items"]
