//! EFFECT: a tree as a commit has it, in a folder of its own.
//!
//! In: the tree's root and a revision. Out: a [`Checkout`], gone when dropped. It changes nothing in the repository:
//! neither its index, nor its branches, nor its list of work trees.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::host::inside::Folder;
use crate::host::{CommandError, HostCommand};

/// The files of one commit.
#[derive(Debug)]
pub struct Checkout {
    /// The commit's full id.
    pub commit: String,
    /// Submodules whose files are not on this machine.
    pub lacking: Vec<String>,
    folder: TempDir,
}

/// Why there is no such checkout.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// No git.
    #[error("git is not installed, or cannot be started")]
    NoGit {
        /// What the system said.
        source: CommandError,
    },
    /// The two have nothing in common.
    #[error("`{since}` and `{until}` have no commit in common here")]
    Unrelated {
        /// As it was named.
        since: String,
        /// As it was named.
        until: String,
        /// What git said.
        source: CommandError,
    },
    /// No repository.
    #[error("{} is not in a git repository", root.display())]
    NoRepository {
        /// The tree's root.
        root: PathBuf,
        /// What git said.
        source: CommandError,
    },
    /// No such commit here.
    #[error("this repository has no commit `{revision}`")]
    Unknown {
        /// As it was named.
        revision: String,
        /// What git said.
        source: CommandError,
    },
    /// The files could not be written.
    #[error("cannot check out `{revision}`")]
    Git {
        /// As it was named.
        revision: String,
        /// What git said.
        source: CommandError,
    },
    /// There is no place for them.
    #[error("cannot make a folder for the files of `{revision}`")]
    Folder {
        /// As it was named.
        revision: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl RevisionError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoGit { .. } => "`apt-get install git`",
            Self::Unrelated { .. } => {
                "a shallow clone lacks the commits in between: `git fetch --unshallow` brings them"
            }
            Self::NoRepository { .. } => "name the tree's root with --root DIR",
            Self::Unknown { .. } => {
                "`git fetch --unshallow` brings older commits; in a GitHub workflow, `fetch-depth: 0` of actions/checkout"
            }
            Self::Git { .. } => "`git fsck` tells whether the repository is whole",
            Self::Folder { .. } => "`df -h` shows where space is left; TMPDIR names another place",
        }
    }
}

impl Checkout {
    /// The files of `revision`, of the part of the repository that lies below `root`. Modes are as `git checkout`
    /// gives them, so that keys are the same as in a work tree.
    ///
    /// # Errors
    /// No repository, no such commit, no space.
    pub async fn of(root: &Path, revision: &str) -> Result<Self, RevisionError> {
        let git = |args: &[&str]| git_in(root, args);
        let prefix = prefix(root).await?;
        let commit = commit_of(root, revision).await?;
        let no_place = |source| RevisionError::Folder { revision: revision.to_owned(), source };
        let folder = tempfile::Builder::new().prefix("xtask-revision-").tempdir().map_err(no_place)?;
        let files = folder.path().join("tree");
        std::fs::create_dir(&files).map_err(no_place)?;
        let mut lacking = Vec::new();
        let tree = format!("{commit}:{prefix}");
        // The folder may be younger than the commit; then there was nothing.
        if prefix.is_empty() || git(&["cat-file", "-e", &tree]).output().await.is_ok() {
            let failed = |source| RevisionError::Git { revision: revision.to_owned(), source };
            export(root, &tree, &files, folder.path(), &mut lacking).await.map_err(failed)?;
        }
        Ok(Self { commit, lacking, folder })
    }

    /// Where the files are.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("tree")
    }
}

fn git_in(folder: &Path, args: &[&str]) -> HostCommand {
    HostCommand::new("git").args(args.iter().copied()).in_folder(folder)
}

/// The folder of `root` in its repository, with a slash at its end; empty at the top.
async fn prefix(root: &Path) -> Result<String, RevisionError> {
    match git_in(root, &["rev-parse", "--show-prefix"]).output().await {
        Ok(prefix) => Ok(prefix.trim_end_matches('\n').to_owned()),
        Err(source @ CommandError::CannotStart { .. }) => Err(RevisionError::NoGit { source }),
        Err(source) => Err(RevisionError::NoRepository { root: root.to_owned(), source }),
    }
}

async fn commit_of(root: &Path, revision: &str) -> Result<String, RevisionError> {
    let named = format!("{revision}^{{commit}}");
    let found =
        git_in(root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &named]).output().await;
    match found {
        Ok(commit) => Ok(commit.trim().to_owned()),
        Err(source) => Err(RevisionError::Unknown { revision: revision.to_owned(), source }),
    }
}

/// The last commit that two have in common.
///
/// # Errors
/// No repository, no such commits, nothing in common.
pub async fn merge_base(root: &Path, since: &str, until: &str) -> Result<String, RevisionError> {
    prefix(root).await?;
    let (one, other) = (commit_of(root, since).await?, commit_of(root, until).await?);
    match git_in(root, &["merge-base", &one, &other]).output().await {
        Ok(commit) => Ok(commit.trim().to_owned()),
        Err(source) => {
            Err(RevisionError::Unrelated { since: since.to_owned(), until: until.to_owned(), source })
        }
    }
}

/// Writes the files of a tree of the repository in `folder` into `files`, those of submodules too where they are here:
/// `lacking` gets the others. What git needs meanwhile is kept in `desk`.
async fn export(
    folder: &Path,
    tree: &str,
    files: &Path,
    desk: &Path,
    lacking: &mut Vec<String>,
) -> Result<(), CommandError> {
    // A submodule may have submodules; a list of what is left to do needs no recursion.
    let mut left = vec![(folder.to_owned(), tree.to_owned(), files.to_owned(), String::new())];
    let index = desk.join("index");
    while let Some((folder, tree, files, name)) = left.pop() {
        let index_path = index.to_string_lossy().into_owned();
        let git = |args: &[&str]| git_in(&folder, args).env("GIT_INDEX_FILE", &index_path);
        // An empty one means that no index is left over.
        drop(Folder::open(desk).and_then(|desk| desk.remove("index")));
        git(&["read-tree", &tree]).output().await?;
        // From the root of the work tree: elsewhere git would look for the files below the folder's own name.
        let into = format!("--prefix={}/", files.display());
        HostCommand::new("git")
            .args(["checkout-index", "--all", "--force", "--quiet", &into])
            .env("GIT_INDEX_FILE", &index_path)
            .env("GIT_WORK_TREE", files.to_string_lossy())
            .env("GIT_DIR", git_dir(&folder).await?)
            .in_folder(&files)
            .output()
            .await?;
        let entries = git(&["ls-files", "--stage", "-z"]).output().await?;
        for (commit, path) in entries.split('\0').filter_map(submodule) {
            let (here, there) = (folder.join(path), files.join(path));
            let name = format!("{name}{path}");
            let known = format!("{commit}^{{tree}}");
            // A folder that is no repository of its own would answer for the one around it.
            let is_here = here.join(".git").exists()
                && git_in(&here, &["cat-file", "-e", &known]).output().await.is_ok();
            if is_here {
                left.push((here, known, there, format!("{name}/")));
            } else {
                // Whatever reads the folder reads which commit it stands at.
                let stands = format!("commit {commit}\n");
                let note = Path::new(path).join(".git");
                drop(Folder::open(&files).and_then(|own| own.write(note, stands.as_bytes(), None)));
                lacking.push(name);
            }
        }
    }
    Ok(())
}

/// Commit and path of a submodule, of a line of `git ls-files --stage`: `MODE OBJECT STAGE\tPATH`.
fn submodule(line: &str) -> Option<(&str, &str)> {
    let (facts, path) = line.split_once('\t')?;
    let mut facts = facts.split(' ');
    (facts.next()? == "160000").then_some(())?;
    Some((facts.next()?, path))
}

async fn git_dir(root: &Path) -> Result<String, CommandError> {
    let found = HostCommand::new("git").args(["rev-parse", "--absolute-git-dir"]).in_folder(root);
    Ok(found.output().await?.trim_end_matches('\n').to_owned())
}

/// How many files of the work tree differ from the last commit; none outside a repository.
pub async fn uncommitted(root: &Path) -> Option<usize> {
    let status = HostCommand::new("git").args(["status", "--porcelain", "--untracked-files=all", "--", "."]);
    Some(status.in_folder(root).output().await.ok()?.lines().count())
}
