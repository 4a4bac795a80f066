"""Sweeps every SWEEP_EVERY seconds, and tells over HTTP what it did."""

import os
import threading
from contextlib import closing

from golinks.web import serve

import table

EVERY = float(os.environ.get("SWEEP_EVERY", "60"))
done = {"service": "sweeper", "sweeps": 0, "swept": []}


def sweep():
    with closing(table.connect()) as db:
        done["swept"] = (table.sweep(db) + done["swept"])[:20]
    done["sweeps"] += 1
    timer = threading.Timer(EVERY, sweep)
    timer.daemon = True
    timer.start()


sweep()
serve({"GET /": lambda request: done})
