//! `affected` and `matrix`: what a change means for the images, and how several machines share the work. They build
//! nothing and ask no engine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

use super::args::{self, Format, MatrixFormat};
use super::session::{Session, Typed};
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::model::{Image, ImageName, Observed, Outcome, Platform, Severity};
use crate::plan::affected::{Affected, Side, affected, removed};
use crate::plan::build::{self, Assessment};
use crate::plan::explain::count;
use crate::plan::shards::{Shard, share_out};
use crate::read::revision::{self, Checkout};
use crate::read::tree::{self, Tree};
use crate::report::github;
use crate::report::history::{self as records, Filter};
use crate::report::markdown::{self, Share};
use crate::report::text::took;
use crate::settings::{self, Layer};

/// An image that nobody has built yet is taken for one that takes a minute.
const UNKNOWN_TIME: u64 = 60_000;

/// What was compared, and what came of it.
struct Comparison {
    since: String,
    until: String,
    affected: Vec<Affected>,
    removed: Vec<ImageName>,
    now: Tree,
    code: ExitCode,
}

/// `affected`
pub(super) async fn run(typed: &Typed<'_>, args: args::Affected) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    let found = compare(typed, &session, &args.commits).await?;
    let text = match args.format {
        Format::Json => format!(
            "{:#}",
            json!({
                "version": 1,
                "since": found.since,
                "until": found.until,
                "images": found.affected,
                "removed": found.removed,
            })
        ),
        Format::Human if found.affected.is_empty() => "no image is affected".to_owned(),
        Format::Human => {
            let width = found.affected.iter().map(|a| a.name.as_str().len()).max().unwrap_or(0);
            let line = |a: &Affected| format!("{:width$}  ({})", a.name.as_str(), a.reason);
            found.affected.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    };
    if args.format == Format::Human && !found.removed.is_empty() {
        let names: Vec<&str> = found.removed.iter().map(ImageName::as_str).collect();
        super::say(&format!("removed, so there is nothing to build: {}", names.join(", ")));
    }
    super::print(&text);
    Ok(found.code)
}

/// `matrix`
pub(super) async fn matrix(typed: &Typed<'_>, args: args::Matrix) -> Result<ExitCode, Error> {
    let session = Session::open(typed, Layer::default(), &[])?;
    let found = compare(typed, &session, &args.commits).await?;
    let is_affected = |image: &&Image| found.affected.iter().any(|a| a.name == image.name.image());
    let images: Vec<&Image> = found.now.graph.images().iter().filter(is_affected).collect();
    let times = recorded_times(&session, &args.durations)?;
    let usual = median(times.values().copied().collect()).unwrap_or(UNKNOWN_TIME);
    let shards =
        share_out(&images, |name| times.get(name.as_str()).copied().unwrap_or(usual), args.shards.into());
    let of = shards.len();
    let entries = shards.iter().enumerate().map(|(at, shard)| entry(at, of, shard));
    match args.format {
        MatrixFormat::Json => {
            let entries: Vec<_> = entries.collect();
            super::print(&format!(
                "{:#}",
                json!({ "version": 1, "since": found.since, "until": found.until, "shards": entries })
            ));
        }
        MatrixFormat::Github => {
            let include: Vec<_> = entries.collect();
            let matrix = json!({ "include": include }).to_string();
            if let Some(file) = session.env.github_output() {
                tell_github(&file, &matrix, images.len())?;
            }
            if let Some(file) = session.env.github_step_summary() {
                let page = |room| {
                    let page = markdown::shares(&shares(&found, &shards), room);
                    session.secrets.redact(&page).into_owned()
                };
                // As with any sink: what cannot be shown fails nothing.
                if let Err(error) = github::append(&file, page) {
                    super::say(&format!("warning: the GitHub job summary cannot be written: {error}"));
                }
            }
            super::print(&matrix);
        }
    }
    Ok(found.code)
}

fn entry(at: usize, of: usize, shard: &Shard) -> serde_json::Value {
    let names: Vec<&str> = shard.images.iter().map(ImageName::as_str).collect();
    json!({
        "shard": format!("{}/{of}", at + 1),
        "images": names,
        // What `--only` takes, since a workflow cannot join a list without an expression.
        "only": names.join(","),
        "estimate": took(shard.estimate),
        "estimate_ms": shard.estimate,
    })
}

/// What each machine builds, and why.
fn shares(found: &Comparison, shards: &[Shard]) -> Vec<Share> {
    let why = |name: &ImageName| {
        let affected = found.affected.iter().find(|affected| affected.name == *name);
        (name.to_string(), affected.map(|affected| affected.reason.clone()).unwrap_or_default())
    };
    let share =
        |shard: &Shard| Share { images: shard.images.iter().map(why).collect(), estimate: shard.estimate };
    shards.iter().map(share).collect()
}

/// For later jobs of the workflow: the matrix, and how many images there are, since GitHub refuses an empty matrix.
fn tell_github(file: &std::path::Path, matrix: &str, images: usize) -> Result<(), Error> {
    let written = std::fs::File::options()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut file| writeln!(file, "matrix={matrix}\nimages={images}"));
    written.map_err(|cause| {
        Error::new(ErrorKind::File, format!("cannot write to GITHUB_OUTPUT, {}", file.display()))
            .because(cause.to_string())
            .hint("unset GITHUB_OUTPUT outside of a workflow")
    })
}

/// How long each image took in the runs on record and in these files, in milliseconds: the middle of all.
fn recorded_times(session: &Session, files: &[PathBuf]) -> Result<BTreeMap<String, u64>, Error> {
    let mut runs = records::list(&session.config.root, &Filter::default());
    for file in files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            // The first time, whatever keeps it has nothing yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                super::say(&format!("warning: there is no {}, so durations are estimated", file.display()));
                continue;
            }
            Err(error) => {
                return Err(Error::of(ErrorKind::File, &error)
                    .context(format!("cannot read the durations in {}", file.display())));
            }
        };
        let read = records::parse(&text).map_err(|error| {
            Error::of(ErrorKind::Usage, &error)
                .context(format!("{} does not say how long builds took", file.display()))
                .hint("`cargo xtask history --format json --limit 50` prints such a file")
        })?;
        runs.extend(read);
    }
    let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for run in runs {
        for image in run.images.into_iter().filter(|image| image.outcome == Outcome::Done) {
            times.entry(image.image).or_default().push(image.took);
        }
    }
    Ok(times.into_iter().filter_map(|(image, all)| Some((image, median(all)?))).collect())
}

fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

async fn compare(typed: &Typed<'_>, session: &Session, commits: &args::Commits) -> Result<Comparison, Error> {
    let root = &session.config.root;
    let since = match commits.merge_base {
        true => revision::merge_base(root, &commits.since, &commits.until).await?,
        false => commits.since.clone(),
    };
    let then = Checkout::of(root, &since).await?;
    let now = Checkout::of(root, &commits.until).await?;
    session.tell_warnings();
    let lacking: BTreeSet<&String> = then.lacking.iter().chain(&now.lacking).collect();
    for submodule in lacking {
        super::say(&format!(
            "warning: the files of the submodule {submodule} are not here; what reads them counts as affected if its \
             commit changed (`git submodule update --init` brings them)"
        ));
    }
    if let (true, Some(changed @ 1..)) = (commits.until == "HEAD", revision::uncommitted(root).await) {
        let files = count(changed, "uncommitted file");
        session.warn(&format!("commits are compared; {files} not looked at"));
    }
    let (old_tree, old_keys) = look(typed, session, &then).await?;
    let (tree, keys) = look(typed, session, &now).await?;
    let before = Side { graph: &old_tree.graph, contexts: &old_tree.contexts, assessments: &old_keys };
    let after = Side { graph: &tree.graph, contexts: &tree.contexts, assessments: &keys };
    let (affected, removed) = (affected(before, after), removed(before, after));
    let mut code = ExitCode::Good;
    for finding in tree.findings.iter().filter(|f| f.diagnostic.severity == Severity::Error) {
        super::say(&session.secrets.redact(&finding.diagnostic.to_string()));
        code = ExitCode::SourceInvalid;
    }
    Ok(Comparison {
        since: then.commit.clone(),
        until: now.commit.clone(),
        affected,
        removed,
        now: tree,
        code,
    })
}

/// A commit's images with their keys. Its own settings hold; what was typed and the environment hold for both.
async fn look(
    typed: &Typed<'_>,
    session: &Session,
    checkout: &Checkout,
) -> Result<(Tree, Vec<Assessment>), Error> {
    let file = typed.global.config.as_ref().map(std::path::absolute).transpose();
    let file = file.map_err(|error| Error::of(ErrorKind::File, &error))?;
    let config = settings::load(&checkout.path(), typed.global.layer(), &session.env, file.as_deref())?;
    let read = tokio::task::spawn_blocking(move || tree::look(&config, Platform::local()));
    let read = read.await.map_err(|panic| Error::of(ErrorKind::Unexpected, &panic))?;
    let tree = read.map_err(settings::ConfigError::Invalid)?.tree;
    let keys = build::assess(&tree.graph, &tree.contexts, &Observed::nothing(), &|_| None);
    Ok((tree, keys))
}
