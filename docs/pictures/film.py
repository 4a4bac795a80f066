#!/usr/bin/env python3
"""The film of README.md: `docs/pictures/film.py PROGRAM`, PROGRAM being a built xtask-images.

It makes a small tree in /tmp/shop, starts the tree's private engine (root, `dockerd`, static busybox and docker's command
line are needed), types the commands of SCENE into a terminal of tmux and takes it as it goes: a real run. Where nothing
moves for longer than a moment, the film goes on. Out: film.svg beside this file, which plays by itself wherever SVG is
shown. Takes everything else away again. Nothing but Python's standard library.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path

from screen2svg import CELL, INK, LINE, PAD, PAPER, SIZE, spans

COLUMNS, ROWS = 84, 24
TREE = Path("/tmp/shop")
# What is typed, and how long the end of it is looked at.
SCENE = [
    ("ls src src/web", 1.0),
    ("xtask-images init --yes", 2.5),
    ("xtask-images build-all", 3.0),
    ("clear; echo '<p>New</p>' >> src/web/index.html", 0.6),
    ("xtask-images build-all", 3.0),
    ("clear; xtask-images build-all", 3.5),
]
# A pause that is longer is cut to this, and the whole runs quicker where it is longer than LENGTH.
LONGEST, LENGTH = 0.8, 20
FILES = {
    "src/runtime/Dockerfile": "FROM alpine:3.20\nRUN for i in $(seq 9); do seq 200000 | sha256sum; done\n",
    "src/api/Dockerfile": "FROM runtime\nCOPY server.sh /\nRUN for i in $(seq 20); do seq 200000 | sha256sum; done\n",
    "src/api/server.sh": "#!/bin/sh\nexec httpd -f -p 8000\n",
    "src/worker/Dockerfile": "FROM runtime\nCOPY work.sh /\nRUN for i in $(seq 14); do seq 200000 | sha256sum; done\n",
    "src/worker/work.sh": "#!/bin/sh\nwhile sleep 60; do date; done\n",
    "src/web/Dockerfile": "FROM alpine:3.20\nRUN for i in $(seq 25); do seq 200000 | sha256sum; done\nCOPY index.html /www/\n",
    "src/web/index.html": "<h1>Shop</h1>\n",
}


def main():
    program = Path(sys.argv[1]).resolve()
    tmux = ["tmux", "-L", f"film-{os.getpid()}", "-f", "/dev/null"]
    work = Path(tempfile.mkdtemp())
    TREE.mkdir()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    xtask = [program, "--root", TREE]
    try:
        make_tree(work)
        subprocess.run([*xtask, "engine", "up"], check=True, **quiet)
        socket = f"unix://{TREE}/target/xtask/engine/docker.sock"
        subprocess.run(["docker", "-H", socket, "import", work / "base.tar", "alpine:3.20"], check=True, **quiet)
        rc = work / "rc"
        rc.write_text(f"PS1='$ '\nxtask-images() {{ {program} \"$@\"; }}\ncd {TREE}\nclear\n")
        shell = f"bash --noprofile --rcfile {rc} -i"
        subprocess.run([*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), shell], check=True)
        time.sleep(1)
        frames = record(tmux)
    finally:
        subprocess.run([*tmux, "kill-server"], **quiet)
        subprocess.run([*xtask, "engine", "down", "--purge"], **quiet)
        shutil.rmtree(TREE)
        shutil.rmtree(work)
    film = Path(__file__).with_name("film.svg")
    film.write_text(draw(cut(frames)))
    print(film, film.stat().st_size)


def make_tree(work):
    for path, text in FILES.items():
        (TREE / path).parent.mkdir(parents=True, exist_ok=True)
        (TREE / path).write_text(text)
    subprocess.run(["git", "init", "--quiet", TREE], check=True)
    # What the film shows is nobody's network.
    (TREE / ".config").mkdir()
    (TREE / ".config/xtask.local.toml").write_text('network = "external"\n')
    root = work / "base"
    for folder in ("bin", "etc", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    names = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    for name in set(names) - {"busybox"}:
        (root / "bin" / name).symlink_to("busybox")
    subprocess.run(["tar", "-C", root, "-cf", work / "base.tar", "."], check=True)


def record(tmux):
    """Screens with their times, as the scene is played."""
    frames, began = [], time.monotonic()

    def take():
        screen = subprocess.run([*tmux, "capture-pane", "-e", "-p"], check=True, capture_output=True, text=True).stdout
        frames.append((time.monotonic() - began, screen.rstrip("\n").split("\n")))
        return screen

    def watch(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            take()
            time.sleep(0.1)

    for words, pause in SCENE:
        for letter in words:
            # A last `;` would end tmux's own command.
            subprocess.run([*tmux, "send-keys", "-l", letter.replace(";", "\\;")], check=True)
            take()
        subprocess.run([*tmux, "send-keys", "Enter"], check=True)
        watch(0.3)
        deadline = time.monotonic() + 120
        while take().rstrip("\n").split("\n")[-1] != "$" and time.monotonic() < deadline:
            time.sleep(0.05)
        watch(0.1)
        # How long the end is looked at is not cut.
        frames.append((frames[-1][0], ("pause", pause)))
    return frames


def cut(frames):
    """Each change of the screen and when it is shown."""
    shown, clock, before, last = [], 0.0, 0.0, None
    for at, screen in frames:
        if isinstance(screen, tuple):
            clock, before = clock + screen[1], at
            continue
        if screen == last:
            continue
        clock += min(at - before, LONGEST)
        before, last = at, screen
        shown.append((clock, screen))
    haste = min(LENGTH / clock, 1)
    return [(at * haste, screen) for at, screen in shown], clock * haste


def draw(film):
    """Each line for as long as it stands: most of a screen does not change with it."""
    frames, end = film
    standing, lines = {}, []
    for clock, screen in [*frames, (end, [])]:
        for row in range(ROWS):
            text = screen[row] if row < len(screen) else ""
            since, was = standing.get(row, (clock, ""))
            if text != was:
                if was.strip():
                    lines.append((row, was, since, clock))
                standing[row] = (clock, text)
    wide, high = 2 * PAD + CELL * COLUMNS, 2 * PAD + LINE * ROWS
    family = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" width="{wide:.0f}" role="img">',
        "<title>init and build-all in a tree of four services; after a change only what it concerns is built</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}">',
        f'<animate id="film" attributeName="rx" from="8" to="8" begin="0s;film.end" dur="{end:.1f}s"/></rect>',
        f'<g font-family="{family}" font-size="{SIZE}" fill="{INK}" xml:space="preserve">',
    ]
    for row, text, since, until in lines:
        out.append(
            f'<g visibility="hidden"><set attributeName="visibility" to="visible" '
            f'begin="film.begin+{since:.2f}s" dur="{max(until - since, 0.04):.2f}s"/>'
        )
        for column, words, style in spans(text, {}):
            if words:
                look = "".join(f' {key}="{value}"' for key, value in style.items())
                y = PAD + LINE * row + SIZE
                out.append(f'<text x="{PAD + CELL * column:.0f}" y="{y}"{look}>{escape(words)}</text>')
        out.append("</g>")
    return "\n".join([*out, "</g></svg>\n"])


main()
