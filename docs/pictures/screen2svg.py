#!/usr/bin/env python3
"""A terminal's screen, as `tmux capture-pane -e -p` gives it on stdin, to an SVG on stdout.

In: text with SGR sequences (ECMA-48); others are not expected. Out: an SVG whose text can be selected, on a dark card
of its own, so that it can be read on light and on dark pages. Nothing but Python's standard library.
"""

import re
import sys
import unicodedata
from html import escape

CELL, LINE, PAD, SIZE = 8.4, 19, 16, 14
PAPER, INK, DIM = "#0d1117", "#e6edf3", "#9198a1"
COLOURS = {31: "#ff7b72", 32: "#3fb950", 33: "#d29922", 34: "#58a6ff", 35: "#bc8cff", 36: "#39c5cf"}


def width(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def spans(line, style):
    """Pieces of a line: column, text, style. The style goes on in the next line, so it is kept in its last piece."""
    column = 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if part.startswith("\x1b"):
            for code in (int(code or 0) for code in part[2:-1].split(";")):
                if code == 0:
                    style = {}
                elif code == 1:
                    style = {**style, "font-weight": "bold"}
                elif code == 2:
                    style = {**style, "fill": DIM}
                elif code in COLOURS:
                    style = {**style, "fill": COLOURS[code]}
                elif code == 39:
                    style = {key: value for key, value in style.items() if key != "fill"}
                elif code == 22:
                    style = {key: value for key, value in style.items() if key != "font-weight"}
            continue
        # Each word at its own place: fonts differ in width, columns do not.
        for word in re.finditer(r"\S+(?: \S+)*", part):
            yield column + width(part[: word.start()]), word.group(), style
        column += width(part)
    yield column, "", style


def main():
    title = sys.argv[1] if len(sys.argv) > 1 else "cargo xtask"
    lines = sys.stdin.read().rstrip("\n").split("\n")
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines]
    # The shell's prompt, which is there again.
    while bare and bare[-1] in ("", "$"):
        bare.pop()
    lines = lines[: len(bare)]
    wide = 2 * PAD + CELL * max(width(line) for line in bare)
    high = 2 * PAD + LINE * len(lines)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" width="{wide:.0f}" role="img">')
    print(f"<title>{escape(title)}</title>")
    print(f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>')
    family = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
    print(f'<g font-family="{family}" font-size="{SIZE}" fill="{INK}" xml:space="preserve">')
    style = {}
    for row, line in enumerate(lines):
        y = PAD + LINE * row + SIZE
        for column, text, style in spans(line, style):
            if not text:
                continue
            look = "".join(f' {key}="{value}"' for key, value in style.items())
            length = f' textLength="{CELL * width(text):.1f}" lengthAdjust="spacingAndGlyphs"'
            print(f'<text x="{PAD + CELL * column:.1f}" y="{y}"{length}{look}>{escape(text)}</text>')
    print("</g></svg>")


if __name__ == "__main__":
    main()
