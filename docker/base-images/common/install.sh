#!/bin/sh
# Puts the FIT framework into an image: install.sh ARTIFACT.zip VERSION. Runs as root while the image is built, with a
# JDK and the user `fit` there already; everything that all systems share is done here, so none can differ.
set -eu

artifact=$1
version=$2
common=$(dirname "$0")
home=/opt/fit-framework
java=$home/java

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

[ -n "$version" ] || fail "no version: pass --build-arg FIT_VERSION=..."

# One name for the JDK on every system and architecture.
javac=$(command -v javac || find /usr/lib/jvm -path '*/bin/javac' | head -n 1)
[ -n "$javac" ] || fail "there is no JDK: javac is neither in PATH nor in /usr/lib/jvm"
mkdir -p /opt/java
ln -sfn "$(dirname "$(dirname "$(readlink -f "$javac")")")" /opt/java/openjdk

for folder in bin conf lib plugins dynamic-plugins logs data; do
    mkdir -p "$java/$folder"
done

# The JDK unpacks the artifact, so no system needs a package for that.
unpacked=$(mktemp -d)
(cd "$unpacked" && /opt/java/openjdk/bin/jar xf "$artifact")
[ -f "$unpacked/$version/bin/fit" ] || fail "the artifact has no $version/bin/fit: is it the release of $version?"
cp -R "$unpacked/$version/." "$java/"
rm -rf "$unpacked"
chmod 755 "$java"/bin/*

# Some releases come with `fit` in shell, some with `fit` in another language. Better to learn it here than when it starts.
interpreter=$(sed -n '1s/^#! *//p' "$java/bin/fit")
program=${interpreter##*/env }
program=${program%% *}
if [ -n "$program" ] && ! command -v "$program" >/dev/null; then
    fail "bin/fit of $version is run by \`$program\`, which is not in this image: pass --build-arg FIT_PACKAGES=..."
fi

cp "$common/entrypoint.sh" "$common/healthcheck.sh" /usr/local/bin/
chmod 755 /usr/local/bin/entrypoint.sh /usr/local/bin/healthcheck.sh
chown -R fit:fit "$home"
