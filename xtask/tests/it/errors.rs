//! SPEC section 6: what bad input gets, row by row.

use crate::repo::TestRepo;

const OK: &str = "//- src/ok/Dockerfile\nFROM scratch\nCOPY f /\n//- src/ok/f\n1\n";

#[track_caller]
fn check(fixture: &str, words: &str, code: i32, said: &[&str]) {
    let repo = TestRepo::new(&format!("{OK}{fixture}"));
    let text = repo.run(&format!("{words} --network external"));
    assert!(text.starts_with(&format!("exit {code}\n")), "{words}: expected exit {code}\n{text}");
    for said in said {
        assert!(text.contains(said), "{words}: lacks {said:?}\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn without_an_engine() {
    let repo = TestRepo::new(OK);
    insta::assert_snapshot!(repo.run("build-all"), @"
    exit 12
    --- stderr
    error: no container engine answers
      caused by: no answer at unix://TMP/no-engine.sock (DOCKER_HOST): No such file or directory (os error 2)
    hint: see whether DOCKER_HOST is right
    hint: `cargo xtask doctor` looks closer
    ");
    assert!(!repo.root().join("target").join("xtask/runs").exists(), "nothing changed");
    for words in ["build", "prefetch", "alias", "alias --check", "verify", "push ok", "push-all"] {
        assert_eq!(repo.code(words), 12, "{words}");
    }
    for words in ["status", "plan", "build-all --dry-run", "sync-config", "render", "history"] {
        assert_eq!(repo.code(&format!("{words} --offline")), 0, "{words}");
    }
    insta::assert_snapshot!(repo.run("status --offline"), @"
    exit 0
    --- stdout
    ok:latest  unknown     (no engine to ask)
    1 image: 1 unknown
    --- stderr
    warning: no container engine answers
      caused by: no answer at unix://TMP/no-engine.sock (DOCKER_HOST): No such file or directory (os error 2)
    hint: see whether DOCKER_HOST is right
    hint: `cargo xtask doctor` looks closer
    ");
}

#[test]
fn an_engine_that_is_too_old() {
    use std::io::{Read as _, Write as _};
    let repo = TestRepo::new(OK);
    let socket = repo.home().join("old.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) {
                    let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.38\r\nContent-Type: application/json\r\n";
                    let _ = write!(stream, "{head}Content-Length: 2\r\n\r\n{{}}");
                }
            });
        }
    });
    let host = format!("unix://{}", socket.display());
    let repo = repo.with("DOCKER_HOST", &host);
    insta::assert_snapshot!(repo.run("build-all --network external"), @"
    exit 12
    --- stderr
    error: the engine at unix://TMP/home/old.sock speaks API 1.38, and 1.41 (Docker 20.10) is needed
    hint: `cargo xtask build-all --bootstrap` starts a private engine for this tree
    hint: `DOCKER_HOST=unix:///path/to/docker.sock` names an engine that runs already
    hint: `sudo systemctl start docker` starts the one of this machine
    ");
    assert!(!repo.root().join("target/xtask/runs").exists(), "nothing changed");
}

#[test]
fn dockerfiles() {
    for words in ["plan", "status", "build-all --dry-run", "plan --format json"] {
        check(
            "//- src/bad/Dockerfile\nFROM scratch\nRUNN x\n",
            words,
            11,
            &["src/bad/Dockerfile", "unknown instruction `RUNN`"],
        );
    }
    check(
        "//- src/bad/Dockerfile\nFROM ${BASE}\n",
        "plan",
        11,
        &["src/bad/Dockerfile:1: ", "--build-arg BASE="],
    );
    check(
        "//- src/bad/Dockerfile.tpl\nFROM {{NOPE}}\n//- .env\nNOPES=1\n",
        "render",
        11,
        &["src/bad/Dockerfile.tpl:1:6: `NOPE` is not defined", "`NOPES`"],
    );
    check(
        "//- src/bad/Dockerfile.tpl\nFROM {{NOPE}}\n",
        "render --check",
        11,
        &["src/bad/Dockerfile.tpl:1:6"],
    );
    check(
        "//- src/bad/Dockerfile\nFROM scratch AS a\n//- src/bad/build-targets.conf\nb img\n",
        "plan",
        11,
        &["there is no stage `b`", "stages: a", "src/bad/build-targets.conf:1"],
    );
    check(
        "//- src/bad/Dockerfile\nFROM scratch\nCOPY nothere* /\nCOPY ign /\n//- src/bad/ign\n1\n//- src/bad/.dockerignore\n# c\nig*\n",
        "plan",
        11,
        &["src/bad/Dockerfile:2: COPY source `nothere*` matches nothing", "src/bad/.dockerignore:2"],
    );
    check(
        "//- src/a/Dockerfile\nFROM b\n//- src/b/Dockerfile\nFROM scratch\nCOPY --from=a / /\n",
        "status",
        11,
        &[
            "src/a/Dockerfile:1: images need each other: a -> b -> a",
            "needs a, which cannot be built",
            "ok:latest  unknown",
        ],
    );
    // One image of a cycle fails, so that the end of a run tells of it; the others wait for it.
    check(
        "//- src/a/Dockerfile\nFROM b\n//- src/b/Dockerfile\nFROM scratch\nCOPY --from=a / /\n",
        "build-all --dry-run",
        11,
        &["failed     a  (src/a/Dockerfile:1: images need each other: a -> b -> a", "skipped    b  (needs a"],
    );
    let empty = TestRepo::new("//- README.md\n");
    insta::assert_snapshot!(empty.run("plan --offline"), @"
    exit 5
    --- stderr
    error: there are no images in this tree
      caused by: no folder `src/*` has a Dockerfile, Dockerfile.tpl or dependency.conf
    hint: `services` in .config/xtask.toml says where they lie
    ");
}

/// A service that is fine, one whose name makes no image, and four with one mistake.
const MIXED: &str = "
//- src/fine/Dockerfile
FROM scratch
//- src/fine/x
//- src/-odd/Dockerfile
FROM scratch
//- src/p/Dockerfile
FROM scratch
COPY gone /
//- src/q/Dockerfile
FROM scratch
COPY gone /
//- src/r/Dockerfile
FROM scratch
COPY gone /
//- src/s/Dockerfile
FROM scratch
COPY gone /
";

#[test]
fn findings_are_those_of_what_was_asked_for() {
    let repo = TestRepo::new(MIXED);
    for (words, expect) in [
        ("plan", 2),
        ("status", 2),
        ("plan --only fine", 0),
        ("status --skip p,q,r,s", 0),
        ("build fine --dry-run", 0),
        ("sync-config", 0),
        ("render --progress plain", 0),
        ("plan --only p,q", 1),
        ("plan --skip fine", 1),
    ] {
        let text = repo.run(words);
        let found = text.lines().filter(|line| line.starts_with("error: ") || line.contains(" warning "));
        assert_eq!(found.count(), expect, "{words}:\n{text}");
    }
    let text = repo.run("plan");
    assert!(text.contains("(and at src/q/Dockerfile:2, src/r/Dockerfile:2, and 1 more)"), "{text}");
}

#[test]
fn a_dry_run_ends_as_the_run_would() {
    for (tree, words, code) in [
        (MIXED, "build-all", 11),
        (MIXED, "build fine", 0),
        (MIXED, "build p", 11),
        (MIXED, "build nobody", 2),
        ("//- src/a/Dockerfile\nFROM scratch\n//- src/a/build.conf\nBUILD_PHASE=x\n", "build-all", 10),
        (
            "//- src/a/Dockerfile\nFROM scratch\n//- src/a/x.tpl\n{{NOPES}}{{NOPE}}\n//- .env\nNOPES=1\n",
            "render",
            11,
        ),
    ] {
        assert_eq!(TestRepo::new(tree).code(&format!("{words} --dry-run")), code, "{words}");
    }
}

#[test]
fn settings() {
    for (fixture, place) in [
        ("//- .config/xtask.toml\nprefix = \"x\"\njobs = \"many\"\n", ".config/xtask.toml:2:8: "),
        ("//- .config/xtask.toml\nprefix =\n", ".config/xtask.toml:1:9: "),
        ("//- .env\nA=1\nthis is bad\n", ".env:2:6: "),
        ("//- .env\nA=1\nB=\"open\n", ".env:2:3: "),
        (
            "//- src/bad/Dockerfile\nFROM scratch\n//- src/bad/build.conf\nBUILD_PHASE=sideways\n",
            "src/bad/build.conf:1:1: ",
        ),
        ("//- src/bad/dependency.conf\nBad::x\n", "src/bad/dependency.conf:1:1: "),
        (
            "//- src/bad/Dockerfile\nFROM scratch\n//- src/bad/build-targets.conf\na b c\n",
            "src/bad/build-targets.conf:1:5: ",
        ),
        (
            "//- src/bad/Dockerfile\nFROM scratch\n//- src/bad/service.toml\ncontext = 5\n",
            "src/bad/service.toml:1:11: ",
        ),
    ] {
        check(fixture, "plan", 10, &[place]);
        check(fixture, "status", 10, &[place]);
    }
    check(
        "//- .config/xtask.toml\nprefx = \"x\"\n",
        "plan",
        0,
        &["unknown key `prefx`, did you mean `prefix`?"],
    );
    let repo = TestRepo::new(OK).with("PARALLEL_JOBS", "many");
    assert!(repo.run("plan --offline").starts_with("exit 10"));
}

#[test]
fn who_is_named_alone_does_not_hear_of_the_rest() {
    let bad = "//- src/bad/Dockerfile\nFROM scratch\nRUNN x\n";
    check(bad, "plan --only ok", 0, &["ok"]);
    check(bad, "plan --skip bad", 0, &["ok"]);
    check(bad, "plan --only bad", 11, &["RUNN"]);
}

#[test]
fn a_tree_without_services_says_what_it_has_instead() {
    let base = "//- docker/base-images/tiny/Dockerfile\nFROM a\nARG FIT_VERSION=1\n";
    for (fixture, code, said) in [
        (base, 5, "`cargo xtask base-images` builds them"),
        ("//- src/my app/Dockerfile\nFROM a\n", 11, "src/my app: its image name makes no reference"),
        ("//- src/cart/tests/Dockerfile\nFROM a\n", 5, "src/cart: has no Dockerfile"),
        ("//- README.md\n", 5, "no folder `src/*` has a Dockerfile"),
        ("//- src/NodeBase/Dockerfile\nFROM a\n", 0, "nodebase"),
    ] {
        for words in ["plan --offline", "build-all --offline --dry-run"] {
            let text = TestRepo::new(fixture).run(words);
            assert!(text.starts_with(&format!("exit {code}\n")) && text.contains(said), "{words}: {text}");
        }
    }
}

#[test]
fn hostile_trees_are_named_and_never_a_panic() {
    use std::os::unix::ffi::OsStrExt as _;
    let repo = TestRepo::new(&format!("{OK}//- src/bad/Dockerfile\nFROM scratch\nCOPY . /\n"));
    let bad = repo.root().join("src/bad");
    std::os::unix::fs::symlink("loop", bad.join("loop")).unwrap();
    std::os::unix::fs::symlink("/nowhere", bad.join("broken")).unwrap();
    std::os::unix::fs::symlink(".", bad.join("itself")).unwrap();
    assert_eq!(repo.code("plan --offline"), 0, "symlinks are sent as such");
    std::fs::write(bad.join(std::ffi::OsStr::from_bytes(b"na\xffme")), "x").unwrap();
    let text = repo.run("plan --offline");
    assert!(text.starts_with("exit 11") && text.contains("not UTF-8"), "{text}");
    std::fs::create_dir(repo.root().join("src").join(std::ffi::OsStr::from_bytes(b"sv\xff"))).unwrap();
    std::fs::create_dir_all(repo.root().join("src/With Space")).unwrap();
    repo.write("src/With Space/Dockerfile", "FROM scratch\n");
    let text = repo.run("status --offline");
    assert!(text.starts_with("exit 11") && text.contains("With Space"), "{text}");
    std::fs::remove_file(bad.join("Dockerfile")).unwrap();
    std::os::unix::fs::symlink("Dockerfile", bad.join("Dockerfile")).unwrap();
    let text = repo.run("status --offline");
    assert!(text.starts_with("exit 11") && text.contains("src/bad/Dockerfile"), "{text}");
}

#[test]
fn secrets_are_never_shown() {
    let repo = TestRepo::new(
        "//- src/a/Dockerfile\nFROM scratch\nARG TOKEN\nARG SIGNING_KEY\nARG PLAIN\nCOPY app.conf $SIGNING_KEY $PLAIN /\n\
         //- src/a/service.toml\nargs = { SIGNING_KEY = \"K4711\", PLAIN = \"Anna4711-x\" }\n\
         //- src/a/app.conf.tpl\nkey={{JWT_SECRET}}\n\
         //- .env\nJWT_SECRET=in-env-4711\n\
         //- .env.example\nJWT_SECRET=\nNEW_PASSWORD=in-example-4711\n",
    );
    for words in [
        "plan",
        "plan --format json",
        "plan --format dot",
        "build-all --dry-run",
        "status",
        "status --explain a",
    ] {
        let naming = "--network external --build-arg TOKEN=hunter2hunter2";
        let output = repo.output(&format!("{words} {naming}"));
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            for secret in ["hunter2", "4711"] {
                assert!(!text.contains(secret), "{words} shows {secret}:\n{text}");
            }
        }
    }
    let text = repo.run("render --dry-run");
    assert!(text.contains("+key=***"), "{text}");
}

#[test]
fn names_are_left_alone_whatever_is_secret() {
    let repo = TestRepo::new(
        "//- src/test-containers/Dockerfile\nFROM scratch AS staging9\nCOPY . /\n\
         //- src/test-containers/main_test.go\n\
         //- src/test-containers/staging9.conf\n\
         //- .env\nDATABASE_URL=postgres://test:test@db/test\nAPI_TOKEN=staging9\nDB_USER=containers\n",
    );
    let plan = repo.json("plan --network external --format json");
    assert_eq!(plan["images"][0]["reference"], "test-containers:latest");
    assert_eq!(
        plan["images"][0]["inputs"],
        serde_json::json!(["Dockerfile", "main_test.go", "staging9.conf"])
    );
    for words in ["plan --network external", "plan --format dot --network external"] {
        let text = repo.run(words);
        assert!(text.contains("test-containers") && !text.contains("***"), "{words}: {text}");
        let said = "`API_TOKEN` and the password in `DATABASE_URL` are too short or too common to be hidden";
        assert_eq!(text.matches(said).count(), 1, "{words}: {text}");
    }
}

#[test]
fn build_args_that_look_like_secrets_are_named_or_refused() {
    let repo = TestRepo::new(
        "//- src/a/Dockerfile\nFROM scratch\nARG NPM_TOKEN\nARG APP_VERSION\nARG PIP_INDEX=none\n\
         //- src/a/service.toml\nargs = { APP_VERSION = \"1.2.3\", PIP_INDEX = \"https://joe:hunter2-x@pypi.example.com/\" }\n\
         //- src/b/Dockerfile\nFROM scratch\nARG APP_VERSION\n",
    );
    let naming = "--network external --build-arg NPM_TOKEN=abc-4711 --build-arg APP_VERSION=2";
    let warned = repo.run(&format!("plan {naming}"));
    assert!(warned.starts_with("exit 0"), "{warned}");
    let said = "src/a/Dockerfile:2: `NPM_TOKEN` and `PIP_INDEX` look like secrets";
    assert_eq!(warned.matches(said).count(), 1, "{warned}");
    assert!(
        warned.contains("RUN --mount=type=secret,id=NPM_TOKEN") && !warned.contains("src/b/"),
        "{warned}"
    );
    let repo = repo.with("XTASK_SECRET_ARGS", "refuse");
    for command in ["build-all --dry-run", "plan"] {
        let refused = repo.run(&format!("{command} {naming}"));
        assert!(refused.starts_with("exit 10") && refused.contains(said), "{command}: {refused}");
        assert!(!refused.contains("4711") && !refused.contains("hunter2"), "{command}: {refused}");
    }
    assert!(repo.run("plan --network external").starts_with("exit 10"), "the one in the tree is left");
}
