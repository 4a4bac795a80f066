//! Facts to findings: one table, pure. Each check says what was seen, whether that will do, and what to do if not.

use super::facts::{
    AboutEngine, BootstrapFacts, ComposeProgram, DiskFacts, EngineFacts, Facts, FoundEngine, ProxyFacts,
    Trial,
};
use super::registries;
use super::{Area, Check, Report, Verdict};
use crate::model::{Network, SOCKET_RIGHTS, denied_socket};
use crate::report::text::size;

/// The oldest API that builds are asked of: Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);
/// What the engine's disk should have left (SPEC, section 5).
const ENGINE_DISK: u64 = 10_000_000_000;
/// What the tree's own disk should have left: records, artifacts, bundles.
const TREE_DISK: u64 = 2_000_000_000;
/// Seconds that two clocks may be apart before certificates and package lists are refused.
const CLOCKS_APART: i64 = 60;

/// Looks at facts.
type Look = fn(&Facts) -> Vec<Finding>;

/// Every check, in the order in which they are shown.
const CHECKS: [(&str, &str, Area, Look); 15] = [
    ("engine", "engine", Area::Machine, engine),
    ("api", "engine API", Area::Machine, api),
    ("buildkit", "BuildKit", Area::Machine, buildkit),
    ("engine-disk", "engine disk", Area::Machine, engine_disk),
    ("clock", "engine clock", Area::Machine, clock),
    ("bootstrap", "bootstrap", Area::Machine, bootstrap),
    ("network", "network", Area::Registries, network),
    ("registry", "registry", Area::Registries, registries::answers),
    ("credentials", "login", Area::Registries, registries::credentials),
    ("docker-config", "docker's settings", Area::Registries, docker_config),
    ("proxies", "proxies", Area::Registries, proxies),
    ("compose", "compose", Area::Machine, compose),
    ("settings", "settings", Area::Settings, settings),
    ("tree", "services", Area::Sources, tree),
    ("target", "target folder", Area::Machine, target),
];

/// What one check found; a check of several things finds several.
pub(super) struct Finding {
    /// Which of them: `docker.io`.
    pub(super) of: Option<String>,
    pub(super) verdict: Verdict,
    pub(super) evidence: String,
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn new(verdict: Verdict, evidence: impl Into<String>) -> Self {
        Self { of: None, verdict, evidence: evidence.into(), fix: None }
    }

    pub(super) fn of(mut self, which: &str) -> Self {
        self.of = Some(which.to_owned());
        self
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// What these facts mean.
pub fn judge(facts: &Facts) -> Report {
    let mut checks = Vec::new();
    for (id, title, area, look) in CHECKS {
        checks.extend(look(facts).into_iter().map(|finding| {
            let Finding { of, verdict, evidence, fix } = finding;
            let (id, title) = match of {
                Some(of) => (format!("{id}/{of}"), format!("{title} {of}")),
                None => (id.to_owned(), title.to_owned()),
            };
            Check { id, title, verdict, evidence, fix, area }
        }));
    }
    Report::new(checks)
}

fn ok(evidence: impl Into<String>) -> Finding {
    Finding::new(Verdict::Ok, evidence)
}

fn warning(evidence: impl Into<String>) -> Finding {
    Finding::new(Verdict::Warning, evidence)
}

fn failed(evidence: impl Into<String>) -> Finding {
    Finding::new(Verdict::Failed, evidence)
}

fn skipped(evidence: impl Into<String>) -> Finding {
    Finding::new(Verdict::Skipped, evidence)
}

/// The checks of an engine that does not answer, or says nothing of itself.
fn about(facts: &Facts) -> Result<(&FoundEngine, &AboutEngine), Vec<Finding>> {
    let found = facts.engine.found.as_ref().ok_or_else(|| vec![skipped("no engine answers")])?;
    let about = found.about.as_ref().map_err(|_| vec![skipped("the engine says nothing of itself")])?;
    Ok((found, about))
}

fn passed_over(engine: &EngineFacts) -> String {
    let told: Vec<String> = engine
        .passed_over
        .iter()
        .map(|(endpoint, cause)| {
            // What the number says, the words before it say too.
            let cause = cause.split_once(" (os error ").map_or(cause.as_str(), |(words, _)| words);
            format!("no answer at {endpoint}: {cause}")
        })
        .collect();
    told.join("; ")
}

fn engine(facts: &Facts) -> Vec<Finding> {
    let engine = &facts.engine;
    let Some(found) = &engine.found else {
        let evidence = match passed_over(engine) {
            none if none.is_empty() => "no endpoint answered in time".to_owned(),
            told => told,
        };
        return vec![failed(evidence).fix(how_to_get_one(engine))];
    };
    let endpoint = &found.endpoint;
    let about = match &found.about {
        Ok(about) => about,
        Err(cause) => {
            return vec![
                failed(format!("{endpoint} answers, but says nothing of itself: {cause}"))
                    .fix("see the engine's own log: `journalctl -u docker`"),
            ];
        }
    };
    let mut seen = format!("{} {} at {endpoint}, {}", about.name, about.version, about.platform);
    if !about.store.is_empty() {
        seen.push_str(&format!(", images in {}", about.store));
    }
    if engine.is_stand_in {
        let told = passed_over(engine);
        return vec![
            warning(format!("{seen}, stands in: {told}"))
                .fix("`docker context use default` takes the choice back, where it is not meant any more"),
        ];
    }
    match &found.caution {
        Some(caution) => vec![warning(format!("{seen}; {caution}")).fix(
            "DOCKER_TLS_VERIFY=1 with the engine's ca.pem in DOCKER_CERT_PATH, or a context with its CA",
        )],
        None => vec![ok(seen)],
    }
}

fn how_to_get_one(engine: &EngineFacts) -> String {
    if denied_socket(&engine.passed_over).is_some() {
        return SOCKET_RIGHTS.join("; ");
    }
    match engine.named_by {
        Some(variable) => format!("see whether {variable} is right, or unset it and an engine of this machine is taken"),
        None => "`sudo systemctl start docker` starts this machine's; `cargo xtask engine up --bootstrap` a private one; \
                 DOCKER_HOST names another"
            .to_owned(),
    }
}

fn api(facts: &Facts) -> Vec<Finding> {
    let (_, about) = match about(facts) {
        Ok(about) => about,
        Err(findings) => return findings,
    };
    let ((major, minor), (oldest_major, oldest_minor)) = (about.api, OLDEST_API);
    let seen = format!("{major}.{minor}; {oldest_major}.{oldest_minor} is needed");
    if about.api >= OLDEST_API {
        vec![ok(seen)]
    } else {
        vec![failed(seen).fix("install Docker Engine 20.10 or later: docs.docker.com/engine/install")]
    }
}

fn buildkit(facts: &Facts) -> Vec<Finding> {
    let (found, about) = match about(facts) {
        Ok(about) => about,
        Err(findings) => return findings,
    };
    let log = "see the engine's own log (`journalctl -u docker`); restarting it often helps";
    let finding = match &found.trial {
        Trial::Built(took) => ok(format!("read files through a build session, in {} ms", took.as_millis())),
        Trial::Late(limit) => {
            warning(format!("a trial build was not over within {} s", limit.as_secs())).fix(log)
        }
        Trial::Failed(cause) if about.name == "podman" => {
            failed(cause.clone()).fix("name a Docker Engine with DOCKER_HOST, 20.10 or later")
        }
        Trial::Failed(cause) => failed(cause.clone()).fix(log),
    };
    vec![finding]
}

fn engine_disk(facts: &Facts) -> Vec<Finding> {
    let (found, about) = match about(facts) {
        Ok(about) => about,
        Err(findings) => return findings,
    };
    let room = "`docker system df` shows what takes the space, `docker builder prune` and `docker image prune` free some";
    vec![match &about.disk {
        DiskFacts::Here { path, free } => {
            let seen = format!("{} free at {path}; {} are needed", size(*free), size(ENGINE_DISK));
            if *free >= ENGINE_DISK { ok(seen) } else { failed(seen).fix(room) }
        }
        DiskFacts::Elsewhere { host, used } => {
            let used = match used {
                Some(used) => format!("; it uses {}", size(*used)),
                None => String::new(),
            };
            skipped(format!("the engine is on {host}, whose disk cannot be seen from here{used}")).fix(
                format!(
                    "`df -h` there: {} have to be free; {} is the engine",
                    size(ENGINE_DISK),
                    found.endpoint
                ),
            )
        }
        DiskFacts::Unknown => skipped("the engine does not say where its data lies"),
    }]
}

fn clock(facts: &Facts) -> Vec<Finding> {
    let (_, about) = match about(facts) {
        Ok(about) => about,
        Err(findings) => return findings,
    };
    vec![match about.ahead {
        None => skipped("the engine does not say what time it is"),
        Some(ahead) if ahead.abs() <= CLOCKS_APART => ok(format!("{} s from this machine's", ahead.abs())),
        Some(ahead) => {
            let direction = if ahead > 0 { "ahead of" } else { "behind" };
            warning(format!("{} s {direction} this machine's", ahead.abs())).fix(
                "set both by NTP: `timedatectl set-ntp true`; certificates and package lists depend on it",
            )
        }
    }]
}

fn bootstrap(facts: &Facts) -> Vec<Finding> {
    let Some(BootstrapFacts { missing, is_linux, may_be_root, has_apt }) = &facts.bootstrap else {
        return vec![skipped("an engine answers, so `--bootstrap` starts none")];
    };
    let lacks = missing.join(", ");
    vec![match (is_linux, missing.is_empty(), may_be_root, has_apt) {
        (false, ..) => skipped("a private engine runs on Linux only"),
        (_, _, false, _) => warning("a private engine takes root, or sudo without a password")
            .fix("run `cargo xtask build-all --bootstrap` as root"),
        (_, true, ..) => ok("`--bootstrap` can start a private engine with what is installed"),
        (_, false, true, true) => {
            ok(format!("`--bootstrap` would install {lacks}, and start a private engine"))
        }
        (_, false, true, false) => {
            warning(format!("a private engine needs {lacks}, and there is no apt-get"))
                .fix("install these with this system's own packages")
        }
    }]
}

fn network(facts: &Facts) -> Vec<Finding> {
    let network = &facts.network;
    if network.is_offline {
        return vec![skipped("--offline: nobody was asked")];
    }
    let Some(verdict) = network.verdict else {
        return vec![skipped("the registries were not asked in time")];
    };
    let seen = match verdict {
        Network::External => format!("external ({})", network.evidence),
        Network::Internal => format!("internal ({})", network.evidence),
    };
    if network.nobody_answered {
        return vec![warning(seen).fix(
            "base images have to be here already: `cargo xtask bundle load`, or `--bootstrap` and a recipe",
        )];
    }
    vec![ok(seen)]
}

fn docker_config(facts: &Facts) -> Vec<Finding> {
    // Only worth a line when something is wrong with it.
    let trouble = facts.docker_config_trouble.iter();
    trouble
        .map(|trouble| {
            failed(trouble.clone()).fix("mend the file, or move it away: `docker login` writes it anew")
        })
        .collect()
}

fn proxies(facts: &Facts) -> Vec<Finding> {
    let ProxyFacts { environment, builds, internal } = &facts.proxies;
    if builds.is_empty() {
        return vec![ok("none are set")];
    }
    let told: Vec<String> = builds
        .iter()
        .filter(|(name, _)| {
            !builds.contains_key(&name.to_ascii_uppercase()) || name.chars().all(|c| !c.is_ascii_lowercase())
        })
        .map(|(name, value)| {
            let origin =
                if environment.contains_key(name) { "" } else { " (docker's config.json, for builds)" };
            format!("{name}={value}{origin}")
        })
        .collect();
    let seen = told.join(", ");
    let value = |wanted: &str| {
        builds.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| v.as_str())
    };
    let on_loopback = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
        .into_iter()
        .find(|name| value(name).is_some_and(is_loopback_url));
    if let Some(name) = on_loopback {
        let why =
            format!("{seen}; {name} is an address of this machine, which is another one inside a build");
        return vec![
            warning(why)
                .fix(format!("name the proxy by an address that containers reach: {name}=http://HOST:PORT")),
        ];
    }
    if let Some(internal) =
        internal.as_deref().filter(|host| !exempts(value("NO_PROXY").unwrap_or_default(), host))
    {
        return vec![
            warning(format!("{seen}; the internal registry {internal} would be asked through the proxy"))
                .fix(format!(
                    "add it to NO_PROXY: {}",
                    with(value("NO_PROXY").unwrap_or_default(), internal)
                )),
        ];
    }
    vec![ok(seen)]
}

/// A list of exceptions with one more host.
fn with(list: &str, host: &str) -> String {
    let list = if list.is_empty() { "localhost,127.0.0.1" } else { list };
    format!("NO_PROXY={list},{host}")
}

fn is_loopback_url(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split('/').next().unwrap_or(host);
    let host = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or(host) };
    host == "localhost" || host.starts_with("127.") || host.starts_with("[::1]")
}

/// Whether a list of exceptions names a host: itself, a domain above it, or all.
fn exempts(list: &str, host: &str) -> bool {
    let bare = host.split(':').next().unwrap_or(host);
    list.split(',').map(str::trim).any(|entry| {
        let domain = entry.trim_start_matches('*').trim_start_matches('.');
        entry == "*"
            || entry == host
            || domain == bare
            || (!domain.is_empty() && bare.ends_with(&format!(".{domain}")))
    })
}

fn compose(facts: &Facts) -> Vec<Finding> {
    let files = facts.compose.files.join(", ");
    vec![match (&facts.compose.program, facts.compose.files.is_empty()) {
        (ComposeProgram::Found { name, version }, false) => ok(format!("`{name}` {version}, for {files}")),
        (ComposeProgram::Found { name, version }, true) => {
            ok(format!("`{name}` {version}; the tree has no compose file"))
        }
        (ComposeProgram::Late, _) => skipped("it did not say in time which one it is"),
        (ComposeProgram::Missing, true) => skipped("not installed, and the tree has no compose file"),
        (ComposeProgram::Missing, false) => {
            warning(format!("neither `docker compose` nor `docker-compose`; {files} is there"))
                .fix("`apt-get install docker-compose` on Debian; only `rebuild --up` and `--down` need it")
        }
    }]
}

fn settings(facts: &Facts) -> Vec<Finding> {
    let settings = &facts.settings;
    if let Some((what, fix)) = &settings.trouble {
        return vec![
            failed(format!("{what}; the rest was looked at with the built-in settings")).fix(fix.clone()),
        ];
    }
    let seen = match settings.files.as_slice() {
        [] => "the built-in ones; there is no .config/xtask.toml and no .env".to_owned(),
        files => files.join(", "),
    };
    match settings.warnings.as_slice() {
        [] => vec![ok(seen)],
        warnings => vec![
            warning(format!("{seen}; {}", warnings.join("; ")))
                .fix("docs/config.md lists every setting with its names"),
        ],
    }
}

fn tree(facts: &Facts) -> Vec<Finding> {
    let tree = match &facts.tree {
        None => return vec![skipped("reading the services took too long")],
        Some(Err(_)) if facts.settings.trouble.is_some() => {
            return vec![skipped("the settings say where they are")];
        }
        Some(Err(why)) => {
            return vec![failed(why.clone()).fix("`cargo xtask plan` says the same with its place")];
        }
        Some(Ok(tree)) => tree,
    };
    if let Some(first) = tree.errors.first() {
        let more = match tree.errors.len() {
            1 => String::new(),
            count => format!("; and {} more", count - 1),
        };
        return vec![
            failed(format!("{first}{more}"))
                .fix("edit the file; `cargo xtask plan` lists everything that is wrong"),
        ];
    }
    if tree.images == 0 {
        return vec![
            warning("no service was found")
                .fix("`services` in .config/xtask.toml says where they lie: `services = [\"src/*\"]`"),
        ];
    }
    let seen = format!("{}, {}", count(tree.services, "service"), count(tree.images, "image"));
    match tree.warnings {
        0 => vec![ok(seen)],
        warnings => vec![
            warning(format!("{seen}, {}", count(warnings, "warning"))).fix("`cargo xtask plan` shows them"),
        ],
    }
}

pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn target(facts: &Facts) -> Vec<Finding> {
    let target = &facts.target;
    let path = &target.path;
    if let Some(why) = &target.trouble {
        return vec![
            failed(format!("{path} cannot be written to: {why}"))
                .fix(format!("`ls -ld {path}` shows whose it is; runs keep their records and locks there")),
        ];
    }
    vec![match target.free {
        None => ok(format!("{path} can be written to")),
        Some(free) if free >= TREE_DISK => ok(format!("{path} can be written to, {} free", size(free))),
        Some(free) => warning(format!("{} free at {path}", size(free)))
            .fix("make room: `cargo xtask history` and target/xtask/bundles show what is kept"),
    }]
}

#[cfg(test)]
mod tests;
