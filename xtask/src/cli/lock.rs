//! `lock`: writes which content each external image has, as registries say, or the engine where none does.

mod answer;

use std::collections::{BTreeMap, BTreeSet};

use super::args::Lock;
use super::locked;
use super::session::{Session, Typed};
use super::world::World;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::host::inside::Folder;
use crate::host::retry::Policy;
use crate::model::suggest::did_you_mean;
use crate::model::{
    Diagnostic, Image, ImageLock, LockedImage, Network, Originals, Phase, Platform, Reference, Severity,
};
use crate::plan::Request;
use crate::plan::alias;
use crate::plan::image_lock::judge;
use crate::plan::image_lock::text;
use crate::plan::image_lock::update::{LockChange, update};
use crate::plan::image_lock::uses::{self, Use};
use crate::plan::prefetch::places;
use crate::registry::resolve::{self, Answer, Question};

/// `lock`
pub(super) async fn run(typed: &Typed<'_>, args: Lock) -> Result<ExitCode, Error> {
    let session = Session::open(typed, args.layer(), &args.build_arg)?;
    let _lock = if args.check { None } else { session.lock().await? };
    let (session, outcome) = super::interruptible(look(session, &args)).await?;
    session.tell_warnings();
    session.late_warnings().for_each(|warning| session.warn(&warning));
    answer::tell(&session, &outcome, &args);
    let is_first = !outcome.is_there && (outcome.failed.is_empty() || !outcome.new.images.is_empty());
    if !args.check && (is_first || outcome.new != outcome.old) {
        let text = text::write(&outcome.new);
        let tree = Folder::open(&session.config.root);
        tree.and_then(|tree| tree.write(&outcome.file, text.as_bytes(), None)).map_err(|error| {
            Error::of(ErrorKind::File, &error).context(format!("cannot write {}", outcome.file))
        })?;
    }
    answer::verdict(&session, &outcome, args.check)
}

/// What a look at the tree, the registries and the store came to.
struct Compared {
    file: String,
    is_there: bool,
    has_engine: bool,
    old: ImageLock,
    new: ImageLock,
    uses: BTreeMap<Reference, Use>,
    changes: Vec<LockChange>,
    /// What nobody gave, and what each that was asked said.
    failed: Vec<(Reference, Vec<String>)>,
    /// A registry that does not keep its word.
    lies: Vec<(Reference, String)>,
    /// What people should know beside the changes.
    notes: Vec<String>,
}

/// What is looked at, whichever platform it is for.
struct Scope {
    uses: BTreeMap<Reference, Use>,
    /// What is looked for anew.
    asked: BTreeSet<Reference>,
}

async fn look(mut session: Session, args: &Lock) -> Result<(Session, Compared), Error> {
    let mut scope = Scope { uses: BTreeMap::new(), asked: BTreeSet::new() };
    let (services, references) = session.split_names(&args.names).await?;
    // One after the other: an engine keeps one platform under a name, and may be asked for several.
    let asked = if args.platform.is_empty() { &session.config.platforms } else { &args.platform };
    let mut platforms: Vec<Vec<Platform>> = asked.iter().map(|platform| vec![platform.clone()]).collect();
    if platforms.is_empty() {
        platforms.push(Vec::new());
    }
    let mut world = None;
    for platform in platforms {
        session.config.platforms = platform;
        let found = session.look().await?;
        sound(&found)?;
        let originals = found.tree.originals(session.config.alias_rules());
        if !services.is_empty() {
            let chosen = Request { only: services.clone(), ..Request::of(&[Phase::Build]) };
            let selected = found.select(&chosen)?;
            let is_chosen = |image: &&Image| selected.contains(&image.name);
            let images = found.tree.graph.images().iter().filter(is_chosen);
            scope.asked.extend(uses::uses(images, &originals).into_keys());
        }
        uses::merge(&mut scope.uses, locked::all_uses(&found, &originals));
        world = Some(found);
    }
    let Some(world) = world else {
        return Err(Error::new(ErrorKind::Unexpected, "no platform was looked at"));
    };
    let originals = world.tree.originals(session.config.alias_rules());
    for name in &references {
        scope.asked.insert(known_original(name, &originals, &scope.uses)?);
    }
    if args.names.is_empty() {
        scope.asked = scope.uses.keys().cloned().collect();
    }
    let outcome = compare(&session, &world, &originals, scope).await?;
    Ok((session, outcome))
}

/// A lock of half a tree would take the rest for unused.
fn sound(world: &World) -> Result<(), Error> {
    let findings = world.tree.findings.iter().map(|finding| finding.diagnostic.clone());
    let errors: Vec<Diagnostic> = findings.filter(|found| found.severity == Severity::Error).collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Error::of_diagnostics(&errors)
        .context("not every external image is known, so none is locked")
        .hint("`cargo xtask plan` shows everything that is wrong"))
}

/// What a name on the command line stands for.
fn known_original(
    name: &Reference,
    originals: &Originals<'_>,
    uses: &BTreeMap<Reference, Use>,
) -> Result<Reference, Error> {
    let original = originals.original_of(name);
    if uses.contains_key(&original) {
        return Ok(original);
    }
    if original.digest().is_some() {
        let why = format!("{} is pinned by its digest: it needs no lock", original.familiar());
        return Err(Error::new(ErrorKind::Usage, why));
    }
    let known: Vec<String> = uses.keys().map(Reference::familiar).collect();
    let meant = did_you_mean(&original.familiar(), known.iter().map(String::as_str));
    let why = format!("nothing in this tree names {}, and there is no such service{meant}", name.familiar());
    let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Error::new(ErrorKind::UnknownName, why).hint(format!("the external images are {list}")))
}

async fn compare(
    session: &Session,
    world: &World,
    originals: &Originals<'_>,
    scope: Scope,
) -> Result<Compared, Error> {
    let config = &session.config;
    let held = world.lock.as_ref().map_err(locked::unreadable)?;
    let old = held.as_ref().map(|read| read.lock.clone()).unwrap_or_default();
    let registry = session.registry();
    let verdict = if config.offline { None } else { Some(session.network(world, &registry).await) };
    let network = verdict.as_ref().map_or(config.network.unwrap_or(Network::External), |v| v.network);
    let mut outcome = Compared {
        file: config.images_lock.clone(),
        is_there: held.is_some(),
        has_engine: world.engine.is_ok(),
        old: ImageLock::default(),
        new: ImageLock::default(),
        uses: BTreeMap::new(),
        changes: Vec::new(),
        failed: Vec::new(),
        lies: Vec::new(),
        notes: Vec::new(),
    };
    let questions = questions(session, originals, &scope, &old, network);
    let answers = if config.offline {
        questions.iter().map(|_| Answer::Nowhere(Vec::new())).collect()
    } else {
        resolve::ask(&registry, &Policy::new(config.retries), &questions).await
    };
    let mut found = BTreeMap::new();
    for (question, answer) in questions.iter().zip(answers) {
        match answer {
            Answer::Found(locked, _) => drop(found.insert(question.original.clone(), locked)),
            Answer::Lie(why) => outcome.lies.push((question.original.clone(), why.to_string())),
            Answer::Nowhere(said) => {
                let causes: Vec<String> =
                    said.iter().map(|(source, why)| format!("{}: {why}", source.familiar())).collect();
                match in_store(world, originals, &scope, question, network) {
                    Some(locked) => {
                        outcome.notes.extend(note(&question.original, &locked, &causes, config.offline));
                        found.insert(question.original.clone(), locked);
                    }
                    None => outcome.failed.push((question.original.clone(), causes)),
                }
            }
        }
    }
    (outcome.new, outcome.changes) = update(&old, &scope.uses, &found);
    outcome.old = old;
    outcome.uses = scope.uses;
    Ok(outcome)
}

/// Where each image is looked for.
fn questions(
    session: &Session,
    originals: &Originals<'_>,
    scope: &Scope,
    old: &ImageLock,
    network: Network,
) -> Vec<Question> {
    let question = |original: &Reference| {
        let used = scope.uses.get(original)?;
        let written: Vec<Reference> = used.written.iter().cloned().collect();
        let sources = places(original, &written, originals, &session.config.mirrors, network);
        Some(Question {
            original: original.clone(),
            sources: sources.unwrap_or_default(),
            platforms: used.platforms.clone(),
            known: old.images.get(original).cloned(),
        })
    };
    scope.asked.iter().filter_map(question).collect()
}

/// What the engine has under any of an image's names.
fn in_store(
    world: &World,
    originals: &Originals<'_>,
    scope: &Scope,
    question: &Question,
    network: Network,
) -> Option<LockedImage> {
    let used = scope.uses.get(&question.original)?;
    let written: Vec<Reference> = used.written.iter().cloned().collect();
    let (_, image) = alias::present_as(&question.original, &written, &world.observed, originals, network)?;
    let platform = image.platform.clone().or_else(|| question.platforms.first().cloned());
    let platform = platform.unwrap_or_else(Platform::local);
    Some(judge::of_store(image, &platform, &question.sources, question.known.as_ref()))
}

/// What a lock entry that no registry gave is worth.
fn note(original: &Reference, locked: &LockedImage, causes: &[String], is_offline: bool) -> Vec<String> {
    let name = original.familiar();
    let why = if is_offline {
        "--offline asks no registry".to_owned()
    } else {
        match causes {
            [] => "there is no registry to ask".to_owned(),
            causes => format!("no registry gives it ({})", causes.join("; ")),
        }
    };
    match &locked.digest {
        Some(_) => vec![format!("{name} is locked as the engine has it: {why}")],
        None => vec![format!(
            "{name} has no digest, so it is locked by what is in it: {why}; another machine has to get this very image, by \
             `cargo xtask bundle` or from a registry that it is pushed to"
        )],
    }
}
