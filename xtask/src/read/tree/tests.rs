//! Trees as a whole, beside an engine.

use super::*;
use crate::engine::{FakeEngine, Store as _, fake_image};
use crate::model::{Capabilities, LocalImage, Severity, labels};
use crate::model::{ImageDetails, ImageId, Observed};
use crate::plan::build::assess;
use crate::settings::env::Env;
use crate::settings::{Layer, load};
use crate::testing::TestTree;

fn read_fixture(text: &str) -> Tree {
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
