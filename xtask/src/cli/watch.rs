//! `watch`: builds again whenever something changes that a build reads.
//!
//! A round is a `build` with all that belongs to it: settings and tree are read anew, the same keys decide, and a round that
//! does something is a run with its record. A round with nothing to do is one line. Changes are gathered until nothing
//! more happens for a moment, so that a checkout is one round. What fails stays to be tried again at the next change.

mod changes;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use self::changes::{Changed, Changes};
use super::args;
use super::commands;
use super::interrupt;
use super::pipeline;
use super::rebuild::compose_paths;
use super::serve::{self, Serve, Whom};
use super::session::{self, Session, Typed};
use super::world::World;
use crate::cli::error::{Error, ErrorKind, ExitCode};
use crate::host::watch::Noticing;
use crate::host::{CommandError, HostCommand, Stream};
use crate::model::{ImageName, Outcome, Phase, Plan, StepKind};
use crate::plan::{Planned, Request};
use crate::read::interest::Interest;
use crate::report;
use crate::report::bug::RunNotes;
use crate::report::resolve::{Mode, resolve};

/// `watch`
pub(super) async fn run(typed: &Typed<'_>, args: args::Watch) -> Result<ExitCode, Error> {
    if args.build.dry_run {
        return commands::build(typed, args.build).await;
    }
    // Found once: each round would say how.
    let root = session::standpoint(typed)?.root;
    let global = args::Global { root: Some(root), ..typed.global.clone() };
    let typed = &Typed { global: &global, ..*typed };
    let noticing = args.poll.map_or(Noticing::Told, |seconds| {
        Noticing::Looking(Duration::from_secs(u64::try_from(seconds.0).unwrap_or(u64::MAX)))
    });
    let display = resolve(session::display_input(typed.global, typed.env, false));
    let teller = Teller { is_silent: matches!(display.mode, Mode::Json | Mode::Quiet) };
    let changes = Changes::begin(noticing, &teller)?;
    let mut watch = Watch { typed, args, changes, teller, is_first: true };
    // What is wrong from the beginning is better mended first: nobody knows yet what to watch.
    let mut ended = watch.round(None).await?;
    loop {
        let changed = watch.between(ended).await?;
        ended = match watch.round(Some(&changed)).await {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => watch.failed(&error),
            Ok(ended) => ended,
        };
    }
}

/// Says in a line what goes on between runs.
struct Teller {
    is_silent: bool,
}

impl Teller {
    fn say(&self, text: &str) {
        if !self.is_silent {
            super::say(&format!("{} {text}", chrono::Local::now().format("%H:%M:%S")));
        }
    }
}

/// How a round ended.
enum Ended {
    /// There was nothing to do.
    Idle,
    /// What it built.
    Well(BTreeSet<ImageName>),
    /// It was told.
    Failed,
}

struct Watch<'a> {
    typed: &'a Typed<'a>,
    args: args::Watch,
    changes: Changes,
    teller: Teller,
    is_first: bool,
}

impl Watch<'_> {
    /// One round; `changed` is what it is for.
    async fn round(&mut self, changed: Option<&Changed>) -> Result<Ended, Error> {
        // A record of its own, for whatever goes wrong in it.
        let notes = RunNotes { secrets: self.typed.notes.secrets.clone(), ..RunNotes::default() };
        let typed = Typed { notes: &notes, ..*self.typed };
        let (session, mut request) = commands::building(&typed, &self.args.build).await?;
        if !request.has(Phase::Verify) {
            request.phases.push(Phase::Verify);
        }
        if self.args.starting.up {
            request.phases.push(Phase::Start);
        }
        let looking = pipeline::look(&session, &request);
        let (lock, (world, mut planned)) = session.prepare(session::Changes::Yes, looking).await?;
        let interest = self.interest(&session, &world, &planned);
        let images = interest.images();
        let folders = self.changes.follow(interest, &self.teller)?;
        if self.is_first {
            self.teller.say(&format!(
                "watching {} in {}; Ctrl-C ends",
                counted(images, "image"),
                counted(folders, "folder")
            ));
        }
        if self.args.starting.up {
            self.serve(&session, &world, &mut request, &mut planned)?;
        }
        if pipeline::is_satisfied(&planned.plan) {
            let about = changed.map_or_else(String::new, |changed| format!("{changed}: "));
            self.teller.say(&format!("{about}nothing to build"));
            // What is run after a build is run once after all that was built before.
            let is_first = std::mem::replace(&mut self.is_first, false);
            return Ok(if is_first && self.args.run.is_some() {
                Ended::Well(BTreeSet::new())
            } else {
                Ended::Idle
            });
        }
        if let Some(changed) = changed {
            self.teller.say(&changed.to_string());
        }
        let ended = pipeline::perform(&session, &request, &world, planned).await?;
        drop(lock);
        match ended.code? {
            ExitCode::Good => {}
            ExitCode::Interrupted => return Err(Error::told(ErrorKind::Interrupted)),
            _ => return Ok(Ended::Failed),
        }
        self.is_first = false;
        let is_built =
            |(id, outcome): (_, &Outcome)| (*outcome == Outcome::Done).then(|| built_by(id)).flatten();
        Ok(Ended::Well(ended.report.outcomes.iter().filter_map(is_built).collect()))
    }

    fn interest(&self, session: &Session, world: &World, planned: &Planned) -> Interest {
        let compose = if self.args.starting.up { compose_paths(session).concat() } else { Vec::new() };
        let named = self.typed.global.config.iter().map(|path| {
            // Where it was typed; what is absolute stays as it is.
            let here = std::env::current_dir().unwrap_or_default();
            here.join(path).to_string_lossy().into_owned()
        });
        let further = compose.into_iter().chain(named);
        Interest::of(&session.config, &world.tree, &world.render, &planned.selected, further)
    }

    /// Adds what starts services: all of what is watched at first, then those that run what is built.
    fn serve(
        &self,
        session: &Session,
        world: &World,
        request: &mut Request,
        planned: &mut Planned,
    ) -> Result<(), Error> {
        let what = [Serve::Start(self.args.starting.waiting.time())];
        if self.is_first {
            return serve::add(session, world, request, planned, &what);
        }
        let built = to_build(&planned.plan);
        // Not all that is built is run by something.
        if let Ok(engine) = &world.engine
            && !built.is_empty()
            && let Ok(served) = serve::serve(session, world, engine, Whom::Running(&built), &what)
        {
            planned.plan.extend(served.clone());
            request.prepared = served;
        }
        Ok(())
    }

    /// Between two rounds: runs what was asked for, and waits for a change. That ends what runs.
    async fn between(&mut self, ended: Ended) -> Result<Changed, Error> {
        let command = match (&ended, &self.args.run) {
            (Ended::Well(built), Some(text)) => Some((text.clone(), built.clone())),
            _ => None,
        };
        if !matches!(ended, Ended::Idle) && command.is_none() {
            let how = if matches!(ended, Ended::Failed) { "failed; " } else { "" };
            self.teller.say(&format!("{how}waiting for changes"));
        }
        let root = self.changes.root().to_owned();
        let (changes, teller) = (&mut self.changes, &self.teller);
        let run = async {
            if let Some((text, built)) = command {
                let names: Vec<&str> = built.iter().map(ImageName::as_str).collect();
                let command = HostCommand::script(&text).in_folder(&root).env("XTASK_BUILT", names.join(" "));
                teller.say(&format!("running {text}"));
                let ended = command.lines(&mut pass_on).await;
                teller.say(&match ended {
                    Ok(()) => "it ended well; waiting for changes".to_owned(),
                    Err(CommandError::Failed { code: Some(code), .. }) => {
                        format!("it ended with status {code}; waiting for changes")
                    }
                    Err(error) => format!("{error}; waiting for changes"),
                });
            }
            std::future::pending::<Infallible>().await
        };
        let waiting = async {
            tokio::select! {
                changed = changes.next(teller) => changed,
                never = run => match never {},
            }
        };
        interrupt::or_interrupted(waiting).await.unwrap_or_else(|| Err(Error::told(ErrorKind::Interrupted)))
    }

    /// A round that could not be begun; the next one may be.
    fn failed(&self, error: &Error) -> Ended {
        let display = resolve(session::display_input(self.typed.global, self.typed.env, false));
        if let Some(failure) = error.telling(&self.typed.notes.secrets) {
            report::tell(&failure, display.colour, display.forge);
        }
        Ended::Failed
    }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// What a command prints goes where it would go.
fn pass_on(stream: Stream, line: &str) {
    match stream {
        Stream::Stdout => super::print(line),
        Stream::Stderr => super::say(line),
    }
}

/// The image that a step of this name builds.
fn built_by(id: &crate::model::StepId) -> Option<ImageName> {
    let prefix = format!("{}:", Phase::Build.name());
    id.as_str().strip_prefix(&prefix).map(ImageName::new)
}

/// The images that a plan is going to build.
fn to_build(plan: &Plan) -> BTreeSet<ImageName> {
    let steps = plan.steps.iter().filter(|step| step.phase == Phase::Build);
    let images = steps.filter(|step| matches!(step.kind, StepKind::Build(_) | StepKind::Tag { .. }));
    images.map(|step| ImageName::new(step.subject.clone())).collect()
}
