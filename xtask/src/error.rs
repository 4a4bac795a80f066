//! What goes wrong, as people and scripts see it: an exit code, a chain of causes, and what to do next.
//!
//! Each module has errors of its own and knows nothing of this one; here, in one place, they get their exit code and
//! their hint. It prints nothing: `report` does.

use std::fmt;

use crate::base_images::artifact::ArtifactError;
use crate::base_images::local_registry::RegistryError as LocalRegistryError;
use crate::bundle::archive::WriteError;
use crate::bundle::deliver::DeliverError;
use crate::bundle::fetch::FetchError;
use crate::bundle::finding::BundleError;
use crate::compose::runner::ComposeError;
use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::engine::provision::ProvisionError;
use crate::graph::CycleError;
use crate::lock::LockError;
use crate::model::{Diagnostic, Phase, Severity};
use crate::os::CommandError;
use crate::report::failure::{Failure, FailureSeverity};
use crate::revision::RevisionError;
use crate::secrets::Secrets;

/// The exit codes of this program, for scripts to rely on. 101 is cargo's, never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// 0
    Good = 0,
    /// 1
    Unexpected = 1,
    /// 2
    Usage = 2,
    /// 3
    BuildFailed = 3,
    /// 4
    VerifyFailed = 4,
    /// 5
    NothingSelected = 5,
    /// 10
    ConfigInvalid = 10,
    /// 11
    SourceInvalid = 11,
    /// 12
    EngineUnfit = 12,
    /// 13
    PullFailed = 13,
    /// 14
    DigestMismatch = 14,
    /// 15
    Drift = 15,
    /// 130
    Interrupted = 130,
}

impl ExitCode {
    /// All of them, ascending.
    pub const ALL: [Self; 13] = [
        Self::Good,
        Self::Unexpected,
        Self::Usage,
        Self::BuildFailed,
        Self::VerifyFailed,
        Self::NothingSelected,
        Self::ConfigInvalid,
        Self::SourceInvalid,
        Self::EngineUnfit,
        Self::PullFailed,
        Self::DigestMismatch,
        Self::Drift,
        Self::Interrupted,
    ];

    /// What the shell sees.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Good => "all good",
            Self::Unexpected => "unexpected, a bug",
            Self::Usage => "wrong usage of the command line",
            Self::BuildFailed => "some image failed to build",
            Self::VerifyFailed => "built, but verify or smoke failed",
            Self::NothingSelected => "nothing selected",
            Self::ConfigInvalid => "config invalid",
            Self::SourceInvalid => "Dockerfile or graph invalid",
            Self::EngineUnfit => "engine unreachable or lacks a capability",
            Self::PullFailed => "pull or push failed, or missing while offline",
            Self::DigestMismatch => "artifact or bundle digest mismatch",
            Self::Drift => "drift found by --check",
            Self::Interrupted => "interrupted",
        }
    }

    /// The code of a run in which steps of these phases failed; the caller leaves out phases whose failures do not
    /// count (a failed pull without `--strict-prefetch`). What failed to build says more than what failed around it.
    pub fn of_failed(phases: impl IntoIterator<Item = Phase>) -> Self {
        let code = |phase| match phase {
            Phase::Build | Phase::Keep => Self::BuildFailed,
            Phase::Download | Phase::Prefetch | Phase::Alias | Phase::Push => Self::PullFailed,
            Phase::Rehearse | Phase::Pull | Phase::Confirm => Self::PullFailed,
            Phase::Verify | Phase::Test => Self::VerifyFailed,
            Phase::Registry | Phase::CleanUp => Self::EngineUnfit,
            Phase::Bump | Phase::SyncConfig | Phase::Render => Self::Unexpected,
            Phase::Save | Phase::Load => Self::EngineUnfit,
        };
        let rank = |code: &Self| match code {
            Self::BuildFailed => 0,
            Self::PullFailed => 1,
            Self::VerifyFailed => 2,
            _ => 3,
        };
        phases.into_iter().map(code).min_by_key(rank).unwrap_or(Self::Good)
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.meaning())
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

/// Why the program ends without having done what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: ExitCode,
    /// None when people were told already.
    failure: Option<Failure>,
}

/// What goes wrong where commands are wired together.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that still has to be told. `what` says what could not be done.
    pub fn new(code: ExitCode, what: impl Into<String>) -> Self {
        Self { code, failure: Some(Failure::error(what)) }
    }

    /// Only an exit code: the run's own screen has told the rest.
    pub fn told(code: ExitCode) -> Self {
        Self { code, failure: None }
    }

    /// Of a library's or the system's error, with its whole chain of sources below it.
    pub fn of(code: ExitCode, error: &dyn std::error::Error) -> Self {
        Self::new(code, error.to_string()).because_of_sources(error)
    }

    /// Broken sources: each diagnostic that is an error is a cause.
    pub fn of_diagnostics(diagnostics: &[Diagnostic]) -> Self {
        let errors: Vec<_> = diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        let what = match errors.as_slice() {
            [one] => format!("{} cannot be used", one.file),
            _ => format!("{} errors in the sources", errors.len()),
        };
        errors.iter().fold(Self::new(ExitCode::SourceInvalid, what), |error, found| {
            let text = found.to_string();
            error.because(text.strip_prefix("error: ").unwrap_or(&text))
        })
    }

    /// One more cause, below those that are there.
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.causes.push(cause.into());
        }
        self
    }

    /// One more hint: a command, or a file to edit.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.hints.push(hint.into());
        }
        self
    }

    /// What this error was in the way of: `cannot build image `api``. The old text becomes the first cause.
    pub fn context(mut self, what: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            let cause = std::mem::replace(&mut failure.what, what.into());
            failure.causes.insert(0, cause);
        }
        self
    }

    /// What the process ends with.
    pub fn code(&self) -> ExitCode {
        self.code
    }

    /// What people have to be told, without secrets; none if they were told already.
    pub fn telling(&self, secrets: &Secrets) -> Option<Failure> {
        let mut failure = self.failure.clone()?;
        let texts = std::iter::once(&mut failure.what)
            .chain(&mut failure.causes)
            .chain(&mut failure.last_lines)
            .chain(&mut failure.hints);
        texts.for_each(|text| secrets.redact_in(text));
        Some(failure)
    }

    /// The same as something that the command could go on without.
    pub fn as_warning(&self, secrets: &Secrets) -> Option<Failure> {
        let failure = self.telling(secrets)?;
        Some(Failure { severity: FailureSeverity::Warning, ..failure })
    }

    fn because_of_sources(mut self, error: &dyn std::error::Error) -> Self {
        let mut source = error.source();
        while let Some(error) = source {
            self = self.because(error.to_string());
            source = error.source();
        }
        self
    }

    fn last_lines(mut self, lines: &[String]) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.last_lines.extend_from_slice(lines);
        }
        self
    }
}

impl From<ComposeError> for Error {
    fn from(error: ComposeError) -> Self {
        match error {
            ComposeError::Missing => Self::new(ExitCode::EngineUnfit, error.to_string())
                .hint("`apt-get install docker-compose` on Debian installs it"),
            ComposeError::Command { doing, cause } => Self::from(cause).context(format!("cannot {doing}")),
            ComposeError::Engine(error) => error.into(),
            ComposeError::Unwell(unwell) => {
                let names: Vec<&str> = unwell.iter().map(|one| one.service.as_str()).collect();
                let what = format!("{} did not come up", names.join(", "));
                let lines: Vec<String> = unwell
                    .iter()
                    .flat_map(|one| one.last_lines.iter().map(|line| format!("{}: {line}", one.service)))
                    .collect();
                let told = Self::new(ExitCode::VerifyFailed, what).last_lines(&lines);
                unwell.iter().fold(told, |told, one| told.because(format!("{} {}", one.service, one.why)))
            }
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        use ExitCode as Code;
        let new = |code| Self::new(code, error.to_string());
        match &error {
            EngineError::Unreachable { tried } => {
                let told = tried.iter().fold(new(Code::EngineUnfit), |told, (endpoint, cause)| {
                    told.because(format!("no answer at {endpoint}: {cause}"))
                });
                engine_hints(told)
            }
            EngineError::Unfit { .. } => engine_hints(new(Code::EngineUnfit)),
            EngineError::NotFound(_) => {
                new(Code::PullFailed).hint("see whether the name and the tag are right, and who may pull it")
            }
            EngineError::Denied(_) => {
                new(Code::PullFailed).hint("`docker login REGISTRY` stores credentials")
            }
            EngineError::Transient { .. } => {
                new(Code::PullFailed).hint("run the same command again in a while")
            }
            EngineError::RegistryUnreachable(_) => new(Code::PullFailed)
                .hint("`--network internal` asks the internal registry only, `--offline` asks none"),
            EngineError::BuildFailed { last_lines, .. } => new(Code::BuildFailed).last_lines(last_lines),
            EngineError::PortTaken(_) => new(Code::EngineUnfit)
                .hint("`ss -ltnp` shows who listens where; another `--port` is another port"),
            EngineError::DiskFull(_) => new(Code::EngineUnfit).hint(
                "`docker system df` shows what takes the space, `docker builder prune` frees some of it",
            ),
            EngineError::Gone(_) => new(Code::EngineUnfit).hint(
                "`cargo xtask engine status` shows whether it is back; the same command goes on from here",
            ),
            EngineError::ContextChanged { .. } => {
                new(Code::BuildFailed).hint("run the same command again when nothing else writes to the tree")
            }
            EngineError::Other(_) => new(Code::EngineUnfit).hint("the engine's own log says more"),
        }
    }
}

fn engine_hints(error: Error) -> Error {
    error
        .hint("`cargo xtask build-all --bootstrap` starts a private engine for this tree")
        .hint("`DOCKER_HOST=unix:///path/to/docker.sock` names an engine that runs already")
        .hint("`sudo systemctl start docker` starts the one of this machine")
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::of(ExitCode::ConfigInvalid, &error).hint(error.hint())
    }
}

impl From<ProvisionError> for Error {
    fn from(error: ProvisionError) -> Self {
        Self::of(ExitCode::EngineUnfit, &error).hint(error.hint())
    }
}

impl From<RevisionError> for Error {
    fn from(error: RevisionError) -> Self {
        let code = match error {
            RevisionError::Unknown { .. } | RevisionError::NoRepository { .. } => ExitCode::Usage,
            RevisionError::Git { .. } | RevisionError::Folder { .. } => ExitCode::Unexpected,
        };
        Self::of(code, &error).hint(error.hint())
    }
}

impl From<CycleError> for Error {
    fn from(error: CycleError) -> Self {
        Self::of(ExitCode::SourceInvalid, &error)
            .hint("take one FROM, COPY --from or `needs` of these images away: `cargo xtask plan` shows them")
    }
}

impl From<LocalRegistryError> for Error {
    fn from(error: LocalRegistryError) -> Self {
        let hints: &[&str] = match error {
            LocalRegistryError::Engine(error) => return error.into(),
            LocalRegistryError::NoSource => &[
                "the same command with `--bootstrap` installs docker-registry",
                "`docker pull registry:2` gets an image of one, where a registry answers",
                "`docker load` takes one from a file",
            ],
            LocalRegistryError::NoPort { .. } => &["`ss -ltnp` shows who listens; `--port` begins elsewhere"],
            LocalRegistryError::Silent { .. } | LocalRegistryError::Program(_) => {
                &["`docker-registry --version` says whether the program runs at all"]
            }
            LocalRegistryError::Folder { .. } => {
                &["the folder has to be writable; `df -h` shows whether the disk is full"]
            }
        };
        hints.iter().fold(Self::of(ExitCode::EngineUnfit, &error), |told, hint| told.hint(*hint))
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        let hint = format!("`ls -ld {}` shows whose it is", error.path.display());
        Self::of(ExitCode::Unexpected, &error).hint(hint)
    }
}

impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Self {
        let code = match &error {
            ArtifactError::Settings(_) | ArtifactError::Lock(_) => ExitCode::ConfigInvalid,
            ArtifactError::Offline { .. } | ArtifactError::Unavailable { .. } | ArtifactError::Client(_) => {
                ExitCode::PullFailed
            }
            ArtifactError::Changed { .. } => ExitCode::DigestMismatch,
            ArtifactError::Sample { .. } => ExitCode::SourceInvalid,
            ArtifactError::File { .. } => ExitCode::Unexpected,
        };
        let text = error.to_string();
        let mut lines = text.lines();
        let first = Self::new(code, lines.next().unwrap_or_default());
        lines.fold(first, |told, line| match line.strip_prefix("hint: ") {
            Some(hint) => told.hint(hint),
            None => told.because(line),
        })
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        Self::of(ExitCode::Unexpected, &error)
    }
}

/// How many things that are wrong with a bundle are told.
const MOST_FINDINGS: usize = 20;

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        match &error {
            BundleError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::of(ExitCode::Usage, &error).hint("see whether the path is right")
            }
            BundleError::Read { .. } | BundleError::NotABundle { .. } => {
                Self::of(ExitCode::DigestMismatch, &error)
                    .hint("`cargo xtask bundle create` makes one, where the images are")
            }
            BundleError::Refused { findings, .. } => {
                let told = findings.iter().take(MOST_FINDINGS).map(ToString::to_string);
                let mut error =
                    told.fold(Self::new(ExitCode::DigestMismatch, error.to_string()), Self::because);
                if findings.len() > MOST_FINDINGS {
                    error = error.because(format!("and {} more", findings.len() - MOST_FINDINGS));
                }
                error
                    .hint("copy it again from where it was made, and compare with `cargo xtask bundle verify` there")
            }
        }
    }
}

impl From<DeliverError> for Error {
    fn from(error: DeliverError) -> Self {
        match &error {
            DeliverError::Engine { source, .. } => Self::from(source.clone()).context(error.to_string()),
            DeliverError::Blob { .. } | DeliverError::Other { .. } => {
                Self::of(ExitCode::DigestMismatch, &error)
                    .hint("copy the bundle again from where it was made")
            }
        }
    }
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match &error {
            FetchError::Missing(_) => Self::new(ExitCode::PullFailed, error.to_string()),
            FetchError::Engine { source, .. } => Self::from(source.clone()).context(error.to_string()),
            FetchError::Store { .. } | FetchError::Incomplete { .. } => {
                Self::of(ExitCode::Unexpected, &error)
            }
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        let (code, hint) = match &error {
            WriteError::InTheWay { .. } => (ExitCode::Usage, "name another file or folder with `-o`"),
            WriteError::TooManyParts { .. } => (ExitCode::Usage, "ask for larger ones with `--part-size`"),
            WriteError::Blob { .. } | WriteError::Damaged { .. } => {
                (ExitCode::DigestMismatch, "remove target/xtask/cache/blobs and run the same command again")
            }
            WriteError::Write { .. } => {
                (ExitCode::Unexpected, "see whether the disk is full, or another `-o`")
            }
            WriteError::Assemble(_) => (ExitCode::Unexpected, "this is a bug"),
        };
        Self::of(code, &error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::resolve::Colour;

    fn told(error: impl Into<Error>) -> String {
        let error = error.into();
        let failure = error.telling(&Secrets::default()).unwrap();
        format!("{}\nexit {}", failure.lines(Colour::No).join("\n"), error.code())
    }

    #[test]
    fn the_page_says_what_the_type_says() {
        let page = include_str!("../../docs/exit-codes.md");
        let rows: Vec<(String, String)> = page
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| ")?.split(" | ").map(str::trim);
                let (number, meaning) = (cells.next()?, cells.next()?);
                number.parse::<u8>().ok()?;
                Some((number.to_owned(), meaning.replace('`', "")))
            })
            .collect();
        let codes = ExitCode::ALL.map(|code| (code.number().to_string(), code.meaning().to_owned()));
        assert_eq!(rows, codes);
        assert!(!ExitCode::ALL.iter().any(|code| code.number() == 101), "101 is cargo's");
    }

    #[test]
    fn an_unreachable_engine_says_where_it_looked_and_what_helps() {
        let error = EngineError::Unreachable {
            tried: vec![
                ("unix:///var/run/docker.sock".to_owned(), "No such file or directory".to_owned()),
                ("unix:///run/user/1000/docker.sock".to_owned(), "connection refused".to_owned()),
            ],
        };
        insta::assert_snapshot!(told(error), @"
        error: no container engine answers
          caused by: no answer at unix:///var/run/docker.sock: No such file or directory
          caused by: no answer at unix:///run/user/1000/docker.sock: connection refused
        hint: `cargo xtask build-all --bootstrap` starts a private engine for this tree
        hint: `DOCKER_HOST=unix:///path/to/docker.sock` names an engine that runs already
        hint: `sudo systemctl start docker` starts the one of this machine
        exit 12 (engine unreachable or lacks a capability)
        ");
        let error = EngineError::Unfit {
            endpoint: "unix:///var/run/docker.sock".to_owned(),
            lacks: "speaks API 1.38, and 1.41 is needed".to_owned(),
        };
        insta::assert_snapshot!(told(error), @"
        error: the engine at unix:///var/run/docker.sock speaks API 1.38, and 1.41 is needed
        hint: `cargo xtask build-all --bootstrap` starts a private engine for this tree
        hint: `DOCKER_HOST=unix:///path/to/docker.sock` names an engine that runs already
        hint: `sudo systemctl start docker` starts the one of this machine
        exit 12 (engine unreachable or lacks a capability)
        ");
    }

    #[test]
    fn a_failed_image_reads_as_drawn() {
        let error = EngineError::BuildFailed {
            instruction: Some("RUN npm ci".to_owned()),
            line: Some(12),
            exit_code: Some(1),
            cause: "process did not complete".to_owned(),
            last_lines: Vec::new(),
        };
        let lines = ["npm ERR! code ENOTFOUND".to_owned()];
        let error = Error::new(ExitCode::BuildFailed, "cannot build image `frontend`")
            .because(error.told_at("src/frontend/Dockerfile"))
            .last_lines(&lines)
            .hint("full log in target/xtask/runs/8d2/logs/build-frontend.log");
        insta::assert_snapshot!(told(error), @"
        error: cannot build image `frontend`
          caused by: `RUN npm ci` at src/frontend/Dockerfile:12 exited with status 1
          last lines:
            npm ERR! code ENOTFOUND
        hint: full log in target/xtask/runs/8d2/logs/build-frontend.log
        exit 3 (some image failed to build)
        ");
    }

    #[test]
    fn sources_become_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read .env")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("permission denied"));
        insta::assert_snapshot!(told(Error::of(ExitCode::ConfigInvalid, &error)), @"
        error: cannot read .env
          caused by: permission denied
        exit 10 (config invalid)
        ");
    }

    #[test]
    fn diagnostics_and_cycles_name_their_places() {
        let found = [
            Diagnostic::warning("src/a/Dockerfile", 1, "odd"),
            Diagnostic::error("src/a/Dockerfile", 3, "unknown instruction `FORM`"),
        ];
        insta::assert_snapshot!(told(Error::of_diagnostics(&found)), @"
        error: src/a/Dockerfile cannot be used
          caused by: src/a/Dockerfile:3: unknown instruction `FORM`
        exit 11 (Dockerfile or graph invalid)
        ");
        let name = |name: &str| crate::model::ImageName::new(name);
        insta::assert_snapshot!(told(CycleError { path: vec![name("a"), name("b")] }), @"
        error: images need each other: a -> b -> a
        hint: take one FROM, COPY --from or `needs` of these images away: `cargo xtask plan` shows them
        exit 11 (Dockerfile or graph invalid)
        ");
    }

    #[test]
    fn secrets_stay_out_and_what_was_told_stays_told() {
        let secrets = Secrets::default();
        secrets.add("hunter2");
        let error = Error::new(ExitCode::PullFailed, "hunter2").because("hunter2").hint("hunter2");
        let failure = error.telling(&secrets).unwrap();
        assert_eq!(failure.lines(Colour::No).join(" "), "error: ***   caused by: *** hint: ***");
        let told = Error::told(ExitCode::BuildFailed).because("x").context("y");
        assert_eq!((told.telling(&secrets), told.code().number()), (None, 3));
    }

    #[test]
    fn a_damaged_bundle_names_its_blobs() {
        use crate::bundle::finding::Finding;
        let path = std::path::PathBuf::from("b.tar");
        let blob = crate::model::Digest::from_sha256(&[7; 32]);
        let finding = Finding::of_blob(&blob, "it is missing").needed_by(&["shop-api:v1".to_owned()]);
        insta::assert_snapshot!(told(BundleError::Refused { path: path.clone(), findings: vec![finding] }), @"
        error: b.tar is refused
          caused by: blob sha256:0707070707070707070707070707070707070707070707070707070707070707 (needed by shop-api:v1): it is missing
        hint: copy it again from where it was made, and compare with `cargo xtask bundle verify` there
        exit 14 (artifact or bundle digest mismatch)
        ");
        let findings = vec![Finding::new("x"); 22];
        assert!(told(BundleError::Refused { path, findings }).contains("caused by: and 2 more"));
    }

    #[test]
    fn what_failed_to_build_decides_the_code() {
        for (phases, code) in [
            (&[][..], ExitCode::Good),
            (&[Phase::Prefetch, Phase::Build, Phase::Verify], ExitCode::BuildFailed),
            (&[Phase::Verify, Phase::Prefetch], ExitCode::PullFailed),
            (&[Phase::Verify], ExitCode::VerifyFailed),
            (&[Phase::Render], ExitCode::Unexpected),
            (&[Phase::Push], ExitCode::PullFailed),
        ] {
            assert_eq!(ExitCode::of_failed(phases.iter().copied()), code, "{phases:?}");
        }
    }
}
