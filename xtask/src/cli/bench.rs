//! `bench`: what whole runs of this program take, on trees made for it, and what the peer takes on the same trees and
//! the same engine in turn with it.
//!
//! In: how large the trees are. Out: a table on stdout. The trees lie in a temporary folder, and every image that was
//! built is removed again, also on Ctrl-C.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args;
use super::interrupt::or_interrupted;
use super::session::{Session, Typed};
use crate::ci::bench_tree::{Links, Shape};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::engine::{AnyEngine, Store as _};
use crate::host::{HostCommand, Usage};
use crate::model::Reference;
use crate::settings::Layer;

/// Begins the name of every image that is built for it.
const PREFIX: &str = "xtask-bench-";
/// How many Dockerfiles alone there are for each service of the tree.
const DOCKERFILES_FOR_ONE: usize = 100;

/// `bench`
pub(super) async fn run(typed: &Typed<'_>, args: args::Bench) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    let engine = session.connect().await;
    if let Err(error) = &engine {
        super::say(&format!("{error}: only `plan` is measured (`cargo xtask engine up` starts an engine)"));
    }
    let folder = tempfile::tempdir().map_err(|error| Error::of(ErrorKind::File, &error))?;
    let bench = Bench {
        program: std::env::current_exe().map_err(|error| Error::of(ErrorKind::File, &error))?,
        folder: folder.path().to_owned(),
        has_peer: crate::host::query("docker", &["buildx", "version"]).is_some(),
        engine: engine.ok(),
        runs: args.runs.max(1),
    };
    let shape = bench.shape(args.services, args.files, Links::None);
    let result = or_interrupted(bench.all(&shape)).await;
    bench.remove_images(&shape).await;
    match result {
        None => Ok(ExitCode::Interrupted),
        Some(Err(error)) => Err(error),
        Some(Ok(())) => Ok(ExitCode::Good),
    }
}

struct Bench {
    program: PathBuf,
    folder: PathBuf,
    engine: Option<AnyEngine>,
    has_peer: bool,
    runs: usize,
}

impl Bench {
    fn shape(&self, services: usize, files: usize, links: Links) -> Shape {
        Shape { services: services.max(1), files: files.max(1), links, prefix: PREFIX.to_owned() }
    }

    async fn all(&self, shape: &Shape) -> Result<(), Error> {
        super::print(&heading());
        let title = format!("{} services x {} files", shape.services, shape.files);
        let tree = self.tree("tree", shape, "0")?;
        let plan = |tree: &Path| self.own(tree, &["plan"]);
        self.measure(&format!("plan, hash cache cold, {title}"), &plan(&tree), Some(&tree)).await?;
        self.measure(&format!("plan, {title}"), &plan(&tree), None).await?;
        let alone = self.shape(shape.services * DOCKERFILES_FOR_ONE, 1, Links::None);
        let tree = self.tree("alone", &alone, "0")?;
        self.measure(&format!("plan, {} Dockerfiles alone", alone.services), &plan(&tree), Some(&tree))
            .await?;
        let chains = self.shape(shape.services, shape.files, Links::Chains);
        let tree = self.tree("chains", &chains, "0")?;
        self.measure(&format!("plan, chains, {title}"), &plan(&tree), None).await?;
        if self.engine.is_some() {
            self.builds(shape, &title).await?;
        }
        Ok(())
    }

    /// Cold builds, each of a tree that no builder has seen, then runs with nothing to do.
    async fn builds(&self, shape: &Shape, title: &str) -> Result<(), Error> {
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for run in 0..=self.runs {
            self.remove_images(shape).await;
            let tree = self.tree("ours", shape, &format!("ours {run}"))?;
            ours.push(taken(self.build_all(&tree)).await?);
            if self.has_peer {
                let tree = self.tree("peer", shape, &format!("peer {run}"))?;
                peers.push(self.peer(&tree).await);
            }
        }
        show(&format!("build-all, cold, {title}"), &ours[1..], peers.get(1..).unwrap_or_default());
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..=self.runs {
            ours.push(taken(self.build_all(&self.folder.join("ours"))).await?);
            if self.has_peer {
                peers.push(self.peer(&self.folder.join("peer")).await);
            }
        }
        show(&format!("build-all, nothing to do, {title}"), &ours[1..], peers.get(1..).unwrap_or_default());
        Ok(())
    }

    /// A run of the peer; none when it failed, which old engines make it do with many targets at once.
    async fn peer(&self, tree: &Path) -> Option<Usage> {
        let bake = self.bake(tree);
        let measured = tokio::task::spawn_blocking(move || bake.measure()).await.ok()?;
        measured.inspect_err(|error| super::say(&format!("not counted: {error}"))).ok()
    }

    /// Runs a command often; with a tree, what this program remembers of it is forgotten before each run.
    async fn measure(&self, title: &str, command: &HostCommand, forget: Option<&Path>) -> Result<(), Error> {
        let mut runs = Vec::new();
        for _ in 0..=self.runs {
            if let Some(tree) = forget.map(|tree| tree.join("target")).filter(|target| target.exists()) {
                fs::remove_dir_all(tree).map_err(|error| Error::of(ErrorKind::File, &error))?;
            }
            runs.push(taken(command.clone()).await?);
        }
        show(title, &runs[1..], &[]);
        Ok(())
    }

    fn tree(&self, name: &str, shape: &Shape, salt: &str) -> Result<PathBuf, Error> {
        let tree = self.folder.join(name);
        shape.write(&tree, salt).map_err(|error| Error::of(ErrorKind::File, &error))?;
        Ok(tree)
    }

    fn own(&self, tree: &Path, args: &[&str]) -> HostCommand {
        let command = HostCommand::new(self.program.to_string_lossy()).args(args.iter().copied());
        let command = command.arg("--root").path(tree).args(["--network", "external", "--prefix", PREFIX]);
        self.at_engine(command)
    }

    fn build_all(&self, tree: &Path) -> HostCommand {
        self.own(tree, &["build-all", "latest", "--no-prefetch", "--progress", "plain"])
    }

    fn bake(&self, tree: &Path) -> HostCommand {
        let args = ["buildx", "bake", "--file", "docker-bake.json", "--progress", "plain"];
        self.at_engine(HostCommand::new("docker").args(args).in_folder(tree))
    }

    fn at_engine(&self, command: HostCommand) -> HostCommand {
        match &self.engine {
            Some(engine) => command.env("DOCKER_HOST", engine.endpoint()),
            None => command,
        }
    }

    async fn remove_images(&self, shape: &Shape) {
        let Some(engine) = &self.engine else { return };
        for name in shape.images().chain(shape.peer_images()) {
            if let Ok(reference) = format!("{name}:latest").parse::<Reference>() {
                // Not built, or gone already: either way it is not there.
                let _ = engine.remove(&reference).await;
            }
        }
    }
}

/// What a run took, measured off the async threads.
async fn taken(command: HostCommand) -> Result<Usage, Error> {
    let measured = tokio::task::spawn_blocking(move || command.measure()).await;
    let usage = measured.map_err(|panic| Error::of(ErrorKind::Unexpected, &panic))?;
    usage.map_err(|error| Error::of(ErrorKind::File, &error))
}

fn heading() -> String {
    format!("{:<52} {:>20} {:>20} {:>20} {:>17}", "min/median/max", "user s", "sys s", "wall s", "peak MB")
}

/// A row of ours, and one of the peer with the ratios of pairs that ran one after the other.
fn show(title: &str, ours: &[Usage], peers: &[Option<Usage>]) {
    super::print(&row(title, ours));
    let pairs: Vec<(&Usage, &Usage)> =
        ours.iter().zip(peers).filter_map(|(our, peer)| Some((our, peer.as_ref()?))).collect();
    if pairs.is_empty() {
        return;
    }
    let peers: Vec<Usage> = pairs.iter().map(|(_, peer)| **peer).collect();
    super::print(&row("  docker buildx bake, same tree and engine", &peers));
    let ratios = |of: fn(&Usage) -> Duration| {
        spread(pairs.iter().map(|(our, peer)| of(our).as_secs_f64() / of(peer).as_secs_f64().max(1e-9)), 3)
    };
    super::print(&format!(
        "  ratio: wall {}, processor time of the client {}",
        ratios(|usage| usage.wall),
        ratios(|usage| usage.user + usage.system)
    ));
}

fn row(title: &str, runs: &[Usage]) -> String {
    let seconds = |of: fn(&Usage) -> Duration| spread(runs.iter().map(|run| of(run).as_secs_f64()), 3);
    let peak = spread(runs.iter().map(|run| run.peak as f64 / 1e6), 0);
    let mut row = format!("{title:<52}");
    let times = [seconds(|run| run.user), seconds(|run| run.system), seconds(|run| run.wall)];
    for time in times {
        // Writing to a String cannot fail.
        let _ = write!(row, " {time:>20}");
    }
    let _ = write!(row, " {peak:>17}");
    row
}

/// `min/median/max`.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(min), Some(median), Some(max)) => format!("{min:.digits$}/{median:.digits$}/{max:.digits$}"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_line_up_and_tell_the_spread() {
        let run = |milliseconds| Usage {
            user: Duration::from_millis(milliseconds),
            system: Duration::from_millis(1),
            wall: Duration::from_millis(2 * milliseconds),
            peak: 12_400_000,
        };
        insta::assert_snapshot!(format!("{}\n{}", heading(), row("plan", &[run(9), run(7), run(8)])), @r"
        min/median/max                                                     user s                sys s               wall s           peak MB
        plan                                                    0.007/0.008/0.009    0.001/0.001/0.001    0.014/0.016/0.018          12/12/12
        ");
        assert_eq!(spread(std::iter::empty(), 3), "-");
    }
}
