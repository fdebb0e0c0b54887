"""A drawing as an SVG file, which fetches nothing from the network."""

import io

from classroom.output import Page

# The frame of a picture; rich's own one fetches its font from the network.
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.{unique_id}-matrix {{ font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture(drawing, width):
    """Return what rich can draw as an SVG of so many columns."""
    console = Page(record=True, width=width, file=io.StringIO())
    console.print(drawing)
    return console.export_svg(title="", code_format=FRAME, unique_id="chart")
