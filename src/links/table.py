"""The table of links, in SQLite, shared by the api and the sweeper."""

import os
import sqlite3
import time

DAY = 24 * 60 * 60
TTL = float(os.environ.get("LINK_TTL_DAYS", "90")) * DAY


def connect():
    db = sqlite3.connect(os.environ.get("DATABASE", "links.db"), timeout=10)
    with db:
        db.execute("CREATE TABLE IF NOT EXISTS link (name TEXT PRIMARY KEY, url TEXT, clicks INT, expires REAL)")
    return db


def put(db, name, url):
    """Adds a link, or renews it."""
    with db:
        db.execute(
            "INSERT INTO link VALUES (?, ?, 0, ?)"
            " ON CONFLICT (name) DO UPDATE SET url = excluded.url, expires = excluded.expires",
            (name, url, time.time() + TTL),
        )


def follow(db, name):
    """Where a link leads, counted; None if there is no such link."""
    with db:
        found = db.execute("UPDATE link SET clicks = clicks + 1 WHERE name = ? RETURNING url", (name,)).fetchone()
    return found and found[0]


def every(db):
    rows = db.execute("SELECT name, url, clicks FROM link ORDER BY clicks DESC, name")
    return [dict(zip(("name", "url", "clicks"), row)) for row in rows]


def sweep(db):
    """Removes what has expired; returns the names."""
    with db:
        return [name for (name,) in db.execute("DELETE FROM link WHERE expires < ? RETURNING name", (time.time(),))]
