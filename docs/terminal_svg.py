"""Draw a command's output as an SVG picture of a terminal."""

from __future__ import annotations

import io
from xml.sax.saxutils import escape

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from docs.demo_terminal import ANSI, COLUMNS

_LIGHT = (
    (255, 255, 255),
    (36, 41, 47),
    [(36, 41, 47), (190, 30, 40), (20, 110, 50), (135, 85, 0), (9, 90, 200), (125, 60, 180), (15, 105, 125),
     (95, 102, 110)],
)  # fmt: skip
_DARK = (
    (13, 17, 23),
    (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221),
     (177, 186, 196)],
)  # fmt: skip
THEMES = {"light": _LIGHT, "dark": _DARK}
"""The background colour, the foreground colour and the eight other colours of each theme."""

SVG = """\
<svg viewBox="0 0 {{width}} {{height}}" xmlns="http://www.w3.org/2000/svg" role="img">
<!-- {digest} -->
<title>{title}</title>
<desc>{text}</desc>
<style>
.{{unique_id}}-matrix {{{{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {{char_height}}px; line-height: {{line_height}}px;
}}}}
.{{unique_id}}-title {{{{ font-size: 15px; font-family: ui-monospace, "DejaVu Sans Mono", monospace; }}}}
{{styles}}
</style>
<defs>
<clipPath id="{{unique_id}}-clip-terminal">
<rect x="0" y="0" width="{{terminal_width}}" height="{{terminal_height}}"/>
</clipPath>
{{lines}}
</defs>
{{chrome}}
<g transform="translate({{terminal_x}}, {{terminal_y}})" clip-path="url(#{{unique_id}}-clip-terminal)">
{{backgrounds}}
<g class="{{unique_id}}-matrix">
{{matrix}}
</g>
</g>
</svg>
"""


def svg(title: str, output: str, theme: TerminalTheme, digest: str, unique_id: str) -> str:
    """Return an SVG picture of a terminal that shows this output."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in Text.from_ansi(output).split("\n", allow_blank=True):
        for part in line.divide(range(COLUMNS, len(line), COLUMNS)):  # a terminal folds long lines too
            console.print(part, no_wrap=True, overflow="ignore", crop=False, highlight=False)
    code = SVG.format(digest=digest, title=escape(title), text=_braced(escape(ANSI.sub("", output))))
    made = console.export_svg(title=title, theme=theme, code_format=code, unique_id=unique_id)
    made = made.replace('stroke="rgba(255,255,255,0.35)"', 'stroke="#808890"')  # visible on a light page too
    return "".join(f"{line.rstrip()}\n" for line in made.splitlines() if line.strip())


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
