//! All checks of this repo, on engines of its own: `cargo xtask ci`.
//!
//! In: the root, and whether missing packages may be installed. Out: each check with its time and its end. The
//! checks run cargo and this very program as anybody would; their output passes through. The engine is private
//! and disposable, and so is the copy of the tree that is built: nothing outside `target/` is touched, and
//! nothing is left running, on failure and on Ctrl-C too.

mod answers;
pub mod bench_tree;
mod engines;
mod web;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use self::answers::Answer;
pub use self::engines::EngineVersion;
use crate::engine::provision::{
    Announce, BUSYBOX, DEBOOTSTRAP, DOCKER, Data, DisposableEngine, EngineSettings, Home, IPROUTE, IPTABLES,
    Package, ProvisionError, REGISTRY, down, ensure_packages, missing_packages,
};
use crate::host::inside::Folder;
use crate::host::{self, CommandError, HostCommand};

/// What the checks need beyond Rust.
pub const PACKAGES: [Package; 6] = [DOCKER, IPROUTE, IPTABLES, REGISTRY, DEBOOTSTRAP, BUSYBOX];

/// Whether the machine may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// Install what is missing, make base images that no registry gives.
    Yes,
    /// Say what is missing.
    No,
}

/// What it means that a check cannot be made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// It is skipped, and said so.
    Skips,
    /// It fails: where this repository's own workflow runs, all of them are made.
    Fails,
}

/// A check that is one cargo command.
#[derive(Clone, Copy, Debug)]
struct CargoCheck {
    /// A word for it.
    name: &'static str,
    /// What cargo is told.
    args: &'static [&'static str],
}

/// The checks of the program itself, quickest first.
const CARGO_CHECKS: [CargoCheck; 6] = [
    // One way to write it.
    CargoCheck { name: "fmt", args: &["fmt", "--all", "--check"] },
    // The house rules that a compiler can see.
    CargoCheck {
        name: "clippy",
        args: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    },
    // No dead link and no broken sentence in the documentation.
    CargoCheck { name: "doc", args: &["doc", "--workspace", "--no-deps", "--locked"] },
    // Units and command lines; the tests on engines follow, engine by engine.
    CargoCheck {
        name: "test",
        args: &["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--test", "it"],
    },
    // What READMEs of crates show is compiled and run.
    CargoCheck { name: "examples", args: &["test", "--workspace", "--locked", "--doc"] },
    // Compiled while folders of engines are made.
    CargoCheck {
        name: "test build of the engine tests",
        args: &["test", "-p", "xtask-images", "--locked", "--test", "engine", "--no-run"],
    },
];

/// No licence that we may not ship, no dependency that we banned; only where cargo-deny is installed, since building it
/// takes minutes.
const DENY: CargoCheck = CargoCheck { name: "deny", args: &["deny", "check", "licenses", "bans"] };

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Why the checks did not pass.
#[derive(Debug, thiserror::Error)]
pub enum CiError {
    /// This machine is not ready for them.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// This program or its tree cannot be found or copied.
    #[error("cannot {doing}: {source}")]
    File {
        /// `copy the tree`
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Some checks failed.
    #[error("{} of the checks failed: {}", .0.len(), .0.join(", "))]
    Failed(Vec<String>),
}

/// What `ci` is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether the machine may be changed.
    pub bootstrap: Bootstrap,
    /// What it means that npm's packages cannot be had.
    pub no_packages: Lacking,
    /// What it means that an engine cannot be had.
    pub no_engine: Lacking,
    /// Which engines the tests run on.
    pub engines: Vec<EngineVersion>,
    /// Where this user's caches lie.
    pub cache: Option<PathBuf>,
}

/// Runs all checks of the repo at `root`, one after the other, and goes on after a failure; only the folders of engines
/// are made meanwhile. Each check's end is announced, and all of them once more at the end.
///
/// # Errors
/// When something is missing, or any check failed.
pub async fn run(root: &Path, settings: &Settings, announce: Announce<'_>) -> Result<Vec<Checked>, CiError> {
    let bootstrap = settings.bootstrap;
    match bootstrap {
        Bootstrap::Yes => ensure_packages(&PACKAGES, announce).await?,
        Bootstrap::No => {
            let missing = missing_packages(&PACKAGES);
            if !missing.is_empty() {
                return Err(ProvisionError::Missing { packages: missing }.into());
            }
        }
    }
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |source| CiError::File { doing, source }
    };
    let asked = answers::of(root).map_err(failed("read .config/answers.toml"))?;
    // Cargo may build this very program anew meanwhile; the path stays, and so does what it is.
    let program = std::env::current_exe().map_err(failed("find this program"))?;
    let folder = root.join("target/xtask/ci");
    let tree = folder.join("tree");
    // A run that was killed may have left an engine in there, and files that are root's.
    down(&Home::of_tree(&tree), Data::Purge, announce).await?;
    engines::clear(&folder, announce).await?;
    copy_tree(root, &tree).map_err(failed("copy the tree below target/xtask/ci"))?;
    let mut checks = Checks { announce, done: Vec::new() };
    // They wait for a network and a disk, cargo for processors.
    let folders = engines::folders(settings.cache.as_deref(), &settings.engines, announce);
    let (folders, ()) = tokio::join!(folders, check_sources(&mut checks, root, &folder, settings));
    let up = engines::start(&mut checks, &folder, folders, settings.no_engine).await;
    engines::test(&mut checks, root, &folder, &up).await;
    engines::stop(up, announce).await?;

    let engine =
        DisposableEngine::start(&folder.join("engine"), &EngineSettings::default(), announce).await?;
    let sample = Sample { program, tree, bootstrap, engine };
    checks.check("engine up, status, down", sample.own_engine()).await;
    checks.check("build-all", sample.build_all()).await;
    checks.check("build-all again builds nothing", sample.build_all_again()).await;
    for asked in &asked {
        let name = format!("{} answers GET {}", asked.image, asked.path);
        checks.check(&name, sample.answers(asked)).await;
    }
    sample.engine.stop(announce).await?;
    let done = checks.done;
    announce(String::new());
    for checked in &done {
        announce(told(checked));
    }
    let failed: Vec<String> =
        done.iter().filter(|checked| checked.failure.is_some()).map(|checked| checked.name.clone()).collect();
    if failed.is_empty() { Ok(done) } else { Err(CiError::Failed(failed)) }
}

/// What needs no engine.
async fn check_sources(checks: &mut Checks<'_>, root: &Path, folder: &Path, settings: &Settings) {
    let (announce, packages) = (checks.announce, folder.join("web"));
    match (web::fetch(root, &packages, settings.bootstrap, announce).await, settings.no_packages) {
        (Ok(()), _) => checks.check("workflows", web::lint_workflows(root, &packages)).await,
        (Err(why), Lacking::Fails) => checks.check("workflows", async { Err::<(), _>(why) }).await,
        (Err(why), Lacking::Skips) => announce(format!("workflows skipped ({why})")),
    }
    for check in CARGO_CHECKS {
        let modules = text(&packages.join("node_modules"));
        let command = cargo(root, check).env("XTASK_TEST_NODE_MODULES", modules);
        checks.check(check.name, command.pass_through()).await;
    }
    if host::find_program("cargo-deny").is_some() {
        checks.check(DENY.name, cargo(root, DENY).pass_through()).await;
    } else {
        announce(format!("{} skipped (cargo-deny is not installed; `cargo install cargo-deny`)", DENY.name));
    }
}

/// The checks so far.
struct Checks<'a> {
    announce: Announce<'a>,
    done: Vec<Checked>,
}

impl Checks<'_> {
    async fn check<T, E: std::fmt::Display>(&mut self, name: &str, work: impl Future<Output = Result<T, E>>) {
        (self.announce)(format!("{name} started"));
        let begin = Instant::now();
        let failure = work.await.err().map(|error| error.to_string());
        let checked = Checked { name: name.to_owned(), took: begin.elapsed(), failure };
        (self.announce)(told(&checked));
        self.done.push(checked);
    }
}

/// `clippy passed 41s`
fn told(checked: &Checked) -> String {
    let took = format!("{:.1} s", checked.took.as_secs_f64());
    match &checked.failure {
        None => format!("{} passed ({took})", checked.name),
        Some(why) => format!("{} FAILED ({took}): {why}", checked.name),
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn cargo(root: &Path, check: CargoCheck) -> HostCommand {
    for_tests(HostCommand::new("cargo").args(check.args.iter().copied()), root)
}

fn for_tests(command: HostCommand, root: &Path) -> HostCommand {
    command
        .in_folder(root)
        // Build scripts of other packages watch it: with it, cargo would build them anew here, and without it everywhere else.
        .without_env("CARGO_MANIFEST_DIR")
        .env("RUSTDOCFLAGS", "-D warnings")
        // A test that finds no engine fails then, rather than being skipped.
        .env("CI", "true")
        // What tests start speaks to the tests, not to the log or the job summary around them.
        .env("GITHUB_ACTIONS", "")
        .env("GITHUB_STEP_SUMMARY", "")
        .env("GITLAB_CI", "")
}

/// The sample tree, in a copy, on the engine of these checks.
struct Sample {
    program: PathBuf,
    tree: PathBuf,
    bootstrap: Bootstrap,
    engine: DisposableEngine,
}

/// The part of `plan --format json` that is looked at (SPEC section 2).
#[derive(Debug, Deserialize)]
struct Planned {
    images: Vec<PlannedImage>,
    steps: Vec<PlannedStep>,
}

#[derive(Debug, Deserialize)]
struct PlannedImage {
    name: String,
    state: String,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PlannedStep {
    kind: String,
    subject: String,
}

impl Sample {
    fn xtask(&self, args: &[&str]) -> HostCommand {
        let mut command = HostCommand::new(self.program.to_string_lossy())
            .args(["--root", &self.tree.to_string_lossy()])
            .args(args.iter().copied());
        if self.bootstrap == Bootstrap::Yes {
            command = command.arg("--bootstrap");
        }
        command.in_folder(&self.tree)
    }

    fn on_engine(&self, args: &[&str]) -> HostCommand {
        self.xtask(args).env("DOCKER_HOST", self.engine.endpoint())
    }

    /// The copy gets a private engine of its own, as a fresh machine would.
    async fn own_engine(&self) -> Result<(), CommandError> {
        self.xtask(&["engine", "up"]).pass_through().await?;
        self.xtask(&["engine", "status"]).pass_through().await?;
        self.xtask(&["engine", "down", "--purge"]).pass_through().await
    }

    async fn build_all(&self) -> Result<(), CommandError> {
        self.on_engine(&["build-all", "--progress", "plain"]).pass_through().await
    }

    async fn build_all_again(&self) -> Result<(), String> {
        let text = |error: CommandError| error.to_string();
        let plan = self.on_engine(&["plan", "--format", "json"]).output().await.map_err(text)?;
        still_to_do(&plan)?;
        self.build_all().await.map_err(text)
    }

    async fn answers(&self, asked: &Answer) -> Result<(), String> {
        let Answer { image, path, contains } = asked;
        let body = self.engine.try_out(&format!("{image}:latest"), 8080, path).await?;
        if body.contains(contains) { Ok(()) } else { Err(format!("expected `{contains}` in:\n{body}")) }
    }
}

/// Fails with what a plan would still build.
fn still_to_do(plan: &str) -> Result<(), String> {
    let plan: Planned =
        serde_json::from_str(plan).map_err(|error| format!("the plan is no JSON: {error}"))?;
    let stale = plan.images.iter().filter(|image| image.state != "up-to-date").map(|image| {
        format!("{} is {} ({})", image.name, image.state, image.reason.as_deref().unwrap_or("no reason"))
    });
    let builds = plan
        .steps
        .iter()
        .filter(|step| step.kind == "build")
        .map(|step| format!("{} is built", step.subject));
    let left: Vec<String> = stale.chain(builds).collect();
    if plan.images.is_empty() {
        return Err("the plan has no images".to_owned());
    }
    if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
}

/// What a fresh clone with today's changes would hold: everything but what is made here.
fn copy_tree(root: &Path, to: &Path) -> std::io::Result<()> {
    let own = Folder::open(root)?;
    own.remove(to)?;
    own.below(to)?;
    let is_made_here = |entry: &walkdir::DirEntry| {
        entry.depth() == 1 && ["target", ".git", ".env"].iter().any(|name| entry.file_name() == *name)
    };
    for entry in walkdir::WalkDir::new(root).into_iter().filter_entry(|entry| !is_made_here(entry)) {
        let entry = entry?;
        let Ok(relative) = entry.path().strip_prefix(root) else { continue };
        let target = to.join(relative);
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&target)?;
        } else if entry.file_type().is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_with_builds_is_not_done() {
        let image = r#"{"name": "a", "state": "STATE", "reason": "source changed"}"#;
        let plan = |state: &str, steps: &str| {
            format!(r#"{{"images": [{}], "steps": [{steps}]}}"#, image.replace("STATE", state))
        };
        assert_eq!(still_to_do(&plan("up-to-date", "")), Ok(()));
        let verify = r#"{"kind": "verify", "subject": "a"}"#;
        assert_eq!(still_to_do(&plan("up-to-date", verify)), Ok(()));
        let build = r#"{"kind": "build", "subject": "a"}"#;
        assert_eq!(
            still_to_do(&plan("stale", build)),
            Err("a is stale (source changed); a is built".to_owned())
        );
        assert_eq!(still_to_do(r#"{"images": [], "steps": []}"#), Err("the plan has no images".to_owned()));
        assert!(still_to_do("").is_err());
    }

    #[test]
    fn the_copy_has_what_a_clone_has() {
        let from = tempfile::tempdir().expect("a folder");
        for file in ["src/a/Dockerfile", "target/x", ".git/x", ".env", ".env.example", "src/a/target/kept"] {
            let path = from.path().join(file);
            std::fs::create_dir_all(path.parent().expect("below")).expect("writable");
            std::fs::write(path, file).expect("writable");
        }
        let to = from.path().join("target/xtask/ci/tree");
        for _ in 0..2 {
            copy_tree(from.path(), &to).expect("copies");
        }
        let mut copied: Vec<String> = walkdir::WalkDir::new(&to)
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().strip_prefix(&to).expect("below").display().to_string())
            .collect();
        copied.sort();
        assert_eq!(copied, [".env.example", "src/a/Dockerfile", "src/a/target/kept"]);
    }
}
