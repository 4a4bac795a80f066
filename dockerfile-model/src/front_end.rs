//! What front ends can read: which version knows what, which version an engine brings, and which one a file asks for.
//!
//! In: a feature with its place, and who reads the file. Out: nothing, or what to do about it. The versions are those
//! of `docker/dockerfile`, whose major number has always been 1. An engine's own front end is the one of the BuildKit
//! in it (`vendor.mod` of github.com/moby/moby); since BuildKit 0.10 that is version 0.N and the front end 1.(N-6).

use super::Directive;
use crate::{Diagnostic, Reference};

/// Something that front ends learnt one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// `RUN --network`
    RunNetwork,
    /// `RUN <<EOF`, `COPY <<EOF`
    Heredoc,
    /// `COPY --link`
    Link,
    /// `RUN --mount=type=tmpfs,size=`
    TmpfsSize,
    /// `ADD` of a git repository.
    AddGit,
    /// `ADD --keep-git-dir`
    KeepGitDir,
    /// `ADD --checksum`
    Checksum,
    /// `HEALTHCHECK --start-interval`
    StartInterval,
    /// `${V-d}`, `${V+a}`, `${V?e}`
    BareDefault,
    /// `${V#p}`, `${V%p}`, `${V/p/r}`
    Patterns,
    /// `RUN --mount=type=secret,env=`
    SecretEnv,
    /// `ONBUILD COPY --from=`, where nothing but the trigger reaches what it copies from: older ones copy from nothing.
    TriggeredFrom,
    /// `COPY --chmod=$MODE`: older ones take it for no mode at all, and say nothing.
    ChmodVariable,
    /// `COPY --chmod=u=rwX`: the same.
    ChmodSymbolic,
    /// `RUN cat << EOF`
    SpacedHeredoc,
    /// `ADD --unpack`
    Unpack,
    /// `COPY --exclude`
    Exclude,
    /// `COPY --parents`
    Parents,
    /// `RUN --security`
    RunSecurity,
    /// `RUN --device`
    RunDevice,
}

/// Where a feature came in.
struct Since {
    /// The version that has it for everybody.
    stable: Option<u32>,
    /// The first one of the `-labs` channel that has it.
    labs: u32,
    /// How to do without it.
    without: &'static str,
}

impl Feature {
    fn since(self) -> Since {
        let since = |stable, labs, without| Since { stable: Some(stable), labs, without };
        match self {
            Self::RunNetwork => since(3, 2, "leave --network out"),
            Self::Heredoc => {
                since(4, 3, "write it as one line joined by `&&`, or as a file beside the Dockerfile")
            }
            Self::Link => since(4, 4, "leave --link out"),
            Self::TmpfsSize => since(4, 4, "leave `size` out"),
            Self::AddGit => since(6, 5, "fetch the repository in a RUN"),
            Self::KeepGitDir => since(6, 5, "leave --keep-git-dir out"),
            Self::Checksum => since(6, 5, "fetch it in a RUN and check it there with sha256sum"),
            Self::StartInterval => since(6, 6, "leave --start-interval out"),
            Self::BareDefault => since(6, 6, "write it with a colon, as in `${NAME:-default}`"),
            Self::Patterns => since(7, 7, "give the value an ARG of its own"),
            Self::SecretEnv => since(10, 10, "read the secret from /run/secrets"),
            Self::TriggeredFrom => since(11, 11, "copy it in the Dockerfile that stands on the base"),
            Self::ChmodVariable => since(11, 11, "write the mode itself"),
            Self::ChmodSymbolic => since(14, 11, "write the mode as a number"),
            Self::SpacedHeredoc => since(16, 16, "write it without the blank"),
            Self::Unpack => since(17, 17, "leave --unpack out"),
            Self::Exclude => since(19, 7, "say it in .dockerignore"),
            Self::Parents => since(20, 7, "name each folder in a COPY of its own"),
            Self::RunSecurity => since(20, 2, "leave --security out"),
            Self::RunDevice => Since { stable: None, labs: 14, without: "leave --device out" },
        }
    }

    /// What a `# syntax=` line has to name.
    fn image(self) -> String {
        match self.since().stable {
            Some(minor) => format!("docker/dockerfile:1.{minor}"),
            None => format!("docker/dockerfile:1.{}-labs", self.since().labs),
        }
    }
}

/// A feature that a file uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Which.
    pub feature: Feature,
    /// As it is written: `COPY --link`.
    pub written: String,
    /// 1-based line.
    pub line: u32,
    /// What is wrong with it where it is known; where it is not, it is something else, and nothing is.
    pub trap: Option<String>,
}

impl Use {
    /// What to say where a front end of this version (none: the newest) reads the file.
    fn told(&self, front_end: Option<&FrontEnd>, cure: impl Fn(&str) -> String) -> Option<String> {
        let Since { stable, labs, without } = self.feature.since();
        let is_known = |front_end: &FrontEnd| {
            stable.is_some_and(|since| since <= front_end.minor)
                || (front_end.is_labs && labs <= front_end.minor)
        };
        match front_end.filter(|front_end| !is_known(front_end)) {
            None => self.trap.clone(),
            Some(_) if self.trap.is_some() => None,
            Some(FrontEnd { who, .. }) => {
                let needs = stable.map_or_else(|| format!("1.{labs}-labs"), |minor| format!("1.{minor}"));
                let (written, cure) = (&self.written, cure(&self.feature.image()));
                Some(format!("`{written}` needs Dockerfile {needs}, and {who}: {cure}, or {without}"))
            }
        }
    }
}

/// What is wrong with what the file `path` uses where an engine of this version (`28.5.2`) reads it with its own front
/// end. No engine, and one that nobody knows, can read everything.
pub fn judge(uses: &[Use], path: &str, engine: Option<&str>) -> Vec<Diagnostic> {
    let front_end = engine.and_then(|version| {
        let minor = built_into(version)?;
        Some(FrontEnd { minor, is_labs: false, who: format!("Engine {version} reads 1.{minor}") })
    });
    let told = uses.iter().filter_map(|used| {
        let newer = used.feature.since().stable.and_then(engine_with);
        let newer = newer.map_or_else(String::new, |engine| format!(", use {engine}"));
        let cure =
            |image: &str| format!("put `# syntax={image}` into line 1 (one more image to pull){newer}");
        Some(Diagnostic::error(path, used.line, used.told(front_end.as_ref(), cure)?))
    });
    told.collect()
}

/// The one that reads a file.
struct FrontEnd {
    minor: u32,
    is_labs: bool,
    /// `Engine 20.10.24 reads 1.2`
    who: String,
}

/// Who reads a file.
pub(super) enum Reader {
    /// The engine's own front end.
    Engine,
    /// One that is known by its tag.
    Tagged { image: String, minor: u32, is_labs: bool, line: u32 },
    /// Anybody: nothing is known of it.
    Unknown,
}

impl Reader {
    /// Whom the file asks for. A tag without a minor number is the newest.
    pub(super) fn of(syntax: Option<&Reference>, directive: Option<&Directive>, is_asked: bool) -> Self {
        let Some(syntax) = syntax else {
            return if is_asked { Self::Unknown } else { Self::Engine };
        };
        let is_dockers = syntax.path().ends_with("docker/dockerfile");
        let Some(tag) = syntax.tag().filter(|_| is_dockers) else { return Self::Unknown };
        let (version, is_labs) = match tag.strip_suffix("labs") {
            Some(version) => (version.trim_end_matches('-'), true),
            None => (tag, false),
        };
        let mut parts = version.split('.');
        let minor = match (parts.next(), parts.next()) {
            (Some("" | "1" | "latest"), None) => u32::MAX,
            (Some("1"), Some(minor)) => match minor.parse() {
                Ok(minor) => minor,
                Err(_) => return Self::Unknown,
            },
            _ => return Self::Unknown,
        };
        let line = directive.map_or(0, |directive| directive.line);
        Self::Tagged { image: syntax.familiar(), minor, is_labs, line }
    }

    /// What is wrong with `uses` whatever the engine, each with its line; and what only the engine decides.
    pub(super) fn refuse(&self, uses: Vec<Use>) -> (Vec<(u32, String)>, Vec<Use>) {
        let (front_end, line) = match self {
            Self::Engine => return (Vec::new(), uses),
            Self::Unknown => (None, 0),
            Self::Tagged { image, minor, is_labs, line } => {
                let who = format!("`{image}` is older");
                (Some(FrontEnd { minor: *minor, is_labs: *is_labs, who }), *line)
            }
        };
        let place = if line == 0 { "BUILDKIT_SYNTAX".to_owned() } else { format!("line {line}") };
        let cure = |image: &str| format!("name {image} in {place}");
        let told = uses.iter().filter_map(|used| Some((used.line, used.told(front_end.as_ref(), cure)?)));
        (told.collect(), Vec::new())
    }
}

/// The minor version of the front end in an engine: since which engine, which.
const ENGINES: [((u32, u32), u32); 25] = [
    ((20, 10), 2),
    ((22, 6), 4),
    ((23, 0), 4),
    ((24, 0), 5),
    ((25, 0), 6),
    ((26, 0), 7),
    ((27, 0), 8),
    ((27, 1), 9),
    ((27, 3), 10),
    ((27, 4), 11),
    ((27, 5), 12),
    ((28, 0), 14),
    ((28, 1), 15),
    ((28, 2), 16),
    ((28, 3), 17),
    ((28, 4), 18),
    ((28, 5), 19),
    ((29, 1), 20),
    ((29, 2), 21),
    ((29, 3), 22),
    ((29, 4), 23),
    ((29, 5), 24),
    ((29, 6), 25),
    ((29, 7), 26),
    // What is newer than this table may know anything.
    ((29, 8), u32::MAX),
];

/// The minor version of the front end that an engine of this version (`28.5.2`) brings; none when nobody knows.
fn built_into(engine: &str) -> Option<u32> {
    let mut numbers = engine.split(['.', '-', '+']).map(str::parse::<u32>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let known = ENGINES.iter().rev().find(|(since, _)| *since <= (major, minor))?;
    (known.1 != u32::MAX).then_some(known.1)
}

/// `Engine 23 or newer`
fn engine_with(minor: u32) -> Option<String> {
    // 22.06 never left its beta.
    let mut engines =
        ENGINES.iter().filter(|((major, _), known)| *major != 22 && *known != u32::MAX && *known >= minor);
    let ((major, point), _) = engines.next()?;
    Some(match point {
        0 => format!("Engine {major} or newer"),
        point => format!("Engine {major}.{point} or newer"),
    })
}
