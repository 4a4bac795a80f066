"""Shows Markdown as it is written, with its headings and links made real."""

import html
import pathlib
import re

from golinks.web import Answer, serve

PAGES = {str(path.relative_to("/handbook")): path for path in sorted(pathlib.Path("/handbook").rglob("*.md"))}


def shown(text):
    text = html.escape(text, quote=False)
    text = re.sub(r"^#+ (.*)$", r"<strong>\1</strong>", text, flags=re.M)
    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', text)


def index(request):
    items = "".join(f'<li><a href="{name}">{name}</a></li>' for name in PAGES)
    return f"<!doctype html><title>Handbook</title><h1>Handbook</h1><ul>{items}</ul>"


def page(request, name):
    if name not in PAGES:
        raise Answer(404, {"error": f"no page is called {name}", "pages": list(PAGES)})
    return f"<!doctype html><title>{name}</title><pre>{shown(PAGES[name].read_text())}</pre>"


serve({"GET /": index, "GET /(.+)": page})
