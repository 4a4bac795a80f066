use std::fs;

use insta::assert_snapshot;

use super::*;
use crate::plan::render::{Existing, plan_render};
use crate::read::template::Variables;
use crate::settings::env::Env;
use crate::settings::{Layer, load};
use crate::testing::TestTree;

fn config(tree: &TestTree) -> Config {
    load(&tree.root(), Layer::default(), &Env::default(), None).unwrap_or_else(|error| panic!("{error}"))
}

fn show(found: &Discovered) -> String {
    let mut lines = Vec::new();
    for (kind, sources) in [("service", &found.services), ("base", &found.base_images)] {
        for source in sources {
            let texts: Vec<&str> = source.texts.keys().copied().collect();
            lines.push(format!("{kind} {} in {}: {}", source.name, source.dir, texts.join(" ")));
            lines.extend(source.templates.iter().map(|t| format!("  {} -> {}", t.path, t.output)));
            lines.extend(source.problems.iter().map(|problem| format!("  {problem}")));
        }
    }
    lines.extend(found.templates.iter().map(|t| format!("{} -> {}", t.path, t.output)));
    lines.extend(found.problems.iter().map(ToString::to_string));
    lines.join("\n")
}

#[test]
fn finds_what_a_foreign_tree_has() {
    let tree = TestTree::new(
        "//- src/api/Dockerfile\nFROM a\n//- src/api/Dockerfile.backup\n//- src/api/Dockerfile.orig\n//- src/api/Dockerfile.dev\n\
         //- src/api/Dockerfile.tpl.backup\n//- src/api/build-targets.conf\n//- src/api/.dockerignore\n//- src/api/Dockerfile.dockerignore\n\
         //- src/api/node_modules/x/a.tpl\n//- src/api/target/a.tpl\n//- src/api/.git/a.tpl\n//- src/api/app/main.rs\n\
         //- src/web/Dockerfile.tpl\nFROM {{X}}\n//- src/web/templates/conf.d/a.conf.tpl\n//- src/web/b.yml.j2\n//- src/web/build.conf\n\
         //- src/web/chart/Chart.yaml\n//- src/web/chart/templates/_helpers.tpl\n\
         //- src/redis/dependency.conf.tpl\n//- src/db/dependency.conf\n//- src/db/service.toml\n\
         //- src/notes/README.md\n//- src/notes/a.tpl\n//- src/README.md\n//- src/deep/er/Dockerfile\n//- src/.hidden/Dockerfile\n\
         //- src/folder/Dockerfile/x\n\
         //- docker/base-images/alpine/Dockerfile\n//- docker/base-images/common/x.sh\n\
         //- compose.yml.tpl\n//- helm/chart/templates/_helpers.tpl\n//- config/x.tpl\n//- target/xtask/runs/Dockerfile\n//- .dockerignore\n*.md\n",
    );
    let found = discover(&config(&tree));
    assert_snapshot!(show(&found), @r#"
    service api in src/api: .dockerignore Dockerfile Dockerfile.dockerignore build-targets.conf
    service db in src/db: dependency.conf service.toml
    service deep in src/deep: Dockerfile
    service redis in src/redis: 
      src/redis/dependency.conf.tpl -> src/redis/dependency.conf
    service web in src/web: build.conf
      src/web/Dockerfile.tpl -> src/web/Dockerfile
      src/web/templates/conf.d/a.conf.tpl -> src/web/conf.d/a.conf
    base alpine in docker/base-images/alpine: Dockerfile
    compose.yml.tpl -> compose.yml
    "#);
    assert_eq!(found.root_ignore.as_deref(), Some("*.md\n"));
    let api = &found.services[0];
    let listing: Vec<_> = api.listing.entries.iter().map(|e| format!("{:?} {}", e.kind, e.path)).collect();
    assert_snapshot!(listing.join("\n"), @r"
    File .dockerignore
    Unlisted .git
    File Dockerfile
    File Dockerfile.backup
    File Dockerfile.dev
    File Dockerfile.dockerignore
    File Dockerfile.orig
    File Dockerfile.tpl.backup
    Directory app
    File app/main.rs
    File build-targets.conf
    Unlisted node_modules
    Unlisted target
    ");
}

#[test]
fn globs_choose_folders_and_templates() {
    let tree = TestTree::new(
        "//- .config/xtask.toml\nservices = ['{backend,front*}', 'apps/**', 'tools/one/']\nbase_images = ['apps/base']\ntemplates = ['config/**/*.tpl', 'none/*.tpl', 'k8s/*']\n\
         //- backend/Dockerfile\n//- frontend/Dockerfile\n//- apps/a/Dockerfile\n//- apps/b/c/Dockerfile\n//- apps/base/Dockerfile\n\
         //- tools/one/Dockerfile\n//- tools/two/Dockerfile\n//- config/a/b/x.conf.tpl\n//- config/templates/y.tpl\n//- k8s/plain.yml\n//- other/z.tpl\n",
    );
    assert_snapshot!(show(&discover(&config(&tree))), @r"
    service a in apps/a: Dockerfile
    service backend in backend: Dockerfile
    service c in apps/b/c: Dockerfile
    service frontend in frontend: Dockerfile
    service one in tools/one: Dockerfile
    base base in apps/base: Dockerfile
    config/a/b/x.conf.tpl -> config/a/b/x.conf
    config/templates/y.tpl -> config/y
    warning: k8s/plain.yml: `templates` names it by `k8s/*`, but templates end with `.tpl` or `.j2`
    ");
}

#[test]
fn jinja_is_ours_where_it_is_listed_and_what_is_skipped_never() {
    let tree = TestTree::new(
        "//- .config/xtask.toml\ntemplates = ['src/a/*.j2', 'x.j2']\ntemplates_skip = ['src/b/views', '**/odd.tpl']\n\
         //- src/a/Dockerfile.j2\nFROM a\n//- src/b/Dockerfile\nFROM b\n//- src/b/x.yml.j2\n//- src/b/c.tpl\n//- src/b/views/deep/v.tpl\n\
         //- src/b/deep/odd.tpl\n//- src/b/bytes.tpl\n//- src/c/Dockerfile.j2\nFROM c\n//- x.j2\n//- y.j2\n//- odd.tpl\n",
    );
    tree.write("src/b/bytes.tpl", b"{{A}} \xff");
    assert_snapshot!(show(&discover(&config(&tree))), @r"
    service a in src/a: 
      src/a/Dockerfile.j2 -> src/a/Dockerfile
    service b in src/b: Dockerfile
      src/b/c.tpl -> src/b/c
    src/a/Dockerfile.j2 -> src/a/Dockerfile
    x.j2 -> x
    warning: src/c: has no Dockerfile, so it is no service and nothing of it is built; src/c/Dockerfile.j2 may be meant
    ");
}

#[test]
fn two_folders_of_one_name_are_two_services() {
    let tree = TestTree::new(
        "//- .config/xtask.toml\nservices = ['a/*', 'b/*']\n//- a/api/Dockerfile\n//- b/api/Dockerfile\n",
    );
    assert_snapshot!(show(&discover(&config(&tree))), @r"
    service api in a/api: Dockerfile
    service api in b/api: Dockerfile
    ");
}

#[test]
fn texts_are_those_that_rendering_leaves() {
    let tree = TestTree::new(
        "//- .env\nTAG=1\n//- src/api/Dockerfile.tpl mode=640\nFROM a:{{TAG}}\n//- src/api/Dockerfile\nFROM old\n\
         //- src/bad/Dockerfile.tpl\nFROM a:{{TGA}}\n//- src/bad/Dockerfile\nFROM old\n//- src/plain/Dockerfile\nFROM p\n\
         //- .dockerignore.tpl\n{{TAG}}\n//- .dockerignore\nold\n//- src/plain/.dockerignore\nmine\n//- shared/.dockerignore\nother\n",
    );
    let config = config(&tree);
    let found = discover(&config);
    let values = config.dotenv.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let variables = Variables { values, ..Variables::default() };
    let existing =
        Existing { is_rendered: &|_, _| false, was_rendered: &|_| false, is_committed: &|_| false };
    let plan = plan_render(found.all_templates(), &variables, &config, &existing);
    let text = |index: usize| found.services[index].text(DOCKERFILE, &plan.outputs);
    assert_eq!(text(0), Some("FROM a:1\n"));
    assert_eq!(text(1), None, "what an earlier run rendered is not used when the template is broken");
    assert!(found.services[1].has(DOCKERFILE));
    assert_eq!(text(2), Some("FROM p\n"));
    let modes: Vec<_> = found.services[0].templates.iter().map(|template| template.mode).collect();
    assert_eq!(modes, [Some(0o640)]);

    let ignore = |context: &str| {
        let plain = &found.services[2];
        found.ignore_file(&config.root, plain, context, &plan.outputs).expect("readable")
    };
    let pair = |path: &str, text: &str| Some((path.to_owned(), text.to_owned()));
    assert_eq!(ignore("."), pair(".dockerignore", "1\n"));
    assert_eq!(ignore("src/plain"), pair("src/plain/.dockerignore", "mine\n"));
    assert_eq!(ignore("shared"), pair("shared/.dockerignore", "other\n"));
    assert_eq!(ignore("missing"), None);
}

#[test]
fn what_cannot_be_read_is_named_and_fails_one_service() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let tree = TestTree::new(
        "//- src/fine/Dockerfile\nFROM a\n//- src/broken/Dockerfile -> nowhere\n//- src/loop/Dockerfile -> Dockerfile\n\
         //- src/latin/Dockerfile\nFROM a\n//- src/out/Dockerfile\nFROM a\n//- src/out/Dockerfile.tpl/x\n\
         //- src/out/conf.tpl\n//- src/out/conf/x\n//- src/linked -> fine\n//- src/gone -> nowhere\n//- src/inner/Dockerfile\nFROM a\n\
         //- src/inner/a -> ../inner\n//- src/inner/b -> b\n",
    );
    let root = tree.root();
    fs::write(root.join("src/latin").join(OsStr::from_bytes(b"caf\xe9")), "").expect("a file");
    fs::create_dir(root.join("src").join(OsStr::from_bytes(b"d\xe9"))).expect("a folder");
    tree.write("src/bytes/Dockerfile", b"FROM a\nRUN \xff");
    let elsewhere = TestTree::new("//- Dockerfile.tpl\nFROM a\n");
    std::os::unix::fs::symlink(elsewhere.root(), root.join("src/outside")).expect("a symlink");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("src/inner/dependency.conf"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a pipe");
    assert_snapshot!(show(&discover(&config(&tree))), @r"
    service broken in src/broken: 
      error: src/broken/Dockerfile: is a symlink to `nowhere`, which cannot be read: No such file or directory (os error 2)
    service bytes in src/bytes: 
      error: src/bytes/Dockerfile:2:5: the text is not UTF-8
    service fine in src/fine: Dockerfile
    service inner in src/inner: Dockerfile
      error: src/inner/dependency.conf: cannot be read: it is not a regular file
    service latin in src/latin: Dockerfile
    service linked in src/linked: Dockerfile
    service loop in src/loop: 
      error: src/loop/Dockerfile: is a symlink to `Dockerfile`, which cannot be read: Too many levels of symbolic links (os error 40)
    service out in src/out: Dockerfile
      src/out/conf.tpl -> src/out/conf
    service outside in src/outside: 
      src/outside/Dockerfile.tpl -> src/outside/Dockerfile
    error: src/d�: the name is not UTF-8; rename it
    error: src/gone: is a symlink that leads nowhere: No such file or directory (os error 2)
    ");
}

#[test]
fn a_dockerfile_that_nobody_finds_is_worth_a_word() {
    for (fixture, said) in [
        (
            "//- src/cart/tests/Dockerfile\n",
            "src/cart/tests/Dockerfile may be meant: `dockerfile = \"tests/Dockerfile\"` in src/cart/service.toml says so",
        ),
        (
            "//- src/cart/b/a/Dockerfile\n//- src/cart/c/Dockerfile.tpl\n",
            "src/cart: has no Dockerfile and several below it, so it is no service and nothing of it is built: \
             src/cart/b/a/Dockerfile, src/cart/c/Dockerfile; `dockerfile = \"b/a/Dockerfile\"` in src/cart/service.toml picks one, `[[image]]` with a `file` each takes several",
        ),
        (
            "//- src/cart/a/Dockerfile\n//- src/cart/Dockerfile.dev\n",
            "built: src/cart/a/Dockerfile, src/cart/Dockerfile.dev; ",
        ),
        (
            "//- src/shop/Dockerfile.prod\n",
            "src/shop: has no Dockerfile, so it is no service and nothing of it is built; src/shop/Dockerfile.prod may be meant",
        ),
        (
            "//- src/a/Dockerfile.orig\n//- src/a/node_modules/x/Dockerfile\n//- src/a/.x/Dockerfile\n//- src/a/Dockerfile/x\n",
            "",
        ),
        ("//- src/a/Dockerfile\n//- src/a/b/Dockerfile\n", ""),
        ("//- src/a/dependency.conf\nredis\n//- src/a/b/Dockerfile\n", ""),
        ("//- .config/xtask.toml\nservices = ['src/*', 'src/*/*']\n//- src/cart/src/Dockerfile\n", ""),
    ] {
        let found = discover(&config(&TestTree::new(fixture)));
        let told: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), usize::from(!said.is_empty()), "{fixture}: {told:?}");
        assert!(told.concat().contains(said), "{fixture}: {told:?}");
    }
}

#[test]
fn the_only_dockerfile_below_a_folder_is_its_own() {
    for (fixture, expected) in [
        (
            "//- src/cart/src/Dockerfile\n//- src/cart/service.toml\n",
            "cart in src/cart: src/cart/src/Dockerfile",
        ),
        ("//- src/Cart/a/b/Dockerfile.tpl\n//- src/Cart/a/x\n", "Cart in src/Cart: src/Cart/a/b/Dockerfile"),
        ("//- src/a/b/Dockerfile\n//- src/a/b/Dockerfile.tpl\n", "a in src/a: src/a/b/Dockerfile"),
        ("//- src/a/b/Dockerfile\n//- src/a/b/Dockerfile.dev\n", "a in src/a: src/a/b/Dockerfile"),
        ("//- src/a/b/Dockerfile\n//- src/a/test/Dockerfile\n", "a in src/a: src/a/b/Dockerfile"),
        ("//- src/a/b/c/d/e/Dockerfile\n", ""),
        ("//- src/a/b/Dockerfile\n//- src/a/dependency.conf\nredis\n", "a in src/a: src/a/Dockerfile"),
        // Somebody chose.
        (
            "//- src/a/b/Dockerfile\n//- src/a/c/Dockerfile\n//- src/a/service.toml\ndockerfile = 'c/Dockerfile'\n",
            "a in src/a: src/a/c/Dockerfile",
        ),
        // Nobody has it twice.
        (
            "//- .config/xtask.toml\nservices = ['src/*', 'src/*/*']\n//- src/cart/src/x/Dockerfile\n",
            "src in src/cart/src: src/cart/src/x/Dockerfile",
        ),
        (
            "//- .config/xtask.toml\nservices = ['src/**']\n//- src/a/b/Dockerfile\n",
            "b in src/a/b: src/a/b/Dockerfile",
        ),
        (
            "//- .config/xtask.toml\nservices = ['*']\nbase_images = ['docker/base']\n//- docker/base/Dockerfile\n//- docker/api/Dockerfile\n",
            "docker in docker: docker/api/Dockerfile",
        ),
    ] {
        let found = discover(&config(&TestTree::new(fixture)));
        let line =
            |service: &ServiceSource| format!("{} in {}: {}", service.name, service.dir, service.dockerfile);
        assert_eq!(found.services.iter().map(line).collect::<Vec<_>>().join("\n"), expected, "{fixture}");
        assert_eq!(found.problems, [], "{fixture}");
    }
}

#[test]
fn globs_may_name_dockerfiles_one_by_one() {
    let shown = |globs: &str, files: &[&str]| {
        let files: String = files.iter().map(|file| format!("//- {file}\nFROM a\n")).collect();
        let tree = TestTree::new(&format!("//- .config/xtask.toml\nservices = [{globs}]\n{files}"));
        let found = discover(&config(&tree));
        let mut lines = Vec::new();
        for service in &found.services {
            let own: Vec<&str> = service.texts.keys().copied().collect();
            lines.push(format!(
                "{}: {} in {} ({})",
                service.name,
                service.dockerfile,
                service.dir,
                own.join(" ")
            ));
            lines.extend(service.problems.iter().map(ToString::to_string));
        }
        lines.extend(found.problems.iter().map(ToString::to_string));
        lines.join("\n")
    };
    let docker = [
        "docker/Dockerfile.api",
        "docker/Dockerfile.api.dockerignore",
        "docker/Dockerfile.Web UI",
        "docker/Dockerfile.orig",
        "docker/build.conf",
        "docker/.dockerignore",
    ];
    let images =
        ["images/a/x.Dockerfile", "images/a/service.toml", "images/b/x.Dockerfile", "images/b/README.md"];
    let mixed = [
        "src/api/Dockerfile",
        "src/api/Dockerfile.worker",
        "src/api/service.toml",
        "src/cart/src/Dockerfile",
    ];
    let cases = [
        ("'docker/Dockerfile.*'", docker.as_slice()),
        ("'images/*/*.Dockerfile'", &images),
        ("'src/*', '**/Dockerfile*'", &mixed),
        ("'src/*', 'src/*/Dockerfile.*'", &mixed),
        (
            "'**/Dockerfile'",
            &["Dockerfile", "a/Dockerfile", "b/c/Dockerfile", "service.toml", "x.tpl", "a/x.tpl"],
        ),
        (
            "'docker/*.Dockerfile*'",
            &["docker/api.Dockerfile.tpl", "docker/web.Dockerfile.j2", "docker/api.Dockerfile"],
        ),
        ("'src/*'", &["src/Dockerfile", "src/Dockerfile.api"]),
        ("'dockerfiles/*', 'dockerfile-*'", &["dockerfiles/a/Dockerfile", "dockerfile-b/Dockerfile"]),
        ("'.'", &["Dockerfile", "service.toml", "src/api/Dockerfile", "deep/er/x.tpl"]),
        ("'.', 'src/*'", &["src/api/Dockerfile"]),
        ("'src/*'", &["src/My.App/Dockerfile", "src/.hidden/Dockerfile"]),
    ];
    assert_snapshot!(cases.map(|(globs, files)| format!("{globs}\n{}", shown(globs, files))).join("\n\n"), @r"
    'docker/Dockerfile.*'
    api: docker/Dockerfile.api in docker (.dockerignore Dockerfile Dockerfile.dockerignore)
    web-ui: docker/Dockerfile.Web UI in docker (.dockerignore Dockerfile)
    warning: docker/Dockerfile.Web UI: no image can be named `Web UI`, so it is web-ui

    'images/*/*.Dockerfile'
    x: images/a/x.Dockerfile in images/a (Dockerfile service.toml)
    x: images/b/x.Dockerfile in images/b (Dockerfile)

    'src/*', '**/Dockerfile*'
    api: src/api/Dockerfile in src/api (Dockerfile service.toml)
    src: src/cart/src/Dockerfile in src/cart/src (Dockerfile)
    worker: src/api/Dockerfile.worker in src/api (Dockerfile)

    'src/*', 'src/*/Dockerfile.*'
    api: src/api/Dockerfile in src/api (Dockerfile service.toml)
    cart: src/cart/src/Dockerfile in src/cart (Dockerfile)
    worker: src/api/Dockerfile.worker in src/api (Dockerfile)

    '**/Dockerfile'
    a: a/Dockerfile in a (Dockerfile)
    c: b/c/Dockerfile in b/c (Dockerfile)
    root: Dockerfile in . (Dockerfile service.toml)

    'docker/*.Dockerfile*'
    api: docker/api.Dockerfile in docker (Dockerfile)

    'src/*'


    'dockerfiles/*', 'dockerfile-*'
    a: dockerfiles/a/Dockerfile in dockerfiles/a (Dockerfile)
    dockerfile-b: dockerfile-b/Dockerfile in dockerfile-b (Dockerfile)

    '.'
    root: Dockerfile in . (Dockerfile service.toml)

    '.', 'src/*'
    api: src/api/Dockerfile in src/api (Dockerfile)
    warning: .: the root has no Dockerfile, so it is no service

    'src/*'
    My.App: src/My.App/Dockerfile in src/My.App (Dockerfile)
    ");
}

#[test]
fn an_empty_tree_has_nothing() {
    let tree = TestTree::new("");
    assert_eq!(show(&discover(&config(&tree))), "");
}
