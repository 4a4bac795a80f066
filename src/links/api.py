"""GET /links, GET /go/<name>, POST /links {"name", "url"} with the token."""

import hmac
import json
import os
from contextlib import closing

from golinks.web import Answer, serve

import table

TOKEN = os.environ.get("GOLINKS_TOKEN", "")


def home(request):
    with closing(table.connect()) as db:
        return {"service": "api", "links": len(table.every(db))}


def links(request):
    with closing(table.connect()) as db:
        return table.every(db)


def go(request, name):
    with closing(table.connect()) as db:
        url = table.follow(db, name)
    if not url:
        raise Answer(404, {"error": f"no link is called {name}"})
    return Answer(302, {"go": url}, Location=url)


def add(request):
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not TOKEN or not hmac.compare_digest(given.encode(), TOKEN.encode()):
        raise Answer(401, {"error": "who adds links shows the token: Authorization: Bearer ..."})
    link = request.json()
    if not link.get("name", "").isalnum() or not link.get("url", "").startswith(("http://", "https://", "/")):
        raise Answer(400, {"error": "expected a name of letters and digits, and a url"})
    with closing(table.connect()) as db:
        table.put(db, link["name"], link["url"])
    return Answer(201, link)


with closing(table.connect()) as db, open("first-links.json") as first:
    known = {link["name"] for link in table.every(db)}
    for name, url in json.load(first).items():
        if name not in known:
            table.put(db, name, url)

serve({"GET /": home, "GET /links": links, "POST /links": add, "GET /go/([A-Za-z0-9]+)": go})
