//! `plan`, `status`, `inspect`, `history`: texts, JSON shapes, roots.

use crate::repo::TestRepo;

const TREE: &str = "\
//- src/base/Dockerfile
FROM debian:12-slim
COPY a.txt /
//- src/base/a.txt
a
//- src/api/Dockerfile
ARG TAG=latest
FROM base:${TAG}
COPY --from=redis:7-alpine /x /x
//- src/cache/dependency.conf
# the cache
redis:7-alpine
//- .env.example
LEVEL=info
";

#[test]
fn plan_as_text_json_and_dot() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(
        repo.run("plan v1 --build-arg TAG=v1 --network external --registry harbor.example.com:8443/team/")
    );
    insta::assert_snapshot!("plan_json", repo.run("plan --network external --format json"));
    insta::assert_snapshot!(repo.run("plan --network external --format dot --only base"), @r#"
    exit 0
    --- stdout
    digraph images {
      rankdir = LR;
      node [fontname = "monospace"];
      "debian:12-slim" [shape = ellipse, style = dashed];
      "base" [shape = box, color = gray, label = "base\nunknown: no engine to ask"];
      "debian:12-slim" -> "base";
    }
    "#);
}

#[test]
fn status_as_text_and_json() {
    let repo = TestRepo::new(TREE);
    insta::assert_snapshot!(repo.run("status --offline"), @"
    exit 0
    --- stdout
    base:latest   unknown     (no engine to ask)
    api:latest    unknown     (no engine to ask)
    cache:latest  unknown     (no engine to ask)
    3 images: 3 unknown
    2 base images: 2 unknown (no engine to ask)
    --- stderr
    warning: no container engine answers
      caused by: no answer at unix://TMP/no-engine.sock (DOCKER_HOST): No such file or directory (os error 2)
    hint: see whether DOCKER_HOST is right
    hint: `cargo xtask doctor` looks closer
    ");
    let status = repo.json("status v2 --offline --format json");
    let keys =
        |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&status), ["version", "images", "aliases", "diagnostics"]);
    assert_eq!(
        keys(&status["images"][0]),
        [
            "name",
            "service",
            "reference",
            "dockerfile",
            "context",
            "target",
            "platform",
            "platforms",
            "variants",
            "needs",
            "base_images",
            "inputs",
            "key",
            "state",
            "reason",
            "changes",
        ]
    );
    let references: Vec<&str> = status["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["reference"].as_str().unwrap())
        .collect();
    assert_eq!(references, ["base:v2", "api:v2", "cache:v2"]);
    insta::assert_snapshot!(repo.run("status --explain api --offline"), @"
    exit 0
    --- stdout
    api is unknown (no engine to ask)
    --- stderr
    warning: no container engine answers
      caused by: no answer at unix://TMP/no-engine.sock (DOCKER_HOST): No such file or directory (os error 2)
    hint: see whether DOCKER_HOST is right
    hint: `cargo xtask doctor` looks closer
    ");
}

#[test]
fn registries_in_names() {
    let repo = TestRepo::new("//- src/a/Dockerfile\nFROM scratch\n");
    for (registry, reference) in [
        ("harbor.example.com/team", "harbor.example.com/team/a:latest"),
        ("harbor.example.com/team/", "harbor.example.com/team/a:latest"),
        ("localhost:5000", "localhost:5000/a:latest"),
        ("harbor.example.com:8443/a/b/", "harbor.example.com:8443/a/b/a:latest"),
        ("", "a:latest"),
    ] {
        let plan = repo.json(&format!("plan --offline --format json --registry '{registry}'"));
        assert_eq!(plan["images"][0]["reference"], reference, "{registry}");
    }
}

#[test]
fn names_of_the_environment() {
    let tree = "//- src/a/Dockerfile\nFROM redis:7\n";
    let plan = |name: &str, value: &str| {
        TestRepo::new(tree).with(name, value).json("plan --format json --network internal")
    };
    assert_eq!(plan("IMAGE_TAG", "v7")["images"][0]["reference"], "a:v7");
    assert_eq!(plan("XTASK_TAG", "v8")["images"][0]["reference"], "a:v8");
    let network = TestRepo::new(tree).with("AI_INFRA_NETWORK_ENV", "internal").json("plan --format json");
    assert_eq!(network["network"], "internal");
    let phases = |value: serde_json::Value| -> Vec<String> {
        let all = value["steps"].as_array().unwrap().iter().chain(value["skipped"].as_array().unwrap());
        all.map(|step| step["phase"].as_str().unwrap().to_owned()).collect()
    };
    let has_pulls = |value| phases(value).iter().any(|phase| phase == "prefetch");
    assert!(has_pulls(plan("SKIP_PREFETCH", "0")));
    assert!(!has_pulls(plan("SKIP_PREFETCH", "1")));
    for (name, why) in [("FORCE_REBUILD", "--force"), ("SKIP_CACHE_CHECK", "--force")] {
        let plan = plan(name, "true");
        let build = plan["steps"].as_array().unwrap().iter().find(|s| s["phase"] == "build").unwrap();
        assert!(build["why"].as_str().unwrap().contains(why), "{name}: {build}");
    }
    assert_eq!(TestRepo::new(tree).with("PARALLEL_JOBS", "0").code("plan --offline"), 10);
}

#[test]
fn the_root_is_found_from_below_and_config_lies_where_one_stands() {
    let repo = TestRepo::new(
        "//- .config/xtask.toml\nprefix = \"p-\"\n//- src/a/Dockerfile\nFROM scratch\n//- src/a/my.toml\nprefix = \"mine-\"\n",
    );
    let below = repo.root().join("src/a");
    let plan = |words: &str| {
        let output = repo.command_in(&below, words).env_remove("XTASK_ROOT").output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["images"][0]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(plan("plan --offline --format json"), "p-a");
    assert_eq!(plan("plan --offline --format json --config my.toml"), "mine-a");
    assert_eq!(plan("plan --offline --format json --root ../.."), "p-a");
}

#[test]
fn inspect_tells_one_object_a_line() {
    let repo = TestRepo::new(
        "//- A\nARG V=1\nFROM redis:${V} AS base\nFROM base\nCOPY --from=busybox /x /\nCOPY a b* /\n//- B\nFROM base\nRUNN\n",
    );
    insta::assert_snapshot!(repo.run("inspect A --build-arg V=7"), @r#"
    exit 0
    --- stdout
    {"path":"A","stages":[{"name":"base","index":0,"base":"docker.io/library/redis:7","line":2},{"name":null,"index":1,"base":"base","line":3}],"base_images":["docker.io/library/redis:7","docker.io/library/busybox:latest"],"inputs":[{"pattern":"a","line":5,"kind":"copy"},{"pattern":"b*","line":5,"kind":"copy"}],"diagnostics":[]}
    "#);
    insta::assert_snapshot!(repo.run("inspect A B nope --target base --platform linux/arm64 --format json"), @r#"
    exit 2
    --- stdout
    {"path":"A","stages":[{"name":"base","index":0,"base":"docker.io/library/redis:1","line":2}],"base_images":["docker.io/library/redis:1"],"inputs":[],"diagnostics":[]}
    {"path":"B","stages":[],"base_images":[],"inputs":[],"diagnostics":[{"severity":"error","file":"B","line":0,"message":"there is no stage `base` to build (stages: none has a name)"},{"severity":"error","file":"B","line":2,"message":"unknown instruction `RUNN`; did you mean `RUN`?"}]}
    --- stderr
    error: not every file has a stage `base`
      caused by: B: there is no stage `base` to build (stages: none has a name)
      caused by: B:2: unknown instruction `RUNN`; did you mean `RUN`?
      caused by: nope: No such file or directory (os error 2)
    "#);
    insta::assert_snapshot!(repo.run("inspect nope"), @"
    exit 11
    --- stderr
    error: cannot read nope
      caused by: No such file or directory (os error 2)
    hint: see whether the path is right
    ");
}

#[test]
fn nothing_to_see() {
    let repo = TestRepo::new("");
    insta::assert_snapshot!(repo.run("plan --offline"), @"
    exit 5
    --- stderr
    error: there are no images in this tree
      caused by: no folder `src/*` has a Dockerfile, Dockerfile.tpl or dependency.conf
    hint: `services` in .config/xtask.toml says where they lie
    ");
    insta::assert_snapshot!(repo.run("status --offline"), @"
    exit 5
    --- stderr
    error: there are no images in this tree
      caused by: no folder `src/*` has a Dockerfile, Dockerfile.tpl or dependency.conf
    hint: `services` in .config/xtask.toml says where they lie
    ");
    insta::assert_snapshot!(repo.run("history"), @"
    exit 0
    --- stdout
    no run on record in target/xtask/runs
    ");
    insta::assert_snapshot!(repo.run("history --format json"), @r#"
    exit 0
    --- stdout
    {
      "version": 1,
      "runs": [],
      "images": []
    }
    "#);
    insta::assert_snapshot!(repo.run("engine status"), @"
    exit 0
    --- stdout
    down
    ");
}

#[test]
fn bake_files_say_what_a_build_would_do() {
    let repo = TestRepo::new(
        "
//- .config/xtask.toml
[build_args]
TEXT = \"${a}%{\"
TOKEN = \"hunter2hunter2\"
//- src/base/Dockerfile
FROM debian:12-slim
ARG TEXT
ARG TOKEN
//- src/api.v1/Dockerfile
FROM base
COPY --from=localhost/base /x /x
COPY src/api.v1/main.py /
//- src/api.v1/main.py
//- src/cache/dependency.conf
redis:7-alpine
//- src/broken/Dockerfile
FORM x
",
    );
    let file = repo.json("plan --format bake --offline");
    let text = file.to_string();
    assert!(!text.contains("hunter2") && !text.contains("broken"), "{text}");
    assert_eq!(file["variable"], serde_json::json!({ "TOKEN": {} }));
    assert_eq!(file["group"]["default"]["targets"], serde_json::json!(["api-v1", "base", "cache"]));
    let of = |target: &str, field: &str| file["target"][target][field].clone();
    assert_eq!(of("base", "args"), serde_json::json!({ "TEXT": "$${a}%%{", "TOKEN": "${TOKEN}" }));
    assert_eq!(of("base", "dockerfile"), "Dockerfile");
    assert_eq!(of("api-v1", "context"), ".");
    assert_eq!(of("api-v1", "dockerfile"), "src/api.v1/Dockerfile");
    let contexts = serde_json::json!({ "base": "target:base", "localhost/base": "target:base--2" });
    assert_eq!(of("api-v1", "contexts"), contexts);
    assert_eq!(of("base--2", "tags"), serde_json::json!([]));
    assert_eq!(of("cache", "dockerfile-inline"), "FROM redis:7-alpine\n");
    let keys = repo.json("plan --offline --format json");
    let key =
        keys["images"].as_array().unwrap().iter().find(|i| i["name"] == "api.v1").unwrap()["key"].clone();
    assert_eq!(of("api-v1", "labels")["dev.xtask.fingerprint"], key);
}

/// `bake --push` pushes every name, and the plain ones would go to docker.io.
#[test]
fn bake_files_name_what_is_pushed() {
    let repo = TestRepo::new("//- src/api/Dockerfile\nFROM scratch\n");
    for (words, tag) in [("", "api:v1"), ("--registry r.example.com/shop", "r.example.com/shop/api:v1")] {
        let file = repo.json(&format!("plan v1 --format bake --offline {words}"));
        assert_eq!(file["target"]["api"]["tags"], serde_json::json!([tag]), "{words}");
    }
}

#[test]
fn bake_files_need_nothing_to_be_rendered_or_downloaded_before() {
    let repo = TestRepo::new(
        "
//- .env
PORT=80
//- src/web/Dockerfile.tpl
FROM nginx:{{PORT}}
COPY nginx.conf /etc/
COPY page ${HOME}/
//- src/web/page
hello
//- src/web/nginx.conf.tpl
listen {{PORT}};
//- src/all/Dockerfile
FROM nginx
COPY . /
//- src/all/made.tpl
{{PORT}}
//- src/on-all/Dockerfile
FROM all
",
    );
    let told =
        repo.run("plan --format bake --offline --cache-from r.example.com/c --cache-to r.example.com/c");
    for said in [
        "all is not in the bake file: src/all/Dockerfile:2 copies made with other files",
        "on-all is not in the bake file: it builds on all",
    ] {
        assert!(told.contains(said), "{told}");
    }
    let file =
        repo.json("plan --format bake --offline --cache-from r.example.com/c --cache-to r.example.com/c");
    let web = &file["target"]["web"];
    let inline = "FROM nginx:80\nCOPY --from=xtask-files nginx.conf /etc/\nCOPY page $${HOME}/\n";
    assert_eq!(web["dockerfile-inline"], inline);
    assert_eq!(web["contexts"], serde_json::json!({ "xtask-files": "target/xtask/bake/web" }));
    assert_eq!(repo.read("target/xtask/bake/web/nginx.conf"), "listen 80;\n");
    assert!(
        !repo.root().join("src/web/nginx.conf").exists() && !repo.root().join("src/web/Dockerfile").exists()
    );
    let (from, to) = (web["cache-from"][0].as_str().unwrap(), web["cache-to"][0].as_str().unwrap());
    assert!(from.starts_with("type=registry,ref=r.example.com/c/web:bake-"), "{from}");
    assert_eq!(to, format!("{from},mode=max"));
    assert_eq!(repo.code("render"), 0);
    let rendered = repo.json("plan --format bake --offline");
    assert_eq!(rendered["target"]["web"]["dockerfile"], "Dockerfile");
    assert_eq!(rendered["group"]["default"]["targets"], serde_json::json!(["all", "on-all", "web"]));
}

#[test]
fn a_dockerfile_of_another_name_is_told_and_exported_by_its_path() {
    let repo = TestRepo::new(
        "//- src/api/service.toml\ndockerfile = \"docker/prod.Dockerfile\"\n//- src/api/docker/prod.Dockerfile\n\
         FROM alpine\nCOPY app /\n//- src/api/app\n1\n",
    );
    let image = &repo.json("plan --offline --format json")["images"][0];
    assert_eq!(
        (&image["dockerfile"], &image["context"]),
        (&"src/api/docker/prod.Dockerfile".into(), &"src/api".into())
    );
    let target = &repo.json("plan --offline --format bake")["target"]["api"];
    assert_eq!(
        (&target["dockerfile"], &target["context"]),
        (&"docker/prod.Dockerfile".into(), &"src/api".into())
    );
    repo.write("src/api/docker/prod.Dockerfile", "FROM alpine\nCOPY gone /\n");
    insta::assert_snapshot!(repo.run("plan --offline"), @"
    exit 11
    --- stdout
    1 image, 1 external base image, network internal (--offline, nothing was probed)

    images
      api  invalid     (src/api/docker/prod.Dockerfile:2: COPY source `gone` matches nothing in the context src/api)  context src/api

    prefetch  0 to do, 0 fine
      skipped    alpine:latest  (no engine to ask)

    alias  0 to do, 0 fine
      skipped    alpine:latest  (no engine to ask)

    build  0 to do, 0 fine
      failed     api  (src/api/docker/prod.Dockerfile:2: COPY source `gone` matches nothing in the context src/api)

    error: src/api/docker/prod.Dockerfile:2: COPY source `gone` matches nothing in the context src/api
    ");
}

#[test]
fn a_dockerfile_further_down_is_its_folders_and_of_several_somebody_chooses() {
    let repo = TestRepo::new(
        "//- src/cart/src/Dockerfile\nFROM alpine\nCOPY cart.csproj /\n//- src/cart/src/cart.csproj\n1\n\
         //- src/shop/a/Dockerfile\nFROM alpine\n//- src/shop/b/Dockerfile\nFROM alpine\n",
    );
    insta::assert_snapshot!(repo.run("plan --offline"), @r#"
    exit 0
    --- stdout
    1 image, 1 external base image, network internal (--offline, nothing was probed)

    images
      cart  unknown     (no engine to ask)  context src/cart/src

    prefetch  0 to do, 0 fine
      skipped    alpine:latest  (no engine to ask)

    alias  0 to do, 0 fine
      skipped    alpine:latest  (no engine to ask)

    build  1 to do, 0 fine
      build      cart  (no engine to ask)

    verify  1 to do, 0 fine
      verify     cart  (asked for)

    warning: src/shop: has no Dockerfile and several below it, so it is no service and nothing of it is built: src/shop/a/Dockerfile, src/shop/b/Dockerfile; `dockerfile = "a/Dockerfile"` in src/shop/service.toml picks one, `[[image]]` with a `file` each takes several
    "#);
}

#[test]
fn dockerfiles_of_one_folder_are_services_with_the_root_as_context() {
    let repo = TestRepo::new(
        "//- .config/xtask.toml\nservices = [\"docker/Dockerfile.*\"]\n\
         //- docker/Dockerfile.api\nFROM python:3.12\nCOPY app app\nCOPY requirements.txt .\n\
         //- docker/Dockerfile.worker\nFROM api\nCOPY app app\n//- app/x\n1\n//- requirements.txt\n1\n",
    );
    insta::assert_snapshot!(repo.run("plan --offline --format dot"), @r#"
    exit 0
    --- stdout
    digraph images {
      rankdir = LR;
      node [fontname = "monospace"];
      "python:3.12" [shape = ellipse, style = dashed];
      "api" [shape = box, color = gray, label = "api\nunknown: no engine to ask"];
      "python:3.12" -> "api";
      "worker" [shape = box, color = gray, label = "worker\nunknown: no engine to ask"];
      "api" -> "worker";
    }
    "#);
    let targets = &repo.json("plan --offline --format bake")["target"];
    assert_eq!(targets["worker"]["dockerfile"], "docker/Dockerfile.worker");
    assert_eq!(targets["worker"]["context"], ".");
}
