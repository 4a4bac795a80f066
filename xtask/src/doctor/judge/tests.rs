use std::time::Duration;

use super::super::facts::{
    AboutEngine, ComposeFacts, Login, NetworkFacts, RegistryAnswer, RegistryFacts, Role, SettingsFacts,
    Source, TargetFacts, TreeFacts,
};
use super::super::screen::{Screen, text};
use super::*;
use crate::report::resolve::Colour;

/// A machine where everything is as it should be.
fn good() -> Facts {
    Facts {
        engine: EngineFacts {
            found: Some(FoundEngine {
                endpoint: "unix:///var/run/docker.sock".to_owned(),
                caution: None,
                about: Ok(AboutEngine {
                    name: "docker".to_owned(),
                    version: "27.3.1".to_owned(),
                    api: (1, 47),
                    platform: "linux/amd64".to_owned(),
                    store: "overlay2".to_owned(),
                    ahead: Some(0),
                    disk: DiskFacts::Here { path: "/var/lib/docker".to_owned(), free: 41_000_000_000 },
                }),
                trial: Trial::Built(Duration::from_millis(150)),
            }),
            ..EngineFacts::default()
        },
        network: NetworkFacts {
            verdict: Some(Network::External),
            evidence: "docker.io answered in 38 ms".to_owned(),
            ..NetworkFacts::default()
        },
        registries: vec![registry("docker.io")],
        compose: ComposeFacts {
            files: vec!["compose.yaml".to_owned()],
            program: ComposeProgram::Found {
                name: "docker compose".to_owned(),
                version: "2.26.1".to_owned(),
            },
        },
        settings: SettingsFacts { files: vec![".config/xtask.toml".to_owned()], ..SettingsFacts::default() },
        tree: Some(Ok(TreeFacts { services: 8, images: 9, errors: Vec::new(), warnings: 0 })),
        target: TargetFacts {
            path: "/shop/target/xtask".to_owned(),
            trouble: None,
            free: Some(41_000_000_000),
        },
        ..Facts::default()
    }
}

fn registry(domain: &str) -> RegistryFacts {
    RegistryFacts {
        domain: domain.to_owned(),
        role: Role::Origin,
        images: vec!["redis:7".to_owned(), "debian:12".to_owned()],
        all_here: Some(false),
        answer: RegistryAnswer::Status { status: 401, took: Duration::from_millis(38) },
        source: Source::Nowhere,
        login: Login::Nothing { wants_password: false },
    }
}

fn unanswered(domain: &str) -> RegistryFacts {
    let answer = RegistryAnswer::None("connection refused".to_owned());
    RegistryFacts { answer, login: Login::NotTried, ..registry(domain) }
}

fn on_paper(facts: &Facts) -> String {
    text(&judge(facts), Screen { columns: None, colour: Colour::No })
}

/// The check of that id, as `verdict: evidence -> fix`.
#[track_caller]
fn check(facts: &Facts, id: &str, expected: &str) {
    let report = judge(facts);
    let found = report.checks.iter().find(|check| check.id == id);
    let found = found.unwrap_or_else(|| panic!("no {id} in {:?}", report.checks));
    let fix = found.fix.as_ref().map(|fix| format!(" -> {fix}")).unwrap_or_default();
    assert_eq!(format!("{}: {}{fix}", found.verdict.as_str(), found.evidence), expected);
}

#[test]
fn a_good_machine_on_a_wide_screen() {
    let facts = good();
    assert_eq!(judge(&facts).failed(), None);
    insta::assert_snapshot!(on_paper(&facts), @r"
    ok       engine              docker 27.3.1 at unix:///var/run/docker.sock, linux/amd64, images in overlay2
    ok       engine API          1.47; 1.41 is needed
    ok       BuildKit            read files through a build session, in 150 ms
    ok       engine disk         41 GB free at /var/lib/docker; 10 GB are needed
    ok       engine clock        0 s from this machine's
    skipped  bootstrap           an engine answers, so `--bootstrap` starts none
    ok       network             external (docker.io answered in 38 ms)
    ok       registry docker.io  2 base images: answered 401 in 38 ms
    ok       login docker.io     none stored; pulls are anonymous
    ok       proxies             none are set
    ok       compose             `docker compose` 2.26.1, for compose.yaml
    ok       settings            .config/xtask.toml
    ok       services            8 services, 9 images
    ok       target folder       /shop/target/xtask can be written to, 41 GB free

    14 checks: 13 ok, 1 skipped
    ");
}

#[test]
fn a_narrow_screen_breaks_lines_and_keeps_words_whole() {
    let mut facts = good();
    facts.engine.found = None;
    facts.engine.passed_over = vec![
        ("unix:///var/run/docker.sock".to_owned(), "No such file or directory (os error 2)".to_owned()),
        ("unix:///run/podman/podman.sock".to_owned(), "connection refused".to_owned()),
    ];
    let at =
        |facts: &Facts, columns| text(&judge(facts), Screen { columns: Some(columns), colour: Colour::No });
    facts.registries.clear();
    facts.registries.push(registry("registry.internal.example:5000"));
    insta::assert_snapshot!(at(&facts, 60), @r"
    failed   engine         no answer at
                            unix:///var/run/docker.sock: No such
                            file or directory; no answer at
                            unix:///run/podman/podman.sock:
                            connection refused
             fix: `sudo systemctl start docker` starts this
                  machine's; `cargo xtask engine up --bootstrap`
                  a private one; DOCKER_HOST names another
    skipped  engine API     no engine answers
    skipped  BuildKit       no engine answers
    skipped  engine disk    no engine answers
    skipped  engine clock   no engine answers
    skipped  bootstrap      an engine answers, so `--bootstrap`
                            starts none
    ok       network        external (docker.io answered in 38
                            ms)
    ok       registry registry.internal.example:5000  2 base
                            images: answered 401 in 38 ms
    ok       login registry.internal.example:5000  none stored;
                            pulls are anonymous
    ok       proxies        none are set
    ok       compose        `docker compose` 2.26.1, for
                            compose.yaml
    ok       settings       .config/xtask.toml
    ok       services       8 services, 9 images
    ok       target folder  /shop/target/xtask can be written
                            to, 41 GB free

    14 checks: 1 failed, 8 ok, 5 skipped
    ");
    for columns in [60, 80, 200] {
        let text = at(&facts, columns);
        let widest = text.lines().map(crate::report::text::width).max();
        assert!(widest <= Some(columns), "{text}");
    }
}

#[test]
fn colours_are_not_the_only_carrier() {
    let mut facts = good();
    facts.target.trouble = Some("permission denied".to_owned());
    let plain = on_paper(&facts);
    let coloured = text(&judge(&facts), Screen { columns: None, colour: Colour::Yes });
    assert!(coloured.contains("\x1b[1;31mfailed\x1b[0m"), "{coloured}");
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

#[test]
fn hostile_texts_stay_texts() {
    let mut facts = good();
    facts.registries = vec![unanswered("docker.io")];
    facts.registries[0].answer = RegistryAnswer::None("\x1b[2Jgone\nok  engine".to_owned());
    let text = on_paper(&facts);
    assert!(!text.contains('\x1b') && text.contains("no answer: gone ok engine"), "{text}");
}

#[test]
fn engines() {
    let with = |change: &dyn Fn(&mut FoundEngine)| {
        let mut facts = good();
        facts.engine.found.as_mut().map(change).expect("an engine");
        facts
    };
    fn about(found: &mut FoundEngine) -> &mut AboutEngine {
        found.about.as_mut().expect("says something")
    }
    check(
        &good(),
        "engine",
        "ok: docker 27.3.1 at unix:///var/run/docker.sock, linux/amd64, images in overlay2",
    );
    let old = with(&|found| about(found).api = (1, 38));
    check(
        &old,
        "api",
        "failed: 1.38; 1.41 is needed -> install Docker Engine 20.10 or later: docs.docker.com/engine/install",
    );
    assert_eq!(judge(&old).failed(), Some(Area::Machine));
    let full =
        with(&|found| about(found).disk = DiskFacts::Here { path: "/d".to_owned(), free: 9_999_999_999 });
    let report = judge(&full);
    assert_eq!(report.failed(), Some(Area::Machine), "{report:?}");
    let far = with(&|found| {
        found.endpoint = "ssh://far".to_owned();
        about(found).disk = DiskFacts::Elsewhere { host: "builder".to_owned(), used: Some(7_000_000_000) };
    });
    check(
        &far,
        "engine-disk",
        "skipped: the engine is on builder, whose disk cannot be seen from here; it uses 7.0 GB -> `df -h` there: 10 GB \
         have to be free; ssh://far is the engine",
    );
    let late = with(&|found| about(found).ahead = Some(-90));
    check(
        &late,
        "clock",
        "warning: 90 s behind this machine's -> set both by NTP: `timedatectl set-ntp true`; certificates and package \
         lists depend on it",
    );
    let careless = with(&|found| found.caution = Some("nothing vouches for it".to_owned()));
    assert_eq!(judge(&careless).checks[0].verdict, Verdict::Warning);
    let broken = with(&|found| found.trial = Trial::Failed("no such worker".to_owned()));
    check(
        &broken,
        "buildkit",
        "failed: no such worker -> see the engine's own log (`journalctl -u docker`); restarting it often helps",
    );
    let slow = with(&|found| found.trial = Trial::Late(Duration::from_secs(5)));
    assert_eq!(judge(&slow).verdict, Verdict::Warning);
    let mute = with(&|found| found.about = Err("gone".to_owned()));
    check(&mute, "api", "skipped: the engine says nothing of itself");
}

#[test]
fn what_helps_depends_on_where_an_engine_was_looked_for() {
    let none = |named_by, endpoint: &str, cause: &str| {
        let passed_over = vec![(endpoint.to_owned(), cause.to_owned())];
        Facts { engine: EngineFacts { passed_over, named_by, ..EngineFacts::default() }, ..good() }
    };
    check(
        &none(None, "unix:///var/run/docker.sock", "Permission denied (os error 13)"),
        "engine",
        "failed: no answer at unix:///var/run/docker.sock: Permission denied -> `sudo usermod -aG docker $USER` lets you \
         use the socket, from the next login on (`newgrp docker`: at once); without root, \
         `dockerd-rootless-setuptool.sh install` makes an engine of your own (docs.docker.com/go/rootless)",
    );
    check(
        &none(Some("DOCKER_HOST"), "tcp://far (DOCKER_HOST)", "connection refused"),
        "engine",
        "failed: no answer at tcp://far (DOCKER_HOST): connection refused -> see whether DOCKER_HOST is right, or unset \
         it and an engine of this machine is taken",
    );
}

#[test]
fn registries_that_do_not_answer() {
    let told = |change: &dyn Fn(&mut Facts)| {
        let mut facts = good();
        facts.registries = vec![unanswered("docker.io")];
        change(&mut facts);
        let report = judge(&facts);
        let found = report.checks.iter().find(|check| check.id == "registry/docker.io").expect("is checked");
        format!("{}: {}", found.verdict.as_str(), found.evidence)
    };
    assert_eq!(told(&|_| {}), "failed: 2 base images: no answer: connection refused");
    assert_eq!(
        told(&|facts| facts.registries[0].all_here = Some(true)),
        "warning: 2 base images: no answer: connection refused; all that is needed of it is here"
    );
    assert_eq!(
        told(&|facts| facts.registries.push(RegistryFacts {
            role: Role::Mirror("docker.io".to_owned()),
            ..registry("mirror.example")
        })),
        "warning: 2 base images: no answer: connection refused; its mirror mirror.example answers"
    );
    assert_eq!(
        told(&|facts| facts.network.nobody_answered = true),
        "warning: 2 base images: no answer: connection refused"
    );
}

#[test]
fn logins() {
    let told = |role: Role, source: Source, login: Login| {
        let facts = Facts {
            registries: vec![RegistryFacts { role, source, login, ..registry("r.example") }],
            ..good()
        };
        let report = judge(&facts);
        let found =
            report.checks.iter().find(|check| check.id == "credentials/r.example").expect("is checked");
        format!("{}: {}", found.verdict.as_str(), found.evidence)
    };
    let helper = |is_there| Source::Helper {
        program: "docker-credential-pass".to_owned(),
        setting: "credsStore",
        is_there,
    };
    for (role, source, login, expected) in [
        (
            Role::Origin,
            Source::Nowhere,
            Login::Nothing { wants_password: false },
            "ok: none stored; pulls are anonymous",
        ),
        (
            Role::Internal,
            Source::Nowhere,
            Login::Nothing { wants_password: true },
            "warning: none stored, and the registry asks for a password",
        ),
        (
            Role::Push,
            Source::Nowhere,
            Login::Nothing { wants_password: false },
            "warning: none stored; a push needs some",
        ),
        (Role::Origin, Source::File, Login::Accepted, "ok: from docker's config.json, accepted"),
        (
            Role::Origin,
            Source::File,
            Login::Refused(401),
            "failed: from docker's config.json, refused with status 401",
        ),
        (Role::Origin, Source::File, Login::NotTried, "skipped: from docker's config.json; not tried"),
        (
            Role::Origin,
            helper(true),
            Login::Accepted,
            "ok: from docker-credential-pass (credsStore), accepted",
        ),
        (
            Role::Origin,
            helper(false),
            Login::Nothing { wants_password: false },
            "warning: docker-credential-pass (credsStore) is not on this machine, so nobody logs in",
        ),
        (
            Role::Origin,
            helper(true),
            Login::Nothing { wants_password: false },
            "warning: from docker-credential-pass (credsStore), which has none for this registry",
        ),
        (Role::Origin, Source::Nowhere, Login::NotNeeded, "ok: none stored; the registry asks for none"),
    ] {
        assert_eq!(told(role, source, login), expected);
    }
}

#[test]
fn proxies_that_will_not_do() {
    let told = |internal: Option<&str>, builds: &[(&str, &str)]| {
        let builds = builds.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let internal = internal.map(str::to_owned);
        let facts = Facts { proxies: ProxyFacts { builds, internal, ..ProxyFacts::default() }, ..good() };
        let check = judge(&facts).checks.into_iter().find(|check| check.id == "proxies").expect("is checked");
        format!("{}: {}", check.verdict.as_str(), check.evidence)
    };
    let origin = "(docker's config.json, for builds)";
    assert_eq!(told(None, &[]), "ok: none are set");
    let p = ("HTTP_PROXY", "http://p:3128");
    assert_eq!(
        told(None, &[p, ("http_proxy", "http://p:3128")]),
        format!("ok: HTTP_PROXY=http://p:3128 {origin}")
    );
    assert_eq!(
        told(Some("r.example:5000"), &[p]),
        format!(
            "warning: HTTP_PROXY=http://p:3128 {origin}; the internal registry r.example:5000 would be asked through the \
             proxy"
        )
    );
    for exempt in ["r.example", "a, .example", "*.example", "*", "r.example:5000"] {
        assert!(told(Some("r.example:5000"), &[p, ("no_proxy", exempt)]).starts_with("ok"), "{exempt}");
    }
    assert!(told(Some("r.example"), &[p, ("NO_PROXY", "ample,other.example")]).starts_with("warning"));
    for loopback in ["http://127.0.0.1:1", "http://u:p@localhost:3128/", "socks5://[::1]:9"] {
        let told = told(None, &[("https_proxy", loopback)]);
        assert!(told.starts_with("warning") && told.contains("another one inside a build"), "{told}");
    }
}

#[test]
fn settings_services_and_folders() {
    let facts = Facts {
        settings: SettingsFacts {
            trouble: Some((
                ".config/xtask.toml:3:1: expected `=`".to_owned(),
                "edit .config/xtask.toml:3:1".to_owned(),
            )),
            ..SettingsFacts::default()
        },
        tree: Some(Err("no".to_owned())),
        ..good()
    };
    check(
        &facts,
        "settings",
        "failed: .config/xtask.toml:3:1: expected `=`; the rest was looked at with the built-in settings -> edit \
         .config/xtask.toml:3:1",
    );
    check(&facts, "tree", "skipped: the settings say where they are");
    assert_eq!(judge(&facts).failed(), Some(Area::Settings));
    let tree = |errors: &[&str], images, warnings| {
        let errors = errors.iter().map(|error| (*error).to_owned()).collect();
        Facts { tree: Some(Ok(TreeFacts { services: images, images, errors, warnings })), ..good() }
    };
    check(
        &tree(&["src/a/Dockerfile:3: odd", "b"], 2, 0),
        "tree",
        "failed: src/a/Dockerfile:3: odd; and 1 more -> edit the file; `cargo xtask plan` lists everything that is wrong",
    );
    assert_eq!(judge(&tree(&["x"], 1, 0)).failed(), Some(Area::Sources));
    check(
        &tree(&[], 1, 1),
        "tree",
        "warning: 1 service, 1 image, 1 warning -> `cargo xtask plan` shows them",
    );
    assert_eq!(judge(&tree(&[], 0, 0)).verdict, Verdict::Warning);
}

#[test]
fn compose_is_missed_only_where_there_is_a_file_for_it() {
    let told = |program: ComposeProgram, file: Option<&str>| {
        let files = file.map(str::to_owned).into_iter().collect();
        let facts = Facts { compose: ComposeFacts { files, program }, ..good() };
        let check = judge(&facts).checks.into_iter().find(|check| check.id == "compose").expect("is checked");
        format!("{}: {}", check.verdict.as_str(), check.evidence)
    };
    assert_eq!(
        told(ComposeProgram::Missing, None),
        "skipped: not installed, and the tree has no compose file"
    );
    assert_eq!(
        told(ComposeProgram::Missing, Some("compose.yaml")),
        "warning: neither `docker compose` nor `docker-compose`; compose.yaml is there"
    );
    assert_eq!(
        told(ComposeProgram::Late, Some("compose.yaml")),
        "skipped: it did not say in time which one it is"
    );
}

#[test]
fn bootstrap_says_what_it_would_take() {
    let told = |missing: &[&str], is_linux, may_be_root, has_apt| {
        let missing = missing.iter().map(|name| (*name).to_owned()).collect();
        let bootstrap = Some(BootstrapFacts { missing, is_linux, may_be_root, has_apt });
        let check =
            judge(&Facts { bootstrap, ..good() }).checks.into_iter().find(|check| check.id == "bootstrap");
        let check = check.expect("is checked");
        format!("{}: {}", check.verdict.as_str(), check.evidence)
    };
    assert_eq!(told(&[], false, true, true), "skipped: a private engine runs on Linux only");
    assert_eq!(
        told(&[], true, true, false),
        "ok: `--bootstrap` can start a private engine with what is installed"
    );
    assert_eq!(
        told(&["docker.io"], true, true, true),
        "ok: `--bootstrap` would install docker.io, and start a private engine"
    );
    assert!(told(&["docker.io"], true, true, false).starts_with("warning: a private engine needs docker.io"));
    assert!(told(&[], true, false, true).starts_with("warning: a private engine takes root"));
}

#[test]
fn what_decides_the_exit_code() {
    let mut facts = good();
    facts.registries = vec![unanswered("docker.io")];
    assert_eq!(judge(&facts).failed(), Some(Area::Registries));
    facts.tree = Some(Err("broken".to_owned()));
    assert_eq!(judge(&facts).failed(), Some(Area::Sources));
    facts.settings.trouble = Some(("x".to_owned(), "y".to_owned()));
    assert_eq!(judge(&facts).failed(), Some(Area::Settings));
    facts.engine.found = None;
    assert_eq!(judge(&facts).failed(), Some(Area::Machine));
    let report = judge(&facts);
    for check in &report.checks {
        let needs_fix = matches!(check.verdict, Verdict::Warning | Verdict::Failed);
        assert!(!needs_fix || check.fix.is_some(), "{check:?}");
        assert!(!check.evidence.is_empty(), "{check:?}");
    }
}
