//! One run of bytes in one file, or in several that follow each other (`FILE.tar.001`, `FILE.tar.002`, …).
//!
//! In: paths. Out: bytes at an offset, from any thread. It knows nothing of what the bytes mean.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Digits of a part's number.
const DIGITS: usize = 3;
/// How many parts a bundle may have, which is what their names allow.
pub const MOST_PARTS: usize = 999;

/// `FILE.tar.007`
pub fn part_path(whole: &Path, number: usize) -> PathBuf {
    let mut name = whole.as_os_str().to_owned();
    name.push(format!(".{number:0width$}", width = DIGITS));
    PathBuf::from(name)
}

/// `FILE.tar` of `FILE.tar.007`; none when the path is not a part's.
pub fn whole_of_part(path: &Path) -> Option<PathBuf> {
    let number = path.extension()?.to_str()?;
    let is_part = number.len() == DIGITS && number.bytes().all(|b| b.is_ascii_digit());
    is_part.then(|| path.with_extension(""))
}

/// Files that are read as one. A clone reads the same open files, whatever becomes of their names.
#[derive(Clone, Debug)]
pub struct Parts(std::sync::Arc<Vec<Part>>);

#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    start: u64,
    length: u64,
}

impl Parts {
    /// Opens these files, in this order.
    ///
    /// # Errors
    /// Which one cannot be read, and why.
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, (PathBuf, io::Error)> {
        let mut parts = Vec::new();
        let mut start = 0;
        for path in paths {
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
            let (metadata, file) = opened.map_err(|error| (path.clone(), error))?;
            if !metadata.is_file() {
                return Err((path, io::Error::other("it is not a regular file")));
            }
            let length = metadata.len();
            parts.push(Part { path, file, start, length });
            start += length;
        }
        Ok(Self(std::sync::Arc::new(parts)))
    }

    /// Bytes of all together.
    pub fn length(&self) -> u64 {
        self.0.last().map_or(0, |part| part.start + part.length)
    }

    /// How many files.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The file in which the byte at `offset` lies; the last one beyond the end.
    pub fn path_at(&self, offset: u64) -> Option<&Path> {
        let at = self.0.partition_point(|part| part.start + part.length <= offset);
        self.0.get(at).or(self.0.last()).map(|part| part.path.as_path())
    }

    /// Reads some bytes from `offset` on; 0 only at the end, or for an empty buffer.
    ///
    /// # Errors
    /// The operating system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = self.0.partition_point(|part| part.start + part.length <= offset);
        let Some(part) = self.0.get(at) else { return Ok(0) };
        let within = offset - part.start;
        let left = usize::try_from(part.length - within).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = read_file_at(&part.file, &mut buffer[..length], within)?;
        if read == 0 && length > 0 {
            // It was longer when it was opened.
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file was cut off while it was read",
            ));
        }
        Ok(read)
    }

    /// Reads exactly so many bytes.
    ///
    /// # Errors
    /// The operating system's, `UnexpectedEof` at the end.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
            }
        }
        Ok(())
    }

    /// The `length` bytes from `offset` on, and not one more.
    pub fn reader(&self, offset: u64, length: u64) -> PartsReader {
        PartsReader { parts: self.clone(), offset, left: length }
    }
}

/// Reads a range of [`Parts`] from its beginning to its end.
#[derive(Debug)]
pub struct PartsReader {
    parts: Parts,
    offset: u64,
    left: u64,
}

impl Read for PartsReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.parts.read_at(&mut buffer[..length], self.offset)?;
        if read == 0 && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

fn read_file_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let whole = Path::new("/a/x.tar");
        assert_eq!(part_path(whole, 7), Path::new("/a/x.tar.007"));
        assert_eq!(whole_of_part(Path::new("/a/x.tar.007")).as_deref(), Some(whole));
        for other in ["/a/x.tar", "/a/x.tar.7", "/a/x.tar.0007", "/a/x.tar.00a", "/a/007"] {
            assert_eq!(whole_of_part(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn files_are_read_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..=200).collect();
        let pieces = [&bytes[..70], &[], &bytes[70..71], &bytes[71..]];
        let paths: Vec<PathBuf> =
            (1..=pieces.len()).map(|n| part_path(&folder.path().join("x"), n)).collect();
        for (path, piece) in paths.iter().zip(pieces) {
            std::fs::write(path, piece).unwrap();
        }
        let parts = Parts::open(paths.clone()).unwrap();
        assert_eq!((parts.length(), parts.count()), (201, 4));
        for (offset, length) in [(0, 201), (69, 3), (70, 1), (200, 1), (5, 0)] {
            let mut read = Vec::new();
            parts.reader(offset, length).read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes[offset as usize..(offset + length) as usize], "{offset} {length}");
        }
        assert_eq!(parts.path_at(70), Some(paths[2].as_path()));
        assert_eq!(parts.path_at(999), Some(paths[3].as_path()));
        assert!(parts.reader(200, 2).read_to_end(&mut Vec::new()).is_err());
        assert!(parts.read_exact_at(&mut [0; 4], 198).is_err());
    }
}
