//! Pure: the text of a lock file, read and written.
//!
//! TOML as Cargo.lock has it: `version = 1`, then one `[[image]]` for each name, sorted. It is written by a program and
//! read by people in diffs, so each fact has a line of its own, and nothing that is not a fact is in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

use crate::model::suggest::did_you_mean;
use crate::model::{Diagnostic, ImageLock, LockedImage, ParseDigestError, Platform, Reference};

const HEADER: &str = "\
# The content of every external image that the Dockerfiles name.
# Written by `cargo xtask lock`, held to by `--locked`. Do not edit it by hand.
version = 1
";

/// What a merge leaves at the beginning of lines.
const MARKERS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];

type Table<'d> = toml::de::DeTable<'d>;
type Entry<'t, 'd> = (&'t Spanned<Cow<'d, str>>, &'t Spanned<DeValue<'d>>);

/// The lock with the line of each entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadLock {
    /// What it says.
    pub lock: ImageLock,
    /// 1-based line of each entry's name.
    pub lines: BTreeMap<Reference, u32>,
}

/// Reads a lock file; `file` is its name in messages.
///
/// # Errors
/// What is wrong, and where: no TOML, a merge that nobody finished, another version, an unknown key, a name or digest
/// that is none, a name that comes twice.
pub fn parse(file: &str, text: &str) -> Result<ReadLock, Diagnostic> {
    if let Some((at, _)) =
        text.lines().enumerate().find(|(_, line)| MARKERS.iter().any(|m| line.starts_with(m)))
    {
        let message = "a merge has left both of its sides here: keep one of them (`git checkout --theirs` or `--ours`), \
                       then `cargo xtask lock` brings it up to date";
        return Err(Diagnostic::error(file, u32::try_from(at + 1).unwrap_or(u32::MAX), message));
    }
    let fail = |at: usize, message: String| Diagnostic::error(file, 0, message).at_offset(text, at);
    let table = Table::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        fail(at, error.message().trim_end().replace('\n', ", "))
    })?;
    let mut read = ReadLock::default();
    let mut version = None;
    for (key, value) in in_order(table.get_ref()) {
        let name: &str = key.get_ref();
        let at = key.span().start;
        match (name, value.get_ref()) {
            ("version", DeValue::Integer(number)) => {
                version = Some((number.as_str() == "1", value.span().start))
            }
            ("image", DeValue::Array(images)) => {
                for image in images.iter() {
                    read_image(image, &mut read, text, &fail)?;
                }
            }
            ("version", _) => return Err(fail(value.span().start, "`version` is not a number".to_owned())),
            ("image", _) => return Err(fail(at, "entries begin with `[[image]]`".to_owned())),
            _ => {
                let meant = did_you_mean(name, ["version", "image"]);
                return Err(fail(at, format!("unknown key `{name}`{meant}")));
            }
        }
    }
    match version {
        Some((true, _)) => Ok(read),
        Some((false, at)) => {
            Err(fail(at, "this program reads version 1 only; a newer one has written this".to_owned()))
        }
        None if read.lock.images.is_empty() && text.trim().is_empty() => Ok(read),
        None => Err(fail(0, "it lacks `version = 1`".to_owned())),
    }
}

/// One `[[image]]`.
fn read_image(
    image: &Spanned<DeValue<'_>>,
    read: &mut ReadLock,
    text: &str,
    fail: &dyn Fn(usize, String) -> Diagnostic,
) -> Result<(), Diagnostic> {
    let begins = image.span().start;
    let Some(table) = image.get_ref().as_table() else {
        return Err(fail(begins, "entries begin with `[[image]]`".to_owned()));
    };
    let mut name = None;
    let mut locked = LockedImage::default();
    for (key, value) in in_order(table) {
        let at = value.span().start;
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("name", DeValue::String(found)) => {
                let found: Reference = found.parse().map_err(|error| fail(at, format!("{error}")))?;
                name = Some((found, at));
            }
            ("digest", found) => locked.digest = Some(digest_of(found).map_err(|why| fail(at, why))?),
            ("identities", found) => locked.identities = by_platform("identities", found, at, fail)?,
            ("ids", found) => locked.ids = by_platform("ids", found, at, fail)?,
            ("name", _) => return Err(fail(at, "`name` is not a text".to_owned())),
            (unknown, _) => {
                let meant = did_you_mean(unknown, ["name", "digest", "identities", "ids"]);
                return Err(fail(key.span().start, format!("unknown key `{unknown}`{meant}")));
            }
        }
    }
    let Some((name, at)) = name else { return Err(fail(begins, "an entry without a `name`".to_owned())) };
    if locked == LockedImage::default() {
        return Err(fail(at, format!("{} has neither `digest` nor `identities`", name.familiar())));
    }
    let line = Diagnostic::error("", 0, "").at_offset(text, at).line;
    if let Some(first) = read.lines.insert(name.clone(), line) {
        return Err(fail(at, format!("{} comes twice, first in line {first}", name.familiar())));
    }
    read.lock.images.insert(name, locked);
    Ok(())
}

fn digest_of<T: FromStr<Err = ParseDigestError>>(value: &DeValue<'_>) -> Result<T, String> {
    let text = value.as_str().ok_or("expected a text such as \"sha256:…\"")?;
    text.parse().map_err(|error: ParseDigestError| error.to_string())
}

/// `identities."linux/amd64" = "sha256:…"`
fn by_platform<T: FromStr<Err = ParseDigestError>>(
    key: &str,
    value: &DeValue<'_>,
    at: usize,
    fail: &dyn Fn(usize, String) -> Diagnostic,
) -> Result<BTreeMap<Platform, T>, Diagnostic> {
    let table = value.as_table().ok_or_else(|| fail(at, format!("`{key}` is not a table of platforms")))?;
    let entry = |(platform, found): Entry<'_, '_>| {
        let named = platform.get_ref().parse::<Platform>();
        let named = named.map_err(|error| fail(platform.span().start, error.to_string()))?;
        let found = digest_of(found.get_ref()).map_err(|why| fail(found.span().start, why))?;
        Ok((named, found))
    };
    in_order(table).into_iter().map(entry).collect()
}

/// The keys of a table as they stand in the file, so that the first mistake is the one that is told.
fn in_order<'t, 'd>(table: &'t Table<'d>) -> Vec<Entry<'t, 'd>> {
    let mut all: Vec<_> = table.iter().collect();
    all.sort_by_key(|(key, _)| key.span().start);
    all
}

/// The text of a lock: the same for the same content.
pub fn write(lock: &ImageLock) -> String {
    let mut text = HEADER.to_owned();
    let mut images: Vec<_> = lock.images.iter().map(|(name, locked)| (name.familiar(), locked)).collect();
    images.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, locked) in images {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[[image]]\nname = {}\n", quoted(&name));
        if let Some(digest) = &locked.digest {
            let _ = writeln!(text, "digest = {}", quoted(digest.as_str()));
        }
        let identities = locked.identities.iter().map(|(of, found)| ("identities", of, found.as_str()));
        let ids = locked.ids.iter().map(|(of, id)| ("ids", of, id.as_str()));
        for (key, platform, found) in identities.chain(ids) {
            let _ = writeln!(text, "{key}.{} = {}", quoted(&platform.to_string()), quoted(found));
        }
    }
    text
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn each_fact_has_a_line_of_its_own() {
        let mut lock = ImageLock::default();
        let mut put =
            |name: &str, digest: Option<&str>, identities: &[(&str, &str)], ids: &[(&str, &str)]| {
                let identities = identities
                    .iter()
                    .map(|(p, found)| (p.parse().expect("platform"), found.parse().expect("it")));
                let ids = ids.iter().map(|(p, id)| (p.parse().expect("platform"), id.parse().expect("id")));
                let digest = digest.map(|digest| digest.parse().expect("digest"));
                let locked = LockedImage { digest, identities: identities.collect(), ids: ids.collect() };
                lock.images.insert(name.parse().expect("name"), locked);
            };
        put("redis:7-alpine", Some(A), &[("linux/arm64", B), ("linux/amd64", A)], &[]);
        put("quay.io/a/b:1", Some(B), &[], &[]);
        put("debian:12-slim", None, &[("linux/amd64", B)], &[("linux/arm64", A)]);
        let text = write(&lock);
        insta::assert_snapshot!(text.replace(&"a".repeat(60), "…").replace(&"b".repeat(60), "…"), @r#"
        # The content of every external image that the Dockerfiles name.
        # Written by `cargo xtask lock`, held to by `--locked`. Do not edit it by hand.
        version = 1

        [[image]]
        name = "debian:12-slim"
        identities."linux/amd64" = "sha256:…bbbb"
        ids."linux/arm64" = "sha256:…aaaa"

        [[image]]
        name = "quay.io/a/b:1"
        digest = "sha256:…bbbb"

        [[image]]
        name = "redis:7-alpine"
        digest = "sha256:…aaaa"
        identities."linux/amd64" = "sha256:…aaaa"
        identities."linux/arm64" = "sha256:…bbbb"
        "#);
        let read = parse("images.lock", &text).expect("what it wrote");
        assert_eq!(read.lock, lock);
        assert_eq!(read.lines[&"debian:12-slim".parse().expect("name")], 6);
        assert_eq!(write(&read.lock), text);
    }

    #[track_caller]
    fn fails(text: &str, expected: &str) {
        let found = parse("images.lock", &text.replace("{A}", A)).expect_err(expected);
        assert_eq!(format!("{}: {}", found.place(), found.message), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        fails(
            "version = 2\n",
            "images.lock:1:11: this program reads version 1 only; a newer one has written this",
        );
        fails("version = \"1\"\n", "images.lock:1:11: `version` is not a number");
        fails("verson = 1\n", "images.lock:1:1: unknown key `verson`, did you mean `version`?");
        fails("[[image]]\nname = \"a\"\ndigest = \"{A}\"\n", "images.lock:1:1: it lacks `version = 1`");
        fails("version = 1\n[image]\n", "images.lock:2:2: entries begin with `[[image]]`");
        let entry = |text: &str| format!("version = 1\n\n[[image]]\n{text}");
        fails(&entry("digest = \"{A}\"\n"), "images.lock:3:1: an entry without a `name`");
        fails(&entry("name = \"a:1\"\n"), "images.lock:4:8: a:1 has neither `digest` nor `identities`");
        fails(
            &entry("name = \"a:1\"\ndigets = \"{A}\"\n"),
            "images.lock:5:1: unknown key `digets`, did you mean `digest`?",
        );
        fails(
            &entry("name = \"a:1\"\ndigest = \"sha256:12\"\n"),
            "images.lock:5:10: `sha256:12` is not a digest: expected `sha256:` and 64 lowercase hex digits",
        );
        fails(
            &entry("name = \"A:1\"\ndigest = \"{A}\"\n"),
            "images.lock:4:8: `A:1` is not an image reference: a repository is lowercase letters and digits, separated \
             by `/`, `.`, `_`, `__` or dashes",
        );
        fails(
            &entry("name = \"a:1\"\nids.linux = \"{A}\"\n"),
            "images.lock:5:5: `linux` is not a platform: expected `os/arch` or `os/arch/variant`, for example \
             `linux/amd64`",
        );
        fails(
            &entry("name = \"a:1\"\nidentities = \"{A}\"\n"),
            "images.lock:5:14: `identities` is not a table of platforms",
        );
        let twice = "[[image]]\nname = \"docker.io/library/a:1\"\ndigest = \"{A}\"\n";
        fails(
            &entry(&format!("name = \"a:1\"\ndigest = \"{{A}}\"\n{twice}")),
            "images.lock:7:8: a:1 comes twice, first in line 4",
        );
        fails(
            &entry("<<<<<<< HEAD\nname = \"a:1\"\n=======\nname = \"b:1\"\n>>>>>>> other\n"),
            "images.lock:4: a merge has left both of its sides here: keep one of them (`git checkout --theirs` or \
             `--ours`), then `cargo xtask lock` brings it up to date",
        );
        assert_eq!(parse("images.lock", ""), Ok(ReadLock::default()), "an empty file says nothing");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = parse("images.lock", &text);
        }
    }
}
