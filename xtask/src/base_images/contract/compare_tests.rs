use std::time::Duration;

use super::*;
use crate::base_images::contract::parse;
use crate::model::{Digest, Healthcheck, Identity, ImageId, Platform, RunConfig};

/// This repo's own contract, on fixture systems that keep it.
fn contract() -> Contract {
    parse("contract.toml", include_str!("../../../../docker/base-images/contract.toml")).expect("is one")
}

#[derive(Clone)]
struct Seen {
    image: ImageName,
    os: &'static str,
    version: &'static str,
    details: ImageDetails,
    answers: BTreeMap<String, ExecOutput>,
    stopped: Option<Stopped>,
}

impl Seen {
    fn system(&self) -> System<'_> {
        System {
            image: &self.image,
            os: self.os,
            version: self.version,
            details: &self.details,
            answers: &self.answers,
            stopped: self.stopped,
        }
    }
}

/// A system that keeps the contract.
fn good(os: &'static str) -> Seen {
    good_of(os, "1.2.3")
}

fn good_of(os: &'static str, version: &'static str) -> Seen {
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let said = |stdout: String| ExecOutput { exit_code: 0, stdout, stderr: String::new() };
    let folders = ["bin", "conf", "data", "dynamic-plugins", "lib", "logs", "plugins"]
        .map(|name| format!("fit /opt/fit-framework/java/{name}\n"))
        .concat();
    let described = format!("Some {os}");
    Seen {
        image: ImageName::new(format!("fit-framework-{os}")),
        os,
        version,
        details: ImageDetails {
            id: ImageId::new(Digest::from_sha256(&[7; 32])),
            identity: Identity::of(&Platform::local(), &[], &RunConfig::default()),
            platform: "linux/amd64".parse().expect("a platform"),
            user: "fit".to_owned(),
            workdir: "/opt/fit-framework/java/dynamic-plugins".to_owned(),
            env: pairs(&[
                ("FIT_VERSION", version),
                ("FIT_HOME", "/opt/fit-framework"),
                ("JAVA_HOME", "/opt/java/openjdk"),
                ("JAVA_OPTS", "-Xms256m -Xmx1024m -Djava.awt.headless=true"),
                ("PATH", "/opt/fit-framework/java/bin:/bin"),
            ]),
            entrypoint: words(&["entrypoint.sh"]),
            cmd: words(&["fit", "start"]),
            exposed_ports: ["8080/tcp", "8090/tcp"].map(str::to_owned).into(),
            healthcheck: Some(Healthcheck { test: words(&["CMD", "healthcheck.sh"]), ..Default::default() }),
            labels: pairs(&[
                ("org.opencontainers.image.title", &described),
                ("org.opencontainers.image.description", &described),
                ("org.opencontainers.image.version", version),
                ("org.opencontainers.image.source", "https://github.com/ModelEngine-Group/fit-framework"),
                ("dev.xtask.fingerprint", os),
                ("build.id", os),
            ]),
            triggers: Vec::new(),
            volumes: BTreeSet::new(),
            stop_signal: None,
            layers: Vec::new(),
            size: 450_000_000,
            repo_digests: Vec::new(),
        },
        answers: BTreeMap::from([
            (UID.to_owned(), said("2000\n".to_owned())),
            (FIT_VERSION.to_owned(), said(format!("Version: {version}\n"))),
            (FOLDERS.to_owned(), said(folders)),
        ]),
        stopped: Some(Stopped { after: Duration::from_millis(120), exit_code: Some(0) }),
    }
}

fn compared(contract: &Contract, seen: &[Seen]) -> ContractComparison {
    compare(contract, &seen.iter().map(Seen::system).collect::<Vec<_>>())
}

#[track_caller]
fn finds(change: impl Fn(&mut Seen), expected: &[&str]) {
    let mut changed = good("debian");
    change(&mut changed);
    let comparison = compared(&contract(), &[good("alpine"), changed]);
    assert_eq!(comparison.findings(), expected);
    assert_eq!(comparison.holds(), expected.is_empty());
    let failed =
        |column| comparison.checks(column).iter().filter(|c| c.verdict == SmokeVerdict::Failed).count();
    assert_eq!(failed(1), expected.len(), "the column that was changed");
}

#[test]
fn a_screen_is_never_too_narrow_for_a_row() {
    let comparison = compared(&contract(), &[good("alpine"), good("debian")]);
    let text = comparison.fitted(Some(80));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(text.lines().count(), comparison.to_string().lines().count());
    assert!(text.lines().any(|line| line.contains('…')), "{text}");
}

#[test]
fn systems_side_by_side() {
    let comparison = compared(&contract(), &[good("alpine"), good("debian")]);
    assert!(comparison.holds());
    insta::assert_snapshot!(comparison, @"
    contract                                    promised                                          alpine                 debian
    user                                        fit                                               ok                     ok
    workdir                                     /opt/fit-framework/java/dynamic-plugins           ok                     ok
    entrypoint                                  entrypoint.sh                                     ok                     ok
    cmd                                         fit start                                         ok                     ok
    ports                                       8080/tcp 8090/tcp                                 ok                     ok
    health check                                healthcheck.sh                                    ok                     ok
    volumes                                     none                                              ok                     ok
    stop signal                                 SIGTERM                                           ok                     ok
    env FIT_HOME                                /opt/fit-framework                                ok                     ok
    env FIT_VERSION                             1.2.3                                             ok                     ok
    env JAVA_HOME                               /opt/java/openjdk                                 ok                     ok
    env JAVA_OPTS                               -Xms256m -Xmx1024m -Djava.awt.headless=true       ok                     ok
    env PATH                                    any                                               ok                     ok
    label org.opencontainers.image.description  any                                               ok                     ok
    label org.opencontainers.image.source       https://github.com/ModelEngine-Group/fit-framew…  ok                     ok
    label org.opencontainers.image.title        any                                               ok                     ok
    label org.opencontainers.image.version      1.2.3                                             ok                     ok
    size                                        at most 800 MB or 1000 MB                         450 MB                 450 MB
    uid                                         2000                                              ok                     ok
    fit version                                 a text with 1.2.3                                 Version: 1.2.3         Version: 1.2.3
    /opt/fit-framework/java/bin                 fit's                                             ok                     ok
    /opt/fit-framework/java/conf                fit's                                             ok                     ok
    /opt/fit-framework/java/data                fit's                                             ok                     ok
    /opt/fit-framework/java/dynamic-plugins     fit's                                             ok                     ok
    /opt/fit-framework/java/lib                 fit's                                             ok                     ok
    /opt/fit-framework/java/logs                fit's                                             ok                     ok
    /opt/fit-framework/java/plugins             fit's                                             ok                     ok
    stops                                       within 9 s, status 0 or 143                       after 0.1 s, status 0  after 0.1 s, status 0
    ");
}

#[test]
fn what_is_broken_stands_out() {
    let mut debian = good("debian");
    debian.details.user = String::new();
    debian.details.size = 1_200_000_000;
    debian.details.env.insert("TZ".to_owned(), "Asia/Shanghai".to_owned());
    debian.details.labels.remove("org.opencontainers.image.version");
    debian.answers.insert(
        FIT_VERSION.to_owned(),
        ExecOutput { exit_code: 127, stdout: String::new(), stderr: "sh: fit: not found\n".to_owned() },
    );
    debian.answers.remove(UID);
    debian.stopped = None;
    let comparison = compared(&contract(), &[good("alpine"), debian]);
    insta::assert_snapshot!(comparison, @"
    contract                                    promised                                          alpine                 debian
    user                                        fit                                               ok                     ! none
    workdir                                     /opt/fit-framework/java/dynamic-plugins           ok                     ok
    entrypoint                                  entrypoint.sh                                     ok                     ok
    cmd                                         fit start                                         ok                     ok
    ports                                       8080/tcp 8090/tcp                                 ok                     ok
    health check                                healthcheck.sh                                    ok                     ok
    volumes                                     none                                              ok                     ok
    stop signal                                 SIGTERM                                           ok                     ok
    env FIT_HOME                                /opt/fit-framework                                ok                     ok
    env FIT_VERSION                             1.2.3                                             ok                     ok
    env JAVA_HOME                               /opt/java/openjdk                                 ok                     ok
    env JAVA_OPTS                               -Xms256m -Xmx1024m -Djava.awt.headless=true       ok                     ok
    env PATH                                    any                                               ok                     ok
    env TZ                                      (the same)                                        ! missing              ! Asia/Shanghai
    label org.opencontainers.image.description  any                                               ok                     ok
    label org.opencontainers.image.source       https://github.com/ModelEngine-Group/fit-framew…  ok                     ok
    label org.opencontainers.image.title        any                                               ok                     ok
    label org.opencontainers.image.version      1.2.3                                             ok                     ! missing
    size                                        at most 800 MB or 1000 MB                         450 MB                 ! 1200 MB
    uid                                         2000                                              ok                     -
    fit version                                 a text with 1.2.3                                 Version: 1.2.3         ! status 127: sh: fit: not found
    /opt/fit-framework/java/bin                 fit's                                             ok                     ok
    /opt/fit-framework/java/conf                fit's                                             ok                     ok
    /opt/fit-framework/java/data                fit's                                             ok                     ok
    /opt/fit-framework/java/dynamic-plugins     fit's                                             ok                     ok
    /opt/fit-framework/java/lib                 fit's                                             ok                     ok
    /opt/fit-framework/java/logs                fit's                                             ok                     ok
    /opt/fit-framework/java/plugins             fit's                                             ok                     ok
    stops                                       within 9 s, status 0 or 143                       after 0.1 s, status 0  -
    ");
    insta::assert_snapshot!(comparison.findings().join("\n"), @"
    user: none on debian, not fit
    env TZ: the systems differ: missing on alpine, Asia/Shanghai on debian
    label org.opencontainers.image.version: missing on debian, not 1.2.3
    size: 1200 MB on debian, not at most 800 MB or 1000 MB
    fit version: status 127: sh: fit: not found on debian, not a text with 1.2.3
    ");
}

#[test]
fn each_point_is_looked_at() {
    finds(|_| {}, &[]);
    finds(|seen| seen.details.user = "root".to_owned(), &["user: root on debian, not fit"]);
    finds(
        |seen| seen.details.workdir = String::new(),
        &["workdir: none on debian, not /opt/fit-framework/java/dynamic-plugins"],
    );
    finds(|seen| seen.details.entrypoint.clear(), &["entrypoint: none on debian, not entrypoint.sh"]);
    finds(
        |seen| seen.details.cmd.push("debug".to_owned()),
        &["cmd: fit start debug on debian, not fit start"],
    );
    finds(
        |seen| {
            seen.details.exposed_ports.remove("8090/tcp");
        },
        &["ports: 8080/tcp on debian, not 8080/tcp 8090/tcp"],
    );
    finds(|seen| seen.details.healthcheck = None, &["health check: missing on debian, not healthcheck.sh"]);
    finds(
        |seen| {
            seen.details.volumes.insert("/data".to_owned());
        },
        &["volumes: /data on debian, not none"],
    );
    finds(
        |seen| seen.details.stop_signal = Some("SIGQUIT".to_owned()),
        &["stop signal: SIGQUIT on debian, not SIGTERM"],
    );
    finds(
        |seen| seen.details.size = 1_000_000_001,
        &["size: 1000 MB on debian, not at most 800 MB or 1000 MB"],
    );
    finds(
        |seen| {
            seen.details.labels.remove("org.opencontainers.image.description");
        },
        &["label org.opencontainers.image.description: missing on debian, not any"],
    );
}

#[test]
fn what_runs_is_looked_at() {
    let says = |name: &'static str, stdout: &'static str| {
        move |seen: &mut Seen| {
            let answer = ExecOutput { exit_code: 0, stdout: stdout.to_owned(), stderr: String::new() };
            seen.answers.insert(name.to_owned(), answer);
        }
    };
    let stops = |millis: u64, exit_code: i64| {
        move |seen: &mut Seen| {
            let after = Duration::from_millis(millis);
            seen.stopped = Some(Stopped { after, exit_code: Some(exit_code) });
        }
    };
    finds(says(UID, "0\n"), &["uid: 0 on debian, not 2000"]);
    finds(
        says(FIT_VERSION, "Version: 1.2.30\n"),
        &["fit version: Version: 1.2.30 on debian, not a text with 1.2.3"],
    );
    finds(says(FIT_VERSION, "Version: v1.2.3 (sample)\n"), &[]);
    finds(stops(9_100, 0), &["stops: after 9.1 s, status 0 on debian, not within 9 s, status 0 or 143"]);
    finds(stops(100, 137), &["stops: after 0.1 s, status 137 on debian, not within 9 s, status 0 or 143"]);
    finds(stops(100, 143), &[]);
    let mut folders = good("debian").answers[FOLDERS].stdout.clone();
    folders = folders.replace("fit /opt/fit-framework/java/logs", "root /opt/fit-framework/java/logs");
    folders = folders.replace("fit /opt/fit-framework/java/data\n", "");
    finds(
        |seen| {
            let answer = ExecOutput { stdout: folders.clone(), ..ExecOutput::default() };
            seen.answers.insert(FOLDERS.to_owned(), answer);
        },
        &[
            "/opt/fit-framework/java/data: missing on debian, not fit's",
            "/opt/fit-framework/java/logs: root's on debian, not fit's",
        ],
    );
}

#[test]
fn systems_that_differ_where_the_contract_is_silent_drift() {
    let has = |name: &'static str, value: &'static str| {
        move |seen: &mut Seen| {
            seen.details.env.insert(name.to_owned(), value.to_owned());
        }
    };
    finds(has("TZ", "UTC"), &["env TZ: the systems differ: missing on alpine, UTC on debian"]);
    finds(
        |seen| {
            seen.details.labels.insert("maintainer".to_owned(), "me".to_owned());
        },
        &["label maintainer: the systems differ: missing on alpine, me on debian"],
    );
    // A difference that is allowed, and one that says nothing but which system it is.
    let mut allowed = contract();
    allowed.differs.env = vec!["TZ".to_owned(), "LC_*".to_owned()];
    let mut debian = good("debian");
    has("TZ", "UTC")(&mut debian);
    has("LC_ALL", "C")(&mut debian);
    has("OS", "debian")(&mut debian);
    let mut alpine = good("alpine");
    has("OS", "alpine")(&mut alpine);
    assert_eq!(compared(&allowed, &[alpine, debian]).findings(), [""; 0]);
    // Nothing to differ from.
    let mut alone = good("debian");
    has("TZ", "UTC")(&mut alone);
    assert_eq!(compared(&contract(), &[alone]).findings(), [""; 0]);
}

#[test]
fn versions_side_by_side_differ_in_nothing_but_their_version() {
    let comparison = compared(&contract(), &[good_of("debian", "1.2.3"), good_of("debian", "9.9.9")]);
    assert_eq!(comparison.findings(), [""; 0]);
    assert_eq!(comparison.systems, ["debian 1.2.3", "debian 9.9.9"]);
}

#[test]
fn platforms_side_by_side_are_told_apart() {
    let mut other = good("debian");
    other.details.platform = "linux/arm64".parse().expect("a platform");
    other.image = ImageName::new("other");
    let comparison = compared(&contract(), &[good("debian"), other]);
    assert_eq!(comparison.systems, ["debian linux/amd64", "debian linux/arm64"]);
    assert_eq!(
        comparison.images.iter().map(ImageName::as_str).collect::<Vec<_>>(),
        ["fit-framework-debian", "other"]
    );
}

/// Adding a system is adding a folder: nothing here knows the systems by name.
#[test]
fn a_third_system_is_one_more_column() {
    let comparison = compared(&contract(), &[good("alpine"), good("debian"), good("fixture")]);
    assert_eq!(comparison.systems, ["alpine", "debian", "fixture"]);
    assert!(comparison.holds());
    let mut fixture = good("fixture");
    fixture.details.user = "root".to_owned();
    let comparison = compared(&contract(), &[good("alpine"), good("debian"), fixture]);
    assert_eq!(comparison.findings(), ["user: root on fixture, not fit"]);
    assert_eq!(compared(&contract(), &[]).findings(), [""; 0]);
}

/// A trial fails on an image that had to be killed, whether or not the contract speaks of it; the table shows it.
#[test]
fn an_end_by_force_has_its_row_though_the_contract_is_silent() {
    let mut killed = good("debian");
    killed.stopped = Some(Stopped { after: Duration::from_secs(20), exit_code: Some(137) });
    let silent = Contract::default();
    let comparison = compared(&silent, &[good("alpine"), killed]);
    let row = comparison.rows.iter().find(|row| row.point == "stops").expect("a row");
    assert_eq!(row.promised.as_deref(), Some("without being killed"));
    let told: Vec<String> = comparison.findings();
    assert!(
        told.contains(&"stops: after 20.0 s, status 137 on debian, not without being killed".to_owned()),
        "{told:?}"
    );
    let comparison = compared(&silent, &[good("alpine"), good("debian")]);
    assert!(comparison.rows.iter().all(|row| row.point != "stops"));
}

#[test]
fn the_built_in_contract_takes_systems_that_name_things_as_they_like() {
    let mut foreign = good("debian");
    foreign.details.entrypoint = vec!["docker-entrypoint.sh".to_owned()];
    foreign.details.env.insert("JAVA_HOME".to_owned(), "/usr/lib/jvm/java-17-openjdk-amd64".to_owned());
    foreign.details.env.insert("FIT_VERSION".to_owned(), String::new());
    let mut other = foreign.clone();
    other.os = "alpine";
    other.details.env.insert("JAVA_HOME".to_owned(), "/usr/lib/jvm/java-17-openjdk".to_owned());
    let comparison = compared(&Contract::built_in(), &[other, foreign.clone()]);
    assert_eq!(comparison.findings(), [""; 0]);
    // What a container starts with still has to be the same everywhere.
    let comparison = compared(&Contract::built_in(), &[good("alpine"), foreign]);
    assert_eq!(
        comparison.findings(),
        ["entrypoint: the systems differ: entrypoint.sh on alpine, docker-entrypoint.sh on debian"]
    );
}
