//! EFFECT: the one way to write below a folder of ours: a tree's root, a cache.
//!
//! In: a folder, and paths below it. Whatever links, `..` and changes of the moment a path runs through, nothing is
//! written, renamed or removed outside that folder: every part of a path is opened from the folder before it and no
//! link is followed by the system (`openat`, `O_NOFOLLOW`). A link that stays inside keeps standing and what it leads
//! to is written; one that leads out is an error that names it. It decides nothing about contents.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Seek as _, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;
const DEFAULT_MODE: u32 = 0o644;
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that everything stays in which is written through this. Held open: what its path leads to later is of no
/// concern. A clone is the same folder.
#[derive(Clone, Debug)]
pub struct Folder {
    /// As it was named.
    named: PathBuf,
    /// Links resolved.
    path: PathBuf,
    handle: Arc<OwnedFd>,
}

/// What a path came to: a name in a folder, and the name is no link that was to be followed.
struct Spot {
    folder: OwnedFd,
    name: OsString,
}

/// What becomes of folders that a path needs and that are not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Made,
    Fails,
}

/// What becomes of a link at the very end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastLink {
    Followed,
    Meant,
}

impl Folder {
    /// A folder that is there. How its own path leads to it is its owner's business.
    ///
    /// # Errors
    /// When it is not there, or is no folder.
    pub fn open(named: &Path) -> io::Result<Self> {
        let path = std::fs::canonicalize(named)?;
        let handle = File::open(&path)?;
        if !handle.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { named: named.to_owned(), path, handle: Arc::new(handle.into()) })
    }

    /// The same, made when it is not there.
    ///
    /// # Errors
    /// The file system's.
    pub fn making(named: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(named)?;
        Self::open(named)
    }

    /// What may hold `path`: the tree at `root` if it lies there, else `path` itself, which is made.
    ///
    /// # Errors
    /// The file system's.
    pub fn owner_of(root: &Path, path: &Path) -> io::Result<Self> {
        if path.starts_with(root) && !path.components().any(|part| part == Component::ParentDir) {
            return Self::open(root);
        }
        Self::making(path)
    }

    /// A folder below this one, made when it is not there. What is written through it stays in that one.
    ///
    /// # Errors
    /// A link that leads out, or the file system's.
    pub fn below(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = self.relative(path.as_ref())?;
        let mut walk = Walk::begin(self, path)?;
        match walk.go(Missing::Made, None)? {
            None => {
                let path = walk.real();
                Ok(Self { named: path.clone(), path, handle: Arc::new(walk.into_folder()) })
            }
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Where it is, links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder that is not there yet, with those above it.
    ///
    /// # Errors
    /// When it is there (`AlreadyExists`), a link that leads out, or the file system's.
    pub fn make_new(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let spot = self.spot(path.as_ref(), Missing::Made, LastLink::Meant)?;
        Ok(rustix::fs::mkdirat(&spot.folder, &spot.name, Mode::from_raw_mode(0o777))?)
    }

    /// Looks whether something could be written at `path`, and writes nothing.
    ///
    /// # Errors
    /// A link that leads out, or the file system's; that something is missing is none.
    pub fn check(&self, path: impl AsRef<Path>) -> io::Result<()> {
        match self.spot(path.as_ref(), Missing::Fails, LastLink::Followed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The bytes of the file at `path`; none when there is none.
    ///
    /// # Errors
    /// A link that leads out, no regular file, or the file system's.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Option<Vec<u8>>> {
        let opened = self
            .spot(path.as_ref(), Missing::Fails, LastLink::Followed)
            .and_then(|spot| spot.open(OFlags::RDONLY | OFlags::NONBLOCK, path.as_ref()));
        match opened {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut file, &mut bytes)?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a file whole or not at all, with the folders above it. Its mode is `mode`, else that of the file that it
    /// replaces, else 644.
    ///
    /// # Errors
    /// A link that leads out, or the file system's.
    pub fn write(&self, path: impl AsRef<Path>, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
        let spot = self.spot(path.as_ref(), Missing::Made, LastLink::Followed)?;
        let mut file = NewFile::beside(&spot)?;
        file.write_all(bytes)?;
        file.set_mode(mode.or_else(|| spot.mode()).unwrap_or(DEFAULT_MODE))?;
        file.keep_at(&spot, RenameFlags::empty()).map(drop)
    }

    /// The same where nothing stands.
    ///
    /// # Errors
    /// As [`write`](Self::write), and `AlreadyExists`.
    pub fn write_new(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let spot = self.spot(path.as_ref(), Missing::Made, LastLink::Meant)?;
        let mut file = NewFile::beside(&spot)?;
        file.write_all(bytes)?;
        file.set_mode(DEFAULT_MODE)?;
        file.keep_at(&spot, RenameFlags::NOREPLACE).map(drop)
    }

    /// An empty file in the folder at `path` (which is made), gone when it is dropped and was not kept.
    ///
    /// # Errors
    /// A link that leads out, or the file system's.
    pub fn new_file(&self, path: impl AsRef<Path>) -> io::Result<NewFile> {
        // Any name will do: the folder is what is looked for.
        NewFile::beside(&self.spot(&path.as_ref().join("new"), Missing::Made, LastLink::Meant)?)
    }

    /// Opens a file to write at its end, and makes it where there is none.
    ///
    /// # Errors
    /// A link that leads out, a file that has another name elsewhere, or the file system's.
    pub fn append(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_in_place(path.as_ref(), OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
    }

    /// Opens a file to read and write it, and makes it where there is none.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn read_write(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_in_place(path.as_ref(), OFlags::RDWR | OFlags::CREATE)
    }

    /// Gives what stands at one path another one, and replaces what stands there.
    ///
    /// # Errors
    /// A link that leads out, or the file system's.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let from = self.spot(from.as_ref(), Missing::Fails, LastLink::Meant)?;
        let to = self.spot(to.as_ref(), Missing::Made, LastLink::Meant)?;
        Ok(rustix::fs::renameat(&from.folder, &from.name, &to.folder, &to.name)?)
    }

    /// Gives a file the time of now.
    ///
    /// # Errors
    /// A link that leads out, or the file system's.
    pub fn touch(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let spot = self.spot(path.as_ref(), Missing::Fails, LastLink::Meant)?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        Ok(rustix::fs::utimensat(&spot.folder, &spot.name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Makes a link where nothing stands.
    ///
    /// # Errors
    /// As [`rename`](Self::rename).
    pub fn link(&self, target: &str, path: impl AsRef<Path>) -> io::Result<()> {
        let spot = self.spot(path.as_ref(), Missing::Made, LastLink::Meant)?;
        Ok(rustix::fs::symlinkat(target, &spot.folder, &spot.name)?)
    }

    /// Removes a file, a link (what it leads to stays), or a folder with all that is in it. Nothing there is fine.
    ///
    /// # Errors
    /// A link on the way that leads out, or the file system's.
    pub fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        match self.spot(path.as_ref(), Missing::Fails, LastLink::Meant) {
            Ok(spot) => remove(&spot.folder, &spot.name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a folder unless something is in it, or it is not there.
    ///
    /// # Errors
    /// A link on the way that leads out.
    pub fn remove_if_empty(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let spot = self.spot(path.as_ref(), Missing::Fails, LastLink::Meant)?;
        // Whatever keeps it keeps it.
        let _ = rustix::fs::unlinkat(&spot.folder, &spot.name, AtFlags::REMOVEDIR);
        Ok(())
    }

    fn open_in_place(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let file = self.spot(path, Missing::Made, LastLink::Followed)?.open(flags, path)?;
        // Who changes it here would change it there.
        if file.metadata()?.nlink() > 1 {
            let why = "is a file with another name elsewhere (a hard link): remove it";
            return Err(io::Error::other(format!("{} {why}", self.path.join(path).display())));
        }
        Ok(file)
    }

    fn spot(&self, path: &Path, missing: Missing, last: LastLink) -> io::Result<Spot> {
        let mut walk = Walk::begin(self, self.relative(path)?)?;
        match walk.go(missing, Some(last))? {
            Some(name) => Ok(Spot { folder: walk.into_folder(), name }),
            None => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// A path that begins at the system's root may be one below this folder.
    fn relative<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        if path.is_relative() {
            return Ok(path);
        }
        path.strip_prefix(&self.path)
            .or_else(|_| path.strip_prefix(&self.named))
            .map_err(|_| io::Error::other(format!("{} lies outside {}", path.display(), self.path.display())))
    }
}

/// A path on its way from part to part.
struct Walk<'a> {
    owner: &'a Folder,
    /// Folders from the owner's down to where it is, each but the first with its name.
    folders: Vec<(OwnedFd, OsString)>,
    /// What is left, last part first.
    left: Vec<OsString>,
    links: usize,
}

impl<'a> Walk<'a> {
    fn begin(owner: &'a Folder, path: &Path) -> io::Result<Self> {
        let first = (owner.handle.try_clone()?, OsString::new());
        let mut walk = Self { owner, folders: vec![first], left: Vec::new(), links: 0 };
        walk.push(path);
        Ok(walk)
    }

    fn push(&mut self, path: &Path) {
        let parts = path.components().rev().filter(|part| !matches!(part, Component::RootDir));
        self.left.extend(parts.map(|part| part.as_os_str().to_owned()));
    }

    /// Goes to the end, into every folder; with `last`, up to the last name, which is given back.
    fn go(&mut self, missing: Missing, last: Option<LastLink>) -> io::Result<Option<OsString>> {
        while let Some(part) = self.left.pop() {
            if part == "." {
                continue;
            }
            if part == ".." {
                if self.folders.len() == 1 {
                    return Err(self.leads_out("`..` leads"));
                }
                self.folders.pop();
                continue;
            }
            let is_last = self.left.is_empty();
            if is_last && last == Some(LastLink::Meant) {
                return Ok(Some(part));
            }
            match rustix::fs::readlinkat(self.folder(), &part, Vec::new()) {
                Ok(target) => self.follow(&part, PathBuf::from(OsString::from_vec(target.into_bytes())))?,
                Err(Errno::INVAL | Errno::NOENT) if is_last && last.is_some() => return Ok(Some(part)),
                Err(Errno::INVAL | Errno::NOENT) => self.enter(part, missing)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn folder(&self) -> &OwnedFd {
        &self.folders[self.folders.len() - 1].0
    }

    fn into_folder(mut self) -> OwnedFd {
        self.folders.swap_remove(self.folders.len() - 1).0
    }

    /// Where it is, from the owner.
    fn place(&self) -> PathBuf {
        self.folders.iter().skip(1).map(|(_, name)| name).collect()
    }

    /// Where it is.
    fn real(&self) -> PathBuf {
        self.owner.path.join(self.place())
    }

    fn follow(&mut self, name: &OsStr, target: PathBuf) -> io::Result<()> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        let link = format!("{} is a link to {}", self.place().join(name).display(), target.display());
        let parts = if target.is_absolute() {
            let Ok(inside) = target.strip_prefix(&self.owner.path) else {
                return Err(self.leads_out(&format!("{link}, which leads")));
            };
            self.folders.truncate(1);
            inside
        } else {
            let climbs = target.components().filter(|part| *part == Component::ParentDir).count();
            // What lies between may climb too; that is found on the way, if with fewer words.
            if climbs >= self.folders.len()
                && target.components().take(climbs).all(|p| p == Component::ParentDir)
            {
                return Err(self.leads_out(&format!("{link}, which leads")));
            }
            &target
        };
        self.push(parts);
        Ok(())
    }

    fn leads_out(&self, what: &str) -> io::Error {
        let owner = self.owner.path.display();
        io::Error::other(format!("{what} out of {owner}: nothing is written or removed there"))
    }

    fn enter(&mut self, name: OsString, missing: Missing) -> io::Result<()> {
        let open = |at: &OwnedFd| rustix::fs::openat(at, &name, OFlags::RDONLY | FOLDER, Mode::empty());
        let mut opened = open(self.folder());
        if matches!(opened, Err(Errno::NOENT)) && missing == Missing::Made {
            match rustix::fs::mkdirat(self.folder(), &name, Mode::from_raw_mode(0o777)) {
                // Somebody else made it meanwhile.
                Ok(()) | Err(Errno::EXIST) => opened = open(self.folder()),
                Err(error) => return Err(error.into()),
            }
        }
        let opened = opened.map_err(|error| match error {
            Errno::NOTDIR => io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("{} is no folder", self.place().join(&name).display()),
            ),
            other => other.into(),
        })?;
        self.folders.push((opened, name));
        Ok(())
    }
}

impl Spot {
    /// Opens the regular file that stands here, or is made.
    fn open(&self, flags: OFlags, shown: &Path) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(DEFAULT_MODE);
        let file = File::from(rustix::fs::openat(&self.folder, &self.name, flags, mode)?);
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::other(format!("{} is no regular file", shown.display())))
    }

    /// The permission bits of the regular file that stands here.
    fn mode(&self) -> Option<u32> {
        let found = rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        FileType::from_raw_mode(found.st_mode).is_file().then_some(found.st_mode & 0o7777)
    }
}

/// A file under a name of its own, gone when it is dropped and was not kept.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    folder: OwnedFd,
    name: String,
    is_kept: bool,
}

impl NewFile {
    /// Only for its owner, until somebody says otherwise.
    fn beside(spot: &Spot) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = spot.folder.try_clone()?;
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".new-{}-{count}", std::process::id());
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&folder, &name, flags, Mode::from_raw_mode(0o600)) {
                Ok(file) => return Ok(Self { file: file.into(), folder, name, is_kept: false }),
                // What a killed run of the same number left.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The same file once more, from its beginning.
    ///
    /// # Errors
    /// The file system's.
    pub fn again(&mut self) -> io::Result<File> {
        self.file.rewind()?;
        self.file.try_clone()
    }

    /// Its permission bits.
    ///
    /// # Errors
    /// The file system's.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Gives it its place, where it replaces what stands there.
    ///
    /// # Errors
    /// As [`Folder::rename`].
    pub fn keep(self, owner: &Folder, path: impl AsRef<Path>) -> io::Result<File> {
        let spot = owner.spot(path.as_ref(), Missing::Made, LastLink::Followed)?;
        self.keep_at(&spot, RenameFlags::empty())
    }

    fn keep_at(mut self, spot: &Spot, how: RenameFlags) -> io::Result<File> {
        if how.is_empty() {
            rustix::fs::renameat(&self.folder, &self.name, &spot.folder, &spot.name)?;
        } else {
            rustix::fs::renameat_with(&self.folder, &self.name, &spot.folder, &spot.name, how)?;
        }
        self.is_kept = true;
        self.file.try_clone()
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // Gone already is fine.
            let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

fn remove(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let found = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        found => found?,
    };
    let mut how = AtFlags::empty();
    if FileType::from_raw_mode(found.st_mode).is_dir() {
        let inner = rustix::fs::openat(folder, name, OFlags::RDONLY | FOLDER, Mode::empty())?;
        let entries: Vec<_> = Dir::read_from(&inner)?.collect::<Result<_, _>>()?;
        for entry in entries {
            let bytes = entry.file_name().to_bytes();
            if bytes != b"." && bytes != b".." {
                remove(&inner, OsStr::new(&OsString::from_vec(bytes.to_vec())))?;
            }
        }
        how = AtFlags::REMOVEDIR;
    }
    match rustix::fs::unlinkat(folder, name, how) {
        Err(error) if error != Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
