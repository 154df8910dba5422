"""Test that each command on a page runs, and that each excerpt and picture shows the current output."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def loaded():
    """Return the docs/pictures.py module, which makes the excerpts and pictures."""
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = loaded()


@pytest.mark.postgres
@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", PICTURES.PAGES, ids=lambda page: page.name)
def test_every_command_of_the_page_prints_what_the_page_shows(page, payctl_path):
    """A page's commands run in order in a new demo and print what the page shows."""
    stale = PICTURES.differences([page], payctl_path)
    assert not stale, "run `make pictures` and read what changed:\n" + "\n\n".join(stale)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("written 2 h ago", "written 3 min ago", True),
        ("published just now", "published 1 s ago", True),
        ("published just now", "published in 1 s", False),
        ("published 3  in 69 ms, 14/s", "published 3  in 1.2 s, 2,140/s", True),
        ("2026-11-29T10:03:23.652Z", "2026-12-01T00:00:00Z", True),
        ("PENDING  29 Nov, 45 min ago  e2e86c8b", "PENDING  00:08, 45 min ago  4be31941", True),
        ("PENDING  2026-12-31, 1 h ago", "PENDING  00:08, 1 h ago", True),
        ("29 November", "00:08", False),
        ("\x1b[31m✘\x1b[0m  refused", "\x1b[32m✔\x1b[0m  refused", False),
        ("published 3", "published 4", False),
        ("450,000 VND", "540,000 VND", False),
        ("exit code 5", "exit code 6", False),
        ("TB-AMOUNT", "TB-BLOCKED", False),
    ],
)
def test_only_ids_and_times_may_differ_between_two_runs(one, other, same):
    """The comparison with a page masks only the parts that can differ between two runs, such as ids and times."""
    assert (PICTURES.masked(one) == PICTURES.masked(other)) is same


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("paid 5 VND\n...\n", "paid 5 VND\n...\n"),
        ("paid 6 VND\n...\n", "paid 5 VND\n...\n"),
        ("paid 5 VND\nin 9 ms\n", "paid 5 VND\nin 3 ms\n...\n"),
        ("paid 5 VND\nin 9 days\n", "paid 5 VND\nin 3 ms\n...\n"),
        ("paid 5 VND\nin 9 ms\nend\n", "paid 5 VND\nin 9 ms\nend\n"),
        ("...\npaid 5 VND\nin 9 ms\nend\n...\n", "paid 5 VND\nin 3 ms\nend\n"),
        ("...\nin 9 ms\n", "...\nin 3 ms\n...\n"),
        ("...\nin 9 ms\nend\n", "...\nin 9 ms\nend\n"),
        ("...\nin 9 ms\nthe end\n", "...\nin 9 ms\nend\n".replace("9", "3")),
    ],
)
def test_an_excerpt_is_rewritten_only_if_it_is_stale(old, new):
    """docs/pictures.py replaces a stale excerpt, and keeps an excerpt that differs only in a duration.

    An excerpt starts or ends with ``...`` only if it leaves out lines there.
    """
    ran = PICTURES.Ran("payctl x", "paid \x1b[31m5 VND\x1b[0m\nin 3 ms\nend\n", 0)
    assert PICTURES._excerpt(old, ran, ROOT / "README.md") == new  # noqa: SLF001 - the rule itself


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("refused 9 s ago\n...\n", "refused\n12 s ago\nend\n"),
        ("refused\n12 s ago\n...\n", "refused 9 s ago\nend\n"),
    ],
)
def test_an_excerpt_stays_if_a_longer_or_shorter_age_changes_where_a_line_ends(old, now):
    """docs/pictures.py keeps an excerpt if an age has more or fewer digits, even if a line then breaks elsewhere."""
    ran = PICTURES.Ran("payctl x", now, 0)
    assert PICTURES._excerpt(old, ran, ROOT / "README.md") == old  # noqa: SLF001 - the rule itself


def test_an_excerpt_that_the_command_no_longer_prints_is_an_error():
    """If the command no longer prints an excerpt's first line, the error names the page, the command and the line."""
    with pytest.raises(AssertionError, match=r"README.md: payctl x no longer prints: gone"):
        PICTURES._excerpt("...\ngone\n", PICTURES.Ran("payctl x", "here\n", 0), ROOT / "README.md")  # noqa: SLF001


def test_pictures_load_nothing_from_elsewhere():
    """Each picture has a light and a dark version, and does not contain any URL except the SVG namespace."""
    names = {f"{picture.name}-{theme}.svg" for picture in PICTURES.TAKEN for theme in PICTURES.THEMES}
    files = {path.name: path.read_text("utf-8") for path in PICTURES.PICTURES.iterdir()}
    assert set(files) == names
    for text in files.values():
        assert text.count("http") == text.count('xmlns="http://www.w3.org/2000/svg"') == 1
        assert "postgresql://" not in text
