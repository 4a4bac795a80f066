use super::*;
use crate::testing::TestTree;

/// A tree, and what its compose project comes to: `image`, `build` or `build image` of each service.
fn services(
    files: &serde_json::Value,
    env: &serde_json::Value,
) -> Result<BTreeMap<String, String>, Diagnostic> {
    let tree = TestTree::new("");
    for (path, text) in files.as_object().expect("files") {
        tree.write(path, text.as_str().expect("a text").as_bytes());
    }
    let root = tree.root();
    let dotenv = std::fs::read_to_string(root.join(".env")).unwrap_or_default();
    let set = |name: &str| env[name].as_str().map(str::to_owned);
    let dotenv = Dotenv::parse_within(".env", &dotenv, &set).expect("valid").values();
    let variable = over(&set, &dotenv);
    let project = read(&root, &found(&root, &variable), &variable)?;
    let told = project.services.into_iter().map(|service| {
        let image = service.image.as_ref().map(Reference::familiar).unwrap_or_default();
        // compose leaves the tag out where the file does.
        let image = image.strip_suffix(":latest").unwrap_or(&image);
        let build = if service.builds { "build " } else { "" };
        (service.name, format!("{build}{image}").trim().to_owned())
    });
    Ok(told.collect())
}

/// What `docker compose --profile '*' config` of 2.26.1 and of 2.40.3 made of these trees; they agree.
#[test]
fn projects_are_what_compose_makes_of_them() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("compose-cases.json")).expect("cases");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let found = services(&case["files"], &case["env"]);
            let (found, error) = match found {
                Ok(found) => (serde_json::json!(found), None),
                Err(error) => (serde_json::Value::Null, Some(error)),
            };
            (found != case["services"]).then(|| format!("{}: {found} {error:?}, not {case}", case["name"]))
        })
        .collect();
    assert_eq!(wrong, Vec::<String>::new(), "{}", wrong.join("\n"));
    assert!(cases.len() > 50, "{}", cases.len());
}

#[track_caller]
fn check(fixture: &str, expected: &str) {
    let tree = TestTree::new(fixture);
    let nothing = |_: &str| None;
    let told = match read(&tree.root(), &found(&tree.root(), &nothing), &nothing) {
        Err(error) => error.to_string(),
        Ok(project) => {
            let services = project.services.iter().map(|s| format!("{} {}", s.name, s.place));
            let warnings = project.warnings.iter().map(ToString::to_string);
            let files = project.files.join(" ");
            std::iter::once(files).chain(services).chain(warnings).collect::<Vec<_>>().join("\n")
        }
    };
    assert_eq!(told, expected);
}

#[test]
fn every_file_that_was_read_is_named_and_each_image_has_its_place() {
    check(
        "//- compose.yaml\ninclude: [more/db.yaml]\nservices:\n  web:\n    image: a:1\n  job:\n    extends: {file: base.yaml, service: x}\n\
         //- compose.override.yml\nservices:\n  web:\n    ports: []\n    image: a:2\n\
         //- more/db.yaml\nservices: {db: {image: b}}\n//- base.yaml\nservices:\n  x:\n    image: x:1\n",
        "compose.yaml base.yaml more/db.yaml compose.override.yml\ndb more/db.yaml:1\njob base.yaml:3\nweb compose.override.yml:4",
    );
    check(
        "//- compose.yaml\ninclude: ['https://git.example/x.git']\nservices: {a: {image: b}}\n",
        "compose.yaml\na compose.yaml:2\n\
         warning: compose.yaml: `include` is not followed to https://git.example/x.git: what that starts is not looked at",
    );
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    check(
        "//- compose.yaml\nservices:\n  a:\n    image: ${NO:?x}\n",
        "error: compose.yaml:3: the image of `a`: the variable NO is not set: x",
    );
    check(
        "//- compose.yaml\nservices:\n  a:\n    image: A:B:C\n",
        "error: compose.yaml:3: the image of `a` gives `A:B:C`: `A:B:C` is not an image reference: a repository is lowercase letters and digits, separated by `/`, `.`, `_`, `__` or dashes",
    );
    check(
        "//- compose.yaml\ninclude: [none.yaml]\n",
        "error: none.yaml: cannot be read, which `include` of none.yaml in compose.yaml names: No such file or directory (os error 2)",
    );
    check(
        "//- compose.yaml\nservices: {a: {extends: b}}\n",
        "error: compose.yaml: there is no service `b`; `extends` of `a` in compose.yaml names it",
    );
    check(
        "//- compose.yaml\nservices: {a: {extends: b}, b: {extends: a}}\n",
        "error: compose.yaml: `extends` of `a` in compose.yaml leads back to itself",
    );
}
