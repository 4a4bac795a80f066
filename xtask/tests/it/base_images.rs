//! The base images of this repo, as far as they can be tried without an engine: what the systems share, and the
//! entrypoint in both shells that it has to run in.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::testing::TestTree;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/base-images")
}

/// What every system's Dockerfile has word for word: the artifact's stage, and all from the shared part on.
fn shared(dockerfile: &str) -> (&str, &str) {
    let stage = dockerfile.find("FROM scratch AS artifact").expect("the artifact's stage");
    let own = dockerfile.find("# What only").expect("a comment before what is the system's own");
    let tail = dockerfile.find("# The same in every system").expect("a comment before what is shared");
    (&dockerfile[stage..own], &dockerfile[tail..])
}

#[test]
fn systems_differ_only_where_they_say_so() {
    let mut systems = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path().join("Dockerfile");
        if let Ok(text) = std::fs::read_to_string(&path) {
            systems.push((path, text));
        }
    }
    assert!(systems.len() >= 2);
    for (path, text) in &systems {
        assert_eq!(shared(text), shared(&systems[0].1), "{} and {}", path.display(), systems[0].0.display());
        assert!(text.contains("org.opencontainers.image.description="), "{}", path.display());
    }
}

/// The shells of Debian and of Alpine, as far as this machine has them.
fn shells() -> Vec<Vec<&'static str>> {
    let mut shells = vec![vec!["sh"]];
    match Command::new("busybox").arg("true").output() {
        Ok(_) => shells.push(vec!["busybox", "sh"]),
        Err(_) => eprintln!("skipped: there is no busybox, so Alpine's shell is not tried"),
    }
    shells
}

/// A home of the framework with a `fit` of our own.
struct Home {
    tree: TestTree,
    shell: Vec<&'static str>,
}

impl Home {
    fn new(shell: Vec<&'static str>, fit: &str) -> Self {
        let tree = TestTree::new(&format!(
            "//- java/bin/fit mode=755\n#!/bin/sh\n{fit}\n//- java/conf/\n//- java/dynamic-plugins/\n"
        ));
        Self { tree, shell }
    }

    fn command(&self, env: &[(&str, &str)], words: &[&str]) -> Command {
        let mut command = Command::new(self.shell[0]);
        command
            .args(&self.shell[1..])
            .arg(folder().join("common/entrypoint.sh"))
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("FIT_HOME", self.tree.root())
            .env("FIT_WORKER_ID", "w")
            .envs(env.iter().copied());
        command
    }

    fn run(&self, env: &[(&str, &str)], words: &[&str]) -> Output {
        self.command(env, words).output().unwrap()
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.tree.root().join("java/conf/fitframework.yml")).unwrap_or_default()
    }
}

/// What `fit` was started with, where it only tells.
#[track_caller]
fn starts(env: &[(&str, &str)], words: &[&str], expected: &str) {
    for shell in shells() {
        let home = Home::new(shell.clone(), "echo \"got: $*\"");
        let output = home.run(env, words);
        let said = String::from_utf8_lossy(&output.stdout);
        let got = said.lines().find_map(|line| line.strip_prefix("got: "));
        assert_eq!(got, Some(expected), "{shell:?}: {output:?}");
        assert_eq!(output.status.code(), Some(0), "{shell:?}");
    }
}

#[test]
fn the_environment_goes_in_as_system_properties() {
    starts(&[], &[], "start -Dworker.id=w");
    starts(&[("JAVA_OPTS", "-Xmx1g  -Da=*")], &["fit", "start"], "start -Xmx1g -Da=* -Dworker.id=w");
    starts(
        &[("FIT_HTTP_PORT", "8081"), ("FIT_LOG_LEVEL", "debug")],
        &["fit", "start", "-Xmx2g", "k=v w"],
        "start -Dserver.http.port=8081 -Dworker.id=w -Dlog4j2.level=debug -Xmx2g k=v w",
    );
}

#[test]
fn the_first_start_writes_a_configuration_and_no_later_one_does() {
    for shell in shells() {
        let home = Home::new(shell, "exit 0");
        home.run(&[("FIT_HTTP_PORT", "8081")], &[]);
        let written = home.config();
        assert!(written.contains("    port: 8081\n"), "{written}");
        home.run(&[("FIT_HTTP_PORT", "8082")], &[]);
        assert_eq!(home.config(), written);
    }
}

#[track_caller]
fn refuses(name: &str, value: &str, expected: &str) {
    for shell in shells() {
        let home = Home::new(shell.clone(), "echo started");
        let output = home.run(&[(name, value)], &[]);
        assert_eq!(output.status.code(), Some(64), "{shell:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said, format!("fit-framework: {name} is `{value}`; expected {expected}\n"), "{shell:?}");
        assert_eq!(home.config(), "", "{shell:?}: nothing is written");
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    for value in ["abc", "0", "65536", "99999999999999999999", "-1", "8 0"] {
        refuses("FIT_HTTP_PORT", value, "a number from 1 to 65535");
    }
    refuses("FIT_REGISTRY_PORT", "http", "a number from 1 to 65535");
    refuses("FIT_REGISTRY_WAIT", "4000", "a number from 0 to 3600");
    refuses("FIT_LOG_LEVEL", "loud", "trace, debug, info, warn or error");
    refuses("FIT_WORKER_ID", "a'b", "letters, digits and . _ : @ - only");
    refuses("FIT_REGISTRY_HOST", "$(id)", "letters, digits and . _ : @ - only");
}

#[test]
fn its_own_end_is_the_containers() {
    for shell in shells() {
        let ended = |fit: &str| Home::new(shell.clone(), fit).run(&[], &[]).status.code();
        assert_eq!(ended("exit 7"), Some(7), "{shell:?}");
        assert_eq!(ended("kill -9 $$"), Some(137), "{shell:?}");
        // What it leaves behind goes with it.
        assert_eq!(ended("sleep 100 & exit 3"), Some(3), "{shell:?}");
    }
}

#[test]
fn anything_else_is_run_as_it_is() {
    for shell in shells() {
        let home = Home::new(shell, "echo fit");
        let said = |words: &[&str]| String::from_utf8(home.run(&[], words).stdout).unwrap();
        assert_eq!(said(&["echo", "a b"]), "a b\n");
        assert!(said(&["help"]).contains("FIT_REGISTRY_WAIT"));
        assert_eq!(home.config(), "");
    }
}

/// Starts, asks it to stop as soon as it says `ready`, and tells how it ended and what else it said.
fn stopped(shell: &[&'static str], env: &[(&str, &str)], fit: &str, ready: &str) -> (Option<i32>, String) {
    let home = Home::new(shell.to_vec(), fit);
    let mut child = home.command(env, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(ready) {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "it ended before it said `{ready}`");
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap().code(), rest)
}

/// A `fit` that is a script with a JVM below it, and passes no signal on.
#[test]
fn term_reaches_what_a_script_started() {
    let fit = r#"sh -c 'trap "sleep 0.2; echo saved; exit 143" TERM; echo up; while :; do sleep 0.1; done'; echo after"#;
    for shell in shells() {
        let (status, said) = stopped(&shell, &[], fit, "up");
        assert_eq!(status, Some(0), "{shell:?}: {said}");
        assert!(said.contains("fit-framework: stopping\nsaved\n"), "{shell:?}: {said}");
        assert!(said.ends_with("fit-framework: stopped\n"), "{shell:?}: {said}");
    }
}

#[test]
fn a_registry_that_does_not_answer_is_waited_for_and_no_longer() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    // Nothing listens on port 1, and 127.0.0.2 is not the host that needs no waiting.
    let nobody = [("FIT_REGISTRY_HOST", "127.0.0.2"), ("FIT_REGISTRY_PORT", "1")];
    for shell in shells() {
        let home = Home::new(shell.clone(), "echo started anyway");
        let output = home.run(&[nobody[0], nobody[1], ("FIT_REGISTRY_WAIT", "0")], &[]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains("did not answer in 0 s; starting without it\n") && said.contains("started anyway"),
            "{shell:?}: {said}"
        );
        let (status, said) = stopped(&shell, &nobody, "echo started", "waiting up to 30 s");
        assert_eq!(
            (status, said.as_str()),
            (Some(0), "fit-framework: stopped before the start\n"),
            "{shell:?}"
        );
    }
}

#[test]
fn a_registry_that_answers_is_waited_for_no_more() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    // It takes connections and says nothing: that is an answer.
    let listener = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let accepts = std::thread::spawn(move || {
        for _ in shells() {
            drop(listener.accept());
        }
    });
    for shell in shells() {
        let home = Home::new(shell.clone(), "echo started");
        let output = home.run(&[("FIT_REGISTRY_HOST", "127.0.0.2"), ("FIT_REGISTRY_PORT", &port)], &[]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("127.0.0.2:{port} answers\n")), "{shell:?}: {said}");
    }
    accepts.join().unwrap();
}
