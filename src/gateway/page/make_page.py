"""Fills page.html with the tips of tips.txt, one line each."""

import html
import pathlib
import string

here = pathlib.Path(__file__).parent
tips = [line for line in (here / "tips.txt").read_text().splitlines() if line.strip()]
items = "\n".join(f"    <li>{html.escape(tip)}</li>" for tip in tips)
print(string.Template((here / "page.html").read_text()).substitute(tips=items))
