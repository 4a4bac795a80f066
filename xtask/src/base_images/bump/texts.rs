//! EFFECT: the texts of a tree: what git knows of it, or all but what is made by builds where there is no git.

use std::fs;
use std::io;
use std::path::Path;

use crate::host::HostCommand;

/// A larger file is no text that people write.
const MAX_TEXT: u64 = 4 << 20;
/// Folders that builds and tools make.
const MADE: &[&str] =
    &[".git", ".venv", "__pycache__", "build-logs", "dist", "node_modules", "target", "venv"];

/// A text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Relative to the root, with `/`.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

/// Every text file below `root`, sorted: not what git ignores, no symlinks, nothing that is not UTF-8.
///
/// # Errors
/// When the tree cannot be walked.
pub async fn read(root: &Path) -> io::Result<Vec<Text>> {
    let listed = HostCommand::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
        .in_folder(root)
        .output()
        .await
        .ok();
    let root = root.to_owned();
    let read = move || {
        let mut paths = match listed {
            Some(listed) if !listed.trim().is_empty() => {
                listed.split('\0').map(|path| path.trim_end_matches('\n').to_owned()).collect()
            }
            // No git, or a tree that the repository around it ignores.
            Some(_) | None => walk(&root)?,
        };
        paths.sort();
        Ok(paths.into_iter().filter_map(|path| read_text(&root, path)).collect())
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn walk(root: &Path) -> io::Result<Vec<String>> {
    let is_made = |name: &std::ffi::OsStr| MADE.iter().any(|made| name == *made);
    let mut paths = Vec::new();
    for entry in walkdir::WalkDir::new(root).into_iter().filter_entry(|entry| !is_made(entry.file_name())) {
        let entry = entry.map_err(io::Error::other)?;
        let inside = entry.path().strip_prefix(root).ok().and_then(Path::to_str);
        paths.extend(inside.filter(|_| entry.file_type().is_file()).map(str::to_owned));
    }
    Ok(paths)
}

fn read_text(root: &Path, path: String) -> Option<Text> {
    let full = root.join(&path);
    let found =
        fs::symlink_metadata(&full).ok().filter(|found| found.is_file() && found.len() <= MAX_TEXT)?;
    // What is made by builds may be in git too.
    if found.len() == 0 || path.split('/').any(|part| MADE.contains(&part)) {
        return None;
    }
    let text = String::from_utf8(fs::read(&full).ok()?).ok()?;
    (!text.contains('\0')).then_some(Text { path, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestTree;

    #[tokio::test]
    async fn texts_are_read_and_nothing_else() {
        let tree = TestTree::new(
            "//- a b.md\n1\n//- src/x/Dockerfile\nFROM a\n//- target/x\nno\n//- src/node_modules/y\nno\n//- link -> a b.md\n//- empty\n",
        );
        tree.write("binary", b"\0\x01");
        tree.write("latin", b"\xe4");
        let texts = read(&tree.root()).await.expect("readable");
        assert_eq!(
            texts.iter().map(|text| text.path.as_str()).collect::<Vec<_>>(),
            ["a b.md", "src/x/Dockerfile"]
        );
    }
}
