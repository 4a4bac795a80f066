//! The lock file: which digest each artifact had when it was first seen.
//!
//! One line an entry, `"1.2.3.zip" = "sha256:…"`, sorted; whatever else stands in the file (comments, empty lines) stays.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::ArtifactError;
use crate::host::inside::Folder;
use crate::model::{Diagnostic, Digest};

/// What a new lock file begins with.
const HEADER: &str = "\
# The digest that each artifact had when it was first seen; another one is an error from then on.
# `cargo xtask base-images` adds entries. Delete one to see its artifact anew.

";

/// One line of the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockEntry {
    /// What the artifact has to be.
    pub digest: Digest,
    /// 1-based.
    pub line: u32,
}

/// The entries by file name. `file` is the lock file's name in messages.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(file: &str, text: &str) -> Result<BTreeMap<String, LockEntry>, Diagnostic> {
    let table = toml::de::DeTable::parse(text).map_err(|error| {
        let found = Diagnostic::error(file, 0, error.message().trim_end().replace('\n', ", "));
        error.span().map_or(found.clone(), |span| found.at_offset(text, span.start))
    })?;
    let mut entries = BTreeMap::new();
    for (name, value) in table.get_ref() {
        let at = |message: String| Diagnostic::error(file, 0, message).at_offset(text, name.span().start);
        let digest = value.get_ref().as_str().and_then(|text| text.parse::<Digest>().ok());
        let digest = digest.filter(|digest| digest.as_str().starts_with("sha256:"));
        let name_text: &str = name.get_ref();
        let Some(digest) = digest else {
            return Err(at(format!("`{name_text}` has no digest: expected \"sha256:\" and 64 hex digits")));
        };
        entries.insert(name_text.to_owned(), LockEntry { digest, line: at(String::new()).line });
    }
    Ok(entries)
}

/// The text with an entry added or replaced.
///
/// # Errors
/// When the text is no lock file.
fn with_entry(file: &str, text: &str, name: &str, digest: &Digest) -> Result<String, Diagnostic> {
    let text = without_entry(file, text, name)?;
    let entries = parse(file, &text)?;
    let mut lines: Vec<&str> = text.lines().collect();
    let line = format!("{} = \"{digest}\"", toml::Value::from(name));
    let after = entries.iter().filter(|(other, _)| other.as_str() > name).map(|(_, entry)| entry.line).min();
    let mut at = after.map_or(lines.len(), as_index);
    // A comment right above an entry is about it.
    while after.is_some() && at > 0 && lines[at - 1].trim_start().starts_with('#') {
        at -= 1;
    }
    lines.insert(at, &line);
    let body = lines.join("\n") + "\n";
    Ok(if text.is_empty() { format!("{HEADER}{body}") } else { body })
}

/// The text without an entry; the same text if there is none.
///
/// # Errors
/// When the text is no lock file.
pub fn without_entry(file: &str, text: &str, name: &str) -> Result<String, Diagnostic> {
    let Some(entry) = parse(file, text)?.remove(name) else { return Ok(text.to_owned()) };
    let lines = text.split_inclusive('\n').enumerate();
    Ok(lines.filter(|(at, _)| *at != as_index(entry.line)).map(|(_, line)| line).collect())
}

fn as_index(line: u32) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1)
}

/// The entries of the lock file below `root`; none where there is no file.
///
/// # Errors
/// When it cannot be read, or is no lock file.
pub fn read(root: &Path, file: &str) -> Result<BTreeMap<String, LockEntry>, ArtifactError> {
    let path = root.join(file);
    parse(file, &read_text(&path).map_err(|error| ArtifactError::file(&path, &error))?)
        .map_err(ArtifactError::Lock)
}

/// Notes the digest of an artifact that is seen for the first time; what came of it.
///
/// # Errors
/// When the file cannot be read or written, or is no lock file.
pub(super) fn record(root: &Path, file: &str, name: &str, digest: &Digest) -> Result<Noted, ArtifactError> {
    let path = root.join(file);
    let failed = |error: &io::Error| ArtifactError::file(&path, error);
    let tree = Folder::open(root).map_err(|error| failed(&error))?;
    let folder = Path::new(file).parent().unwrap_or(Path::new("."));
    let folder = tree.below(folder).map_err(|error| failed(&error))?;
    // Two artifacts may be seen at the same time; the file itself is replaced, so its folder is locked.
    let guard = File::open(folder.path()).map_err(|error| failed(&error))?;
    guard.lock().map_err(|error| failed(&error))?;
    let text = read_text(&path).map_err(|error| failed(&error))?;
    if let Some(entry) = parse(file, &text).map_err(ArtifactError::Lock)?.remove(name) {
        return Ok(if entry.digest == *digest { Noted::Before } else { Noted::Otherwise(entry) });
    }
    let text = with_entry(file, &text, name, digest).map_err(ArtifactError::Lock)?;
    tree.write(file, text.as_bytes(), None).map_err(|error| failed(&error))?;
    Ok(Noted::Now)
}

/// What the lock file says of an artifact that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It was not in there, and now is.
    Now,
    /// The same.
    Before,
    /// Something else.
    Otherwise(LockEntry),
}

fn read_text(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: char) -> Digest {
        format!("sha256:{}", String::from(fill).repeat(64)).parse().expect("a digest")
    }

    fn add(text: &str, name: &str, fill: char) -> String {
        with_entry("a.lock", text, name, &digest(fill)).expect("a lock file").replace(&"0".repeat(60), "…")
    }

    #[test]
    fn entries_are_sorted_and_comments_stay() {
        let zeros = |text: &str| text.replace('…', &"0".repeat(60));
        let first = with_entry("a.lock", "", "1.2.3.zip", &digest('a')).expect("a new file");
        assert!(first.starts_with(HEADER) && first.ends_with("\"\n"), "{first}");
        let text = zeros("# head\n\n# about b\n\"b.zip\" = \"sha256:…1111\"\n# tail\n");
        insta::assert_snapshot!(add(&text, "a.zip", 'a').replace(&"a".repeat(60), "…"), @r#"
        # head

        "a.zip" = "sha256:…aaaa"
        # about b
        "b.zip" = "sha256:…1111"
        # tail
        "#);
        let both = with_entry("a.lock", &first, "1.10.0.zip", &digest('b')).expect("a lock file");
        let entries = parse("a.lock", &both).expect("a lock file");
        assert_eq!(entries["1.10.0.zip"], LockEntry { digest: digest('b'), line: 4 });
        assert_eq!(entries["1.2.3.zip"].line, 5);
        assert_eq!(without_entry("a.lock", &both, "1.10.0.zip").expect("a lock file"), first, "and back");
        assert_eq!(without_entry("a.lock", &first, "other.zip").expect("a lock file"), first);
    }

    #[test]
    fn what_is_no_entry_is_named_with_its_place() {
        for (text, expect) in [
            ("\"a.zip\" = 3\n", "a.lock:1:1: `a.zip` has no digest: expected \"sha256:\" and 64 hex digits"),
            (
                "# x\n\n\"a.zip\" = \"md5:1\"\n",
                "a.lock:3:1: `a.zip` has no digest: expected \"sha256:\" and 64 hex digits",
            ),
            ("\"a.zip\" = \n", "a.lock:1:11: string values must be quoted, expected literal string"),
        ] {
            let found = parse("a.lock", text).expect_err("no lock file");
            assert_eq!(format!("{}: {}", found.place(), found.message), expect);
        }
        let twice = format!("\"a\" = \"{0}\"\n\"a\" = \"{0}\"\n", digest('a'));
        assert_eq!(parse("a.lock", &twice).expect_err("twice").line, 2);
    }

    #[test]
    fn the_first_sight_is_recorded_and_a_second_one_compared() {
        let root = tempfile::tempdir().expect("a folder");
        let note = |fill| record(root.path(), "docker/a.lock", "1.2.3.zip", &digest(fill)).expect("writable");
        assert_eq!((note('a'), note('a')), (Noted::Now, Noted::Before));
        assert_eq!(note('b'), Noted::Otherwise(LockEntry { digest: digest('a'), line: 4 }));
        assert_eq!(read(root.path(), "docker/a.lock").expect("readable").len(), 1);
        let files: Vec<_> = fs::read_dir(root.path().join("docker")).expect("there").collect();
        assert_eq!(files.len(), 1, "nothing is left beside it");
    }
}
