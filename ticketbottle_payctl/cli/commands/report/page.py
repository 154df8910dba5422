"""Write the report as one HTML file with SVG plots. The file does not run scripts or send requests."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape as escape_html
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ticketbottle_payctl.cli.commands.report.document import Section
from ticketbottle_payctl.cli.commands.report.plot_spec import Plot
from ticketbottle_payctl.errors import ConfigError

if TYPE_CHECKING:
    from markdown_it.token import Token

_WIDE, _NARROW = 860, 330
_DATE = re.compile(r"\d-\d")


def has_libraries() -> bool:
    """Return whether the libraries that the page needs are installed, without importing them."""
    return all(find_spec(name) for name in ("vl_convert", "markdown_it"))


def require_libraries() -> None:
    """Raise an error if a library that the page needs is not installed.

    Raises:
        ConfigError: the extra ``report`` is missing.
    """
    _libraries()


def page(title: str, sections: Sequence[Section], plots: Mapping[str, Plot]) -> str:
    """Return the whole page. HTML in external text is shown as plain text.

    Raises:
        ConfigError: the extra ``report`` is missing.
    """
    to_html, to_svg = _libraries()
    style = resources.files(__package__).joinpath("page.css").read_text("utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    body = "".join(_section(section, plots, to_html, to_svg) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape_html(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _section(
    section: Section, plots: Mapping[str, Plot], to_html: Callable[[str], str], to_svg: Callable[[Plot, int], str]
) -> str:
    figures = "".join(_figure(plots[name], to_svg) for name in section.plots if name in plots)
    return f"<section>\n{to_html(section.text)}{figures}</section>\n"


def _figure(plot: Plot, to_svg: Callable[[Plot, int], str]) -> str:
    drawn = "".join(
        _drawn(to_svg(plot, width), plot.about, name) for width, name in ((_WIDE, "wide"), (_NARROW, "narrow"))
    )
    return f"<figure>\n<figcaption>{_words(plot.caption)}</figcaption>\n{drawn}</figure>\n"


def _drawn(svg: str, about: str, name: str) -> str:
    opening = f'<svg role="img" aria-label="{escape_html(about)}" '
    return f'<div class="{name}">{opening}{svg.removeprefix("<svg ")}</div>\n'


def _libraries() -> tuple[Callable[[str], str], Callable[[Plot, int], str]]:
    """Import the libraries. Return a function that converts Markdown to HTML, and one that converts a plot to SVG."""
    try:
        import vl_convert  # noqa: PLC0415 - the extra `report`, and only for --html
        from markdown_it import MarkdownIt  # noqa: PLC0415
    except ImportError as error:
        message = "--html needs the report extra"
        install = "in your clone of payctl: pip install --require-hashes -r locks/report.txt"
        raise ConfigError(message, hint=f"{install}, or leave out --html to print Markdown") from error
    parser = MarkdownIt("js-default").disable([*_unwanted()])

    def to_svg(plot: Plot, width: int) -> str:
        # A plot contains its own data, so the library must not fetch anything.
        drawn: Any = vl_convert.vegalite_to_svg(plot.wide(width), allowed_base_urls=[])
        return str(drawn)

    parser.add_render_rule("code_inline", _code)
    parser.add_render_rule("text", _text)
    return parser.render, to_svg


def _code(_renderer: object, tokens: Sequence[Token], place: int, *_: object) -> str:
    """Return a code span that breaks only between words, so that options do not break at hyphens."""
    words = (_unbroken(word) if word else "" for word in tokens[place].content.split(" "))
    return f"<code>{' '.join(words)}</code>"


def _text(_renderer: object, tokens: Sequence[Token], place: int, *_: object) -> str:
    return _words(tokens[place].content)


def _words(text: str) -> str:
    """Return text as HTML. A date in the text never breaks at a hyphen."""
    words = text.split(" ")
    return " ".join(_unbroken(word) if _DATE.search(word) else escape_html(word) for word in words)


def _unbroken(word: str) -> str:
    return f"<span>{escape_html(word)}</span>"


def _unwanted() -> Iterator[str]:
    """Yield the Markdown rules to switch off, so that external text cannot become a link or an image."""
    yield from ("link", "image", "autolink", "linkify", "html_block", "html_inline", "reference", "entity")
