//! Errors as they are told.

use super::*;
use crate::build::BuildError;
use crate::bundle::finding::BundleError;
use crate::engine::EngineError;
use crate::report::resolve::Colour;

fn told(error: impl Into<Error>) -> String {
    let error = error.into();
    let failure = error.telling(&Secrets::default()).unwrap();
    format!("{}\nexit {}", failure.lines(Colour::No).join("\n"), error.code())
}

#[test]
fn an_unreachable_engine_says_where_it_looked_and_what_helps() {
    let error = EngineError::Unreachable {
        tried: vec![
            ("unix:///var/run/docker.sock".to_owned(), "No such file or directory".to_owned()),
            ("unix:///run/user/1000/docker.sock".to_owned(), "connection refused".to_owned()),
        ],
        named_by: None,
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
fn a_socket_that_may_not_be_used_says_how_it_may() {
    for (socket, cause, named_by) in [
        ("unix:///var/run/docker.sock", "Permission denied (os error 13)", None),
        ("unix:///run/other.sock", "permission denied", Some("DOCKER_HOST")),
    ] {
        let nothing = ("unix:///run/user/7/docker.sock".to_owned(), "No such file or directory".to_owned());
        let tried = vec![nothing, (socket.to_owned(), cause.to_owned())];
        let told = told(EngineError::Unreachable { tried, named_by });
        for words in [socket, "may not use", "usermod -aG docker $USER", "rootless", "exit 12"] {
            assert!(told.contains(words), "{told}");
        }
    }
    // A far engine that refuses is another story.
    let tried = vec![("ssh://far".to_owned(), "Permission denied (publickey)".to_owned())];
    assert!(!told(EngineError::Unreachable { tried, named_by: None }).contains("usermod"));
}

#[test]
fn a_failed_image_reads_as_drawn() {
    let error = BuildError::Failed {
        instruction: Some("RUN npm ci".to_owned()),
        line: Some(12),
        exit_code: Some(1),
        cause: "process did not complete".to_owned(),
        last_lines: Vec::new(),
    };
    let lines = ["npm ERR! code ENOTFOUND".to_owned()];
    let error = Error::new(ErrorKind::BuildFailed, "cannot build image `frontend`")
        .because(error.told_at("src/frontend/Dockerfile"))
        .last_lines(&lines)
        .hint("full log in target/xtask/runs/8d2/logs/build-frontend.log");
    insta::assert_snapshot!(told(error), @"
    error: cannot build image `frontend`
      caused by: src/frontend/Dockerfile:12: `RUN npm ci` exited with status 1
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
    insta::assert_snapshot!(told(Error::of(ErrorKind::ConfigInvalid, &error)), @"
    error: cannot read .env
      caused by: permission denied
    exit 10 (config invalid)
    ");
}

#[test]
fn diagnostics_name_their_places() {
    let found = [
        Diagnostic::warning("src/a/Dockerfile", 1, "odd"),
        Diagnostic::error("src/a/Dockerfile", 3, "unknown instruction `FORM`"),
    ];
    insta::assert_snapshot!(told(Error::of_diagnostics(&found)), @"
    error: src/a/Dockerfile cannot be used
      caused by: src/a/Dockerfile:3: unknown instruction `FORM`
    exit 11 (Dockerfile or graph invalid)
    ");
}

#[test]
fn secrets_stay_out_and_what_was_told_stays_told() {
    let secrets = Secrets::default();
    secrets.add("a login", "hunter2");
    let error = Error::new(ErrorKind::PullFailed, "hunter2").because("of hunter2").hint("hunter2");
    let failure = error.telling(&secrets).unwrap();
    assert_eq!(failure.lines(Colour::No).join(" "), "error: ***   caused by: of *** hint: ***");
    let told = Error::told(ErrorKind::BuildFailed).because("x").context("y");
    assert_eq!((told.telling(&secrets), told.code().number()), (None, 3));
}

#[test]
fn a_damaged_bundle_names_its_blobs() {
    use crate::bundle::finding::BundleFinding;
    let path = std::path::PathBuf::from("b.tar");
    let blob = crate::model::Digest::from_sha256(&[7; 32]);
    let finding = BundleFinding::of_blob(&blob, "it is missing").needed_by(&["shop-api:v1".to_owned()]);
    insta::assert_snapshot!(told(BundleError::Refused { path: path.clone(), findings: vec![finding] }), @"
    error: b.tar is refused
      caused by: blob sha256:0707070707070707070707070707070707070707070707070707070707070707 (needed by shop-api:v1): it is missing
    hint: copy it again from where it was made, and compare with `cargo xtask bundle verify FILE` there
    exit 14 (artifact or bundle digest mismatch)
    ");
    let findings = vec![BundleFinding::new("x"); 22];
    assert!(told(BundleError::Refused { path, findings }).contains("caused by: and 2 more"));
}

#[test]
fn a_program_for_another_processor_is_told_as_that() {
    let failed = |line: &str| BuildError::Failed {
        instruction: Some("RUN make".to_owned()),
        line: Some(2),
        exit_code: Some(1),
        cause: "process did not complete".to_owned(),
        last_lines: vec![line.to_owned()],
    };
    insta::assert_snapshot!(failed("exec /bin/sh: exec format error").told_at("src/api/Dockerfile"), @"
    src/api/Dockerfile:2: `RUN make` exited with status 1
    its program is for another processor than the engine's, which needs emulation (binfmt) to run it
    ");
    insta::assert_snapshot!(failed("exec /bin/sh: exec format error").hints().join("\n"), @"
    `apt-get install qemu-user-static binfmt-support` on the engine's machine lets it run such programs
    only `RUN` needs that: a Dockerfile of `FROM` and `COPY` is built for any platform without it
    ");
    assert!(!failed("make: no rule").told_at("src/api/Dockerfile").contains("emulation"));
    assert_eq!(failed("make: no rule").hints(), Vec::<String>::new());
}
