//! Which images a word on the command line means, typed anywhere in the tree.

use crate::repo::TestRepo;

const TREE: &str = "\
//- .config/xtask.toml
prefix = \"shop-\"
services = [\"src/*\", \"more/*/*\"]
[base_image]
version = \"1.2.3\"
//- src/links/Dockerfile
FROM scratch AS api
FROM scratch AS sweeper
//- src/links/build-targets.conf
api api
sweeper sweeper
//- src/links/app/main.py
x
//- src/web/Dockerfile
FROM scratch
COPY . /
//- src/web-admin/Dockerfile
FROM shop-web
//- src/redis/dependency.conf
redis:7
//- more/jobs/cron/Dockerfile
FROM scratch
//- docker/base-images/debian/Dockerfile
FROM scratch
//- notes/readme.txt
x
";

/// The images that are looked at, or how the command ends.
#[track_caller]
fn check(repo: &TestRepo, folder: &str, name: &str, expected: &str) {
    let words = format!("status --format json --only {name}");
    let output = repo.command_in(&repo.root().join(folder), &words).output().unwrap();
    let found = match output.status.code() {
        Some(0) => {
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let images = document["images"].as_array().unwrap().iter();
            let names: Vec<&str> = images.map(|image| image["name"].as_str().unwrap()).collect();
            names.join(" ")
        }
        other => format!("exit {other:?}"),
    };
    assert_eq!(found, expected, "{name} in `{folder}`: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_word_means_what_it_looks_like() {
    let repo = TestRepo::new(TREE);
    for (folder, name, expected) in [
        ("", "links", "shop-api shop-sweeper"),
        ("", "api", "shop-api"),
        ("", "shop-api", "shop-api"),
        ("", "shop-api:latest", "shop-api"),
        ("", "src/links", "shop-api shop-sweeper"),
        ("", "./src/links/", "shop-api shop-sweeper"),
        ("", "src/links/Dockerfile", "shop-api shop-sweeper"),
        ("", "src/links/app/main.py", "shop-api shop-sweeper"),
        ("", "src/redis", "shop-redis"),
        ("", "more", "shop-cron"),
        ("src/links", ".", "shop-api shop-sweeper"),
        ("src/links/app", ".", "shop-api shop-sweeper"),
        ("src/links", "../web", "shop-web"),
        ("src/links", "src/web", "shop-web"),
        ("src", "./web-admin", "shop-web shop-web-admin"),
        ("more", "jobs", "shop-cron"),
        ("", "'w*'", "shop-web shop-web-admin"),
        ("", "'shop-s*'", "shop-sweeper"),
        ("", "'src/re*'", "shop-redis"),
        ("", "'[cr]*'", "shop-cron shop-redis"),
        ("", ".", "shop-api shop-cron shop-redis shop-sweeper shop-web shop-web-admin"),
        ("", "docker/base-images/debian", "fit-framework-debian"),
        ("", "admin", "shop-web shop-web-admin"),
        ("", "debian", "exit Some(2)"),
        ("", "'z*'", "exit Some(2)"),
        ("", "notes", "exit Some(2)"),
        ("notes", ".", "exit Some(2)"),
        ("", "../elsewhere", "exit Some(2)"),
        ("", "src/nothing", "exit Some(2)"),
        ("", "eb", "exit Some(2)"),
        ("", "admin", "shop-web shop-web-admin"),
    ] {
        check(&repo, folder, name, expected);
    }
    let link = repo.home().join("link");
    std::os::unix::fs::symlink(repo.root(), &link).unwrap();
    let output = repo.command_in(&link.join("src/web"), "status --only .").env("XTASK_ROOT", &link).output();
    assert_eq!(output.unwrap().status.code(), Some(0), "a root that a link names");
    let text = repo.run("prefetch --dry-run --offline sweeper 'src/red*'");
    assert!(!text.contains("sweeper:latest is"), "an image of the tree is none to pull: {text}");
    assert!(text.contains("redis:7"), "{text}");
}

#[test]
fn a_prefix_in_the_folders_names_may_be_left_out() {
    let tree: String = ["hotel-api", "hotel-desk", "motel-desk"]
        .map(|name| format!("//- src/{name}/Dockerfile\nFROM scratch\n"))
        .concat();
    let repo = TestRepo::new(&tree);
    check(&repo, "", "api", "hotel-api");
    check(&repo, "", "desk", "exit Some(2)");
    check(&repo, "", "pi", "exit Some(2)");
}

/// A folder with three images, of which one is broken, and a service that builds on one of them.
const SEVERAL: &str = "\
//- src/shop/service.toml
platforms = [\"linux/amd64\", \"linux/arm64\"]
[[image]]
name = \"api\"
file = \"api.Dockerfile\"
size_budget = \"1 MB\"
test = [\"true\"]
[[image]]
name = \"job\"
file = \"job.Dockerfile\"
needs = [\"api\"]
[[image]]
name = \"broken\"
file = \"gone\"
//- src/shop/api.Dockerfile
FROM scratch
COPY a /
//- src/shop/job.Dockerfile
FROM scratch
COPY b /
//- src/shop/a
//- src/shop/b
//- src/web/Dockerfile
FROM api
";

#[test]
fn an_image_of_several_is_meant_by_its_name_and_all_by_the_services() {
    let repo = TestRepo::new(SEVERAL);
    for (folder, name, expected) in [
        ("", "api", "api"),
        ("", "job", "api job"),
        ("", "web", "api web"),
        ("", "shop", "exit Some(10)"),
        ("", "broken", "exit Some(10)"),
        ("src/shop", ".", "exit Some(10)"),
    ] {
        check(&repo, folder, name, expected);
    }
    repo.write("src/shop/gone", "FROM scratch\n");
    for (folder, name, expected) in [
        ("", "shop", "api broken job"),
        ("", "src/shop", "api broken job"),
        ("src/shop", ".", "api broken job"),
    ] {
        check(&repo, folder, name, expected);
    }
    let image = |words: &str, name: &str, key: &str| {
        let document = repo.json(words);
        let images = document["images"].as_array().unwrap().iter();
        images.filter(|image| image["name"] == name).map(|image| image[key].clone()).collect::<Vec<_>>()
    };
    assert_eq!(image("plan --offline --format json", "api", "service"), ["shop"]);
    assert_eq!(image("plan --offline --format json", "job", "dockerfile"), ["src/shop/job.Dockerfile"]);
    let baked = repo.run("plan --offline --format bake");
    assert!(baked.contains("\"job\""), "{baked}");
    let unknown = repo.run("build nope --offline");
    assert!(
        unknown.contains("hint: the services are ") && unknown.contains("shop (api, broken, job)"),
        "{unknown}"
    );
    let tests = repo.run("test --dry-run --offline shop");
    assert!(tests.contains("api") && !tests.contains("broken"), "{tests}");
}

#[test]
fn a_service_is_no_tag() {
    let repo = TestRepo::new(TREE);
    for (words, right) in [
        ("build-all web", "cargo xtask build web`"),
        ("push-all api", "cargo xtask push api`"),
        ("status links", "cargo xtask status --only links`"),
        ("plan shop-web", "cargo xtask plan --only shop-web`"),
        ("verify web", "cargo xtask verify --only web`"),
        ("bundle create web", "cargo xtask bundle create --only web`"),
        ("build-all src/web", "cargo xtask build src/web`"),
        ("build-all web api", "cargo xtask build web api`"),
    ] {
        let text = repo.run(words);
        assert!(text.starts_with("exit 2\n") && text.contains(right), "{words}: {text}");
    }
    for words in ["plan v1", "plan -t v1", "plan --tag v1", "plan --tag web", "build web -t v1 --dry-run"] {
        let text = repo.run(&format!("{words} --network external"));
        assert!(text.starts_with("exit 0\n"), "{words}: {text}");
    }
    assert_eq!(repo.code("plan v1 --tag v2"), 2);
}
