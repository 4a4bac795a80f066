//! EFFECT: a tree as a commit has it, in a folder of its own.
//!
//! In: the tree's root and a revision. Out: a [`Checkout`], gone when dropped. It changes nothing in the repository:
//! neither its index, nor its branches, nor its list of work trees.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::os::{CommandError, HostCommand};

/// The files of one commit.
#[derive(Debug)]
pub struct Checkout {
    /// The commit's full id.
    pub commit: String,
    folder: TempDir,
}

/// Why there is no such checkout.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// No repository, or no git.
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
        let git = |args: &[&str]| HostCommand::new("git").args(args.iter().copied()).in_folder(root);
        let prefix = git(&["rev-parse", "--show-prefix"]).output().await;
        let prefix =
            prefix.map_err(|source| RevisionError::NoRepository { root: root.to_owned(), source })?;
        let commit = format!("{revision}^{{commit}}");
        let commit = git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).output().await;
        let commit = commit
            .map_err(|source| RevisionError::Unknown { revision: revision.to_owned(), source })?
            .trim()
            .to_owned();
        let no_place = |source| RevisionError::Folder { revision: revision.to_owned(), source };
        let folder = tempfile::Builder::new().prefix("xtask-revision-").tempdir().map_err(no_place)?;
        let files = folder.path().join("tree");
        std::fs::create_dir(&files).map_err(no_place)?;
        let index = folder.path().join("index").to_string_lossy().into_owned();
        let failed = |source| RevisionError::Git { revision: revision.to_owned(), source };
        let tree = format!("{commit}:{}", prefix.trim_end());
        git(&["read-tree", &tree]).env("GIT_INDEX_FILE", &index).output().await.map_err(failed)?;
        // From the root of the work tree: elsewhere git would look for the files below the folder's own name.
        let into = format!("--prefix={}/", files.display());
        let out = HostCommand::new("git")
            .args(["checkout-index", "--all", "--force", "--quiet", &into])
            .env("GIT_INDEX_FILE", &index)
            .env("GIT_WORK_TREE", files.to_string_lossy())
            .env("GIT_DIR", git_dir(root).await.map_err(failed)?)
            .in_folder(&files);
        out.output().await.map_err(failed)?;
        Ok(Self { commit, folder })
    }

    /// Where the files are.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("tree")
    }
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
