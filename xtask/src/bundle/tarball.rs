//! The tar around a layout: its headers, written and read (POSIX.1-2017, pax, "ustar Interchange Format").
//!
//! Reading makes a list of what lies where and extracts nothing. It takes regular files with a layout's names and
//! nothing else: there is no link to follow, no name to clean and no extension that could say something else than
//! the header does. In: [`Parts`]. Out: entries, or what is wrong with them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::finding::BundleFinding;
use super::layout::EntryName;
use super::parts::Parts;

/// Headers and contents begin at multiples of it.
pub const BLOCK: u64 = 512;
/// Zero blocks at the end.
pub const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];
/// More than a thousand images have; who makes an endless list shall not fill the memory.
const MOST_ENTRIES: usize = 200_000;

/// Where an entry's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// From the beginning of the bundle.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// The header of a file; nothing in it differs from machine to machine.
///
/// # Errors
/// The path does not fit, which no path of a layout does.
pub fn header(path: &str, size: u64) -> io::Result<[u8; BLOCK as usize]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// How many zeros follow so many bytes.
pub fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK) - size
}

/// Writes a whole file.
///
/// # Errors
/// Those of `to`, and of [`header`].
pub fn entry(to: &mut impl Write, path: &str, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&header(path, bytes.len() as u64)?)?;
    to.write_all(bytes)?;
    pad(to, bytes.len() as u64)
}

/// Writes what follows so many bytes.
///
/// # Errors
/// Those of `to`.
pub fn pad(to: &mut impl Write, size: u64) -> io::Result<()> {
    let zeros = usize::try_from(padding(size)).unwrap_or_default();
    to.write_all(&[0; BLOCK as usize][..zeros])
}

/// What lies where in a tar.
///
/// # Errors
/// The first thing that is wrong: behind it nothing can be trusted. Reading fails as `Err(Err(_))`.
pub fn list(parts: &Parts) -> Result<BTreeMap<EntryName, Extent>, Result<BundleFinding, io::Error>> {
    let length = parts.length();
    let mut entries = BTreeMap::new();
    let mut offset = 0;
    let mut previous = String::from("the beginning");
    loop {
        if offset + BLOCK > length {
            return Err(Ok(BundleFinding::new(format!(
                "it ends too early, at byte {length}, after {previous}: {}",
                cut_off(parts)
            ))));
        }
        let mut bytes = [0; BLOCK as usize];
        parts.read_exact_at(&mut bytes, offset).map_err(Err)?;
        if bytes.iter().all(|byte| *byte == 0) {
            check_end(parts, offset + BLOCK)?;
            return Ok(entries);
        }
        let (path, size) = match read_header(&bytes) {
            Ok(Header::File { path, size }) => (path, size),
            Ok(Header::Folder) => {
                offset += BLOCK;
                continue;
            }
            Err(what) => {
                let path = printable(&bytes[..100]);
                let what =
                    format!("the tar entry `{path}` at byte {offset}, after {previous}, is refused: {what}");
                return Err(Ok(about(&path, what)));
            }
        };
        let Some(name) = EntryName::of_path(&path) else {
            let path = printable(path.as_bytes());
            return Err(Ok(BundleFinding::new(format!(
                "the tar entry `{path}` at byte {offset} is refused: an image layout has nothing called so"
            ))));
        };
        let start = offset + BLOCK;
        let end = start.saturating_add(size);
        if end.saturating_add(padding(size % BLOCK)) > length {
            let what = format!(
                "it ends too early, at byte {length}: {path} should have {size} bytes from byte {start} on; {}",
                cut_off(parts)
            );
            return Err(Ok(about(&path, what)));
        }
        check_padding(parts, end, size, &path)?;
        if entries.insert(name, Extent { offset: start, size }).is_some() {
            return Err(Ok(about(&path, format!("the tar has two entries called {path}"))));
        }
        if entries.len() > MOST_ENTRIES {
            return Err(Ok(BundleFinding::new(format!("the tar has more than {MOST_ENTRIES} entries"))));
        }
        offset = end + padding(size);
        previous = path;
    }
}

/// Nothing but zeros fills up the last block of an entry.
fn check_padding(
    parts: &Parts,
    end: u64,
    size: u64,
    path: &str,
) -> Result<(), Result<BundleFinding, io::Error>> {
    let zeros = usize::try_from(padding(size)).unwrap_or_default();
    let mut rest = [0; BLOCK as usize];
    parts.read_exact_at(&mut rest[..zeros], end).map_err(Err)?;
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let what = format!("the tar is damaged between byte {end} and {}, after {path}", end + zeros as u64);
    Err(Ok(about(path, what)))
}

/// About a blob if the path is one's.
fn about(path: &str, what: String) -> BundleFinding {
    match EntryName::of_path(path) {
        Some(EntryName::Blob(digest)) => BundleFinding::of_blob(&digest, what),
        _ => BundleFinding::new(what),
    }
}

/// What may be the cause of a tar that ends too early.
fn cut_off(parts: &Parts) -> String {
    let last = parts.path_at(u64::MAX).map(|path| path.display().to_string()).unwrap_or_default();
    if parts.count() > 1 {
        format!("{last} is cut off, or a part after it is missing")
    } else {
        format!("{last} is cut off")
    }
}

/// One more zero block, and after it nothing but zeros: tar programs fill up to a whole record.
fn check_end(parts: &Parts, offset: u64) -> Result<(), Result<BundleFinding, io::Error>> {
    let length = parts.length();
    if length < offset + BLOCK {
        return Err(Ok(BundleFinding::new(format!(
            "it ends too early, at byte {length}: {}",
            cut_off(parts)
        ))));
    }
    // GNU tar's default record; more zeros than that nobody has written on purpose.
    const RECORD: u64 = 20 * BLOCK;
    if length - offset > RECORD {
        return Err(Ok(BundleFinding::new(format!(
            "something follows the end of the tar at byte {offset}, up to byte {length}"
        ))));
    }
    let mut rest = vec![0; usize::try_from(length - offset).unwrap_or_default()];
    parts.read_exact_at(&mut rest, offset).map_err(Err)?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Ok(BundleFinding::new(format!("something follows the end of the tar at byte {offset}"))));
    }
    Ok(())
}

enum Header {
    File { path: String, size: u64 },
    Folder,
}

fn read_header(bytes: &[u8; BLOCK as usize]) -> Result<Header, String> {
    let header = tar::Header::from_byte_slice(bytes);
    let mut canonical = header.clone();
    canonical.set_cksum();
    // The bytes, not the number: `012345` and ` 12345` are the same number, and nothing else covers these bytes.
    if canonical.as_bytes() != bytes {
        return Err("its header is damaged: the checksum differs".to_owned());
    }
    if header.as_ustar().is_none() && header.as_gnu().is_none() {
        return Err("its header is of no format that this program reads".to_owned());
    }
    let kind = match bytes[156] {
        b'0' | 0 => None,
        b'5' => Some(Header::Folder),
        b'1' => return Err("it is a hard link".to_owned()),
        b'2' => return Err("it is a symbolic link".to_owned()),
        b'3' | b'4' => return Err("it is a device".to_owned()),
        b'6' => return Err("it is a pipe".to_owned()),
        b'S' => return Err("it is a sparse file".to_owned()),
        b'L' | b'K' => return Err("it gives another entry a long name".to_owned()),
        b'x' | b'g' | b'X' => return Err("it is an extended header".to_owned()),
        other => return Err(format!("it is of unknown type {other}")),
    };
    if bytes[157..257].iter().any(|byte| *byte != 0) {
        return Err("it has a link's target".to_owned());
    }
    if bytes[345..].iter().any(|byte| *byte != 0) {
        return Err("the rest of its header is not empty".to_owned());
    }
    let name = bytes[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    if bytes[name.len()..100].iter().any(|byte| *byte != 0) {
        return Err("bytes are hidden behind its name".to_owned());
    }
    let name = std::str::from_utf8(name).map_err(|_| "its name is not text".to_owned())?;
    let path = name.strip_prefix("./").unwrap_or(name);
    let size = header.entry_size().map_err(|_| "its size is no number".to_owned())?;
    match kind {
        None => Ok(Header::File { path: path.to_owned(), size }),
        Some(folder) if matches!(path.trim_end_matches('/'), "" | "blobs" | "blobs/sha256") && size == 0 => {
            Ok(folder)
        }
        Some(_) => Err("an image layout has no folder called so".to_owned()),
    }
}

/// A damaged name, as far as it can be shown.
fn printable(bytes: &[u8]) -> String {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
