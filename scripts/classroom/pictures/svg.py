"""What all drawn pictures have in common: text and boxes as SVG, in light and dark."""

from html import escape

WIDTH = 830  # pixels, as wide as a page on GitHub, so that nothing is shown smaller than it is
CHARACTER = 8.43  # pixels: how wide one is
STYLE = """\
text{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1f2328}
.back{fill:#fff}.box{fill:none;stroke:#59636e}.title,.typed,.on{font-weight:bold}
.faint,.note{fill:#59636e}.remark{font-style:italic;fill:#6b4100}.shown{fill:#0a5223}
.waiting{fill:#ffd33d}.served{fill:#2ea043}.idle{fill:#39c5cf}.on,.bar{fill:#000}.none{fill:none}
.rising{fill:#59636e}.arm{fill:none;stroke:#2ea043;stroke-width:4}.rule{stroke:#8c959f}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.back{fill:#0d1117}.box{stroke:#9198a1}
.faint,.note{fill:#9198a1}.remark{fill:#e3b341}.shown{fill:#7ee787}.on{fill:#000}}
"""


def text(x, y, words, style=""):
    return f'<text x="{x}" y="{y}" class="{style}">{escape(words)}</text>'


def box(x, y, width, height, style):
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" class="{style}"/>'


def picture(size, title, description, parts, style=""):
    """Return an SVG file, which fetches nothing; `size` is its width and height in pixels."""
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n"
        f"<style>\n{STYLE}{style}</style>\n{box(0, 0, width, height, 'back')}\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )
