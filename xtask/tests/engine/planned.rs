//! Plan, then do: what `--dry-run` prints is what runs.

use std::collections::BTreeSet;

use xtask::engine::Store as _;
use xtask::model::{Event, EventKind, Platform};

use crate::testing::TestTree;
use crate::world::real_world;

/// `build api`: each step, by its phase and what it is about.
type Steps = BTreeSet<String>;

/// The steps of a printed plan: below each phase the first lines, as many as it has to do.
fn planned(text: &str) -> Steps {
    let mut steps = Steps::new();
    let (mut phase, mut left) = ("", 0);
    for line in text.lines() {
        if let Some((name, counts)) = line.split_once("  ").filter(|_| !line.starts_with(' ')) {
            let to_do = counts.split_once(" to do").and_then(|(number, _)| number.parse().ok());
            (phase, left) = (name, to_do.unwrap_or(0));
        } else if left > 0 && line.starts_with("  ") && !line.starts_with("   ") {
            let subject = line.split_whitespace().nth(1).unwrap();
            steps.insert(format!("{phase} {subject}"));
            left -= 1;
        }
    }
    steps
}

/// The steps that the last run began.
fn begun(tree: &TestTree) -> Steps {
    let events = tree.read("target/xtask/runs/latest/events.ndjson");
    let events = events.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    events
        .filter_map(|event| match event.kind {
            EventKind::StepStarted { phase, subject, .. } => Some(format!("{} {subject}", phase.name())),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dry_run_shows_is_what_runs() {
    let Some(world) = real_world("what_a_dry_run_shows_is_what_runs").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let tree = TestTree::new(&format!(
        "//- .env.example\nPORT=80\n\
         //- src/till/Dockerfile.tpl\nFROM {0} AS maker\nCOPY x /\nRUN cat /x >/y\nFROM {0}\nCOPY --from=maker /y /\n\
         ENV PORT={{{{PORT}}}}\n\
         //- src/till/x\n1\n\
         //- src/desk/Dockerfile\nFROM {1}/till\nCOPY x /z\n//- src/desk/x\n2\n\
         //- src/lent/dependency.conf\n{0}\n\
         //- docker/base-images/tiny/Dockerfile\nFROM {0}\nARG FIT_VERSION=1.2.3\nRUN echo $FIT_VERSION >/version\n",
        base.familiar(),
        world.prefix,
    ));
    let registry = format!("--registry {}/a", world.registry);
    for (words, something) in [
        ("alias", true),
        ("sync-config", true),
        ("render", true),
        ("base-images --offline", true),
        ("build desk --offline", true),
        ("build-all --offline", true),
        ("build-all --offline", true),
        (&format!("push-all {registry}"), true),
        ("alias", false),
    ] {
        let text = world.xtask(&tree, &format!("{words} --dry-run"), 0);
        let planned = planned(&text);
        assert_eq!(!planned.is_empty(), something, "{words}: {text}");
        world.xtask(&tree, words, 0);
        assert_eq!(begun(&tree), planned, "{words}: {text}");
    }
    world.forget().await;
}
