//! What `--help` says, and what the command line takes and refuses.

use clap::CommandFactory as _;
use xtask::cli::args::Cli;

use crate::repo::TestRepo;

/// Commands and options are in docs/cli.md, which a test holds to the code. Here is what that page has not: the list of
/// all commands, how a page of help is laid out, and what stands below the options.
#[test]
fn help_is_laid_out_in_sections_and_ends_with_notes() {
    let repo = TestRepo::new("");
    insta::assert_snapshot!("help", repo.run("--help"));
    let with_notes = |command: &&clap::Command| command.get_after_help().is_some();
    let cli = Cli::command();
    let mut names: Vec<&str> =
        cli.get_subcommands().filter(with_notes).map(|command| command.get_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["clean", "completions", "init", "man"]);
    for name in ["build", "clean", "completions", "man"] {
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
    insta::assert_snapshot!(repo.run("build apii"), @"
    exit 2
    --- stderr
    error: there is no service or image `apii`, did you mean `api`?
    hint: the services are api, web
    ");
    let prefixed = TestRepo::new(
        "//- .config/xtask.toml\nprefix = \"shop-\"\n//- src/links/Dockerfile\nFROM scratch AS api\nFROM scratch AS sweeper\n//- src/links/build-targets.conf\napi api\nsweeper sweeper\n",
    );
    let text = prefixed.run("status --explain links2");
    assert!(text.contains("did you mean `links`?"), "{text}");
    insta::assert_snapshot!(prefixed.run("build-all sweeper"), @"
    exit 2
    --- stderr
    error: `sweeper` is an image; `build-all` takes a tag
    hint: `cargo xtask build sweeper` is about this image alone
    hint: `cargo xtask build-all --tag sweeper` if the tag is to be called that
    ");
    insta::assert_snapshot!(prefixed.run("history l*s"), @"
    exit 2
    --- stderr
    error: `l*s` means several images: `shop-api`, `shop-sweeper`
    hint: of one of them: `cargo xtask history shop-api`
    ");
    let text = prefixed.run("build-all --dry-run --tag sweeper --network external");
    assert!(text.starts_with("exit 0"), "{text}");
    insta::assert_snapshot!(repo.run("build-all --only nope"), @"
    exit 2
    --- stderr
    error: there is no service or image `nope`
    hint: the services are api, web
    ");
    insta::assert_snapshot!(repo.run("build-all --skip api,web"), @"
    exit 5
    --- stderr
    error: nothing is selected
      caused by: --skip leaves out api, web
    hint: `cargo xtask status` lists all images
    ");
    insta::assert_snapshot!(repo.run("plan --platform linux/amd46"), @"
    exit 2
    --- stderr
    error: invalid value 'linux/amd46' for '--platform <OS/ARCH>': nothing runs on `linux/amd46`, did you mean `linux/amd64`? (there are linux/amd64, linux/arm64, linux/arm/v7, linux/arm/v6, linux/arm/v5, linux/386, linux/loong64, linux/mips64le, linux/mipsle, linux/ppc64le, linux/riscv64, linux/s390x, windows/amd64, windows/arm64, freebsd/amd64)

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(repo.run("plan --platform nonsense"), @"
    exit 2
    --- stderr
    error: invalid value 'nonsense' for '--platform <OS/ARCH>': `nonsense` is not a platform: expected `os/arch` or `os/arch/variant`, for example `linux/amd64`

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(repo.run("inspect src/api/Dockerfile --target nope"), @r#"
    exit 2
    --- stdout
    {"path":"src/api/Dockerfile","stages":[],"base_images":[],"inputs":[],"diagnostics":[{"severity":"error","file":"src/api/Dockerfile","line":0,"message":"there is no stage `nope` to build (stages: none has a name)"}]}
    --- stderr
    error: not every file has a stage `nope`
      caused by: src/api/Dockerfile: there is no stage `nope` to build (stages: none has a name)
    "#);
    insta::assert_snapshot!(repo.run("alias UPPER"), @"
    exit 2
    --- stderr
    error: `UPPER` is not an image reference: a repository is lowercase letters and digits, separated by `/`, `.`, `_`, `__` or dashes
    ");
    insta::assert_snapshot!(repo.run("build-all --build-arg =x"), @"
    exit 2
    --- stderr
    error: `=x` is not a build arg: expected `NAME=value` or `NAME`
    ");
}

#[test]
fn systems_that_a_variable_leaves_out_name_the_variable() {
    let fixture = "//- docker/base-images/alpine/Dockerfile\nFROM scratch\n\
                   //- docker/base-images/debian/Dockerfile\nFROM scratch\n";
    let run = |name: &str, value: &str, words: &str| TestRepo::new(fixture).with(name, value).run(words);
    insta::assert_snapshot!(run("SKIP_OS", "alpine,debian", "base-images --dry-run"), @"
    exit 5
    --- stderr
    error: nothing is selected
      caused by: SKIP_OS leaves out alpine, debian
    hint: unset or change SKIP_OS
    hint: `cargo xtask base-images list` lists all images
    ");
    insta::assert_snapshot!(run("ONLY_OS", "debina", "base-images --dry-run"), @"
    exit 2
    --- stderr
    error: there is no system `debina`, did you mean `debian`?
      caused by: ONLY_OS names it
    hint: the systems are alpine, debian
    ");
    let text = run("SKIP_OS", "rocky,alpine", "base-images list --version 1.2.3");
    assert!(text.starts_with("exit 0") && text.contains("1 system,"), "{text}");
    assert!(text.contains("warning: SKIP_OS leaves out `rocky`, and there is no such system"), "{text}");
    assert_eq!(TestRepo::new(fixture).code("base-images list --skip-os rocky"), 2, "typed it is an error");
    let dotenv = TestRepo::new(&format!("{fixture}//- .env\nONLY_OS=debian\n"));
    insta::assert_snapshot!(dotenv.run("base-images --dry-run --skip-os debian"), @"
    exit 5
    --- stderr
    error: nothing is selected
      caused by: ONLY_OS in .env chooses debian
      caused by: --skip-os leaves out debian
    hint: unset or change ONLY_OS in .env
    hint: `cargo xtask base-images list` lists all images
    ");
}
