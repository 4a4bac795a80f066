//! `base-images bump`: what is told, what is written, and back again.

use crate::repo::TestRepo;

const TREE: &str = "\
//- .config/xtask.toml
# The default.
[base_image]
version = \"1.2.3\"
//- README.md
The base images have 1.2.3.

Unlike 11.2.3 and 1.2.31.
//- docker/base-images/debian/Dockerfile
FROM debian:12-slim
ARG FIT_VERSION
//- src/api/Dockerfile
FROM fit-framework:1.2.3-debian
//- src/api/requirements.txt
other==1.2.3
";

const FILES: [&str; 5] = [
    ".config/xtask.toml",
    "README.md",
    "docker/base-images/debian/Dockerfile",
    "src/api/Dockerfile",
    "src/api/requirements.txt",
];

fn texts(repo: &TestRepo) -> Vec<String> {
    FILES.iter().map(|file| repo.read(file)).collect()
}

#[test]
fn a_check_lists_each_place_and_changes_nothing() {
    let repo = TestRepo::new(TREE);
    let before = texts(&repo);
    insta::assert_snapshot!(repo.run("base-images bump 1.3.0 --check"), @r#"
    exit 15
    --- stdout
    .config/xtask.toml:3: version = "1.2.3" -> version = "1.3.0"
    README.md:1: The base images have 1.2.3. -> The base images have 1.3.0.
    src/api/Dockerfile:1: FROM fit-framework:1.2.3-debian -> FROM fit-framework:1.3.0-debian
    --- stderr
    left alone: src/api/requirements.txt:1 (the line does not say that it is about base images)
    "#);
    insta::assert_snapshot!(repo.run("base-images bump 1.3.0 --dry-run"), @r#"
    exit 0
    --- stdout
    bump  3 to do, 0 fine
      write-file .config/xtask.toml  (names 1.2.3 in 1 line)
                 @@ line 3 @@
                 -version = "1.2.3"
                 +version = "1.3.0"
      write-file README.md  (names 1.2.3 in 1 line)
                 @@ line 1 @@
                 -The base images have 1.2.3.
                 +The base images have 1.3.0.
      write-file src/api/Dockerfile  (names 1.2.3 in 1 line)
                 @@ line 1 @@
                 -FROM fit-framework:1.2.3-debian
                 +FROM fit-framework:1.3.0-debian
    --- stderr
    left alone: src/api/requirements.txt:1 (the line does not say that it is about base images)
    "#);
    assert_eq!(texts(&repo), before);
    insta::assert_snapshot!(repo.run("base-images bump 1.2.3 --check"), @"
    exit 0
    --- stderr
    nothing to do: the default version is 1.2.3, and nothing else has to change
    ");
}

#[test]
fn there_and_back_is_where_we_were() {
    let repo = TestRepo::new(TREE);
    let before = texts(&repo);
    assert_eq!(repo.code("base-images bump 1.3.0"), 0);
    let after = texts(&repo);
    for (was, now) in before.iter().zip(&after) {
        let changed =
            was.replace("\"1.2.3\"", "\"1.3.0\"").replace(" 1.2.3.", " 1.3.0.").replace(":1.2.3-", ":1.3.0-");
        assert_eq!(*now, changed);
    }
    assert!(repo.run("base-images bump 1.3.0").contains("nothing to do: the default version is 1.3.0"));
    assert_eq!(repo.code("base-images bump 1.2.3"), 0);
    assert_eq!(texts(&repo), before);
}

#[test]
fn a_default_that_drifted_is_listed_and_brought_along() {
    let repo = TestRepo::new(&format!(
        "{TREE}//- docker/base-images/build.sh\nDEFAULT_FIT_VERSION=\"1.4.0\"\nV=${{FIT_VERSION:-1.2.3}}\n"
    ));
    let listed = repo.run("base-images list");
    let place = "docker/base-images/build.sh:1";
    assert!(listed.contains(&format!("drift: {place} says 1.4.0\n")), "{listed}");
    assert_eq!(repo.json("base-images list --format json")["drift"][0]["at"], place);
    for version in ["1.2.3", "1.3.0"] {
        let told = repo.run(&format!("base-images bump {version} --check"));
        assert!(
            told.starts_with("exit 15")
                && told.contains(&format!(
                    "{place}: DEFAULT_FIT_VERSION=\"1.4.0\" -> DEFAULT_FIT_VERSION=\"{version}\""
                )),
            "{told}"
        );
    }
    assert_eq!(repo.code("base-images bump 1.2.3"), 0);
    assert!(!repo.run("base-images list").contains("drift"));
    assert_eq!(repo.code("base-images bump 1.5.0"), 0);
    assert_eq!(
        repo.read("docker/base-images/build.sh"),
        "DEFAULT_FIT_VERSION=\"1.5.0\"\nV=${FIT_VERSION:-1.5.0}\n"
    );
}

#[test]
fn what_is_no_version_is_refused_and_a_tree_without_one_says_so() {
    let repo = TestRepo::new(TREE);
    for version in ["latest", "v1.3.0", "1.3.0/x", "''", "1..2"] {
        assert_eq!(repo.code(&format!("base-images bump {version}")), 2, "{version}");
    }
    let bare = TestRepo::new("//- src/api/Dockerfile\nFROM scratch\n");
    let told = bare.run("base-images bump 1.3.0");
    assert!(told.starts_with("exit 10") && told.contains("names no default version"), "{told}");
}

#[test]
fn dockerfiles_that_disagree_are_made_one_and_none_outside_is_passed_over() {
    let repo = TestRepo::new(
        "//- docker/base-images/a/Dockerfile\nARG FIT_VERSION=1.2.3\nFROM scratch\n\
         //- docker/base-images/b/Dockerfile\nARG FIT_VERSION=1.2.4\nFROM scratch\n",
    );
    let told = repo.run("base-images bump 2.0.0");
    assert!(told.starts_with("exit 0"), "{told}");
    for system in ["a", "b"] {
        let text = repo.read(&format!("docker/base-images/{system}/Dockerfile"));
        assert!(text.starts_with("ARG FIT_VERSION=2.0.0\n"), "{text}");
    }
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("b"), "ARG FIT_VERSION=2.0.0\nFROM scratch\n").unwrap();
    let link = repo.root().join("docker/base-images/b/Dockerfile");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(outside.path().join("b"), &link).unwrap();
    let told = repo.run("base-images bump 2.1.0");
    assert!(told.starts_with("exit 1\n") && told.contains("b/Dockerfile is a link to"), "{told}");
    assert!(repo.read("docker/base-images/a/Dockerfile").contains("2.0.0"), "nothing is changed by half");
}
