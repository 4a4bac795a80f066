use insta::assert_snapshot;

use super::*;
use crate::model::Network;
use crate::settings::{SETTINGS, settings_table};
use crate::testing::TestTree;

fn env<const N: usize>(pairs: [(&str, &str); N]) -> Env {
    pairs.into_iter().collect()
}

#[track_caller]
fn load_tree(fixture: &str, env: &Env) -> Config {
    load(&TestTree::new(fixture).root(), Layer::default(), env, None)
        .unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn load_error(fixture: &str, env: &Env) -> String {
    let tree = TestTree::new(fixture);
    match load(&tree.root(), Layer::default(), env, None) {
        Ok(config) => panic!("loaded: {config:?}"),
        Err(error) => format!("{error} | {}", error.hint()),
    }
}

#[test]
fn built_in_values_fill_everything() {
    let config = load_tree("", &Env::default());
    assert_eq!(config.services, ["src/*"]);
    assert_eq!(config.base_images, ["docker/base-images/*"]);
    assert_eq!((config.prefix.as_str(), config.tag.as_str()), ("", "latest"));
    assert_eq!((config.registry, config.internal_registry, config.network), (None, None, None));
    assert_eq!((config.retries, config.pulls_per_registry, config.jobs), (3, 3, None));
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.network_source, None);
}

#[test]
fn each_layer_beats_the_next() {
    let project = "//- .config/xtask.toml\ntag = 'project'\nprefix = 'p-'\nretries = 9\nmirrors = { 'docker.io' = ['m1.example.com'], 'quay.io' = ['q.example.com'] }\nbuild_args = { A = 1, B = true }\n";
    let local = "//- .config/xtask.local.toml\ntag = 'local'\n[mirrors]\n'docker.io' = ['m2.example.com', 'm3.example.com']\n";
    let dotenv = "//- .env\nIMAGE_TAG=dotenv\n";
    let none = Env::default();
    let tag = |fixture: &[&str], env: &Env| load_tree(&fixture.concat(), env).tag;
    assert_eq!(tag(&[project], &none), "project");
    assert_eq!(tag(&[project, local], &none), "local");
    assert_eq!(tag(&[project, local, dotenv], &none), "dotenv");
    assert_eq!(tag(&[project, local, dotenv], &env([("IMAGE_TAG", "old")])), "old");
    assert_eq!(tag(&[project], &env([("IMAGE_TAG", "old"), ("XTASK_TAG", "new")])), "new");
    assert_eq!(tag(&[project, dotenv], &env([("IMAGE_TAG", "")])), "dotenv", "empty says nothing");

    let tree = TestTree::new(&[project, local].concat());
    let flags = Layer {
        tag: Some("flag".parse().expect("tag")),
        build_args: BTreeMap::from([("A".to_owned(), super::super::Scalar("f".to_owned()))]),
        ..Layer::default()
    };
    let config = load(&tree.root(), flags, &env([("XTASK_TAG", "new")]), None).expect("valid");
    assert_eq!(config.tag, "flag");
    assert_eq!(config.prefix, "p-");
    assert_eq!(config.build_args.flags["A"], "f");
    assert_eq!(
        (config.build_args.settings["A"].as_str(), config.build_args.settings["B"].as_str()),
        ("1", "true")
    );
    let mirrors: Vec<String> = config.mirrors["docker.io"].iter().map(ToString::to_string).collect();
    assert_eq!(mirrors, ["m2.example.com", "m3.example.com"], "tables merge key by key");
    assert_eq!(config.mirrors.len(), 2);
}

#[test]
fn a_named_file_replaces_the_projects() {
    let tree = TestTree::new("//- .config/xtask.toml\ntag = 'project'\n//- other.toml\nprefix = 'o-'\n");
    let named = tree.root().join("other.toml");
    let config = load(&tree.root(), Layer::default(), &Env::default(), Some(&named)).expect("valid");
    assert_eq!((config.tag.as_str(), config.prefix.as_str()), ("latest", "o-"));
    let missing = tree.root().join("missing.toml");
    let error = load(&tree.root(), Layer::default(), &Env::default(), Some(&missing)).expect_err("missing");
    assert_eq!(error.to_string(), "cannot read missing.toml");
}

#[test]
fn names_of_the_old_scripts_keep_working() {
    let config = load_tree(
        "//- .config/xtask.toml\ninternal_registry = 'harbor.example.com/x'\n",
        &env([
            ("AI_INFRA_NETWORK_ENV", "internal"),
            ("INTERNAL_REGISTRY", ""),
            ("IMAGE_TAG", "v1"),
            ("FORCE_REBUILD", "true"),
            ("SKIP_CACHE_CHECK", "yes"),
            ("SKIP_PREFETCH", "1"),
            ("PARALLEL_JOBS", "8"),
            ("DEBUG", "true"),
        ]),
    );
    assert_eq!(config.network, Some(Network::Internal));
    assert_eq!(config.network_source.as_deref(), Some("AI_INFRA_NETWORK_ENV"));
    assert_eq!(config.internal_registry, None, "an empty INTERNAL_REGISTRY means none");
    assert_eq!(config.tag, "v1");
    assert!(config.force && config.skip_cache_check && config.skip_prefetch && config.verbose);
    assert_eq!(config.jobs, Some(8));

    let other = env([("DEBUG", "express:*"), ("FORCE_REBUILD", "off"), ("INTERNAL_REGISTRY", "h.local/a/")]);
    let config = load_tree("", &other);
    assert!(!config.verbose && !config.force);
    assert_eq!(config.internal_registry.map(|r| r.to_string()).as_deref(), Some("h.local/a"));
}

#[test]
fn where_the_network_was_decided_is_known() {
    let source = |fixture: &str, env: &Env| load_tree(fixture, env).network_source;
    let file = "//- .config/xtask.toml\nnetwork = 'external'\n";
    assert_eq!(source(file, &Env::default()).as_deref(), Some(".config/xtask.toml"));
    let dotenv = "//- .env\nAI_INFRA_NETWORK_ENV=external\n";
    assert_eq!(source(dotenv, &Env::default()).as_deref(), Some("AI_INFRA_NETWORK_ENV in .env"));
    let example = "//- .env.example\nAI_INFRA_NETWORK_ENV=external\n";
    assert_eq!(source(example, &Env::default()).as_deref(), Some("AI_INFRA_NETWORK_ENV in .env.example"));
    assert_eq!(source(file, &env([("XTASK_NETWORK", "auto")])), None, "auto undoes what a file says");
}

#[test]
fn dotenv_is_read_as_sync_will_leave_it() {
    let config =
        load_tree("//- .env.example\nA=1\nB=2\nC=$B\n//- .env\nB=9\n", &env([("A", "from outside")]));
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(config.dotenv, [pair("B", "9"), pair("A", "1"), pair("C", "9")]);
    let config = load_tree("//- .env.example\nIMAGE_TAG=v3\n", &Env::default());
    assert_eq!((config.tag.as_str(), config.env_files.current), ("v3", None));
    assert_eq!(load_tree("//- .env/bin/python\n", &Env::default()).dotenv, []);
}

#[test]
fn unknown_keys_warn() {
    let config =
        load_tree("//- .config/xtask.toml\n# note\nservces = ['a/*']\n\n[colours]\nx = 1\n", &Env::default());
    assert_snapshot!(config.warnings.join("\n"), @r"
    .config/xtask.toml:2:1: unknown key `servces`, did you mean `services`?
    .config/xtask.toml:4:2: unknown key `colours`
    ");
}

#[test]
fn errors_name_their_place() {
    let tomls = [
        "tag = 'a'\ntag = \n",
        "tag = 'a'\ntag = 'b'\n",
        "retries = 'many'\n",
        "\nservices = ['src/*', '../x']\n",
        "services = ['src/[']\n",
        "jobs = 0\n",
        "jobs = -1\n",
        "network = 'office'\n",
        "registry = 'not a host'\n",
        "platform = 'amd64'\n",
        "tag = '-x'\n",
        "context = 'here'\n",
        "[mirrors]\n'docker.io' = 'm.example.com'\n",
        "[build_args]\nA = 1\nB = []\n",
        "[recipes.'debian:12']\nkind = 'debootstrap'\nsuit = 'x'\n",
        "[recipes.'debian:12']\nkind = 'buildah'\n",
        "\n[recipes.'Debian 12']\nkind = 'debootstrap'\nsuite = 'x'\n",
    ];
    let none = Env::default();
    let mut said: Vec<String> =
        tomls.iter().map(|text| load_error(&format!("//- .config/xtask.toml\n{text}"), &none)).collect();
    said.push(load_error("//- .env\nA=1\nB 2\n", &none));
    said.push(load_error("//- .env\nA=1\n FORCE_REBUILD=maybe\n", &none));
    said.push(load_error("//- .env\nA=1\n//- .env.example\nPARALLEL_JOBS=0\n", &none));
    said.push(load_error("", &env([("AI_INFRA_NETWORK_ENV", "office")])));
    said.push(load_error("", &env([("XTASK_VERBOSE", "loud")])));
    let tree = TestTree::new("");
    tree.write(".config/xtask.toml", b"tag = 'a'\nprefix = '\xff'\n");
    said.push(load(&tree.root(), Layer::default(), &none, None).expect_err("not UTF-8").to_string());
    assert_snapshot!(said.join("\n"), @r#"
    .config/xtask.toml:2:7: string values must be quoted, expected literal string | edit .config/xtask.toml:2:7
    .config/xtask.toml:2:1: duplicate key | edit .config/xtask.toml:2:1
    .config/xtask.toml:1:11: expected a whole number, 0 or more, found "many" | edit .config/xtask.toml:1:11
    .config/xtask.toml:2:12: `../x` leads out of the tree: globs are relative to the root | edit .config/xtask.toml:2:12
    .config/xtask.toml:1:12: `src/[` is not a glob: unclosed character class; missing ']' | edit .config/xtask.toml:1:12
    .config/xtask.toml:1:8: `0` is out of range: expected 1 or more | edit .config/xtask.toml:1:8
    .config/xtask.toml:1:8: expected a whole number, 0 or more, found -1 | edit .config/xtask.toml:1:8
    .config/xtask.toml:1:11: `office` is not a network: expected `internal`, `external` or `auto` | edit .config/xtask.toml:1:11
    .config/xtask.toml:1:12: `not a host` is not a registry: expected a host such as `harbor.example.com/project` | edit .config/xtask.toml:1:12
    .config/xtask.toml:1:12: `amd64` is not a platform: expected `os/arch` or `os/arch/variant`, for example `linux/amd64` | edit .config/xtask.toml:1:12
    .config/xtask.toml:1:7: `-x` is not a tag: up to 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-` | edit .config/xtask.toml:1:7
    .config/xtask.toml:1:11: `here` is none of the values that it can have: `auto`, `service`, `root` | edit .config/xtask.toml:1:11
    .config/xtask.toml:2:15: expected a list: `["..."]`, found "m.example.com" | edit .config/xtask.toml:2:15
    .config/xtask.toml:3:5: expected a text, a number or true/false | edit .config/xtask.toml:3:5
    .config/xtask.toml:1:1: unknown field `suit`, expected one of `suite`, `mirror`, `variant`, `include` | edit .config/xtask.toml:1:1
    .config/xtask.toml:2:8: `buildah` is none of the values that it can have: `debootstrap` | edit .config/xtask.toml:2:8
    .config/xtask.toml:2:10: `Debian 12` is not an image reference: a repository is lowercase letters and digits, separated by `/`, `.`, `_`, `__` or dashes | edit .config/xtask.toml:2:10
    .env:2:3: expected `=` after `B`; a comment begins with `#` | edit .env:2:3
    .env:2:2: FORCE_REBUILD: `maybe` is neither yes nor no: expected `true` or `false` | edit .env:2:2
    .env.example:1:1: PARALLEL_JOBS: `0` is out of range: expected 1 or more | edit .env.example:1:1
    environment variable AI_INFRA_NETWORK_ENV: `office` is not a network: expected `internal`, `external` or `auto` | set AI_INFRA_NETWORK_ENV to a value it can have, or unset it
    environment variable XTASK_VERBOSE: `loud` is neither yes nor no: expected `true` or `false` | set XTASK_VERBOSE to a value it can have, or unset it
    .config/xtask.toml:2:11: the text is not UTF-8
    "#);
}

#[test]
fn recipes_and_aliases_are_read() {
    let config = load_tree(
        "//- .config/xtask.toml\n[recipes.\"debian:12-slim\"]\nkind = \"debootstrap\"\nsuite = \"bookworm\"\nvariant = \"minbase\"\ninclude = [\"ca-certificates\"]\n[aliases]\n\"quay.io\" = \"quay\"\n",
        &Env::default(),
    );
    let reference = "docker.io/library/debian:12-slim".parse().expect("reference");
    assert!(config.recipes.contains_key(&reference), "{:?}", config.recipes);
    assert_eq!(config.alias_prefixes["quay.io"], "quay");
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_root_is_found() {
    let tree = TestTree::new(
        "//- .config/xtask.toml\n//- src/api/deep/x\n//- src/repo/.git/HEAD\n//- src/repo/deep/x\n",
    );
    let root = tree.root();
    let none = Env::default();
    let find = |cwd: &Path, env: &Env| {
        let found = find_root(None, cwd, env).expect("a folder");
        (found.path, found.guessed)
    };
    assert_eq!(find(&root.join("src/api/deep"), &none), (root.clone(), None));
    let named = find_root(Some(Path::new("src")), &root, &none).expect("named");
    assert_eq!(named, Root { path: root.join("src"), guessed: None });
    let (path, guessed) = find(&root.join("src/repo/deep"), &none);
    assert!(path == root && guessed.is_some_and(|why| why.contains("around")), "{guessed:?}");

    // Without settings: never what this program was compiled in.
    let elsewhere = TestTree::new("//- repo/.git/HEAD\n//- repo/src/deep/x\n//- worktree/.git\n//- bare/x\n");
    let there = elsewhere.root();
    assert_eq!(find(&there.join("repo/src/deep"), &none), (there.join("repo"), Some("this git repository")));
    assert_eq!(find(&there.join("worktree"), &none), (there.join("worktree"), Some("this git repository")));
    assert_eq!(find(&there.join("bare"), &none), (there.join("bare"), Some("the working directory")));
    let cargo = TestTree::new("//- xtask/Cargo.toml\n//- src/x\n");
    let by_cargo: Env = [("CARGO_MANIFEST_DIR", cargo.root().join("xtask"))].into_iter().collect();
    assert_eq!(find(&cargo.root().join("src"), &by_cargo), (cargo.root(), None));
    let (path, guessed) = find(&there.join("repo"), &by_cargo);
    assert!(path == cargo.root() && guessed.is_some(), "{guessed:?}");
    let named = TestTree::new(
        "//- Cargo.toml\n[workspace]\nmembers = [\"tools/*\"]\n//- tools/images/Cargo.toml\nxtask-images = \"0.1\"\n//- src/x\n\
         //- alone/.git/HEAD\n//- alone/tools/xtask/Cargo.toml\n[workspace]\n[dependencies]\nxtask-images = \"0.1\"\n//- alone/src/x\n",
    );
    for (package, tree) in [("tools/images", ""), ("alone/tools/xtask", "alone")] {
        let by_cargo: Env = [("CARGO_MANIFEST_DIR", named.root().join(package))].into_iter().collect();
        let tree = named.root().join(tree);
        assert_eq!(find(&tree.join("src"), &by_cargo).0, tree.canonicalize().expect("a folder"), "{package}");
    }
    let other: Env = [("CARGO_MANIFEST_DIR", there.join("bare"))].into_iter().collect();
    assert_eq!(find(&there.join("repo"), &other).0, there.join("repo"), "cargo runs something else");
    for bad in ["missing", ".config/xtask.toml"] {
        let error = find_root(Some(Path::new(bad)), &root, &none).expect_err(bad);
        assert!(error.to_string().contains("cannot be the root"), "{error}");
        assert!(error.hint().contains("--root"));
    }
}

#[test]
fn variables_have_their_values_from_three_places() {
    let file = "//- .config/xtask.toml\n[variables]\nA = 'text'\nN = 2\nB = true\nE = { env = 'CI_SHA' }\nU = { env = 'GONE' }\nC = { command = 'echo x' }\n";
    let local = "//- .config/xtask.local.toml\n[variables]\nA = 'mine'\n";
    let config = load_tree(&format!("{file}{local}"), &env([("CI_SHA", "abc")]));
    let value = |text: &str| Variable::Value(text.to_owned());
    let expected = [
        ("A", value("mine")),
        ("B", value("true")),
        ("C", Variable::Command("echo x".to_owned())),
        ("E", value("abc")),
        ("N", value("2")),
        ("U", Variable::Env("GONE".to_owned())),
    ];
    assert_eq!(config.variables, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!(config.warnings, [""; 0]);
    for wrong in ["1.5", "['a']", "{ env = 'A', command = 'b' }", "{ shell = 'x' }", "{ env = 1 }"] {
        let error =
            load_error(&format!("//- .config/xtask.toml\n[variables]\nA = {wrong}\n"), &Env::default());
        assert!(error.contains(".config/xtask.toml:2:5") && error.contains("{ env ="), "{wrong}: {error}");
    }
}

#[test]
fn the_tag_of_what_is_built_is_the_same_wherever_env_names_it() {
    let tree = "//- .env.example\nIMAGE_TAG=v3\nOTHER=v3\n";
    let values = |env: &Env| load_tree(tree, env).dotenv;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(values(&Env::default()), [pair("IMAGE_TAG", "v3"), pair("OTHER", "v3")]);
    assert_eq!(values(&env([("IMAGE_TAG", "v9")])), [pair("IMAGE_TAG", "v9"), pair("OTHER", "v3")]);
    assert_eq!(
        load_tree("//- .env\nIMAGE_TAG=\n", &env([("XTASK_TAG", "v9")])).dotenv,
        [pair("IMAGE_TAG", "")]
    );
}

#[test]
fn build_args_may_come_from_the_environment() {
    let env = env([("HTTP", "h")]);
    let arg = |text| parse_build_arg(text, &env);
    assert_eq!(arg("A=b=c"), Ok(Some(("A".to_owned(), "b=c".to_owned()))));
    assert_eq!(arg("A="), Ok(Some(("A".to_owned(), String::new()))));
    assert_eq!(arg("HTTP"), Ok(Some(("HTTP".to_owned(), "h".to_owned()))));
    assert_eq!(arg("UNSET"), Ok(None));
    assert!(arg("=x").is_err());
}

#[test]
fn the_table_agrees_with_the_built_in_values_and_the_docs() {
    let mut keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    keys.sort_unstable();
    let before = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), before, "each setting once");
    for setting in SETTINGS {
        for name in setting.variables().filter(|name| name.starts_with("XTASK_")) {
            let of_key = setting.key.to_uppercase().replace('.', "_");
            let told = name.trim_start_matches("XTASK_");
            assert!(told == of_key || told == setting.old, "{name} is neither {of_key} nor the old name");
        }
    }
    let docs = include_str!("../../../../docs/config.md");
    assert!(docs.contains(&settings_table()), "docs/config.md must hold this table:\n{}", settings_table());
}

#[test]
fn tables_of_settings_merge_and_know_their_keys() {
    let fixture = "//- .config/xtask.toml\n[base_image]\nversion = '1.2.3'\nname = 'team/base'\nversoin = 2\n\
                   [artifact]\nmirrors = ['https://m.example.com/gh']\n";
    let tree = TestTree::new(fixture);
    let variables =
        [("FIT_VERSION", "9.9.9"), ("PARALLEL", "4"), ("ONLY_OS", "a, b"), ("PUSH_IMAGE", "true")];
    let variables = env(variables);
    let config = load(&tree.root(), Layer::default(), &variables, None).expect("valid");
    let bases = &config.base_image;
    assert_eq!((bases.name.as_str(), bases.version.as_deref(), bases.jobs), ("team/base", Some("1.2.3"), 4));
    assert_eq!(
        (&bases.versions, &bases.only, bases.push),
        (&vec!["9.9.9".into()], &vec!["a".into(), "b".into()], true)
    );
    assert_eq!(config.artifact.mirrors, ["https://m.example.com/gh"]);
    assert_eq!(config.artifact.lock, "docker/base-images/artifacts.lock");
    assert!(config.artifact.url.contains("{version}"), "what one source leaves open the next one says");
    assert_eq!(
        config.warnings,
        [".config/xtask.toml:4:1: unknown key `base_image.versoin`, did you mean `base_image.version`?"]
    );
}

#[test]
fn what_base_images_refuse() {
    for (name, value, expected) in [
        ("FIT_VERSION", "v1", "`v1` is not a version"),
        ("FIT_VERSION", "../1", "`../1` is not a version"),
        ("FIT_VERSION", "1/2", "`1/2` is not a version"),
        ("FIT_VERSION", "1..2", "`1..2` is not a version"),
        ("XTASK_BASE_IMAGE_NAME", "Base", "`Base` is not an image name"),
        ("XTASK_BASE_IMAGE_NAME", "base:1", "`base:1` is not an image name"),
        ("REGISTRY_PORT", "0", "`0` is not a port"),
        ("REGISTRY_PORT", "65536", "`65536` is not a port"),
        ("XTASK_PARALLEL", "0", "`0` is out of range"),
        ("PARALLEL", "zero", "environment variable PARALLEL: `zero` is not a number of 1 or more"),
        ("PARALLEL", "0", "environment variable PARALLEL: `0` is out of range"),
        ("PARALLEL", "-1", "environment variable PARALLEL: `-1` is not a number"),
        ("PARALLEL_JOBS", "abc", "environment variable PARALLEL_JOBS: `abc` is not a number"),
        ("PUSH_IMAGE", "maybe", "`maybe` is neither yes nor no"),
    ] {
        let error = load_error("", &env([(name, value)]));
        assert!(error.contains(expected), "{name}={value}: {error}");
    }
}

#[test]
fn artifacts_are_kept_where_caches_are() {
    let cache = |variables: &Env| {
        let config = load_tree("", variables);
        (config.artifact.cache, config.artifact.old_cache)
    };
    let (kept, old) = cache(&env([("HOME", "/home/u"), ("TMPDIR", "/t")]));
    assert_eq!((kept, old), ("/home/u/.cache/xtask/artifacts".into(), "/t/fit-framework-cache".into()));
    let (kept, old) = cache(&env([("XTASK_ARTIFACT_CACHE", "/a"), ("XDG_CACHE_HOME", "/c")]));
    assert_eq!((kept, old), ("/a".into(), "/tmp/fit-framework-cache".into()));
    assert!(cache(&Env::default()).0.ends_with("target/xtask/cache/artifacts"), "nobody's home");
}

/// Each variable whose value is a number, yes or no, or a word of a few: what it cannot be is refused with its name,
/// in the environment and in `.env`.
#[test]
fn no_variable_passes_over_what_it_cannot_be() {
    let checked = |setting: &&crate::settings::Setting| {
        let is_number = ["`false`", "`2`", "`3`", "by the machine", "`auto`"].contains(&setting.default);
        is_number || setting.key == "registry_port"
    };
    let mut count = 0;
    for setting in SETTINGS.iter().filter(checked) {
        for variable in setting.variables().filter(|name| *name != "DEBUG") {
            count += 1;
            let error = load_error("", &env([(variable, "abc")]));
            assert!(error.starts_with(&format!("environment variable {variable}: `abc` ")), "{error}");
            let error = load_error(&format!("//- .env\nA=1\n{variable}=abc\n"), &Env::default());
            assert!(error.starts_with(&format!(".env:2:1: {variable}: `abc` ")), "{error}");
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn what_belongs_to_other_programs_is_passed_over() {
    let config = load_tree("", &env([("PARALLEL", "--jobs 4 -k"), ("DEBUG", "express:*")]));
    assert_eq!((config.base_image.jobs, config.verbose), (2, false));
}

#[test]
fn who_chose_systems_is_known() {
    let sources = |fixture: &str, env: &Env| {
        let bases = load_tree(fixture, env).base_image;
        (bases.only_source.unwrap_or_default(), bases.skip_source.unwrap_or_default())
    };
    let said = |only: &str, skip: &str| (only.to_owned(), skip.to_owned());
    assert_eq!(sources("", &Env::default()), said("", ""));
    assert_eq!(
        sources("//- .env\nONLY_OS=a\n", &env([("SKIP_OS", "b")])),
        said("ONLY_OS in .env", "SKIP_OS")
    );
    let file = "//- .config/xtask.toml\nbase_image = { skip = ['a'] }\n";
    assert_eq!(sources(file, &Env::default()), said("", ".config/xtask.toml"));
}
