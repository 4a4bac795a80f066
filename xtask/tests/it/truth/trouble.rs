//! Sources that are not there, cannot be read, or lead in circles: named, and only their service fails.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use super::lab::Lab;

const FINE: &str = "//- src/fine/Dockerfile\nFROM debian:12\n";

/// A tree with one broken service and one that is not.
#[track_caller]
fn check(fixture: &str, expect: &str) {
    let lab = Lab::new(&format!("{fixture}{FINE}"));
    let look = lab.look();
    assert_eq!(look.said(), expect);
    let is_error = expect.contains("error: ");
    let api = if is_error { "cannot be planned, see the diagnostics" } else { "not built yet" };
    let stale = look.stale();
    assert!(stale.contains(&format!("api ({api})")), "{stale}");
    assert!(stale.contains("fine (not built yet)"), "{stale}");
}

#[test]
fn a_source_that_matches_nothing_is_an_error_at_its_line() {
    check(
        "//- src/api/Dockerfile\nFROM debian:12\n\nCOPY missing /\n",
        "error: src/api/Dockerfile:3: COPY source `missing` matches nothing in the context src/api",
    );
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nADD a/b/ c /\n//- src/api/c\n//- src/api/a/x\n",
        "error: src/api/Dockerfile:2: ADD source `a/b/` matches nothing in the context src/api",
    );
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nRUN --mount=type=bind,source=missing,target=/m make\n",
        "error: src/api/Dockerfile:2: bind mount source `missing` matches nothing in the context src/api",
    );
    check("//- src/api/Dockerfile\nFROM debian:12\nRUN --mount=type=bind,target=/m make\n", "");
    check("//- src/api/Dockerfile\nFROM debian:12\nCOPY . /\n", "");
    check("//- src/api/Dockerfile\nFROM debian:12 AS x\nCOPY missing /\nFROM debian:12\n", "");
}

#[test]
fn a_wildcard_that_matches_nothing_is_only_worth_knowing() {
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY a *.lock /\n//- src/api/a\n",
        "warning: src/api/Dockerfile:2: COPY source `*.lock` matches nothing in the context src/api",
    );
}

#[test]
fn a_source_that_is_ignored_names_the_rule() {
    let dockerfile = "//- src/api/Dockerfile\nFROM debian:12\nCOPY dist /\n//- src/api/dist/x\n";
    check(
        &format!("{dockerfile}//- src/api/.dockerignore\n# built\nnode_modules\n/dist/\n"),
        "error: src/api/Dockerfile:2: COPY source `dist` is hidden by the rule `/dist/` at src/api/.dockerignore:3",
    );
    check(&format!("{dockerfile}//- src/api/.dockerignore\ndist\n!dist/x\n"), "");
    check(&format!("{dockerfile}//- src/api/.dockerignore\ndist/*\n"), "");
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY src/*.c /\n//- src/api/src/a.c\n//- src/api/.dockerignore\n**/*.c\n",
        "warning: src/api/Dockerfile:2: COPY source `src/*.c` is hidden by the rule `**/*.c` at src/api/.dockerignore:1",
    );
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY link /\n//- src/api/link -> real\n//- src/api/real\n//- src/api/.dockerignore\nreal\n",
        "error: src/api/Dockerfile:2: COPY source `link` is hidden by the rule `real` at src/api/.dockerignore:1",
    );
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY link /\n//- src/api/link -> real\n//- src/api/real\n//- src/api/.dockerignore\nlink\n",
        "error: src/api/Dockerfile:2: COPY source `link` is hidden by the rule `link` at src/api/.dockerignore:1",
    );
}

#[test]
fn symlinks_that_lead_nowhere_are_named() {
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY link /\n//- src/api/link -> nowhere\n",
        "error: src/api/Dockerfile:2: COPY source `link` matches nothing in the context src/api: the symlink link leads to nothing there",
    );
    // Outside the context is nowhere, even where the machine has something.
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY link/passwd /\n//- src/api/link -> /etc\n",
        "error: src/api/Dockerfile:2: COPY source `link/passwd` matches nothing in the context src/api: the symlink link leads to nothing there",
    );
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY link /\n//- src/api/link -> ../other\n//- src/other\n",
        "error: src/api/Dockerfile:2: COPY source `link` matches nothing in the context src/api: the symlink link leads to nothing there",
    );
    for loops in [
        "//- src/api/link -> link\n",
        "//- src/api/link -> b\n//- src/api/b -> link\n",
        "//- src/api/link -> link/x\n",
    ] {
        check(
            &format!("//- src/api/Dockerfile\nFROM debian:12\nCOPY link /\n{loops}"),
            "error: src/api/Dockerfile:2: COPY source `link` lies behind a loop of symlinks",
        );
    }
    // Below a folder that is copied, a symlink is copied as it stands.
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY d /\n//- src/api/d/broken -> nowhere\n//- src/api/d/loop -> loop\n//- src/api/d/up -> ..\n",
        "",
    );
}

#[test]
fn names_that_are_not_utf8_are_named_where_they_are_read() {
    let dockerfile = "//- src/api/Dockerfile\nFROM debian:12\nCOPY . /\n//- src/api/d/x\n";
    let odd = OsStr::from_bytes(b"caf\xe9");
    for (ignore, expect) in [
        ("", "error: src/api/Dockerfile: cannot take d/caf\u{fffd} of the context: its name is not UTF-8"),
        ("d\n", ""),
    ] {
        let lab = Lab::new(&format!("{dockerfile}//- src/api/.dockerignore\n{ignore}{FINE}"));
        fs::write(lab.path("src/api/d").join(odd), "").unwrap();
        let look = lab.look();
        assert_eq!(look.said(), expect);
        assert!(look.stale().contains("fine (not built yet)"));
        assert_eq!(look.stale().contains("api (not built yet)"), ignore == "d\n");
    }
    let lab = Lab::new("//- src/api/Dockerfile\nFROM debian:12\nCOPY d /\n//- src/api/d/x\n");
    fs::create_dir(lab.path("src/api").join(odd)).unwrap();
    assert_eq!(lab.look().said(), "", "nobody reads it");
    std::os::unix::fs::symlink(odd, lab.path("src/api/d/link")).unwrap();
    assert_eq!(
        lab.look().said(),
        "error: src/api/Dockerfile: cannot take d/link of the context: it is a symlink to a name that is not UTF-8"
    );
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn what_may_not_be_read_is_named() {
    let lab =
        Lab::new(&format!("//- src/api/Dockerfile\nFROM debian:12\nCOPY . /\n//- src/api/secret\n{FINE}"));
    lab.chmod("src/api/secret", 0);
    if fs::read(lab.path("src/api/secret")).is_ok() {
        eprintln!("skipped: what_may_not_be_read_is_named: root may read everything");
        return;
    }
    let look = lab.look();
    assert_eq!(
        look.said(),
        "error: src/api/Dockerfile: cannot read secret of the context: Permission denied (os error 13)"
    );
    assert!(look.stale().contains("fine (not built yet)"));
}

#[test]
fn pipes_and_sockets_are_no_part_of_a_context() {
    let lab = Lab::new("//- src/api/Dockerfile\nFROM debian:12\nCOPY d /\n//- src/api/d/x\n");
    let _listening = std::os::unix::net::UnixListener::bind(lab.path("src/api/d/socket")).unwrap();
    let look = lab.look();
    assert_eq!((look.said(), look.inputs("api")), (String::new(), vec!["d/x".to_owned()]));
}

#[test]
fn without_its_ignore_file_nothing_is_sent() {
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY . /\n//- src/api/.dockerignore -> nowhere\n",
        "error: src/api/.dockerignore: is a symlink to `nowhere`, which cannot be read: No such file or directory (os error 2)",
    );
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY shared /\n//- shared/x\n//- .dockerignore -> nowhere\n",
        "error: .dockerignore: is a symlink to `nowhere`, which cannot be read: No such file or directory (os error 2)",
    );
    check(
        "//- src/api/Dockerfile\nFROM debian:12\nCOPY . /\n//- src/api/.dockerignore\n*.log\n[a\n",
        "error: src/api/.dockerignore:2: `[a`: the pattern is malformed: a bracket is not closed or empty, or it ends with a backslash",
    );
    check(
        "//- src/api/service.toml\ncontext = \"../../..\"\n//- src/api/Dockerfile\nFROM debian:12\n",
        "error: src/api/service.toml: the context `../../..` lies outside the tree",
    );
}
