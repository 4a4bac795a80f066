//! Completion as shells do it, with the scripts that `completions` prints. A shell that is not here is said to be
//! skipped.

use std::path::PathBuf;
use std::process::Command;

use crate::repo::TestRepo;

/// A tree with two services, a base image and two records.
fn repo() -> TestRepo {
    TestRepo::new(
        "//- .config/xtask.toml\n//- src/api/Dockerfile\nFROM scratch\n//- src/web/Dockerfile\nFROM scratch\n\
         //- docker/base-images/debian/Dockerfile\nFROM scratch\n",
    )
}

/// What a shell prints for a script of ours that is first read from a file; none without that shell.
fn in_shell(repo: &TestRepo, shell: &str, before: &str, then: &str) -> Option<String> {
    let program = ["/usr/bin", "/bin"].map(|folder| PathBuf::from(folder).join(shell));
    let Some(program) = program.into_iter().find(|path| path.exists()) else {
        eprintln!("skipped: {shell} is not installed");
        return None;
    };
    let script = repo.home().join("script");
    let printed = repo.output(&format!("completions {shell}"));
    assert_eq!(printed.status.code(), Some(0));
    std::fs::write(&script, printed.stdout).unwrap();
    let output = Command::new(program)
        .args(["-c", &format!("{before}\nsource {}\n{then}", script.display())])
        .current_dir(repo.root())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", repo.home())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "", "{shell}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The candidates of bash for the last of these words.
#[track_caller]
fn check_bash(before: &str, words: &[&str], expected: &str) {
    let repo = repo();
    let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let then = format!(
        "COMP_WORDS=({quoted}); COMP_CWORD={}; _cargo_xtask cargo; echo \"${{COMPREPLY[*]}}\"",
        words.len() - 1
    );
    if let Some(found) = in_shell(&repo, "bash", before, &then) {
        assert_eq!(found.trim_end(), expected, "{words:?}");
    }
}

#[test]
fn bash_completes_commands_options_and_names() {
    check_bash("", &["cargo", "xtask", "bui"], "build-all build build-service builder");
    check_bash("", &["cargo", "xtask", "build", ""], "api web");
    check_bash("", &["cargo", "+nightly", "xtask", "build", "a"], "api");
    check_bash("", &["cargo", "xtask", "build-all", "--only", "api,w"], "api,web");
    check_bash("", &["cargo", "xtask", "build-all", "--only", "=", "a"], "api");
    check_bash("", &["cargo", "xtask", "--color", ""], "auto always never");
    check_bash("", &["cargo", "xtask", "base-images", "test", "--os", ""], "debian");
    check_bash("", &["cargo", "xtask", "report", ""], "latest");
}

#[test]
fn bash_leaves_the_rest_of_cargo_alone() {
    check_bash("", &["cargo", "xt"], "xtask");
    check_bash("", &["cargo", "build", "--rel"], "");
    // What cargo has for itself was there first.
    let others = "other() { COMPREPLY=(theirs); }; complete -F other cargo";
    check_bash(others, &["cargo", "build", ""], "theirs");
    check_bash(others, &["cargo", "xtask", "buil"], "build-all build build-service builder");
}

#[test]
fn fish_completes_with_a_few_words_about_each() {
    let repo = repo();
    let Some(found) = in_shell(
        &repo,
        "fish",
        "",
        "complete -C 'cargo xtask build '; complete -C 'cargo xtask --color al'; complete -C 'cargo xtas'",
    ) else {
        return;
    };
    assert_eq!(found, "api\nweb\nalways\tAlways\nxtask\tBuild the container images of this tree\n");
}

#[test]
fn zsh_hands_words_on_and_takes_candidates() {
    let repo = repo();
    // What the line editor would do is told instead.
    let doubles = "compdef() { : }; typeset -A _comps; _describe() { print -rl -- ${(P)3} }; compadd() { print -r -- added $* }";
    let then = "words=(cargo xtask build ''); CURRENT=4; _cargo_xtask; \
                words=(cargo xtask --color al); CURRENT=4; _cargo_xtask; words=(cargo xt); CURRENT=2; _cargo_xtask";
    let Some(found) = in_shell(&repo, "zsh", doubles, then) else { return };
    assert!(found.starts_with("api\nweb\nalways:Always\nadded -- xtask\n"), "{found}");
}

#[test]
fn a_tree_that_cannot_be_read_completes_what_clap_knows() {
    let repo = TestRepo::new("//- .config/xtask.toml\nretries = 'many'\n");
    assert_eq!(repo.run("completions -- build ''"), "exit 0\n");
    assert!(repo.run("completions -- bui").contains("build-all\t"));
    assert_eq!(repo.run("completions -- --root ''"), "exit 0\n--- stdout\n:paths\n");
}
