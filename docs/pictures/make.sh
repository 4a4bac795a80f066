#!/bin/bash
# Makes the pictures of README.md from a real run: `docs/pictures/make.sh`, at the root of the tree.
#
# What it needs beside Rust: git, tmux, python3, chromium, docker's command line, and what `--bootstrap` needs (root).
# What it does: clones the tree to /tmp/golinks, builds it twice there on an engine of its own (the second time what is
# left is known), and takes the terminal while it runs and when it is done, and the report of the run. Takes all of it
# away again.
set -euo pipefail

tree=/tmp/golinks
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ ! -e "$tree" ] || { echo "$tree is in the way" >&2; exit 1; }
unset DOCKER_HOST DOCKER_CONTEXT NO_COLOR CI

(cd "$root" && cargo build --quiet --package xtask-images)
program=$root/target/debug/xtask-images
[ -z "${CARGO_TARGET_DIR:-}" ] || program=$CARGO_TARGET_DIR/debug/xtask-images
session=(tmux -L "xtask-pictures-$$" -f /dev/null)
work=$(mktemp -d)

clean_up() {
    "${session[@]}" kill-server 2>/dev/null || true
    "$program" --root "$tree" engine down --purge >/dev/null 2>&1 || true
    rm -rf "$tree" "$work"
}
trap clean_up EXIT

git clone --quiet "$root" "$tree"
# What the pictures show is nobody's network and nobody's version.
sed -i 's/^version = .*/version = "1.2.3"/; /^internal_registry/d' "$tree/.config/xtask.toml"
printf 'network = "external"\n' >"$tree/.config/xtask.local.toml"
"$program" --root "$tree" engine up
# An engine that has the base image already is spared making it: BASE=FILE names a root file system.
if [ -n "${BASE:-}" ]; then
    docker -H "unix://$tree/target/xtask/engine/docker.sock" import "$BASE" debian:12-slim
fi
"$program" --root "$tree" build-all --bootstrap --progress plain
docker -H "unix://$tree/target/xtask/engine/docker.sock" builder prune --all --force >/dev/null 2>&1
docker -H "unix://$tree/target/xtask/engine/docker.sock" images --format '{{.Repository}}:{{.Tag}}' |
    grep -v debian:12-slim | xargs docker -H "unix://$tree/target/xtask/engine/docker.sock" rmi --force >/dev/null

cat >"$work/rc" <<RC
PS1='\$ '
cargo() { shift; "$program" "\$@"; }
cd "$tree"
clear
RC
"${session[@]}" new-session -d -x 88 -y 24 "bash --noprofile --rcfile '$work/rc' -i"
"${session[@]}" send-keys 'cargo xtask build-all' Enter

# The moment with the most to see: the last one in which most steps are running.
best=0
for _ in $(seq 1 1200); do
    screen=$("${session[@]}" capture-pane -e -p)
    text=$(printf '%s' "$screen" | sed 's/\x1b\[[0-9;]*m//g')
    running=$(printf '%s' "$text" | sed -n 's/.*   \([0-9][0-9]*\) running.*/\1/p' | head -1)
    score=$((${running:-0} * 2))
    case $text in *'about '*' left'*) score=$((score + 5)) ;; esac
    if [ "$score" -gt 0 ] && [ "$score" -ge "$best" ]; then
        best=$score
        printf '%s\n' "$screen" >"$work/running"
    fi
    case $text in *'  Finished '* | *'  Failed '*) break ;; esac
    sleep 0.2
done
sleep 0.3
"${session[@]}" capture-pane -e -p >"$work/done"

python3 "$here/screen2svg.py" 'cargo xtask build-all, while it runs' <"$work/running" >"$here/build-all-running.svg"
python3 "$here/screen2svg.py" 'cargo xtask build-all, when it is done' <"$work/done" >"$here/build-all-done.svg"
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,900 \
    --user-data-dir="$work/chromium" --screenshot="$here/report.png" \
    "file://$(readlink -f "$tree/target/xtask/runs/latest")/report.html" 2>"$work/chromium.log" || {
    cat "$work/chromium.log" >&2
    exit 1
}
ls -l "$here"
