//! `docs/errors.md` is made from the table of kinds, with a real message for each: what the program prints, or what its
//! own types say of a value. Nothing on that page is typed by hand.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use xtask::artifact::ArtifactError;
use xtask::build::BuildError;
use xtask::cli::error::{Error, ErrorKind, ExitCode};
use xtask::engine::EngineError;
use xtask::engine::compose::{ComposeError, Unwell};
use xtask::engine::provision::ProvisionError;
use xtask::events::secrets::Secrets;
use xtask::execute::StepError;
use xtask::execute::pull::PullError;
use xtask::host::HostCommand;
use xtask::model::{
    Diagnostic, Digest, Event, EventKind, ImageId, Outcome, Phase, PullSource, Reason, Reference, StepId,
};
use xtask::registry::local::LocalRegistryError;
use xtask::report::resolve::Colour;
use xtask::report::summary::Summary;

use crate::repo::TestRepo;

/// Where a kind's message comes from.
enum Source {
    /// The program, run in a tree.
    Run { fixture: &'static str, words: &'static str },
    /// An error that ends the program.
    Value(Box<Error>),
    /// A step that failed.
    Step(Phase, &'static str, StepError),
    /// A step that cannot be done as things stand.
    Reason(Phase, &'static str, Reason),
    /// It is told in other words: by the screen of a run, or as a bug.
    None,
}

const TREE: &str = "//- src/api/Dockerfile\nFROM scratch\nCOPY app /\n//- src/api/app\n1\n";

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A base image that its registry did not give.
fn unpulled(text: &str, error: EngineError) -> StepError {
    let source = PullSource::Registry(reference(text));
    StepError::Pull(PullError { reference: reference(text), failed: vec![(source, error)] })
}

fn value(error: impl Into<Error>) -> Source {
    Source::Value(Box::new(error.into()))
}

async fn source(kind: ErrorKind) -> Source {
    use ErrorKind as Kind;
    let run = |words| Source::Run { fixture: TREE, words };
    let pull = |name, error| Source::Step(Phase::Prefetch, name, unpulled(name, error));
    let digest = |byte: u8| Digest::from_sha256(&[byte; 32]);
    match kind {
        Kind::Unexpected | Kind::NotRebuildable | Kind::Interrupted => Source::None,
        Kind::File => Source::Run {
            fixture: "//- src/api/Dockerfile\nFROM scratch\n//- target\n",
            words: "sync-config",
        },
        Kind::Command => {
            let command = HostCommand::new("no-such-program-4711");
            value(command.output().await.unwrap_err())
        }
        Kind::Usage => run("plan --offline --build-arg =1"),
        Kind::UnknownName => run("plan --offline --only apo"),
        Kind::UnknownRevision => run("affected --since v1"),
        Kind::BuildFailed => {
            let failed = BuildError::Failed {
                instruction: Some("RUN npm ci".to_owned()),
                line: Some(12),
                exit_code: Some(1),
                cause: String::new(),
                last_lines: vec!["npm ERR! code ENOTFOUND".to_owned()],
            };
            Source::Step(Phase::Build, "api", StepError::Build(failed, "src/api/Dockerfile".to_owned()))
        }
        Kind::ContextChanged => {
            let (path, what) = ("app/server.log".to_owned(), "size 12 became 14".to_owned());
            let changed = BuildError::ContextChanged { path, what };
            Source::Step(Phase::Build, "api", StepError::Build(changed, "src/api/Dockerfile".to_owned()))
        }
        Kind::VerifyFailed => Source::Step(
            Phase::Verify,
            "api",
            StepError::Unverified("shop-api:v1 is not in the store".to_owned()),
        ),
        Kind::Unhealthy => Source::Step(
            Phase::Start,
            "compose.yaml",
            StepError::Compose(ComposeError::Unwell(vec![Unwell {
                service: "api".to_owned(),
                why: "exited with status 1".to_owned(),
                last_lines: vec!["cannot read /etc/api.conf".to_owned()],
            }])),
        ),
        Kind::NotLocked => {
            let why = Reason::NotLocked { lock: "images.lock".to_owned() };
            Source::Reason(Phase::Prefetch, "redis:7-alpine", why)
        }
        Kind::NothingSelected => {
            Source::Run { fixture: "//- README.md\n", words: "build-all --offline --dry-run" }
        }
        Kind::ConfigInvalid => Source::Run {
            fixture: "//- .config/xtask.toml\nprefix = \"shop-\"\njobs = \"many\"\n",
            words: "plan --offline",
        },
        Kind::SourceInvalid => value(Error::of_diagnostics(&[Diagnostic::error(
            "src/api/Dockerfile",
            3,
            "COPY source `dist/` matches nothing",
        )])),
        Kind::NoEngine => run("build-all --offline"),
        Kind::EngineUnfit => value(EngineError::Unfit {
            endpoint: "unix:///var/run/docker.sock".to_owned(),
            lacks: "speaks API 1.38, and 1.41 (Docker 20.10) is needed".to_owned(),
        }),
        Kind::EngineGone => value(EngineError::Gone("connection reset by peer".to_owned())),
        Kind::EngineRefused => value(EngineError::Other("layer does not exist".to_owned())),
        Kind::DiskFull => {
            value(EngineError::DiskFull("write /var/lib/docker/tmp/x: no space left on device".to_owned()))
        }
        Kind::PortTaken => value(EngineError::PortTaken("0.0.0.0:8080: address already in use".to_owned())),
        Kind::LocalRegistry => value(LocalRegistryError::NoSource),
        Kind::Bootstrap => value(ProvisionError::NeedsRoot {
            what: "starting a private engine (bridge, mounts)".to_owned(),
            commands: vec!["sudo cargo xtask engine up".to_owned()],
        }),
        Kind::ComposeMissing => value(ComposeError::Missing),
        Kind::ImageNotFound => pull("redis:7-alpin", EngineError::NotFound("redis:7-alpin".to_owned())),
        Kind::AccessDenied => Source::Step(
            Phase::Push,
            "api",
            StepError::Push(
                EngineError::Denied("requested access to the resource is denied".to_owned()),
                "harbor.example.com/ai-infra/api:v1".parse().unwrap(),
            ),
        ),
        Kind::RegistryUnreachable => pull(
            "quay.io/keycloak/keycloak:26.0",
            EngineError::RegistryUnreachable("dial tcp: lookup quay.io: no such host".to_owned()),
        ),
        Kind::RegistryBusy => {
            let cause = "toomanyrequests: you have reached your pull rate limit".to_owned();
            pull("redis:7-alpine", EngineError::Transient { cause, retry_after: None })
        }
        Kind::NotHere => {
            Source::Reason(Phase::Build, "api", Reason::BaseUnavailable(reference("redis:7-alpine")))
        }
        Kind::DownloadFailed => Source::Step(
            Phase::Download,
            "1.2.3.zip",
            StepError::Artifact(ArtifactError::Unavailable {
                tried: vec![(
                    "https://example.com/1.2.3.zip".to_owned(),
                    "answered with status 404".to_owned(),
                )],
                by_hand: PathBuf::from("/home/me/.cache/xtask/artifacts/1.2.3.zip"),
            }),
        ),
        Kind::PullFailed => {
            let name = |domain: &str| reference(&format!("{domain}redis:7-alpine"));
            let id = |fill| ImageId::new(digest(fill));
            let (winner, loser) = ((name(""), id(1)), (name("localhost/"), id(2)));
            Source::Reason(Phase::Alias, "redis:7-alpine", Reason::AliasConflict { winner, loser })
        }
        Kind::ArtifactChanged => value(ArtifactError::Changed {
            url: "https://example.com/1.2.3.zip".to_owned(),
            locked: digest(1),
            found: digest(2),
            lock_file: "docker/base-images/artifacts.lock".to_owned(),
            line: 3,
        }),
        Kind::BundleDamaged => {
            Source::Run { fixture: "//- team.tar\nno tar\n", words: "bundle verify team.tar" }
        }
        Kind::DigestMismatch => Source::Step(
            Phase::Confirm,
            "fit-framework",
            StepError::Differs {
                reference: reference("registry.example.com/fit-framework:1.2.3-debian"),
                found: format!("has {}", digest(2).short()),
                expected: digest(1).short().to_owned(),
            },
        ),
        Kind::Drift => Source::Run {
            fixture: "//- src/api/Dockerfile.tpl\nFROM {{BASE}}\n//- .env\nBASE=redis:7-alpine\n",
            words: "render --check",
        },
    }
}

/// The end of a run that had this event, as its screen tells it.
fn screen(kind: EventKind, code: ExitCode) -> String {
    let end = EventKind::RunFinished {
        outcome: Outcome::Failed,
        exit_code: code.number(),
        stats: xtask::model::RunStats::default(),
    };
    let event = |kind| Event { v: 1, at: String::new(), elapsed: 0, kind };
    let tellings = Summary::of(&[event(kind), event(end)]).tellings();
    tellings.iter().flat_map(|failure| failure.lines(Colour::No)).collect::<Vec<_>>().join("\n")
}

/// The message of a kind, and a proof that it is of that kind.
async fn example(kind: ErrorKind) -> Option<String> {
    match source(kind).await {
        Source::None => None,
        Source::Value(error) => {
            assert_eq!(error.kind(), kind);
            let failure = error.telling(&Secrets::default()).unwrap();
            Some(failure.lines(Colour::No).join("\n"))
        }
        Source::Step(phase, subject, error) => {
            assert_eq!(error.kind(phase), kind, "{error}");
            let failure = error.failure(phase, subject);
            let log =
                (phase == Phase::Build).then(|| format!("target/xtask/runs/8d2/logs/build-{subject}.log"));
            let told = EventKind::StepFinished {
                step: StepId::new(phase, subject),
                phase,
                subject: subject.to_owned(),
                outcome: Outcome::Failed,
                took: 1,
                detail: error.to_string(),
                size: None,
                last_lines: error.last_lines(),
                log,
                error: Some(kind),
                place: failure.place.clone(),
                failure: Some(failure),
            };
            Some(screen(told, kind.code()))
        }
        Source::Reason(phase, subject, why) => {
            let failure = why.failure(phase, subject);
            let error = failure.as_ref().map(|failure| failure.kind);
            assert_eq!((error, why.outcome()), (Some(kind), Outcome::Failed), "{why}");
            let (subject, outcome, text) = (subject.to_owned(), Outcome::Failed, why.to_string());
            let reason = Some(why);
            let told = EventKind::StepSkipped { phase, subject, outcome, why: text, reason, error, failure };
            Some(screen(told, kind.code()))
        }
        Source::Run { fixture, words } => {
            let repo = TestRepo::new(fixture);
            let output = repo.output(words);
            assert_eq!(output.status.code(), Some(i32::from(kind.code().number())), "{words}");
            if kind != ErrorKind::Drift {
                let told = repo.output(&format!("{words} --progress json"));
                let last =
                    String::from_utf8(told.stderr).unwrap().lines().last().unwrap_or_default().to_owned();
                let event: Event =
                    serde_json::from_str(&last).unwrap_or_else(|e| panic!("{words}: {e}: {last}"));
                assert!(
                    matches!(event.kind, EventKind::Error { error, .. } if error == kind),
                    "{words}: {last}"
                );
            }
            let text = if output.stderr.is_empty() { output.stdout } else { output.stderr };
            let text = repo.redact(&String::from_utf8(text).unwrap());
            let text = text.replace("unix://TMP/no-engine.sock", "unix:///var/run/docker.sock");
            Some(format!("$ cargo xtask {words}\n{}", text.replace("TMP/tree", "/home/me/shop")))
        }
    }
}

/// The whole page.
async fn page() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         What can go wrong, by exit code. On the screen an error says what happened, then why, then what to do:\n\n\
         ```\n\
         error: what could not be done\n  \
           caused by: why; with file, line and column where there is one\n\
         hint: a command to type, or a file to edit\n\
         ```\n\n\
         Each kind has a name that does not change: scripts find it as `error` in [events](events.md), so in the record of\n\
         each run and under `--progress json`. Where several things fail, [exit codes](exit-codes.md) says which one\n\
         decides.\n\n\
         This page is made from the code (`xtask/src/model/catalogue.rs`) and its messages are real ones: a test compares.\n",
    );
    for code in ExitCode::ALL {
        let kinds: Vec<ErrorKind> = ErrorKind::ALL.into_iter().filter(|kind| kind.code() == code).collect();
        if kinds.is_empty() {
            continue;
        }
        let _ = write!(page, "\n## {}: {}\n", code.number(), code.meaning());
        for kind in kinds {
            let entry = kind.entry();
            let _ = write!(page, "\n### `{kind}`\n\n{}. Usual causes:\n\n", entry.meaning);
            for cause in entry.causes {
                let _ = writeln!(page, "- {cause}");
            }
            let _ = write!(page, "\n**What to do.** {}.\n", entry.fix);
            if let Some(example) = example(kind).await {
                let _ = write!(page, "\n```\n{}\n```\n", example.trim_end());
            }
        }
    }
    page
}

#[tokio::test]
async fn the_page_says_what_the_code_says() {
    let wanted = page().await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    if std::fs::read_to_string(&file).unwrap_or_default() != wanted {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("errors.md");
        std::fs::write(&made, wanted).unwrap();
        panic!("docs/errors.md is not what the code says; `cp {} docs/errors.md` mends it", made.display());
    }
}

/// Each kind is made somewhere: by code that is neither the table nor a test.
#[test]
fn every_kind_is_produced() {
    fn read(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                read(&path, text);
            } else if !matches!(&*name, "error_kind.rs" | "catalogue.rs") && !name.contains("test") {
                let code = std::fs::read_to_string(&path).unwrap();
                text.push_str(code.split("#[cfg(test)]\nmod ").next().unwrap_or_default());
            }
        }
    }
    let mut code = String::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
    for kind in ErrorKind::ALL {
        let name = format!("ErrorKind::{kind:?}");
        let is_made = code
            .match_indices(&name)
            .any(|(at, _)| !code[at + name.len()..].starts_with(|next: char| next.is_alphanumeric()));
        assert!(is_made, "nothing makes {name}");
    }
}
