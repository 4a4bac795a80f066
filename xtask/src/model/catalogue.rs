//! The one table of what can go wrong: for each kind its exit code, what it means, what it usually comes from, and
//! what to do. `docs/errors.md` is this table with a real message for each; a test compares.

use super::{ErrorKind, ExitCode};

/// What there is to know of a kind.
#[derive(Clone, Copy, Debug)]
pub struct KindEntry {
    /// What the process ends with, unless something worse went wrong too.
    pub code: ExitCode,
    /// What it means, in a sentence without a period.
    pub meaning: &'static str,
    /// What it usually comes from, most usual first.
    pub causes: &'static [&'static str],
    /// What to do: a command, or a file to edit.
    pub fix: &'static str,
}

impl ErrorKind {
    /// What the process ends with.
    pub fn code(self) -> ExitCode {
        self.entry().code
    }

    /// Its row of the table.
    pub fn entry(self) -> KindEntry {
        let entry = |code, meaning, causes, fix| KindEntry { code, meaning, causes, fix };
        match self {
            Self::Unexpected => entry(
                ExitCode::Unexpected,
                "Something happened that nobody thought of: a bug",
                &["a mistake in this program"],
                "Report it with the message, and with `target/xtask/runs/latest` if there was a run. `RUST_BACKTRACE=1` shows how it came to this",
            ),
            Self::File => entry(
                ExitCode::Unexpected,
                "A file or a folder cannot be read or written",
                &["it belongs to somebody else", "the file system is read-only", "the disk is full"],
                "The message has the path and what the system said: `ls -ld PATH` shows whose it is, `df -h PATH` whether there is space",
            ),
            Self::Command => entry(
                ExitCode::Unexpected,
                "A program of this machine is missing, or failed",
                &[
                    "it is not installed",
                    "it could not do what it was asked to; its last lines are in the message",
                ],
                "Install what the message names, or type the same command yourself to see more",
            ),
            Self::Usage => entry(
                ExitCode::Usage,
                "The command line makes no sense as it stands",
                &[
                    "a flag or a command that does not exist",
                    "a value that cannot be one",
                    "two flags that exclude each other",
                    "a path that leads nowhere",
                ],
                "`cargo xtask help COMMAND` lists what it takes",
            ),
            Self::UnknownName => entry(
                ExitCode::Usage,
                "Nothing in this tree has the name that was typed",
                &[
                    "a typing mistake; the nearest name is in the message",
                    "the service lies where no glob of `services` looks",
                ],
                "The message lists the names that exist; `cargo xtask status` shows all images",
            ),
            Self::UnknownRevision => entry(
                ExitCode::Usage,
                "Git knows no such commit here",
                &[
                    "a shallow clone, as CI makes them",
                    "a typing mistake",
                    "the tree is not in a git repository",
                ],
                "`git fetch --unshallow` brings older commits; in a GitHub workflow, `fetch-depth: 0` of actions/checkout",
            ),
            Self::BuildFailed => entry(
                ExitCode::BuildFailed,
                "An image could not be built",
                &[
                    "an instruction of its Dockerfile failed",
                    "a base image could not be had",
                    "the engine's disk is full",
                ],
                "The message has the Dockerfile's line and what was printed: of a long output both ends and every line that names an error; the whole log is in `target/xtask/runs/latest/logs/`. The other images were built: the same command goes on from there",
            ),
            Self::ContextChanged => entry(
                ExitCode::BuildFailed,
                "A file changed while it was sent to the builder, so the image would not be what its key says",
                &["an editor, a code generator or a second build writes to the tree"],
                "Run the same command again when nothing else writes to the tree; `.dockerignore` keeps logs and caches out",
            ),
            Self::VerifyFailed => entry(
                ExitCode::VerifyFailed,
                "An image in the store is not the one that was planned",
                &[
                    "it was removed, or overwritten by another build, in the meantime",
                    "it was built for another platform",
                ],
                "`cargo xtask status` says how each image stands; `cargo xtask build` makes what is missing",
            ),
            Self::Unhealthy => entry(
                ExitCode::VerifyFailed,
                "Something was started and does not do what it should",
                &[
                    "the program in the image fails at its start",
                    "an image does not keep the contract of the base images",
                    "compose started a service that did not become healthy",
                    "the test of a service failed",
                ],
                "The message has the last lines that it printed; `base-images e2e --keep` leaves the container running to look at",
            ),
            Self::NotRebuildable => entry(
                ExitCode::VerifyFailed,
                "What would be in the bundle is not enough to build again without a network",
                &[
                    "an instruction downloads something after a file was copied that changes",
                    "a stage is not kept",
                ],
                "Copy what changes after what downloads, or install from files of the tree; [bundle.md](bundle.md) has examples",
            ),
            Self::NothingSelected => entry(
                ExitCode::NothingSelected,
                "No image is left to work on",
                &["`--only` and `--skip` leave nothing", "the tree has its services elsewhere"],
                "`cargo xtask status` lists all images; `services` in `.config/xtask.toml` says where they lie ([adopt.md](adopt.md))",
            ),
            Self::ConfigInvalid => entry(
                ExitCode::ConfigInvalid,
                "A setting cannot be taken: in a settings file, a variable, `.env`, or a small file beside a Dockerfile",
                &["a value of another type", "a line that is no `KEY=value`", "a file that cannot be read"],
                "The message has file, line and column, or the variable's name; [config.md](config.md) lists what each can be",
            ),
            Self::SourceInvalid => entry(
                ExitCode::SourceInvalid,
                "A Dockerfile or a template cannot be taken, or images need each other",
                &[
                    "an instruction that does not exist",
                    "a `COPY` source that matches nothing, or that `.dockerignore` hides",
                    "a stage or a build arg that nobody defines",
                    "a `{{NAME}}` that `.env` lacks",
                    "images that need each other",
                ],
                "The message has file and line, or the way round; `cargo xtask plan` shows everything that is wrong at once",
            ),
            Self::NoEngine => entry(
                ExitCode::EngineUnfit,
                "No container engine answers",
                &["none is started", "it listens elsewhere", "you may not use its socket"],
                "Where `DOCKER_HOST` or `DOCKER_CONTEXT` names it, see whether that is right; `cargo xtask doctor` looks closer. `cargo xtask build-all --bootstrap` starts one for this tree; `DOCKER_HOST=unix:///path/to/docker.sock` names one that runs already",
            ),
            Self::EngineUnfit => entry(
                ExitCode::EngineUnfit,
                "The engine answers, and lacks something that is needed",
                &[
                    "it is older than API 1.41 (Docker 20.10)",
                    "it has no BuildKit",
                    "it is on another machine, and the command needs ports of this one",
                ],
                "Update it, name another one by `DOCKER_HOST`, or let `--bootstrap` start one",
            ),
            Self::EngineGone => entry(
                ExitCode::EngineUnfit,
                "The engine closed the connection in the middle",
                &["it was stopped or restarted", "it crashed, or the system ran out of memory"],
                "See its own log (`journalctl -u docker`, or `target/xtask/engine/`), then type the same command: it goes on from there",
            ),
            Self::EngineRefused => entry(
                ExitCode::EngineUnfit,
                "The engine says no for a reason of its own",
                &["what it says is in the message"],
                "The engine's own log says more (`journalctl -u docker`, or `target/xtask/engine/`)",
            ),
            Self::DiskFull => entry(
                ExitCode::EngineUnfit,
                "The engine's disk is full",
                &["images and build cache of other projects", "old versions of these images"],
                "`docker system df` shows what takes the space, `docker builder prune` frees some of it",
            ),
            Self::PortTaken => entry(
                ExitCode::EngineUnfit,
                "A port of this machine that a container was to have is somebody else's",
                &["a program that listens there", "a container of an earlier run that was kept"],
                "`ss -ltnp` shows who listens where; `--port` asks for another one",
            ),
            Self::LocalRegistry => entry(
                ExitCode::EngineUnfit,
                "No registry could be started on this machine",
                &[
                    "neither a `registry` image nor the program `docker-registry` is here",
                    "no port is free",
                    "its folder cannot be written",
                ],
                "The same command with `--bootstrap` installs docker-registry; `docker load` takes an image of one from a file",
            ),
            Self::Bootstrap => entry(
                ExitCode::EngineUnfit,
                "`--bootstrap` could not make this machine able to do it",
                &[
                    "neither root nor `sudo` without a password",
                    "no package mirror answers",
                    "a container without the rights to start an engine",
                ],
                "The message says which step failed; what it would have installed can be installed by hand",
            ),
            Self::ComposeMissing => entry(
                ExitCode::EngineUnfit,
                "Compose is not installed",
                &["neither `docker compose` nor `docker-compose` is here"],
                "`apt-get install docker-compose` on Debian; `rebuild` without `--down` and `--up` needs none",
            ),
            Self::ImageNotFound => entry(
                ExitCode::PullFailed,
                "A registry, or the store, has no such image",
                &[
                    "a typing mistake in a name or a tag",
                    "a tag that was removed",
                    "a private repository, which many registries call not found",
                ],
                "See whether the name is right; `docker login REGISTRY` if it is private",
            ),
            Self::AccessDenied => entry(
                ExitCode::PullFailed,
                "A registry denies access",
                &[
                    "no credentials, or expired ones",
                    "an account that may not pull, or push, this repository",
                    "a registry that is read-only",
                ],
                "`docker login REGISTRY` stores credentials",
            ),
            Self::RegistryUnreachable => entry(
                ExitCode::PullFailed,
                "A registry cannot be reached from here",
                &[
                    "this network does not lead there",
                    "a proxy that is not set, or set wrongly",
                    "a mistake in the registry's name",
                    "a registry that is down, or that takes questions and gives no answer",
                    "a certificate that has expired, or that the engine does not trust",
                ],
                "`cargo xtask prefetch --network internal` asks the internal registry only; `[mirrors]` in `.config/xtask.toml` names one that answers",
            ),
            Self::RegistryBusy => entry(
                ExitCode::PullFailed,
                "A registry answered with trouble that may pass, also when it was asked again",
                &["too many requests", "a server's fault", "a connection that broke"],
                "Run the same command again in a while; `--retries N` tries more often",
            ),
            Self::NotHere => entry(
                ExitCode::PullFailed,
                "Something that is needed is not on this machine, and nobody may be asked for it",
                &[
                    "`--offline`",
                    "an internal network without an internal registry",
                    "a bundle that left it out",
                ],
                "Run once where there is a network, name a registry inside (`--internal-registry`), or load a bundle that has it (`cargo xtask bundle load FILE`)",
            ),
            Self::DownloadFailed => entry(
                ExitCode::PullFailed,
                "An artifact cannot be downloaded",
                &["no source gave it", "what a source gave was no zip archive", "the version does not exist"],
                "`artifact.mirrors` in `.config/xtask.toml` names other sources; the message says where a file that was carried here is found",
            ),
            Self::PullFailed => entry(
                ExitCode::PullFailed,
                "A pull, a further name or a push failed for another reason",
                &[
                    "what the engine or the registry said is in the message",
                    "two names that should be one image are two",
                ],
                "The message has the command to try by hand",
            ),
            Self::ArtifactChanged => entry(
                ExitCode::DigestMismatch,
                "A source gives another file than the one that was seen first",
                &["the release was replaced", "somebody between here and there changes it"],
                "If it was replaced on purpose, delete its line of `artifacts.lock` and run the same command again",
            ),
            Self::BundleDamaged => entry(
                ExitCode::DigestMismatch,
                "A bundle, or a layer that was kept for one, is not what it says it is",
                &["it was copied in part", "the medium is broken", "it is another kind of file"],
                "Copy it again from where it was made, and compare with `cargo xtask bundle verify FILE` there. Nothing was loaded",
            ),
            Self::DigestMismatch => entry(
                ExitCode::DigestMismatch,
                "A registry has, or gives, something else than it should",
                &[
                    "somebody else pushed to the same tag at the same time",
                    "a mirror or a proxy that changes what it passes on",
                ],
                "`docker buildx imagetools inspect REFERENCE` shows what the registry has under that name; nothing of it was taken, and nothing was published",
            ),
            Self::Drift => entry(
                ExitCode::Drift,
                "Something is not as it should be, and the command was only to look",
                &["`--check` found a gap", "`--no-build` was given and images are stale"],
                "The same command without `--check` mends it",
            ),
            Self::NotLocked => entry(
                ExitCode::Drift,
                "With `--locked`, an external image is not what `images.lock` says, so nothing is done",
                &[
                    "a Dockerfile names an image that was not locked yet",
                    "somebody pulled, or named, another image in the meantime",
                    "there is no `images.lock`",
                ],
                "`cargo xtask lock NAME` locks what is there now; `cargo xtask prefetch --locked --fix NAME` brings the locked image back ([lock.md](lock.md))",
            ),
            Self::Interrupted => entry(
                ExitCode::Interrupted,
                "The run was stopped",
                &["Ctrl-C, or the signal that a CI system sends"],
                "Type the same `cargo xtask` command again: what was built stays built, and it goes on from there",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_fit_to_read() {
        for kind in ErrorKind::ALL {
            let KindEntry { code, meaning, causes, fix } = kind.entry();
            assert!(code != ExitCode::Good, "{kind}");
            assert!(!causes.is_empty(), "{kind}: what does it come from?");
            for text in causes.iter().chain([&meaning, &fix]) {
                assert!(!text.is_empty() && !text.ends_with('.') && !text.contains("  "), "{kind}: {text}");
            }
            assert!(fix.contains('`') || fix.contains(".md)") || fix.contains("message"), "{kind}: {fix}");
        }
        let mut codes: Vec<ExitCode> = ErrorKind::ALL.map(ErrorKind::code).to_vec();
        assert!(codes.is_sorted(), "the table is by exit code");
        codes.dedup();
        assert!(codes.iter().eq(&ExitCode::ALL[1..]), "every code has a kind");
    }
}
