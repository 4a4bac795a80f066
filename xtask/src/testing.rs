//! Tiny trees for tests: one string in, files in a temporary folder out.
//!
//! Self-contained, so that integration tests can include it by `#[path]`. It is compiled for tests only.

use std::fs;
use std::path::{Path, PathBuf};

/// A tree in a temporary folder that is removed when this value is dropped.
#[derive(Debug)]
pub struct TestTree {
    dir: tempfile::TempDir,
}

impl TestTree {
    /// Makes the files of a fixture: every line `//- path` begins a file, what follows is its text.
    /// `//- path mode=755` sets permission bits, `//- path -> target` makes a symlink, `//- path/` a folder.
    ///
    /// # Panics
    /// When the file system refuses: a test has nothing better to do.
    #[track_caller]
    pub fn new(fixture: &str) -> Self {
        let tree = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        let mut open: Option<(&str, String)> = None;
        for line in fixture.split_inclusive('\n') {
            match line.strip_prefix("//- ") {
                Some(header) => {
                    if let Some((header, text)) = open.take() {
                        tree.add(header, &text);
                    }
                    open = Some((header.trim_end_matches(['\r', '\n']), String::new()));
                }
                None => match &mut open {
                    Some((_, text)) => text.push_str(line),
                    None => assert!(line.trim().is_empty(), "text before the first header: {line:?}"),
                },
            }
        }
        if let Some((header, text)) = open {
            tree.add(header, &text);
        }
        tree
    }

    /// The tree's root, as the operating system spells it.
    #[track_caller]
    pub fn root(&self) -> PathBuf {
        fs::canonicalize(self.dir.path()).expect("the temporary folder is there")
    }

    /// Writes one file, making its folders.
    #[track_caller]
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    /// Reads one file.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join(path)).expect("a text file")
    }

    #[track_caller]
    fn add(&self, header: &str, text: &str) {
        if let Some((link, target)) = header.split_once(" -> ") {
            symlink(Path::new(target), &self.dir.path().join(link));
        } else if let Some((path, mode)) = header.split_once(" mode=") {
            self.write(path, text);
            set_mode(&self.dir.path().join(path), mode);
        } else if header.ends_with('/') {
            fs::create_dir_all(self.dir.path().join(header)).expect("a folder");
        } else {
            self.write(header, text);
        }
    }
}

#[track_caller]
fn symlink(target: &Path, link: &Path) {
    fs::create_dir_all(link.parent().expect("a parent")).expect("folders");
    std::os::unix::fs::symlink(target, link).expect("a symlink");
}

#[track_caller]
fn set_mode(path: &Path, mode: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = u32::from_str_radix(mode, 8).expect("octal permission bits");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permission bits");
}

mod tests {
    use super::TestTree;

    #[test]
    fn a_fixture_becomes_files() {
        let tree = TestTree::new("//- a/b c.txt\none\n\ntwo\n//- empty\n//- run.sh mode=755\n#!\n//- dir/\n");
        assert_eq!(tree.read("a/b c.txt"), "one\n\ntwo\n");
        assert_eq!(tree.read("empty"), "");
        assert!(tree.root().join("dir").is_dir());
    }
}
