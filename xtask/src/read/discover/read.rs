//! Reads one text file below the root, or says why that cannot be done.

use std::path::Path;
use std::{fs, io};

use crate::host::inside::Folder;
use crate::model::Diagnostic;
use crate::read::template::{Claim, TemplateSource};

/// A file that was seen a moment ago.
pub(super) fn required(root: &Path, path: &str) -> Result<String, Diagnostic> {
    match optional(root, path)? {
        Some(text) => Ok(text),
        None => Err(Diagnostic::error(path, 0, "vanished while the tree was read; run again")),
    }
}

/// A file that may be missing.
pub(super) fn optional(root: &Path, path: &str) -> Result<Option<String>, Diagnostic> {
    let full = root.join(path);
    match read(&full) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            Diagnostic::error(path, 0, "the text is not UTF-8").at_offset(&before, valid)
        }),
        Err(error) => match fs::read_link(&full) {
            Ok(target) => Err(Diagnostic::error(
                path,
                0,
                format!("is a symlink to `{}`, which cannot be read: {error}", target.display()),
            )),
            Err(_) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(Diagnostic::error(path, 0, format!("cannot be read: {error}"))),
        },
    }
}

/// Reads a regular file; opening a pipe would wait for a writer that never comes.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() {
        return fs::read(path);
    }
    Err(io::Error::other(if metadata.is_dir() { "it is a folder" } else { "it is not a regular file" }))
}

/// A template, with what its output is to replace; none for one that only its text could claim, and has none.
pub(super) fn template(
    root: &Path,
    path: String,
    output: String,
    claim: Claim,
) -> Result<Option<TemplateSource>, Diagnostic> {
    let text = match required(root, &path) {
        Ok(text) => text,
        Err(_) if claim == Claim::Content => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let stays = Folder::open(root).and_then(|tree| tree.check(&output));
    let stays = stays.map_err(|error| error.to_string());
    let was =
        stays.and_then(|()| optional(root, &output).map_err(|p| format!("{} {}", p.place(), p.message)));
    let (was, in_the_way) = match was {
        Ok(was) => (was, None),
        Err(why) => (None, Some(format!("its output {why}"))),
    };
    Ok(Some(TemplateSource { mode: mode(&root.join(&path)), path, output, text, was, in_the_way, claim }))
}

fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o777)
}
