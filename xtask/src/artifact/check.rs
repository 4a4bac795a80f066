//! Whether a file is a whole zip archive that may be unpacked: its structure, every entry's checksum, its names.
//!
//! Entries are read one after the other and thrown away, so memory does not grow with them; those that were read on
//! their way here are not read again.

use std::fs::File;
use std::io::{self, BufReader, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::stream::Seen;

/// More than this is no release but a bomb.
const MAX_UNPACKED: u64 = 16 << 30;
/// The same of entries.
const MAX_ENTRIES: usize = 500_000;
/// A symlink's target is a path.
const MAX_TARGET: u64 = 4096;

/// Reads all of an archive but the contents of `seen`.
///
/// # Errors
/// What is wrong with it, in words that follow `it is`.
pub(super) fn check(file: File, seen: &Seen) -> Result<(), String> {
    let mut archive =
        ZipArchive::new(BufReader::with_capacity(1 << 17, file)).map_err(|error| match error {
            ZipError::InvalidArchive(why) => format!("no whole zip archive ({why})"),
            error => format!("no zip archive that can be read ({error})"),
        })?;
    match archive.len() {
        0 => return Err("an empty zip archive".to_owned()),
        many if many > MAX_ENTRIES => {
            return Err(format!("a zip archive of {many} entries, which nobody unpacks"));
        }
        _ => {}
    }
    let mut total = 0_u64;
    for index in 0..archive.len() {
        let unreadable = |error: ZipError| format!("a damaged zip archive: entry {}: {error}", index + 1);
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        let name = entry.name().map_err(unreadable)?.into_owned();
        let damaged = |why: String| format!("a damaged zip archive: entry `{name}`: {why}");
        if entry.enclosed_name().is_none() || name.starts_with(['/', '\\']) {
            return Err(format!("a zip archive that leads out of its folder: entry `{name}`"));
        }
        let declared = entry.size();
        total = total.saturating_add(declared);
        if total > MAX_UNPACKED {
            return Err(format!("a zip archive that unpacks to more than {} GiB", MAX_UNPACKED >> 30));
        }
        let is_symlink = entry.is_symlink();
        if !is_symlink && seen.get(&entry.header_start()) == Some(&(entry.crc32(), declared)) {
            continue;
        }
        // One byte more than it says shows that it lies; at its end the checksum is compared.
        let mut content = (&mut entry).take(declared.saturating_add(1));
        let read = if is_symlink {
            let mut target = Vec::new();
            let read = (&mut content).take(MAX_TARGET).read_to_end(&mut target);
            if leads_out(&name, &String::from_utf8_lossy(&target)) {
                return Err(format!("a zip archive that leads out of its folder: symlink `{name}`"));
            }
            read.map(|read| read as u64)
        } else {
            io::copy(&mut content, &mut io::sink())
        };
        match read {
            Ok(read) if read == declared => {}
            Ok(_) => return Err(damaged("its size is not what the archive says".to_owned())),
            Err(error) => return Err(damaged(error.to_string())),
        }
    }
    Ok(())
}

/// Whether a symlink leaves the folder that the archive is unpacked into.
fn leads_out(name: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let mut depth = name.split('/').filter(|part| !part.is_empty() && *part != ".").count().saturating_sub(1);
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    /// A zip archive of these entries.
    pub(in super::super) fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, content) in entries {
            zip.start_file(*name, options).expect("a name");
            zip.write_all(content).expect("memory");
        }
        zip.finish().expect("memory").into_inner()
    }

    fn check_bytes(bytes: &[u8]) -> Result<(), String> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).and_then(|()| file.rewind()).expect("writable");
        check(file, &Seen::new())
    }

    #[track_caller]
    fn refuses(bytes: &[u8], why: &str) {
        let found = check_bytes(bytes).expect_err("is not taken");
        assert!(found.contains(why), "{found}");
    }

    #[test]
    fn whole_archives_pass_and_all_others_do_not() {
        let good = zip_of(&[("1.2.3/bin/fit", b"#!/bin/sh\n"), ("1.2.3/lib/a.jar", &[7; 5000])]);
        assert_eq!(check_bytes(&good), Ok(()));
        refuses(b"", "no whole zip archive");
        refuses(b"<html>no</html>", "no whole zip archive");
        refuses(&good[..good.len() - 1], "zip archive");
        refuses(&good[..good.len() / 2], "no whole zip archive");
        refuses(&zip_of(&[]), "an empty zip archive");
        refuses(&zip_of(&[("../x", b"1")]), "leads out of its folder: entry `../x`");
        refuses(&zip_of(&[("/x", b"1")]), "leads out of its folder: entry `/x`");
        let mut flipped = good.clone();
        let at = flipped.windows(4).position(|window| window == [7; 4]).expect("content") + 100;
        flipped[at] ^= 1;
        refuses(&flipped, "damaged zip archive: entry `1.2.3/lib/a.jar`");
    }

    #[test]
    fn no_flip_of_a_byte_panics() {
        let good = zip_of(&[("1.2.3/a", b"content"), ("1.2.3/b", b"more of it")]);
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0xff;
            let _ = check_bytes(&bytes);
        }
    }

    #[test]
    fn symlinks_stay_inside() {
        for (name, target, expect) in [
            ("1.2.3/lib/a", "../b", false),
            ("1.2.3/lib/a", "../../b", false),
            ("1.2.3/lib/a", "../../../b", true),
            ("a", "..", true),
            ("a/b", "/etc/passwd", true),
            ("a/b", "c/../../d", false),
            ("a/b", "c/../../../d", true),
        ] {
            assert_eq!(leads_out(name, target), expect, "{name} -> {target}");
        }
    }
}
