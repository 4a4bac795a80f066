//! What a push counts: images, and never what was done for them on the way; and what it calls pushed: what the registry
//! says that it has.

use xtask::engine::Store as _;
use xtask::model::Platform;

use crate::faulty_proxy::{FaultyProxy, Trouble};
use crate::support::free_address;
use crate::testing::TestTree;
use crate::world::real_world;

#[tokio::test(flavor = "multi_thread")]
async fn images_are_counted_and_not_their_names() {
    let Some(world) = real_world("images_are_counted_and_not_their_names").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let base = base.familiar();
    let tree = TestTree::new(&format!(
        "//- src/till/Dockerfile\nFROM {base}\nCOPY x /\n//- src/till/x\n1\n\
         //- src/desk/Dockerfile\nFROM {base}\nCOPY x /\n//- src/desk/x\n2\n\
         //- src/lent/dependency.conf\n{base}\n"
    ));
    world.xtask(&tree, "build-all --offline", 0);
    let nobody = free_address();
    let report = tree.root().join("report.xml");
    for (words, expect, sentence, cases) in [
        (format!("push till --registry {nobody}"), 13, " 1 failed", r#"tests="1""#),
        (format!("push-all --registry {}/a", world.registry), 0, " 3 pushed", r#"tests="3""#),
        // A further name of an image is no image.
        (
            format!("build-all --offline --registry {}/b", world.registry),
            0,
            " 3 built, ",
            r#"name="build" tests="3""#,
        ),
    ] {
        let told = world.xtask(&tree, &format!("{words} --junit {}", report.display()), expect);
        let last = told.lines().find(|line| line.contains(" finished ") || line.contains(" failed    "));
        assert!(last.is_some_and(|line| line.contains(sentence)), "{words}: {told}");
        let report = std::fs::read_to_string(&report).unwrap();
        assert!(report.contains(cases), "{words}: {report}");
    }
    world.clean_up().await;
}

/// What this program calls itself. Engines ask the registry too, and are let through.
const US: &str = "user-agent: xtask/";

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_registry_has_is_called_pushed() {
    let Some(world) = real_world("only_what_the_registry_has_is_called_pushed").await else { return };
    let tree = TestTree::new("//- src/till/Dockerfile\nFROM scratch\nCOPY x /\n//- src/till/x\n1\n");
    world.xtask(&tree, "build-all --offline", 0);
    let status = |status| Trouble::Answer(status, Vec::new(), String::new());
    let other = format!("sha256:{}", "0".repeat(64));
    let lie = Trouble::Answer(200, vec![("Docker-Content-Digest", other.clone())], String::new());
    let converted = Trouble::Answer(200, Vec::new(), r#"{"schemaVersion":2}"#.to_owned());
    let (gone, refused) = (status(404), status(405));
    // What it answers to HEAD and GET, where that is not the truth; what comes of it.
    for (head, get, code, said) in [
        (None, None, 0, " pushed "),
        (Some(refused.clone()), None, 0, " pushed "),
        (Some(status(401)), None, 0, " pushed "),
        (Some(gone.clone()), None, 0, " pushed "),
        (Some(gone.clone()), Some(gone), 14, "the registry has nothing by that name, but sha256:"),
        (Some(lie), None, 14, &format!("the registry has {other}, but sha256:")),
        (Some(refused.clone()), Some(converted), 14, "the registry has sha256:"),
        (Some(refused.clone()), Some(refused), 0, "does not say whether it has it"),
    ] {
        let shown = format!("{head:?} {get:?}");
        let proxy = FaultyProxy::start(Some(world.registry.parse().unwrap())).await;
        for (method, trouble) in [("HEAD", head), ("GET", get)] {
            if let Some(trouble) = trouble {
                proxy.fault_of(US, &format!("{method} /v2/xtask"), usize::MAX, trouble);
            }
        }
        let words = format!("push till --registry {}", proxy.domain());
        let told = tokio::task::block_in_place(|| world.xtask(&tree, &words, code));
        assert!(told.contains(said), "{shown}: {told}");
        world.forget().await;
        world.xtask(&tree, "build-all --offline", 0);
    }
    world.forget().await;
}
