//! The sample artifact, packed: the layout of a release below a folder named as the version.
//!
//! The same bytes from the folder `xtask/sample-artifact/` and from the copy in this program: entries sorted, times
//! fixed, nothing compressed (another version of a compressor would make another digest), modes 755 and 644.

use std::fs;
use std::io::{self, Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::cache::{self, Cache};
use super::check::check;
use super::source::{Shown, UrlTarget};
use super::stream::Seen;
use super::{ArtifactError, Found};
use crate::host::Stamp;
use crate::model::ArtifactSpec;

/// One file of the sample.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Relative, with `/`.
    path: String,
    is_executable: bool,
    content: Vec<u8>,
}

/// Puts the sample of a spec into the cache: a folder or the copy in this program packed, an archive as it is.
pub(super) fn provide(spec: &ArtifactSpec, cache: &Cache) -> Result<Found, ArtifactError> {
    let place = match spec.urls.first() {
        Some(url) => UrlTarget::parse(url, Path::new("/")).map_err(ArtifactError::Settings)?,
        None => return provide_packed(spec, cache, &embedded(), Path::new("the copy in this program")),
    };
    match place {
        UrlTarget::Folder(folder) => provide_packed(spec, cache, &read(&folder)?, &folder),
        UrlTarget::File(path) => provide_archive(cache, &path),
        UrlTarget::Web => Err(ArtifactError::Settings("a sample comes from this machine".to_owned())),
    }
}

fn provide_packed(
    spec: &ArtifactSpec,
    cache: &Cache,
    entries: &[Entry],
    place: &Path,
) -> Result<Found, ArtifactError> {
    let bytes = pack(&spec.version, entries)
        .map_err(|error| ArtifactError::Sample { path: place.to_owned(), cause: error.to_string() })?;
    cache.put(&bytes, &Shown::of(&format!("file://{}/", place.display())))
}

/// An archive that stands somewhere; as long as nobody touches it, it is neither copied nor hashed again.
fn provide_archive(cache: &Cache, path: &Path) -> Result<Found, ArtifactError> {
    let failed = |cause: String| ArtifactError::Sample { path: path.to_owned(), cause };
    let metadata = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    let origin = Shown::of(&format!("file://{} {}", path.display(), Stamp::of(&metadata)));
    if let Some(digest) = cache.given_by(&origin)?
        && let Some(found) = cache.get(&digest)?
    {
        return Ok(found);
    }
    let mut copy = cache.temporary()?;
    let copied = fs::File::open(path).and_then(|mut from| io::copy(&mut from, copy.file()));
    let again = copied.and_then(|_| copy.again()).map_err(|error| failed(error.to_string()))?;
    check(again, &Seen::new()).map_err(|why| failed(format!("it is {why}")))?;
    let digest = cache::hash(copy.file()).map_err(|error| failed(error.to_string()))?;
    let found = cache.take_new(copy, &digest, &origin)?;
    cache.remember(&origin, &digest)?;
    Ok(found)
}

/// The files of a folder, sorted. Those whose names begin with a dot only keep their folders in git.
fn read(folder: &Path) -> Result<Vec<Entry>, ArtifactError> {
    let failed = |path: &Path, cause: String| ArtifactError::Sample { path: path.to_owned(), cause };
    let mut entries = Vec::new();
    for found in walkdir::WalkDir::new(folder).min_depth(1) {
        let found = found.map_err(|error| failed(error.path().unwrap_or(folder), error.to_string()))?;
        let path = found.path();
        let inside = path.strip_prefix(folder).ok().and_then(Path::to_str);
        let inside = inside.ok_or_else(|| failed(path, "its name is not UTF-8".to_owned()))?;
        if found.file_type().is_dir() || found.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if !found.file_type().is_file() {
            return Err(failed(path, "it is neither a file nor a folder".to_owned()));
        }
        let content = fs::read(path).map_err(|error| failed(path, error.to_string()))?;
        let metadata = found.metadata().map_err(|error| failed(path, error.to_string()))?;
        let is_executable = metadata.permissions().mode() & 0o111 != 0;
        entries.push(Entry { path: inside.to_owned(), is_executable, content });
    }
    if entries.is_empty() {
        return Err(failed(folder, "there are no files in it".to_owned()));
    }
    entries.sort();
    Ok(entries)
}

/// The folders of a release; they are there even where the sample has nothing to put in.
const FOLDERS: &[&str] = &["bin", "conf", "dynamic-plugins", "lib", "plugins"];

fn pack(version: &str, entries: &[Entry]) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    zip.add_directory(format!("{version}/"), options.unix_permissions(0o755))?;
    for folder in FOLDERS {
        zip.add_directory(format!("{version}/{folder}/"), options.unix_permissions(0o755))?;
    }
    for entry in entries {
        let mode = if entry.is_executable { 0o755 } else { 0o644 };
        zip.start_file(format!("{version}/{}", entry.path), options.unix_permissions(mode))?;
        zip.write_all(&entry.content)?;
    }
    Ok(zip.finish()?.into_inner())
}

macro_rules! sample_file {
    ($path:literal) => {
        include_bytes!(concat!("../../sample-artifact/", $path))
    };
}

/// The copy in this program, for trees that have no sample: path, whether it is executable, content. A test compares it
/// with the folder.
const EMBEDDED: &[(&str, bool, &[u8])] = &[
    ("README.md", false, sample_file!("README.md")),
    ("bin/fit", true, sample_file!("bin/fit")),
    ("conf/sample.properties", false, sample_file!("conf/sample.properties")),
    ("lib/Sample.java", false, sample_file!("lib/Sample.java")),
    ("plugins/sample-actuator.properties", false, sample_file!("plugins/sample-actuator.properties")),
    ("plugins/sample-http.properties", false, sample_file!("plugins/sample-http.properties")),
];

fn embedded() -> Vec<Entry> {
    let entry = |(path, is_executable, content): &(&str, bool, &[u8])| Entry {
        path: (*path).to_owned(),
        is_executable: *is_executable,
        content: content.to_vec(),
    };
    EMBEDDED.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::artifact::find;
    use crate::model::ArtifactKind;
    use crate::testing::TestTree;

    fn sample_of(urls: Vec<String>) -> ArtifactSpec {
        ArtifactSpec {
            file: "1.2.3.zip".to_owned(),
            version: "1.2.3".to_owned(),
            urls,
            kind: ArtifactKind::Sample,
            locked: None,
            lock_file: "artifacts.lock".to_owned(),
        }
    }

    #[test]
    fn a_folder_becomes_a_release_and_always_the_same_one() {
        let tree = TestTree::new(
            "//- s/plugins/a b.properties\nname=a\n//- s/bin/fit mode=755\n#!/bin/sh\n//- s/plugins/.gitkeep\n//- s/conf/x mode=600\n1\n",
        );
        let cache = tempfile::tempdir().expect("a folder");
        let spec = sample_of(vec![format!("file://{}/s/", tree.root().display())]);
        let provided = || {
            find(&spec, &Cache::at(cache.path(), cache.path()), Path::new("/nowhere"))
                .expect("packs")
                .expect("is always there")
        };
        let first = provided();
        assert_eq!(provided(), first);
        check(fs::File::open(&first.path).expect("there"), &Seen::new()).expect("a zip archive");
        let mut zip =
            zip::ZipArchive::new(fs::File::open(&first.path).expect("there")).expect("a zip archive");
        let listed: Vec<String> = (0..zip.len())
            .map(|at| {
                let entry = zip.by_index(at).expect("an entry");
                format!(
                    "{:o} {}",
                    entry.unix_mode().unwrap_or_default() & 0o777,
                    entry.name().expect("UTF-8")
                )
            })
            .collect();
        insta::assert_snapshot!(listed.join("\n"), @"
        755 1.2.3/
        755 1.2.3/bin/
        755 1.2.3/conf/
        755 1.2.3/dynamic-plugins/
        755 1.2.3/lib/
        755 1.2.3/plugins/
        755 1.2.3/bin/fit
        644 1.2.3/conf/x
        644 1.2.3/plugins/a b.properties
        ");
        let mut text = String::new();
        zip.by_name("1.2.3/bin/fit").expect("there").read_to_string(&mut text).expect("text");
        assert_eq!(text, "#!/bin/sh\n");
        tree.write("s/conf/x", "2\n");
        assert_ne!(provided().digest, first.digest);
    }

    #[test]
    fn the_copy_in_this_program_is_the_whole_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-artifact");
        assert!(
            read(&folder).expect("there") == embedded(),
            "list in EMBEDDED what is in {}",
            folder.display()
        );
        let cache = tempfile::tempdir().expect("a folder");
        let from = |urls| {
            find(&sample_of(urls), &Cache::at(cache.path(), cache.path()), Path::new("/nowhere"))
                .expect("packs")
                .expect("is here")
        };
        assert_eq!(from(Vec::new()).digest, from(vec![format!("file://{}/", folder.display())]).digest);
    }

    #[test]
    fn an_archive_is_taken_as_it_is_once_it_was_checked() {
        let (tree, cache) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let path = tree.path().join("own.zip");
        let spec = sample_of(vec![format!("file://{}", path.display())]);
        let provided = || find(&spec, &Cache::at(cache.path(), cache.path()), Path::new("/nowhere"));
        assert!(provided().expect_err("is missing").to_string().contains("own.zip: No such file"));
        fs::write(&path, b"PK no archive").expect("writable");
        assert!(provided().expect_err("is none").to_string().contains("own.zip: it is no whole zip archive"));
        let content = crate::artifact::check::tests::zip_of(&[("1.2.3/a", b"1")]);
        fs::write(&path, &content).expect("writable");
        let found = provided().expect("is one").expect("is here");
        assert_eq!(fs::read(&found.path).expect("there"), content);
        assert_eq!(provided().expect("is one"), Some(found));
    }

    #[test]
    fn a_folder_that_cannot_be_packed_is_named() {
        let tree = TestTree::new("//- s/a -> nowhere\n//- empty/\n");
        let cache = tempfile::tempdir().expect("a folder");
        for folder in ["s/a", "s", "empty", "missing"] {
            let spec = sample_of(vec![format!("file://{}/{folder}/", tree.root().display())]);
            let error = find(&spec, &Cache::at(cache.path(), cache.path()), Path::new("/nowhere"))
                .expect_err("no sample");
            assert!(error.to_string().contains(&format!("{}/{folder}", tree.root().display())), "{error}");
        }
    }
}
