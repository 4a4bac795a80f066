//! What came of a run: a pure fold over its events. Replaying a record gives the same summary as the run itself.

use std::collections::{BTreeMap, BTreeSet};

use super::missing;
use super::notice::Notice;
use super::table::ImageTable;
use crate::model::{
    ErrorKind, Event, EventKind, Failure, Outcome, Phase, Reason, RunStats, Severity, program,
};

/// What came of a run, as far as its events go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The run's id.
    pub run: Option<String>,
    /// What was typed.
    pub command: Option<String>,
    /// Totals by phase; `took` is unused there.
    pub phases: BTreeMap<Phase, RunStats>,
    /// Each image that was built, or was to be.
    pub images: ImageTable,
    /// Everything that failed, in order.
    pub failures: Vec<FailedStep>,
    /// What ended the run, if that was no failed step.
    pub ended_by: Option<Notice>,
    /// How many warnings there were.
    pub warnings: usize,
    /// How many tries failed and were followed by another.
    pub retries: usize,
    /// Why the run was cancelled, if it was.
    pub cancelled: Option<String>,
    /// How the run ended; none while it goes on, or when it was killed.
    pub outcome: Option<Outcome>,
    /// The process's exit code.
    pub exit_code: Option<u8>,
    /// Milliseconds until the last event.
    pub took: u64,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// Its phase.
    pub phase: Phase,
    /// What it was about.
    pub subject: String,
    /// Why.
    pub failure: Failure,
    /// Why the plan left it out, where it was not tried at all.
    pub reason: Option<Reason>,
    /// What it printed, as far as that tells why.
    pub last_lines: Vec<String>,
    /// Its log.
    pub log: Option<String>,
}

/// Something that failed, as it is told, with the steps that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// The telling.
    pub failure: Notice,
    /// None when it was no step that ended the run.
    pub steps: Vec<&'a FailedStep>,
}

impl Summary {
    /// Of a whole list of events.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut summary = Self::default();
        for event in events {
            summary.take(event);
        }
        summary
    }

    /// One event further.
    pub fn take(&mut self, event: &Event) {
        self.took = self.took.max(event.elapsed);
        self.images.take(&event.kind);
        match &event.kind {
            EventKind::RunStarted { run, command, .. } => {
                self.run = Some(run.clone());
                self.command = Some(command.clone());
            }
            EventKind::StepFinished { phase, subject, outcome, detail, last_lines, log, failure, .. } => {
                self.phases.entry(*phase).or_default().count(*outcome);
                if *outcome == Outcome::Failed {
                    self.failures.push(FailedStep {
                        phase: *phase,
                        subject: subject.clone(),
                        failure: told_or_said(failure, *phase, subject, detail),
                        reason: None,
                        last_lines: last_lines.clone(),
                        log: log.clone(),
                    });
                }
            }
            EventKind::StepSkipped { phase, subject, outcome, why, reason, failure, .. } => {
                self.phases.entry(*phase).or_default().count(*outcome);
                if *outcome == Outcome::Failed {
                    self.failures.push(FailedStep {
                        phase: *phase,
                        subject: subject.clone(),
                        failure: told_or_said(failure, *phase, subject, why),
                        reason: reason.clone(),
                        last_lines: Vec::new(),
                        log: None,
                    });
                }
            }
            EventKind::Error { error: _, what, causes, last_lines, hints } => {
                self.ended_by = Some(Notice {
                    causes: causes.clone(),
                    last_lines: last_lines.clone(),
                    hints: hints.clone(),
                    ..Notice::error(what)
                });
            }
            EventKind::StepWarning { .. } => self.warnings += 1,
            EventKind::StepRetrying { .. } => self.retries += 1,
            EventKind::CancelRequested { cause } => {
                self.cancelled.get_or_insert_with(|| cause.clone());
            }
            EventKind::RunFinished { outcome, exit_code, .. } => {
                self.outcome = Some(*outcome);
                self.exit_code = Some(*exit_code);
            }
            EventKind::Announced { .. }
            | EventKind::PhaseStarted { .. }
            | EventKind::PhaseFinished { .. }
            | EventKind::StepStarted { .. }
            | EventKind::StepProgress { .. }
            | EventKind::StepPart { .. }
            | EventKind::StepLog { .. } => {}
        }
    }

    /// Whether anything was done beyond looking, or went wrong.
    pub fn has_news(&self) -> bool {
        let is_done = |(phase, totals): (&Phase, &RunStats)| *phase != Phase::Verify && totals.done > 0;
        self.phases.iter().any(is_done)
            || self.phases.values().any(|totals| totals.failed + totals.cancelled > 0)
            || matches!(self.outcome, Some(Outcome::Failed | Outcome::Cancelled))
    }

    /// Totals over all phases, as `RunFinished` carries them.
    pub fn stats(&self) -> RunStats {
        let mut stats = RunStats { took: self.took, ..RunStats::default() };
        for phase in self.phases.values() {
            stats.done += phase.done;
            stats.up_to_date += phase.up_to_date;
            stats.skipped += phase.skipped;
            stats.failed += phase.failed;
            stats.cancelled += phase.cancelled;
        }
        stats
    }

    /// `2 pulled, 12 built, 88 up to date, 1 failed`; `nothing to do, 100 up to date`.
    pub fn sentence(&self) -> String {
        let stats = self.stats();
        let mut parts = Vec::new();
        for (phase, totals) in &self.phases {
            push_count(&mut parts, totals.done, phase.done());
        }
        if parts.is_empty() && stats.failed + stats.skipped + stats.cancelled == 0 {
            // A run may fail without a step of its own that failed; then its error is told after it.
            let word = if self.outcome == Some(Outcome::Failed) { "nothing done" } else { "nothing to do" };
            parts.push(word.to_owned());
        }
        push_count(&mut parts, stats.up_to_date, "up to date");
        push_rest(&mut parts, &stats);
        push_count(&mut parts, self.warnings, if self.warnings == 1 { "warning" } else { "warnings" });
        parts.join(", ")
    }

    /// `2 pulled, 7 already here`: one phase's totals; empty when there is nothing to say.
    pub fn phase_sentence(&self, phase: Phase) -> String {
        self.phases.get(&phase).map(|totals| phase.sentence(totals)).unwrap_or_default()
    }

    /// What was typed, from the program's name on.
    pub fn full_command(&self) -> String {
        let words = self.command.as_deref().unwrap_or_default();
        let words = words.strip_prefix(program::ALIAS).unwrap_or(words).trim();
        format!("{} {words}", program::name()).trim_end().to_owned()
    }

    /// How the run ended, as a word.
    pub fn ending(&self) -> &'static str {
        match self.outcome {
            None => "unfinished",
            Some(Outcome::Cancelled) => "cancelled",
            Some(Outcome::Failed) => "failed",
            Some(Outcome::Done | Outcome::UpToDate | Outcome::Skipped) => "finished",
        }
    }

    /// Everything that failed, as it is told at the end.
    pub fn tellings(&self) -> Vec<Notice> {
        self.told().into_iter().map(|told| told.failure).collect()
    }

    /// The command that does again what failed in a phase: the one that was typed, with all that was typed to it. Where that
    /// was its name alone, the part of it that failed; what is only a part of others has no command of its own.
    fn command_for(&self, phase: Phase, subjects: &[&str]) -> Option<String> {
        if self.command.is_none() {
            return command_for(phase, subjects);
        }
        let typed = self.full_command();
        // What is not as planned is mended by building it.
        let typed = match typed.split_once(" verify") {
            Some((before, after)) if phase == Phase::Verify => format!("{before} build-all{after}"),
            _ => typed,
        };
        let is_bare = typed.split_whitespace().count() <= program::name().split_whitespace().count() + 1;
        // `push` knows the names of services.
        let own = if is_bare && phase != Phase::Push { command_for(phase, subjects) } else { None };
        own.or(Some(typed))
    }

    /// The same with the steps that each is about: base images that are missing with all that they hit, then the
    /// rest, what has one cause told once. The last one carries the commands that try again.
    pub fn told(&self) -> Vec<Told<'_>> {
        let (bases, rest) = missing::sort(&self.failures);
        let of_base = |base: &missing::MissingBase<'_>| {
            base.telling(|pull, severity| {
                let told = self.telling(pull, pull.phase.failure(&pull.subject));
                Notice { severity: severity.unwrap_or(told.severity), ..told }
            })
        };
        let mut tellings: Vec<Told<'_>> =
            bases.iter().map(|base| Told { failure: of_base(base), steps: base.steps() }).collect();
        for steps in alike(&rest) {
            let subjects: Vec<&str> = steps.iter().map(|failed| failed.subject.as_str()).collect();
            let all = missing::list(&subjects);
            // The words around it quote it already.
            let named = all.strip_prefix('`').and_then(|all| all.strip_suffix('`')).unwrap_or(&all);
            let failure = steps.first().map(|failed| {
                let is_one = steps.len() == 1;
                let phase = failed.phase;
                let what = if is_one { failed.failure.what.clone() } else { phase.failure_of_all(named) };
                self.telling(failed, what)
            });
            tellings.extend(failure.map(|failure| Told { failure, steps }));
        }
        if let Some(last) = tellings.last_mut() {
            let mut unasked: BTreeMap<missing::Unasked, Vec<&str>> = BTreeMap::new();
            let mut by_phase: BTreeMap<Phase, Vec<&str>> = BTreeMap::new();
            for base in &bases {
                match base.unasked() {
                    Some(why) => unasked.entry(why).or_default().push(&base.name),
                    None => by_phase.entry(Phase::Prefetch).or_default().push(&base.name),
                }
            }
            // What is damaged stays so.
            for failed in rest.iter().filter(|failed| failed.failure.kind != ErrorKind::BundleDamaged) {
                by_phase.entry(failed.phase).or_default().push(&failed.subject);
            }
            last.failure.hints.extend(unasked.iter().flat_map(|(why, names)| why.hints(names)));
            for (phase, subjects) in by_phase {
                let what = if phase == Phase::Verify { "mends it" } else { "tries again" };
                let hint = self.command_for(phase, &subjects).map(|command| format!("`{command}` {what}"));
                last.failure.hints.extend(hint.filter(|hint| !last.failure.hints.contains(hint)));
            }
        }
        tellings.extend(self.ended_by.clone().map(|failure| Told { failure, steps: Vec::new() }));
        let mut seen = BTreeSet::new();
        for told in &mut tellings {
            let hints = told.failure.hints.iter().map(|hint| program::as_called(hint).into_owned());
            told.failure.hints = hints.filter(|hint| seen.insert(hint.clone())).collect();
        }
        tellings
    }

    fn telling(&self, failed: &FailedStep, what: String) -> Notice {
        // A failed pull does not stop a run, unless the run says so by its exit code; a cache never does.
        let is_harmless = self.exit_code == Some(0)
            || failed.phase == Phase::Cache
            || (failed.phase == Phase::Prefetch && self.exit_code.is_some_and(|code| code != 13));
        let severity = if is_harmless { Severity::Warning } else { Severity::Error };
        let log = failed.log.iter().map(|log| format!("full log in {log}"));
        Notice {
            severity,
            what,
            causes: failed.failure.causes.clone(),
            last_lines: failed.last_lines.clone(),
            hints: log.chain(failed.failure.hints.iter().cloned()).collect(),
        }
    }
}

/// A failure; records of earlier versions have it in words alone.
fn told_or_said(told: &Option<Failure>, phase: Phase, subject: &str, text: &str) -> Failure {
    told.clone().unwrap_or_else(|| Failure::of(phase.failure_kind(), phase, subject, text))
}

/// Failures of one phase with one cause, together: what is told of one is told of all.
fn alike<'a>(failures: &[&'a FailedStep]) -> Vec<Vec<&'a FailedStep>> {
    let mut groups: Vec<Vec<&FailedStep>> = Vec::new();
    for failed in failures {
        let is_alike = |other: &FailedStep| {
            other.phase == failed.phase
                && (&other.failure.causes, &other.failure.hints)
                    == (&failed.failure.causes, &failed.failure.hints)
                && (&other.log, &other.last_lines) == (&failed.log, &failed.last_lines)
        };
        match groups.iter_mut().find(|group| group.first().is_some_and(|other| is_alike(other))) {
            Some(group) => group.push(failed),
            None => groups.push(vec![failed]),
        }
    }
    groups
}

fn push_rest(parts: &mut Vec<String>, totals: &RunStats) {
    push_count(parts, totals.failed, "failed");
    push_count(parts, totals.skipped, "skipped");
    push_count(parts, totals.cancelled, "cancelled");
}

fn push_count(parts: &mut Vec<String>, count: usize, word: &str) {
    if count > 0 {
        parts.push(format!("{count} {word}"));
    }
}

/// The command that does again what failed in a phase; with the names while they fit on a line. None for what is
/// only a part of other commands.
fn command_for(phase: Phase, subjects: &[&str]) -> Option<String> {
    let phase = match phase {
        // What is not as planned is mended by building it.
        Phase::Verify | Phase::Index => Phase::Build,
        Phase::Test => return Some("cargo xtask base-images test".to_owned()),
        Phase::CleanUp => return Some("cargo xtask base-images clean".to_owned()),
        Phase::Registry
        | Phase::Rehearse
        | Phase::Pull
        | Phase::Confirm
        | Phase::Keep
        | Phase::Cache
        | Phase::Save
        | Phase::Load
        | Phase::Stop
        | Phase::Start => return None,
        Phase::Init => return Some("cargo xtask init".to_owned()),
        Phase::Download | Phase::Bump => return Some("cargo xtask base-images".to_owned()),
        Phase::Prefetch | Phase::Alias | Phase::SyncConfig | Phase::Render | Phase::Build | Phase::Push => {
            phase
        }
    };
    let takes_names = matches!(phase, Phase::Prefetch | Phase::Alias | Phase::Build | Phase::Push);
    let names = subjects.join(" ");
    let is_plain =
        names.len() <= 60 && names.chars().all(|c| c.is_ascii_alphanumeric() || " ._-/:@".contains(c));
    Some(if takes_names && is_plain {
        format!("cargo xtask {phase} {names}")
    } else {
        format!("cargo xtask {phase}")
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, failing_story};
    use super::*;

    #[test]
    fn folds_a_run() {
        let summary = Summary::of(&failing_story());
        assert_eq!(summary.sentence(), "1 pulled, 1 built, 1 up to date, 1 failed, 1 skipped, 1 warning");
        assert_eq!(summary.phase_sentence(Phase::Build), "1 built, 1 up to date, 1 failed, 1 skipped");
        assert_eq!(summary.ending(), "failed");
        let stats = summary.stats();
        assert_eq!((stats.done, stats.up_to_date, stats.skipped, stats.failed), (2, 1, 1, 1));
        assert_eq!(stats.took, 93_000);
    }

    #[test]
    fn records_of_earlier_versions_tell_their_failures_too() {
        let mut story = Story::new();
        story.fail(Phase::Push, "api", "denied\nby r.example", &[]).end(Outcome::Failed, 13);
        for event in &mut story.events {
            if let EventKind::StepFinished { failure, .. } = &mut event.kind {
                *failure = None;
            }
        }
        let told = Summary::of(&story.events).tellings();
        assert_eq!(told[0].causes, ["denied", "by r.example"]);
    }

    #[test]
    fn a_run_that_does_nothing_says_so() {
        let mut story = Story::new();
        story.skip(Phase::Build, "api", Outcome::UpToDate, "up to date: 3 inputs unchanged");
        assert_eq!(Summary::of(&story.events).sentence(), "nothing to do, 1 up to date");
        assert_eq!(Summary::default().sentence(), "nothing to do");
    }

    #[test]
    fn failed_pulls_warn_unless_they_are_what_failed_the_run() {
        for (exit_code, severity) in [(0, Severity::Warning), (3, Severity::Warning), (13, Severity::Error)] {
            let mut story = Story::new();
            story.fail(Phase::Prefetch, "redis:7", "i/o timeout\nconnection reset", &[]);
            story.end(Outcome::Failed, exit_code);
            let tellings = Summary::of(&story.events).tellings();
            assert_eq!(tellings[0].severity, severity, "{exit_code}");
            assert_eq!(tellings[0].causes, ["i/o timeout", "connection reset"]);
            assert_eq!(tellings[0].hints, ["`cargo xtask prefetch redis:7` tries again"]);
        }
    }

    #[test]
    fn what_tries_again_keeps_what_was_typed_and_comes_once() {
        let build = "cargo xtask build api web";
        for (typed, failed, hint) in [
            ("build-all", Phase::Build, build),
            ("cargo xtask build-all", Phase::Build, build),
            ("build-all v2", Phase::Build, "cargo xtask build-all v2"),
            (
                "--offline build-all --registry r/p",
                Phase::Build,
                "cargo xtask --offline build-all --registry r/p",
            ),
            ("build api --tag v2", Phase::Build, "cargo xtask build api --tag v2"),
            ("verify", Phase::Verify, build),
            ("verify v2 --registry r/p", Phase::Verify, "cargo xtask build-all v2 --registry r/p"),
            ("push api", Phase::Push, "cargo xtask push api"),
            ("push-all", Phase::Push, "cargo xtask push-all"),
            ("base-images publish 1 r.example", Phase::Push, "cargo xtask base-images publish 1 r.example"),
            ("base-images e2e", Phase::Confirm, "cargo xtask base-images e2e"),
        ] {
            let mut story = Story::new();
            let detail = "denied\nhint: `docker login r.example`";
            story.begin(1, 1).fail(failed, "api", detail, &[]).fail(failed, "web", detail, &["another end"]);
            let mut summary = Summary::of(&story.events);
            summary.command = Some(typed.to_owned());
            let told: Vec<String> = summary.tellings().into_iter().flat_map(|told| told.hints).collect();
            let told: Vec<&String> = told.iter().filter(|hint| !hint.starts_with("full log")).collect();
            let verb = if failed == Phase::Verify { "mends it" } else { "tries again" };
            assert_eq!(told, ["`docker login r.example`", &format!("`{hint}` {verb}")], "{typed}");
        }
    }

    #[test]
    fn what_has_no_command_of_its_own_is_tried_again_as_it_was_typed() {
        for phase in [Phase::Keep, Phase::Save, Phase::Load] {
            let mut story = Story::new();
            story.fail(phase, "xtask-cache/web:v1.builder", "unexpected EOF", &[]);
            story.end(Outcome::Failed, 3);
            let mut summary = Summary::of(&story.events);
            summary.command = Some("cargo xtask rebuild --up".to_owned());
            assert_eq!(summary.tellings()[0].hints, ["`cargo xtask rebuild --up` tries again"], "{phase}");
        }
    }

    #[test]
    fn hostile_names_stay_out_of_commands() {
        assert_eq!(command_for(Phase::Build, &["a", "b"]).as_deref(), Some("cargo xtask build a b"));
        assert_eq!(command_for(Phase::Build, &["a; rm -rf $HOME"]).as_deref(), Some("cargo xtask build"));
        assert_eq!(command_for(Phase::Render, &["src/a b/x"]).as_deref(), Some("cargo xtask render"));
        assert_eq!(command_for(Phase::Build, &["x"; 40]).as_deref(), Some("cargo xtask build"));
    }
}
