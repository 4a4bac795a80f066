//! What a push counts: images, and never what was done for them on the way.

use xtask::engine::Store as _;
use xtask::model::Platform;

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
