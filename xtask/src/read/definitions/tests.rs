use serde_json::{Value, json};

use super::*;
use crate::model::Severity;
use crate::settings::env::Env;
use crate::settings::{Layer, load};
use crate::testing::TestTree;

fn of(tree: &TestTree, files: &[String], env: &[(&str, &str)]) -> Definitions {
    let env: Env = env.iter().copied().collect();
    let config = load(&tree.root(), Layer::default(), &env, None).expect("settings");
    read(&config, files)
}

/// What there is of a definition, in the form of the cases.
fn told(image: &Definition) -> Value {
    let keys = |keys: Vec<&String>| json!(keys);
    let platforms: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
    let all = json!({
        "target": image.target,
        "args": image.args,
        "labels": image.labels,
        "network": image.network,
        "names": image.names,
        "platforms": platforms,
        "contexts": image.contexts,
        "secrets": keys(image.secrets.keys().collect()),
        "ssh": keys(image.ssh.keys().collect()),
    });
    let is_said = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        _ => true,
    };
    let said = all.as_object().into_iter().flatten().filter(|(_, value)| is_said(value));
    let mut said: serde_json::Map<String, Value> = said.map(|(k, v)| (k.clone(), v.clone())).collect();
    said.insert("context".to_owned(), json!(image.context));
    said.insert("inline".to_owned(), json!(image.inline));
    let dockerfile = image.inline.is_none().then_some(&image.dockerfile);
    said.insert("dockerfile".to_owned(), json!(dockerfile));
    Value::Object(said)
}

/// Every case has what the tool itself made of its files: `docker compose --profile '*' config` of 2.40.3, `docker buildx
/// bake --print` of 0.29.1. What they print escaped, for themselves to read, stands here as it is meant; null is what they
/// refuse.
#[track_caller]
fn check_cases(text: &str, least: usize) {
    let cases: Vec<Value> = serde_json::from_str(text).expect("cases");
    let mut wrong = Vec::new();
    for case in &cases {
        let tree = TestTree::new("");
        for (path, text) in case["files"].as_object().expect("files") {
            tree.write(path, text.as_str().expect("a text"));
        }
        let mut env = vec![("COMPOSE_PROJECT_NAME", "shop")];
        env.extend(
            case["env"]
                .as_object()
                .expect("env")
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str().expect("text"))),
        );
        let files: Vec<String> = serde_json::from_value(case["definitions"].clone()).expect("files");
        let found = of(&tree, &files, &env);
        let images: serde_json::Map<String, Value> =
            found.images.iter().map(|image| (image.name.clone(), told(image))).collect();
        let problems = || found.images.iter().flat_map(|image| &image.problems).chain(&found.problems);
        let is_refused = problems().any(|problem| problem.severity == Severity::Error);
        let is_right = if case["images"].is_null() { is_refused } else { json!(images) == case["images"] };
        if !is_right {
            let problems = problems();
            let problems: Vec<String> = problems.map(ToString::to_string).collect();
            wrong.push(format!("{}: {} {problems:?}, not {}", case["name"], json!(images), case["images"]));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{}", wrong.join("\n"));
    assert!(cases.len() >= least, "{}", cases.len());
}

#[test]
fn compose_files_are_read_as_compose_reads_them() {
    check_cases(include_str!("compose-cases.json"), 85);
}

#[test]
fn bake_files_are_read_as_bake_reads_them() {
    check_cases(include_str!("bake-cases.json"), 110);
}

#[track_caller]
fn check(fixture: &str, file: &str, expected: &str) {
    let found = of(&TestTree::new(fixture), &[file.to_owned()], &[]);
    let names = found.images.iter().map(|image| image.name.clone());
    let problems = found.images.iter().flat_map(|image| &image.problems).chain(&found.problems);
    let told: Vec<String> = names.chain(problems.map(ToString::to_string)).collect();
    assert_eq!(told.join("\n"), expected);
}

#[test]
fn what_is_not_understood_is_told_with_its_place_and_the_rest_goes_on() {
    check(
        "//- compose.yaml\nservices:\n  a:\n    build: .\n  b:\n    build:\n      context: .\n      target: ${NO:?say it}\n  c:\n    build: https://git.example/x.git\n  d:\n    build: ../..\n  e:\n    build: none\n  f:\n    build: {context: ., shm_size: 1g, secrets: [s]}\n",
        "compose.yaml",
        "a\nb\nc\nd\ne\nf\n\
         error: compose.yaml:7: the variable NO is not set: say it\n\
         error: compose.yaml:8: the context `https://git.example/x.git` lies elsewhere: only folders of the tree are built\n\
         error: compose.yaml:10: the context `/` lies outside the tree\n\
         error: compose.yaml:12: there is no folder none to be its context\n\
         warning: compose.yaml:15: `shm_size` is not taken over: builds go without it\n\
         error: compose.yaml:15: there is no secret `s` in the project",
    );
    check(
        "//- docker-bake.hcl\ngroup \"default\" { targets = [\"a\", \"b\", \"c\", \"no\"] }\ntarget \"a\" {}\ntarget \"b\" {\n  args = {\n    X = NOPE\n  }\n}\ntarget \"c\" {\n  inherits = [\"d\"]\n  tag = \"x\"\n}\n",
        "docker-bake.hcl",
        "a\nb\nc\n\
         error: docker-bake.hcl:4: `args`: there is no variable `NOPE`\n\
         error: docker-bake.hcl:8: there is no target `d` to inherit from\n\
         warning: docker-bake.hcl:10: `tag` is no attribute of targets: it says nothing\n\
         error: docker-bake.hcl:1: there is no target or group `no`",
    );
    check(
        "//- docker-bake.hcl\ntarget \"a\" {\n  args = {\n    X = \n  }\n}\n",
        "docker-bake.hcl",
        "error: docker-bake.hcl:3:9: invalid expression; expected `\"`, `[`, `{`, `-`, `!`, `(`, `_`, `<`, letter or digit",
    );
    check(
        "//- x\n",
        "compose.yaml",
        "error: compose.yaml: `definitions` names it, and it cannot be read: No such file or directory (os error 2)",
    );
    check(
        "//- compose.yaml\nservices:\n  a:\n    build: {context: ., secrets: [s]}\nsecrets:\n  s:\n    external: true\n",
        "compose.yaml",
        "a\nwarning: compose.yaml:5: the secret `s` is external: builds go without it",
    );
    check(
        "//- docker-bake.hcl\nvariable \"A\" { default = B }\nvariable \"B\" { default = A }\ntarget \"default\" {\n  tags = [A]\n}\n",
        "docker-bake.hcl",
        "default\nerror: docker-bake.hcl:4: `tags`: names itself, or stands deeper than anything that a person writes",
    );
}

#[test]
fn what_grows_without_bound_is_refused() {
    let doubled = |first: &str, next: &dyn Fn(usize) -> String| -> String {
        let more: String =
            (1..40).map(|n| format!("variable \"V{n}\" {{ default = {} }}\n", next(n - 1))).collect();
        format!(
            "//- docker-bake.hcl\nvariable \"V0\" {{ default = {first} }}\n{more}target \"default\" {{ args = {{ A = V39 }} }}\n"
        )
    };
    let refused =
        "default\nerror: docker-bake.hcl:41: `args`: comes to more than anything that a person writes";
    check(&doubled("\"x\"", &|n| format!("\"${{V{n}}}${{V{n}}}\"")), "docker-bake.hcl", refused);
    check(&doubled("[1]", &|n| format!("[V{n}, V{n}]")), "docker-bake.hcl", refused);
    check(&doubled("[1]", &|n| format!("concat(V{n}, V{n})")), "docker-bake.hcl", refused);
    check(
        "//- docker-bake.hcl\ntarget \"default\" {\n  args = { A = [for a in range(1000) : [for b in range(1000) : \"x\"]] }\n}\n",
        "docker-bake.hcl",
        "default\nerror: docker-bake.hcl:2: `args`: comes to more than anything that a person writes",
    );
}

#[test]
fn what_leads_too_deep_is_refused() {
    let chain = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<String>();
    let services = chain(50_000, &|n| format!("  s{n}: {{extends: s{}}}\n", n + 1));
    check(
        &format!("//- compose.yaml\nservices:\n{services}  s50000: {{build: .}}\n"),
        "compose.yaml",
        "error: compose.yaml: `extends` of `s101` in compose.yaml stands deeper than anything that a person writes",
    );
    let targets = chain(50_000, &|n| format!("target \"s{n}\" {{ inherits = [\"s{}\"] }}\n", n + 1));
    check(
        &format!("//- docker-bake.hcl\n{targets}target \"s50000\" {{}}\n"),
        "docker-bake.hcl#s0",
        "s0\nerror: docker-bake.hcl:201: inherits through more targets than a person writes",
    );
}

#[test]
fn wide_files_are_put_together_in_one_go() {
    let many = |of: &dyn Fn(usize) -> String| (0..50_000).map(of).collect::<String>();
    let file = |value: &str| {
        let services = many(&|n| format!("  s{n}: {{build: .}}\n"));
        let args = many(&|n| format!("        - K{n}={value}\n"));
        let tags = many(&|n| format!("        - t:{n}\n"));
        format!(
            "services:\n{services}  a:\n    build:\n      context: .\n      args:\n{args}      tags:\n{tags}"
        )
    };
    let tree = TestTree::new("");
    tree.write("compose.yaml", file("1"));
    tree.write("more.yaml", file("2"));
    let found = of(&tree, &["compose.yaml".to_owned(), "more.yaml".to_owned()], &[]);
    assert_eq!(found.images.len(), 50_001, "{:?}", found.problems);
    let image = found.images.iter().find(|image| image.name == "a").expect("an image");
    assert_eq!((image.args.len(), image.args.get("K7").map(String::as_str)), (50_000, Some("2")));
    assert_eq!(image.names.len(), 50_001);
}

/// As `docker compose config` has them; `bake` looks for its files from where it is run.
#[test]
fn files_of_secrets_and_agents_are_found_from_everywhere() {
    let tree = TestTree::new(
        "//- api/compose.yaml\nservices:\n  a:\n    build:\n      context: .\n      secrets: [s, h, e]\n      ssh: [default, k=./a, m=~/x, n=/abs]\n  b:\n    extends: {file: sub/b.yaml, service: b}\nsecrets:\n  s: {file: ./f}\n  h: {file: ~/f}\n  e: {environment: E}\n\
         //- api/sub/b.yaml\nservices:\n  b:\n    build:\n      context: .\n      ssh: {k: a}\n\
         //- docker-bake.hcl\ntarget \"c\" {\n  context = \"api\"\n  secret = [\"id=s,src=./f\", \"id=e,env=E\"]\n  ssh = [\"default\", \"k=f,/abs\"]\n}\n",
    );
    let files = ["api/compose.yaml".to_owned(), "docker-bake.hcl".to_owned()];
    let found = of(&tree, &files, &[("HOME", "/home/me")]);
    let root = tree.root().display().to_string();
    let told = found.images.iter().map(|image| format!("{} {:?} {:?}", image.name, image.secrets, image.ssh));
    let told: Vec<String> = told.map(|line| line.replace("/./", "/").replace(&root, "ROOT")).collect();
    assert_eq!(
        told,
        [
            r#"a {"e": Env("E"), "h": File("/home/me/f"), "s": File("ROOT/api/f")} {"default": Ssh([]), "k": Ssh(["ROOT/api/a"]), "m": Ssh(["/home/me/x"]), "n": Ssh(["/abs"])}"#,
            r#"b {} {"k": Ssh(["ROOT/api/sub/a"])}"#,
            r#"c {"e": Env("E"), "s": File("ROOT/f")} {"default": Ssh([]), "k": Ssh(["ROOT/f", "/abs"])}"#,
        ]
    );
}
