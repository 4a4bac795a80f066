//! What an engine's own front end finds in Dockerfiles that are not built.

use crate::testing::TestTree;
use crate::world::{found, real_world};

#[tokio::test(flavor = "multi_thread")]
async fn dockerfiles_are_checked_where_the_front_end_can() {
    let Some(world) = real_world("dockerfiles_are_checked_where_the_front_end_can").await else { return };
    let tree = TestTree::new(
        "//- src/odd/Dockerfile\nFROM scratch\nCOPY app /\nMAINTAINER me\n//- src/odd/app\n1\n\
         //- src/strict/Dockerfile\n# check=error=true\nFROM scratch AS Last\nCOPY app /\n//- src/strict/app\n1\n",
    );
    let code = |words: &str| {
        let output = world.named_program(&tree).args(words.split_whitespace()).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&told).into_owned())
    };
    let (ended, told) = code("plan --check-dockerfiles");
    if told.contains("the builder's front end has no checks") {
        assert_eq!(ended, Some(0), "{told}");
        found("`--check-dockerfiles`", "no: its front end has none");
        return world.clean_up().await;
    }
    assert!(
        told.contains("warning: src/odd/Dockerfile:3: ") && told.contains("(MaintainerDeprecated, "),
        "{told}"
    );
    assert!(
        told.contains("error: src/strict/Dockerfile:2: ") && told.contains("(StageNameCasing, "),
        "{told}"
    );
    assert_eq!(ended, Some(11), "{told}");
    let (ended, told) = code("build-all --check-dockerfiles");
    assert!(told.contains("1 built") && told.contains("1 failed"), "{told}");
    assert_eq!(ended, Some(11), "{told}");
    world.clean_up().await;
}
