use super::*;

/// A tree of Dockerfiles (`path: BASE BASE`, `$` where a build arg says on what), and the settings that come of it.
#[track_caller]
fn check(dockerfiles: &[&str], expected: &str) {
    let mut found = Found::default();
    for line in dockerfiles {
        let (path, bases) = line.split_once(": ").unwrap_or((line, ""));
        let bases = bases
            .split_whitespace()
            .filter(|base| *base != "$")
            .map(|base| base.parse().expect("a reference"))
            .collect();
        found.dockerfiles.insert(path.to_owned(), Dockerfile { bases, is_open: line.contains('$') });
    }
    let proposal = propose(&found, &Wanted::default());
    let Some(StepKind::WriteFile { contents, .. }) = proposal.plan.steps.first().map(|step| &step.kind)
    else {
        panic!("writes settings")
    };
    let lines: Vec<&str> = contents.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.join("\n"), expected, "{dockerfiles:?}");
}

#[test]
fn only_what_is_not_the_default_is_written() {
    check(&[], "");
    check(&["src/a/Dockerfile", "src/b/Dockerfile"], "");
    check(&["src/a/Dockerfile"], "");
    check(&["src/a/Dockerfile", "src/cart/src/Dockerfile", "src/cart/src/Dockerfile.debug"], "");
    check(
        &["vote/Dockerfile", "result/Dockerfile", "result/x/Dockerfile"],
        r#"services = ["result", "vote"]"#,
    );
    check(&["Dockerfile"], r#"services = ["."]"#);
    check(&["Dockerfile", "images/a/Dockerfile", "images/b/Dockerfile"], r#"services = [".", "images/*"]"#);
    check(
        &["apps/x/Dockerfile", "apps/y/Dockerfile", "tools/z/Dockerfile"],
        r#"services = ["apps/*", "tools/z"]"#,
    );
    check(
        &[
            "a/x/Dockerfile",
            "a/y/Dockerfile",
            "b/x/Dockerfile",
            "b/y/Dockerfile",
            "c/x/Dockerfile",
            "c/z/Dockerfile",
        ],
        "services = [\"*/*\"]\nname = \"path\"",
    );
    check(&["docker/Dockerfile.api", "docker/Dockerfile.web"], r#"services = ["docker/Dockerfile.*"]"#);
    check(&["images/api.Dockerfile", "images/web.Dockerfile"], r#"services = ["images/*.Dockerfile"]"#);
    check(
        &["src/app/android.Dockerfile", "src/b/Dockerfile"],
        r#"services = ["src/*", "src/app/android.Dockerfile"]"#,
    );
    check(&["src/a/Dockerfile", "src/a/Dockerfile.cypress"], "");
    check(&["src/a/Dockerfile: $", "tools/Dockerfile.sbom: $"], "");
}

/// A Dockerfile in each of these folders.
fn in_folders(folders: &[String]) -> Vec<String> {
    folders.iter().map(|folder| format!("{folder}/Dockerfile")).collect()
}

#[test]
fn one_glob_and_one_rule_for_names_do_for_hundreds_of_folders() {
    let by_path = "name = \"path\"";
    let check = |places: &[String], expected: &str| {
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        check(&places, expected);
    };
    let each = |form: fn(&str, &str) -> String| -> Vec<String> {
        ["8", "11", "17"].iter().flat_map(|v| ["jdk", "jre"].map(|kind| form(v, kind))).collect()
    };
    // Equally deep: as many stars.
    let deep =
        in_folders(&[each(|v, k| format!("{v}/{k}/alpine")), each(|v, k| format!("{v}/{k}/ubi"))].concat());
    check(&deep, &format!("services = [\"*/*/*\"]\n{by_path}"));
    let below =
        in_folders(&[each(|v, k| format!("src/{v}/{k}/a")), each(|v, k| format!("src/{v}/{k}/b"))].concat());
    check(&below, &format!("services = [\"src/*/*/*\"]\n{by_path}"));
    // Not so deep all of them.
    let mut mixed = in_folders(&each(|v, k| format!("src/{v}/{k}/a")));
    for form in [|v: &str, k: &str| format!("src/{v}/{k}/b/c"), |v: &str, k: &str| format!("src/{v}/{k}/b/d")]
    {
        mixed.extend(in_folders(&each(form)));
    }
    mixed.extend(in_folders(&["src/x/y".to_owned(), "tools/z".to_owned()]));
    check(&mixed, &format!("services = [\"**/Dockerfile\"]\n{by_path}"));
    // A few are spelled out, and so is what lies beside something else.
    check(
        &in_folders(&["apps/x", "tools/z", "libs/q"].map(str::to_owned)),
        r#"services = ["apps/x", "libs/q", "tools/z"]"#,
    );
    let same = ["a/web/Dockerfile", "b/web/Dockerfile"].map(str::to_owned);
    check(&same, &format!("services = [\"a/web\", \"b/web\"]\n{by_path}"));
}

#[test]
fn a_registry_that_dockerfiles_name_the_trees_own_images_by_is_written() {
    check(
        &["images/base/Dockerfile: ubuntu:24.04", "images/top/Dockerfile: quay.io/jupyter/base"],
        "services = [\"images/*\"]\nregistry = \"quay.io/jupyter\"",
    );
    check(&["src/opensearch/Dockerfile: public.ecr.aws/opensearchproject/opensearch:3"], "");
    check(&["src/nginx/Dockerfile: nginx:1", "src/b/Dockerfile: nginx"], "");
}

/// The settings of a tree of two folders whose compose files build these services.
fn composed(builds: &[&str]) -> String {
    let mut found = Found::default();
    for path in ["vote/Dockerfile", "worker/Dockerfile"] {
        found.dockerfiles.insert(path.to_owned(), Dockerfile::default());
    }
    found.compose = vec!["compose.yaml".to_owned(), "compose.override.yaml".to_owned()];
    found.composed.builds = builds.iter().map(|&name| name.to_owned()).collect();
    let wanted = Wanted { definitions: true, ..Wanted::default() };
    texts(&found, &wanted).remove(SETTINGS).expect("settings")
}

#[test]
fn what_compose_builds_need_not_be_said_again() {
    let text = composed(&["vote", "worker"]);
    assert!(text.contains("definitions = [\"compose.yaml\"]\n") && text.contains("services = []"), "{text}");
    // What they do not build stays a service.
    let text = composed(&["vote"]);
    assert!(text.contains("definitions") && text.contains(r#"services = ["vote", "worker"]"#), "{text}");
    let text = composed(&[]);
    assert!(!text.contains("definitions") && text.contains(r#"services = ["vote", "worker"]"#), "{text}");
}

#[test]
fn lines_for_git_are_added_once() {
    let first = settings::gitignore(Some("*.log\n/target/"));
    assert_eq!(first, "*.log\n/target/\n/.config/xtask.local.toml\n");
    assert_eq!(settings::gitignore(Some(&first)), first);
    assert_eq!(settings::gitignore(None), "/target\n/.config/xtask.local.toml\n");
}

#[track_caller]
fn texts(found: &Found, wanted: &Wanted) -> BTreeMap<String, String> {
    let written = propose(found, wanted).plan.steps.into_iter().map(|step| match step.kind {
        StepKind::WriteFile { path, contents, .. } => (path, contents),
        other => panic!("{other:?}"),
    });
    written.collect()
}

#[test]
fn a_second_run_changes_nothing() {
    let mut found = Found { is_repository: true, packages: vec!["src/api".to_owned()], ..Found::default() };
    found.dockerfiles.insert("backend/Dockerfile".to_owned(), Dockerfile::default());
    found.texts.insert(thin::CARGO_CONFIG.to_owned(), "[alias]\nb = \"build\"\n".to_owned());
    let source: Source = "../images".parse().expect("a folder");
    let wanted = Wanted { thin: Some(source), workflow: true, definitions: false };
    let first = texts(&found, &wanted);
    assert_eq!(first.len(), FILES.len(), "{first:?}");
    assert!(first[thin::MANIFEST].contains(r#"xtask-images = { path = "../../images" }"#), "{first:?}");
    assert!(first[thin::CARGO_CONFIG].starts_with("[alias]\nxtask = \"run"), "{first:?}");
    assert!(first[WORKFLOW].contains("cargo xtask build-all"), "{first:?}");
    found.texts.extend(first);
    assert_eq!(texts(&found, &wanted), BTreeMap::new());
}
