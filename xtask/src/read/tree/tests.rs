//! Trees as a whole, beside an engine.

use super::*;
use crate::engine::{FakeEngine, Store as _, fake_image};
use crate::model::{Capabilities, LocalImage, Severity, labels};
use crate::model::{ImageDetails, ImageId, Observed};
use crate::plan::build::assess;
use crate::settings::env::Env;
use crate::settings::{Layer, load};
use crate::testing::TestTree;

pub(super) fn read_fixture(text: &str) -> Tree {
    let fixture = TestTree::new(text);
    let config = load(&fixture.root(), Layer::default(), &Env::default(), None).unwrap();
    look(&config, Platform::local()).unwrap().tree
}

fn store_of(version: &str, images: Vec<LocalImage>) -> Observed {
    let capabilities = Capabilities {
        name: "docker".into(),
        version: version.into(),
        api: (1, 41),
        buildkit: true,
        platform: Platform::local(),
        keeps: Default::default(),
    };
    Observed::new(capabilities, images)
}

const LINKED: &str = "//- src/old/Dockerfile\nFROM scratch\nCOPY x /x\n//- src/old/x\n1\n\
    //- src/new/Dockerfile\nFROM scratch\nCOPY --link x /x\nCOPY <<E /y\n1\nE\n//- src/new/x\n1\n\
    //- src/named/Dockerfile\n# syntax=docker/dockerfile:1\nFROM scratch\nCOPY --link x /x\n//- src/named/x\n1\n";

#[test]
fn what_the_engine_cannot_read_is_found_before_anything_runs() {
    for (store, lines) in [
        (store_of("20.10.24+dfsg1", Vec::new()), vec![2, 3]),
        (store_of("26.1.5", Vec::new()), vec![]),
        (Observed::nothing(), vec![]),
    ] {
        let mut tree = read_fixture(LINKED);
        tree.suit(&store, &BTreeMap::new(), false);
        let found: Vec<u32> = tree.findings.iter().map(|finding| finding.diagnostic.line).collect();
        assert_eq!(found, lines);
        for finding in &tree.findings {
            assert_eq!(finding.service.as_deref(), Some("new"));
            assert_eq!(
                (finding.diagnostic.severity, &*finding.diagnostic.file),
                (Severity::Error, "src/new/Dockerfile")
            );
        }
        for (name, is_whole) in [("old", true), ("new", lines.is_empty()), ("named", true)] {
            assert_eq!(tree.contexts[&ImageName::new(name)].digest.is_some(), is_whole, "{name}");
        }
    }
}

#[test]
fn what_is_up_to_date_is_not_read() {
    let mut tree = read_fixture(LINKED);
    let known = assess(&tree.graph, &tree.contexts, &store_of("20.10.24", Vec::new()), &|_| None);
    let key = known.iter().find(|known| known.name.as_str() == "new").and_then(|known| known.key.clone());
    let image = LocalImage {
        id: ImageId::new(key.clone().unwrap()),
        names: vec![tree.graph.get(&ImageName::new("new")).unwrap().reference.clone()],
        digests: Vec::new(),
        labels: BTreeMap::from([(labels::FINGERPRINT.to_owned(), key.unwrap().to_string())]),
        size: 1,
        platform: None,
        identity: None,
    };
    let store = store_of("20.10.24", vec![image]);
    tree.suit(&store, &BTreeMap::new(), false);
    assert_eq!(tree.findings, []);
    tree.suit(&store, &BTreeMap::new(), true);
    assert_eq!(tree.findings.len(), 2, "it is built all the same");
}

#[test]
fn a_name_near_a_stage_is_asked_about_unless_an_image_has_it() {
    let build = "FROM scratch AS base\nCOPY x /x\nFROM scratch\nCOPY --from=basa /x /x\n";
    let alone = format!("//- src/a/Dockerfile\n{build}//- src/a/x\n1\n");
    let found = read_fixture(&alone).findings;
    assert_eq!(found.len(), 1, "{found:?}");
    let Finding { diagnostic, .. } = &found[0];
    assert_eq!((diagnostic.severity, diagnostic.line), (Severity::Warning, 4));
    assert!(diagnostic.message.contains("did you mean the stage `base`?"), "{diagnostic}");
    let both = format!("{alone}//- src/basa/Dockerfile\nFROM scratch\nCOPY x /x\n//- src/basa/x\n1\n");
    let found = read_fixture(&both).findings;
    assert!(found.iter().all(|found| !found.diagnostic.message.contains("did you mean")), "{found:?}");
}

/// Of each image its Dockerfile, its context and the ignored files of that, and each finding.
fn places(fixture: &str) -> String {
    let tree = read_fixture(fixture);
    let images = tree.graph.images().iter().map(|image| match &image.source {
        ImageSource::Build(target) => {
            let counted = tree.contexts[&image.name].files.counted().map(|file| file.path.as_str());
            let counted = counted.collect::<Vec<_>>().join(" ");
            format!("{}: {} in {}: {counted}", image.name, target.dockerfile, target.context)
        }
        ImageSource::External(source) => format!("{}: {source}", image.name),
    });
    let found = tree.findings.iter().map(|finding| finding.diagnostic.to_string());
    images.chain(found).collect::<Vec<_>>().join("\n")
}

#[test]
fn service_toml_names_the_dockerfile() {
    let named = |path: &str| format!("//- src/api/service.toml\n\ndockerfile = '{path}'\n");
    let build = "FROM scratch\nCOPY x /x\n//- src/api/x\n1\n";
    let cases = [
        named("api.Dockerfile")
            + "//- src/api/api.Dockerfile\n"
            + build
            + "//- src/api/Dockerfile\nnonsense\n",
        named("docker/Dockerfile") + "//- src/api/docker/Dockerfile\n" + build,
        named("src/Dockerfile")
            + "//- src/api/src/Dockerfile\nFROM scratch\nCOPY main.c /\n//- src/api/src/main.c\n",
        named("../../docker/api") + "//- docker/api\n" + build,
        // As BuildKit looks for it.
        named("D")
            + "//- src/api/D\nFROM scratch\nCOPY . /\n//- src/api/D.dockerignore\n*\n!x\n//- src/api/.dockerignore\nx\n//- src/api/x\n",
        named("D")
            + "//- src/api/D\nFROM scratch\nCOPY . /\n//- src/api/.dockerignore\n*\n!y\n//- src/api/y\n",
        // Templates.
        named("D") + "//- .env\nA=scratch\n//- src/api/D.tpl\nFROM {{A}}\n",
        named("D") + "//- src/api/D.tpl\nFROM {{A}}\n",
        named("../D")
            + "//- .config/xtask.toml\ntemplates = ['src/D.tpl']\n//- src/D.tpl\nFROM {{A}}\n//- src/D\nFROM old\n",
        "//- .env\nA=D\n//- src/api/service.toml.tpl\ndockerfile = '{{A}}'\n//- src/api/D\nFROM scratch\n"
            .to_owned(),
        // What cannot be taken.
        named("../../../Dockerfile"),
        named("/Dockerfile") + "//- src/api/Dockerfile\nFROM scratch\n",
        named("gone") + "//- src/api/Dockerfile\nFROM scratch\n",
        named("docker") + "//- src/api/docker/Dockerfile\nFROM scratch\n",
        "//- src/api/service.toml\ndockerfile = 3\n".to_owned(),
    ];
    insta::assert_snapshot!(cases.map(|case| places(&case)).join("\n\n"), @r"
    api: src/api/api.Dockerfile in src/api: x

    api: src/api/docker/Dockerfile in src/api: x

    api: src/api/src/Dockerfile in src/api/src: main.c

    api: docker/api in src/api: x

    api: src/api/D in src/api: x

    api: src/api/D in src/api: y

    api: src/api/D in src/api: 

    api: src/api/D in src/api: 
    error: src/api/D.tpl:1:6: `A` is not defined in .env or .env.example

    api: src/D in src/api: 
    error: src/D.tpl:1:6: `A` is not defined in .env or .env.example

    api: src/api/{{A}} in src/api: 
    error: src/api/service.toml:1:14: the Dockerfile is src/api/{{A}} already: no variable can be in `dockerfile`, and nothing else where `services` names files

    api: src/api/Dockerfile in src/api: 
    error: src/api/service.toml:2:14: the Dockerfile `../../../Dockerfile` lies outside the tree

    api: src/api/Dockerfile in src/api: 
    error: src/api/service.toml:2:14: the Dockerfile `/Dockerfile` lies outside the tree

    api: src/api/gone in src/api: 
    error: src/api/service.toml:2:14: there is no file src/api/gone

    api: src/api/docker in src/api: 
    error: src/api/service.toml:2:14: there is no file src/api/docker

    api: src/api/Dockerfile in src/api: 
    error: src/api/service.toml:1:14: expected a text in quotes, found 3
    ");
}

#[test]
fn the_context_of_a_dockerfile_further_down_is_where_its_sources_are() {
    let cases = [
        ("COPY app.csproj /", "src/cart/src/app.csproj", "src/cart/src: app.csproj"),
        ("COPY src/app.csproj /", "src/cart/src/app.csproj", "src/cart: src/app.csproj"),
        ("COPY lib /", "lib/x", ".: lib lib/x"),
        ("COPY common /", "src/common", "src: common"),
        ("RUN make", "src/cart/src/x", "src/cart: "),
    ];
    for (instruction, file, expected) in cases {
        let fixture = format!("//- src/cart/src/Dockerfile\nFROM scratch\n{instruction}\n//- {file}\n1\n");
        assert_eq!(places(&fixture), format!("cart: src/cart/src/Dockerfile in {expected}"), "{instruction}");
    }
}

#[test]
fn dockerfiles_named_one_by_one_have_a_context_and_a_name_each() {
    let named = |globs: &str| format!("//- .config/xtask.toml\nservices = [{globs}]\n");
    let cases = [
        named("'docker/Dockerfile.*'")
            + "//- docker/Dockerfile.api\nFROM scratch\nCOPY app /\nCOPY api.sh /\n//- docker/Dockerfile.job\nFROM scratch\nCOPY job.sh /\n\
               //- app/x\n1\n//- api.sh\n1\n//- docker/job.sh\n1\n//- docker/service.toml\nimage = 'no'\n",
        named("'images/*/*.Dockerfile'")
            + "//- images/a/x.Dockerfile\nFROM scratch\n//- images/b/x.Dockerfile\nFROM scratch\n",
        named("'docker/*Dockerfile*'")
            + "//- docker/api.Dockerfile\nFROM scratch\n//- docker/Dockerfile.api\nFROM scratch\n",
        named("'docker/Dockerfile.*'")
            + "//- docker/Dockerfile.api\nFROM scratch\n//- docker/service.toml\nimage = 'own'\ncontext = 'root'\n",
        named("'docker/Dockerfile.*'")
            + "//- docker/Dockerfile.api\nFROM scratch\n//- docker/service.toml\ndockerfile = 'x'\n",
        named("'.'") + "//- Dockerfile\nFROM scratch\nCOPY . /\n//- .dockerignore\n*\n!x\n//- x\n1\n",
        named("'.'")
            + "//- service.toml\nimage = 'shop'\ndockerfile = 'docker/D'\n//- docker/D\nFROM scratch\nCOPY x /\n//- x\n1\n",
    ];
    insta::assert_snapshot!(cases.map(|case| places(&case)).join("\n\n"), @r#"
    api: docker/Dockerfile.api in .: api.sh app app/x
    job: docker/Dockerfile.job in docker: job.sh

    x: images/a/x.Dockerfile in images/a: 
    error: images/b/x.Dockerfile: images/a/x.Dockerfile and images/b/x.Dockerfile make one image, x, so none of them is built: set `image = "images-b"` in images/b/service.toml

    api: docker/Dockerfile.api in docker: 
    error: docker/api.Dockerfile: docker/Dockerfile.api and docker/api.Dockerfile make one image, api, so none of them is built: rename docker/api.Dockerfile

    own: docker/Dockerfile.api in .: 

    api: docker/Dockerfile.api in docker: 
    error: docker/service.toml:1:14: the Dockerfile is docker/Dockerfile.api already: no variable can be in `dockerfile`, and nothing else where `services` names files

    root: Dockerfile in .: x

    shop: docker/D in .: x
    "#);
}

/// The same with what each image is called, of which service it is, and what is handed to its build.
fn told(fixture: &str) -> String {
    let tree = read_fixture(fixture);
    let images = tree.graph.images().iter().map(|image| {
        let ImageSource::Build(target) = &image.source else { return image.name.to_string() };
        let args: Vec<String> =
            target.build_args.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let labels = target.labels.iter().map(|(name, value)| format!(" {name}={value}"));
        let names: Vec<String> = image.all_names().map(Reference::familiar).collect();
        let is_whole = if tree.contexts[&image.name].digest.is_some() { "" } else { " broken" };
        format!(
            "{} of {}: {} {} [{}]{} in {} as {}{is_whole}",
            image.name,
            image.service,
            target.dockerfile,
            target.target.as_deref().unwrap_or("-"),
            args.join(" "),
            labels.collect::<String>(),
            target.context,
            names.join(" "),
        )
    });
    let needs = tree.graph.images().iter().filter(|image| !image.needs.is_empty()).map(|image| {
        let needs: Vec<&str> = image.needs.iter().map(ImageName::as_str).collect();
        format!("{} needs {}", image.name, needs.join(" "))
    });
    let found = tree.findings.iter().map(|Finding { image, diagnostic, .. }| match image {
        Some(image) => format!("{image}: {diagnostic}"),
        None => diagnostic.to_string(),
    });
    images.chain(needs).chain(found).collect::<Vec<_>>().join("\n")
}

const STAGES: &str = "FROM scratch AS x\nARG A B\nFROM scratch\nARG A B\n";

#[test]
fn one_folder_makes_several_images() {
    let shop = |toml: &str| format!("//- src/shop/service.toml\n{toml}");
    let file = |path: &str| format!("//- src/shop/{path}\n{STAGES}");
    let several = |globs: &str, toml: &str, files: &[&str]| {
        let files: String = files.iter().map(|path| format!("//- {path}\n{STAGES}")).collect();
        format!("//- .config/xtask.toml\n{globs}\n{}{files}", shop(toml))
    };
    let cases = [
        shop(
            "args = { A = '1', B = '2' }\nlabels = { l = 'm' }\nfile = 'D'\n[[image]]\nname = 'api'\nargs = { B = '${TAG:-3}' }\n\
             [[image]]\nname = 'Job'\nfile = 'docker/job'\ntarget = 'x'\nneeds = ['api']\nimage = 'team/job'\n\
             [[image]]\nname = 'web'\nimage = 'r.example/web:${TAG:-3}'\ntags = ['web:old']\ncontext = '..'\n",
        ) + &file("D")
            + &file("docker/job")
            + &file("build-targets.conf"),
        // Names that nobody gave.
        shop("[[image]]\n[[image]]\ntarget = 'x'\n[[image]]\nfile = 'api.Dockerfile'\n")
            + &file("Dockerfile")
            + &file("api.Dockerfile"),
        shop("[[image]]\ntarget = 'x'\n") + &file("Dockerfile"),
        // Further down, and elsewhere.
        shop("[[image]]\nname = 'a'\n[[image]]\nname = 'b'\ntarget = 'x'\n") + &file("src/Dockerfile"),
        several(
            "services = ['docker/Dockerfile.*', 'src/*']",
            "[[image]]\nfile = '../../docker/D'\n",
            &["docker/D"],
        ),
        // Dockerfiles that globs name: those that an image has are its own.
        several(
            "services = ['src/shop/Dockerfile.*']\nprefix = 'p-'",
            "args = { A = 1 }\n[[image]]\nfile = 'Dockerfile.a'\nname = 'p-own'\n",
            &["src/shop/Dockerfile.a", "src/shop/Dockerfile.b"],
        ),
        several(
            "name = 'template x-{folder}'",
            "[[image]]\ntarget = 'x'\n[[image]]\n",
            &["src/shop/Dockerfile"],
        ),
        // What is wrong is one image's.
        shop(
            "[[image]]\nname = 'a'\n[[image]]\nname = 'b'\nfile = 'gone'\n[[image]]\nname = 'c'\ntarget = 'y'\nneeds = ['no']\n\
             [[image]]\nname = 'd'\nnam = 1\ncontexts = { b = 'target:shop', c = 'target:a' }\n",
        ) + "//- src/shop/Dockerfile\nFROM scratch AS x\nFROM scratch\nCOPY --from=b / /\nCOPY --from=c / /\n",
        shop("\n[[image]]\nname = 'a'\n[[image]]\nname = 'b'\n") + "//- src/a/Dockerfile\nFROM scratch\n",
        shop(
            "[[image]]\nname = 'a'\nimage = 'x'\n[[image]]\nname = 'b'\nimage = 'x'\n[[image]]\nname = 'c'\n[[image]]\nname = 'c'\n",
        ) + &file("Dockerfile"),
        shop("[[image]]\nname = 3\n") + &file("Dockerfile"),
        "//- src/shop/service.toml.tpl\n[[image]]\nname = '{{A}}'\n//- .env\nA=a\n".to_owned()
            + &file("Dockerfile"),
        "//- src/shop/service.toml.tpl\n[[image]]\nname = 'a'\nimage = '{{A}}'\n//- .env\nA=x/a\n".to_owned()
            + &file("Dockerfile"),
    ];
    insta::assert_snapshot!(cases.map(|case| told(&case)).join("\n\n"), @r#"
    api of shop: src/shop/D - [A=1 B=3] l=m in src/shop as api:latest
    job of shop: src/shop/docker/job x [A=1 B=2] l=m in src/shop as team/job:latest
    web of shop: src/shop/D - [A=1 B=2] l=m in src as r.example/web:3 web:old
    job needs api
    warning: src/shop/build-targets.conf: says nothing here: the images of src/shop are those of its service.toml

    shop of shop: src/shop/Dockerfile - [] in src/shop as shop:latest
    shop-api of shop: src/shop/api.Dockerfile - [] in src/shop as shop-api:latest
    shop-x of shop: src/shop/Dockerfile x [] in src/shop as shop-x:latest

    shop of shop: src/shop/Dockerfile x [] in src/shop as shop:latest

    a of shop: src/shop/src/Dockerfile - [] in src/shop as a:latest
    b of shop: src/shop/src/Dockerfile x [] in src/shop as b:latest

    shop of shop: docker/D - [] in src/shop as shop:latest

    p-b of b: src/shop/Dockerfile.b - [] in src/shop as p-b:latest
    p-own of shop: src/shop/Dockerfile.a - [A=1] in src/shop as p-own:latest

    x-shop of x-shop: src/shop/Dockerfile - [] in src/shop as x-shop:latest
    x-shop-x of x-shop: src/shop/Dockerfile x [] in src/shop as x-shop-x:latest

    b of shop: src/shop/gone - [] in src/shop as b:latest broken
    c of shop: src/shop/Dockerfile y [] in src/shop as c:latest broken
    a of shop: src/shop/Dockerfile - [] in src/shop as a:latest
    d of shop: src/shop/Dockerfile - [] in src/shop as d:latest broken
    a needs b c
    d needs a b
    b: error: src/shop/service.toml:5:8: there is no file src/shop/gone
    c: error: src/shop/Dockerfile: there is no stage `y` to build (stages: x), asked for at src/shop/service.toml:6
    d: warning: src/shop/service.toml:12:1: unknown key `nam`, did you mean `name`?
    d: error: src/shop/Dockerfile: the context `b`: `shop` has several images: say which of a, b, c, d
    c: error: src/shop/service.toml:6: needs `no`, which is no service or image of this tree

    a of a: src/a/Dockerfile - [] in src/a as a:latest broken
    b of shop: src/shop/Dockerfile - [] in src/shop as b:latest broken
    a: error: src/shop/service.toml:2: there is no file src/shop/Dockerfile to build it from: `file = "…"` names another one
    b: error: src/shop/service.toml:4: there is no file src/shop/Dockerfile to build it from: `file = "…"` names another one
    a: error: src/shop/service.toml:2: src/a and src/shop/service.toml:2 make one image, a, so none of them is built: set another `name` at src/shop/service.toml:2

    a of shop: src/shop/Dockerfile - [] in src/shop as x:latest broken
    b of shop: src/shop/Dockerfile - [] in src/shop as x:latest broken
    c of shop: src/shop/Dockerfile - [] in src/shop as c:latest broken
    c: error: src/shop/service.toml:9: src/shop/service.toml:7 and src/shop/service.toml:9 make one image, c, so none of them is built: set another `name` at src/shop/service.toml:9
    a: error: src/shop/service.toml:4: src/shop/service.toml:1 and src/shop/service.toml:4 give their images one name, x:latest, so neither is built: set another `image` or `tags`
    b: error: src/shop/service.toml:4: src/shop/service.toml:1 and src/shop/service.toml:4 give their images one name, x:latest, so neither is built: set another `image` or `tags`

    shop of shop: src/shop/Dockerfile - [] in src/shop as shop:latest broken
    error: src/shop/service.toml:2:8: expected a text in quotes

    shop of shop: src/shop/Dockerfile - [A=a] in src/shop as shop:latest broken
    error: src/shop/service.toml:1: its `[[image]]` tables are not those of its template, which has to be right as it stands: no variable can be in a `name`, or decide how many there are

    a of shop: src/shop/Dockerfile - [A=x/a] in src/shop as x/a:latest
    "#);
}

#[test]
fn service_toml_counts_beside_several_definitions() {
    let compose = "//- .config/xtask.toml\ndefinitions = ['compose.yaml']\nservices = [SERVICES]\n//- compose.yaml\nname: p\nservices:\n\
        \x20 api:\n    build: {context: app, args: {A: c, B: c}, labels: {l: c}}\n\
        \x20 Job:\n    image: own/job:1\n    build: {context: ., dockerfile: app/job.Dockerfile, target: x}\n";
    let app = |services: &str, toml: &str| {
        let files = ["Dockerfile", "job.Dockerfile", "api.Dockerfile"]
            .map(|file| format!("//- app/{file}\n{STAGES}"));
        let compose = compose.replace("SERVICES", services);
        format!("{compose}//- app/service.toml\n{toml}{}", files.concat())
    };
    let cases = [
        app("", ""),
        app("", "args = { A = 't' }\nlabels = { l = 't', m = 't' }\n"),
        app(
            "",
            "args = { A = 't' }\n[[image]]\nname = 'api'\nfile = 'api.Dockerfile'\nargs = { A = 'e' }\nimage = 'shop-api'\n\
             [[image]]\nname = 'job'\ntags = ['x:1']\ntarget = 'no'\n[[image]]\nname = 'tool'\ntarget = 'x'\n",
        ),
        app("'*'", "[[image]]\nname = 'api'\n[[image]]\nname = 'tool'\ntarget = 'x'\n"),
        app("'*'", "[[image]]\nname = 'tol'\nnaem = 1\nfile = 'gone'\n"),
    ];
    insta::assert_snapshot!(cases.map(|case| told(&case)).join("\n\n"), @r#"
    api of api: app/Dockerfile - [A=c B=c] l=c in app as p-api:latest
    job of Job: app/job.Dockerfile x [] in . as own/job:1

    api of api: app/Dockerfile - [A=t B=c] l=t m=t in app as p-api:latest
    job of Job: app/job.Dockerfile x [A=t] l=t m=t in . as own/job:1

    api of api: app/api.Dockerfile - [A=e B=c] l=c in app as shop-api:latest
    job of Job: app/job.Dockerfile no [] in . as x:1 broken
    tool of app: app/Dockerfile x [A=t] in app as tool:latest
    error: app/job.Dockerfile: there is no stage `no` to build (stages: x), asked for at app/service.toml:7

    api of api: app/Dockerfile - [A=c B=c] l=c in app as p-api:latest
    job of Job: app/job.Dockerfile x [] in . as own/job:1
    tool of app: app/Dockerfile x [] in app as tool:latest

    api of api: app/Dockerfile - [A=c B=c] l=c in app as p-api:latest
    job of Job: app/job.Dockerfile x [] in . as own/job:1
    tol of app: app/gone - [] in app as tol:latest broken
    tol: warning: app/service.toml:3:1: unknown key `naem`, did you mean `name`?
    tol: error: app/service.toml:4:8: there is no file app/gone
    "#);
}

#[tokio::test]
async fn what_a_base_image_decides_is_asked_of_it() {
    let text = "//- src/a/Dockerfile\nFROM base:1\nRUN --mount=type=tmpfs,target=. x\nVOLUME $V $W\n\
        WORKDIR sub\nRUN --mount=type=bind,target=. x\n";
    let base: Reference = "base:1".parse().unwrap();
    let fake = FakeEngine::new();
    fake.store(fake_image("base", &[&base]));
    let any = fake.details(&base).await.unwrap().unwrap();
    for (workdir, set, lines) in
        [("", "A", vec![2, 3, 3]), ("/", "V", vec![2, 3]), ("/srv", "A", vec![3, 3]), ("/srv", "W", vec![3])]
    {
        let mut tree = read_fixture(text);
        assert_eq!(
            (tree.findings.as_slice(), tree.doubted_bases()),
            (&[][..], BTreeSet::from([base.clone()]))
        );
        let env = BTreeMap::from([(set.to_owned(), "/x".to_owned())]);
        let details = ImageDetails { workdir: workdir.to_owned(), env, ..any.clone() };
        tree.suit(&store_of("28.5.2", Vec::new()), &BTreeMap::from([(base.clone(), details)]), false);
        let found: Vec<u32> = tree.findings.iter().map(|finding| finding.diagnostic.line).collect();
        assert_eq!(found, lines, "{workdir} {set}");
    }
    let mut tree = read_fixture(text);
    tree.suit(&store_of("28.5.2", Vec::new()), &BTreeMap::new(), false);
    assert_eq!(tree.findings, [], "nobody knows the image");
}
