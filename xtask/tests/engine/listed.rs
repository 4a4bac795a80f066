//! Where a list of all images takes the engine long, only the names that the tree named last time are asked for. Whatever
//! those are, plans are the same as those for the whole store.

use serde_json::{Value, json};
use xtask::engine::Store as _;
use xtask::model::Platform;

use crate::testing::TestTree;
use crate::world::{World, real_world};

const REMEMBERED: &str = "target/xtask/cache/bases.json";

/// What commands tell that look at the store, each with these names remembered.
fn told(world: &World, tree: &TestTree, names: &Value) -> Vec<String> {
    let commands = ["plan --format json", "status --format json", "build-all --dry-run", "verify --dry-run"];
    let tell = |words: &str| {
        list(tree, names);
        let mut command = world.named_program(tree);
        let output =
            command.args(words.split(' ')).args(["--offline"]).env("XTASK_NETWORK", "external").output();
        let output = output.unwrap();
        let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        format!("{words} {:?}\n{}", output.status.code(), texts.join("\n"))
    };
    commands.map(tell).into()
}

/// The names that the next command is going to ask for.
fn listed(tree: &TestTree) -> Value {
    let remembered: Value = serde_json::from_str(&tree.read(REMEMBERED)).unwrap();
    match &remembered["listed"] {
        Value::Null => json!([]),
        names => names.clone(),
    }
}

fn list(tree: &TestTree, names: &Value) {
    let mut remembered: Value = serde_json::from_str(&tree.read(REMEMBERED)).unwrap();
    remembered["listed"] = names.clone();
    tree.write(REMEMBERED, remembered.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_names_are_remembered_plans_are_the_same() {
    let Some(world) = real_world("whatever_names_are_remembered_plans_are_the_same").await else { return };
    let engine = &world.engine;
    let [base, other] = ["base:1", "other:1"].map(|name| world.reference(name));
    let id = engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    engine.tag(&base, &other).await.unwrap();
    let dockerfile =
        |from: &str| format!("FROM {from} AS maker\nRUN echo 1 >/y\nFROM {from}\nCOPY --from=maker /y /\n");
    let tree = TestTree::new(&format!(
        "//- src/till/Dockerfile\n{}//- src/desk/Dockerfile\nFROM {}/till\nCOPY x /z\n//- src/desk/x\n2\n",
        dockerfile(&base.familiar()),
        world.prefix,
    ));
    world.xtask(&tree, "build-all --offline", 0);
    let keeps_manifests = engine.observe().await.unwrap().keeps_manifests();
    assert_eq!(listed(&tree).to_string().contains(&base.familiar()), keeps_manifests);
    let [till, desk] = ["till", "desk"].map(|name| world.reference(name));
    let alias = format!("localhost/{}", base.familiar()).parse().unwrap();
    for state in 0..7 {
        match state {
            0 => {}
            1 => engine.remove(&desk).await.unwrap(),
            2 => engine.tag(&other, &till).await.unwrap(),
            3 => {
                world.xtask(&tree, "build-all --offline", 0);
                engine.remove(&alias).await.unwrap();
            }
            4 => tree.write("src/till/Dockerfile", dockerfile(&other.familiar())),
            // In containerd's store it is found by its content, whatever it is called.
            5 => tree.write("src/till/Dockerfile", dockerfile(&format!("{}/strange:9@{id}", world.prefix))),
            _ => tree.write("src/till/Dockerfile", dockerfile(&format!("{}/absent:1", world.prefix))),
        }
        let expected = told(&world, &tree, &json!([]));
        let last = listed(&tree);
        let names = [&base, &other, &till, &desk].map(|name| name.familiar());
        for names in [last, json!(["nothing:1"]), json!(names), json!(names[..1]), json!(names[2..])] {
            assert_eq!(told(&world, &tree, &names), expected, "state {state}, remembered {names}");
        }
    }
    world.forget().await;
}
