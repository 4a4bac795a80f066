//! What builds may be told: where it is written, what is missing, and that nothing of it is shown.

use crate::repo::TestRepo;

const TREE: &str = "\
//- src/api/Dockerfile
FROM scratch
RUN --mount=type=secret,id=npm,required --mount=type=secret,id=extra x
//- src/web/Dockerfile
FROM scratch AS all
RUN --mount=type=ssh,required y
FROM scratch
COPY page /
//- src/web/page
1
";

fn builds(repo: &TestRepo, flags: &str) -> String {
    let plan = repo.json(&format!("plan --offline --format json {flags}"));
    let skipped = plan["skipped"].as_array().cloned().unwrap_or_default();
    let told = skipped.iter().filter(|skipped| skipped["phase"] == "build");
    told.map(|skipped| format!("{}: {}\n", skipped["subject"], skipped["why"])).collect()
}

#[test]
fn what_is_required_and_given_by_nobody_is_told_with_its_place() {
    let repo = TestRepo::new(TREE);
    let lacks =
        |flags: &str| builds(&repo, flags).contains("src/api/Dockerfile:2: RUN needs the secret `npm`");
    assert!(lacks(""), "{}", builds(&repo, ""));
    assert!(lacks("--secret id=extra,env=PATH"));
    assert!(!lacks("--secret id=npm,env=PATH"));
    assert!(!builds(&repo, "").contains("web"), "what the target does not reach asks for nothing");
    repo.write("token", "hush hush hush");
    repo.write(".config/xtask.toml", "[secrets]\nnpm = { file = \"token\" }\n");
    assert!(!lacks(""), "settings give it");
    repo.write(".config/xtask.toml", "[secrets]\nnpm = { file = \"no-such-file\" }\n");
    assert!(lacks(""), "a file that is not there gives nothing");
    repo.write("src/api/service.toml", "[secrets]\nnpm = { file = \"../../token\" }\n");
    assert!(!lacks(""), "the service's own, relative to its folder");
    repo.write(".env", "NPM_TOKEN=hush-hush-hush\n");
    repo.write("src/api/service.toml", "[secrets]\nnpm = { env = \"NPM_TOKEN\" }\n");
    assert!(!lacks(""), "a variable of .env");
    let key =
        |flags: &str| repo.json(&format!("plan --offline --format json {flags}"))["images"][0]["key"].clone();
    assert_eq!(key(""), key("--secret id=npm,env=PATH --secret id=extra,env=HOME"), "no value is in a key");
    let before = key("");
    repo.write("src/api/Dockerfile", "FROM scratch\nRUN --mount=type=secret,id=npm2 x\n");
    assert_ne!(key(""), before, "another ID is another key");
}

#[test]
fn what_was_typed_has_to_be_there() {
    let repo = TestRepo::new(TREE).with("SSH_AUTH_SOCK", "");
    insta::assert_snapshot!(repo.run("plan --offline --secret id=npm,env=NO_SUCH_VARIABLE"), @r"
    exit 10
    --- stderr
    error: environment variable NO_SUCH_VARIABLE: it is not set, and `--secret id=npm` takes it
    hint: set NO_SUCH_VARIABLE to a value it can have, or unset it
    ");
    let told = repo.run("plan --offline --secret id=npm,src=/no/such/file");
    assert!(told.starts_with("exit 10\n") && told.contains("cannot read /no/such/file"), "{told}");
    let told = repo.run("plan --offline --ssh default");
    assert!(told.starts_with("exit 10\n") && told.contains("SSH_AUTH_SOCK"), "{told}");
    let told = repo.run("plan --offline --secret npm");
    assert!(told.starts_with("exit 2\n") && told.contains("expected `id=ID,src=FILE`"), "{told}");
    repo.write(".config/xtask.toml", "[secrets]\nnpm = \"its value\"\n");
    let told = repo.run("plan --offline");
    let shown = ".config/xtask.toml:2:7: a secret is `{ file = \"PATH\" }` or `{ env = \"NAME\" }`";
    assert!(told.starts_with("exit 10\n") && told.contains(shown), "{told}");
}
