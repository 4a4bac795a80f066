//! What `--help` says, and what the command line takes and refuses.

use clap::CommandFactory as _;
use xtask::cli::args::Cli;

use crate::repo::TestRepo;

#[test]
fn every_command_explains_itself() {
    let repo = TestRepo::new("");
    insta::assert_snapshot!("help", repo.run("--help"));
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        insta::assert_snapshot!(format!("help_{name}"), repo.run(&format!("{name} --help")));
    }
}

#[test]
fn no_option_is_without_an_explanation() {
    fn check(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
        for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
    Cli::command().debug_assert();
}

#[test]
fn names_of_the_old_scripts_still_work() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n");
    for (old, new) in [
        ("check-status", "status"),
        ("prefetch-images --dry-run", "prefetch --dry-run"),
        ("tag-localhost --dry-run", "alias --dry-run"),
        ("fix-image-aliases --dry-run", "alias --dry-run"),
        ("build-service a --dry-run", "build a --dry-run"),
    ] {
        let with = |words: &str| repo.run(&format!("{words} --network external"));
        assert_eq!(with(old), with(new), "{old}");
    }
}

#[test]
fn global_options_stand_before_and_after_the_command() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n//- other.toml\nprefix = \"x-\"\n");
    for (before, after) in [
        ("--offline plan", "plan --offline"),
        ("--network internal plan", "plan --network internal"),
        ("--config other.toml --network external plan", "plan --config other.toml --network external"),
        ("-q --network external plan", "plan --network external -q"),
        (
            "--color never --progress plain --network external plan",
            "plan --network external --progress plain --color never",
        ),
    ] {
        let text = repo.run(before);
        assert!(text.starts_with("exit 0"), "{text}");
        assert_eq!(text, repo.run(after), "{before}");
    }
}

#[test]
fn usage_errors_say_what_is_meant() {
    let repo = TestRepo::new("//- src/api/Dockerfile\nFROM scratch\n//- src/web/Dockerfile\nFROM scratch\n");
    insta::assert_snapshot!(repo.run("build apii"), @"");
    insta::assert_snapshot!(repo.run("build-all --only nope"), @"");
    insta::assert_snapshot!(repo.run("build-all --skip api,web"), @"");
    insta::assert_snapshot!(repo.run("plan --platform linux/amd46"), @"");
    insta::assert_snapshot!(repo.run("plan --platform nonsense"), @"");
    insta::assert_snapshot!(repo.run("inspect src/api/Dockerfile --target nope"), @"");
    insta::assert_snapshot!(repo.run("alias UPPER"), @"");
    insta::assert_snapshot!(repo.run("build-all --build-arg =x"), @"");
}
