//! Whole commands on a fake engine: what `--dry-run` prints is what is done.

use std::collections::BTreeSet;
use std::sync::Mutex;

use clap::Parser as _;
use serde_json::Value;

use super::args::Cli;
use super::error::{Error, ExitCode};
use super::session::Typed;
use crate::engine::{AnyEngine, Containers as _, FakeBehaviour, FakeEngine, Store as _, fake_image};
use crate::model::Reference;
use crate::report::bug::RunNotes;
use crate::settings::env::Env;
use crate::testing::TestTree;

tokio::task_local! {
    static PRINTED: Mutex<String>;
}

/// Keeps what is printed inside of a test.
pub(super) fn heard(text: &str) -> bool {
    let hear = |printed: &Mutex<String>| {
        printed.lock().expect("nobody panicked").push_str(&format!("{}\n", text.trim_end_matches('\n')));
    };
    PRINTED.try_with(hear).is_ok()
}

/// Services of two stages, on a base that a registry offers which nobody can ask.
const SERVICES: &str = "
//- src/shop/Dockerfile
FROM 127.0.0.1:1/base:1 AS made
RUN echo made
COPY main.txt /
FROM 127.0.0.1:1/base:1
COPY --from=made /main.txt /
//- src/shop/main.txt
shop
//- src/desk/Dockerfile
FROM shop
COPY desk.txt /
//- src/desk/desk.txt
desk
//- src/desk/page.conf.tmpl
page
//- .env.example
NAME=value
";

const BASES: &str = "
//- docker/base-images/tiny/Dockerfile
FROM 127.0.0.1:1/base:1
ARG FIT_VERSION=1.2.3
RUN echo $FIT_VERSION
";

/// A tree and the engine beside it.
struct Bench {
    tree: TestTree,
    engine: FakeEngine,
}

impl Bench {
    fn new(fixture: &str) -> Self {
        let engine = FakeEngine::new();
        let base: Reference = "127.0.0.1:1/base:1".parse().expect("a reference");
        engine.offer(&base, fake_image("the base", &[&base]));
        Self { tree: TestTree::new(fixture), engine }
    }

    /// Runs a command, as typed; what it prints, and how it ends.
    async fn run(&self, words: &str) -> (String, Result<ExitCode, Error>) {
        let root = self.tree.root();
        let root =
            ["xtask", "--root", root.to_str().expect("a plain path"), "--quiet", "--network", "external"];
        let words = words.replace("TREE", root[2]);
        let cli = Cli::try_parse_from(root.into_iter().chain(words.split_whitespace())).expect("a command");
        let (notes, env, engine) =
            (RunNotes::default(), Env::default(), AnyEngine::from(self.engine.clone()));
        let typed = Typed { global: &cli.global, notes: &notes, env: &env, engine: Some(&engine) };
        let work = async {
            let code = super::answer(cli.command, &typed).await;
            (PRINTED.with(|printed| printed.lock().expect("nobody panicked").clone()), code)
        };
        PRINTED.scope(Mutex::default(), work).await
    }

    /// All names that the engine's store has.
    async fn names(&self) -> BTreeSet<Reference> {
        let observed = self.engine.observe().await.expect("the fake answers");
        observed.images().iter().flat_map(|image| image.names.clone()).collect()
    }

    /// The steps that the newest record tells of; they are those of the plan in it.
    #[track_caller]
    fn done(&self, words: &str) -> Vec<String> {
        let events = self.record("events.ndjson");
        let done: Vec<&Value> = events.iter().filter(|event| event["event"] == "step-started").collect();
        let plan = self.record("plan.json").remove(0);
        let planned = plan["steps"].as_array().expect("steps");
        let ids =
            |steps: &mut dyn Iterator<Item = &Value>| steps.map(Value::to_string).collect::<BTreeSet<_>>();
        let (begun, planned) =
            (done.iter().map(|event| &event["step"]), planned.iter().map(|step| &step["id"]));
        assert_eq!(ids(&mut { begun }), ids(&mut { planned }), "{words}");
        done.into_iter().map(|step| format!("{}:{}", word(step, "phase"), word(step, "subject"))).collect()
    }

    #[track_caller]
    fn record(&self, file: &str) -> Vec<Value> {
        let text = self.tree.read(&format!("target/xtask/runs/latest/{file}"));
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// The steps of a plan's text, in its order.
fn steps_in(text: &str) -> Vec<String> {
    let mut phase = None;
    let mut steps = Vec::new();
    for line in text.lines() {
        let step = line.strip_prefix("  ").and_then(|step| step.strip_suffix(')')?.split_once("  ("));
        match (step.and_then(|(step, _)| step.split_once(' ')), phase) {
            // Diffs and what a step needs stand further in.
            (Some((kind, subject)), Some(phase)) if !matches!(kind, "" | "skipped" | "failed") => {
                steps.push(format!("{phase}:{}", subject.trim_start()));
            }
            _ if line.ends_with(" fine") => phase = line.split_once(' ').map(|(phase, _)| phase),
            _ if !line.starts_with(' ') && !line.is_empty() => phase = None,
            _ => {}
        }
    }
    steps
}

/// The phases of steps, in order.
fn phases_of(steps: &[String]) -> Vec<&str> {
    let mut phases: Vec<&str> = steps.iter().filter_map(|step| step.split(':').next()).collect();
    phases.dedup();
    phases
}

/// What `--dry-run` of a command prints are the steps of its record, phase by phase, and those of the plan in it.
async fn check(bench: &Bench, words: &str) -> Vec<String> {
    check_ending(bench, words, ExitCode::Good).await
}

/// The same of a command that ends otherwise.
async fn check_ending(bench: &Bench, words: &str, expected: ExitCode) -> Vec<String> {
    let (text, code) = bench.run(&format!("{words} --dry-run")).await;
    assert_eq!(code, Ok(ExitCode::Good), "{words} --dry-run: {text}");
    let foreseen = steps_in(&text);
    let (text, code) = bench.run(words).await;
    assert_eq!(code.unwrap_or_else(|error| error.code()), expected, "{words}: {text}");
    let done = bench.done(words);
    let sorted = |steps: &[String]| steps.iter().cloned().collect::<BTreeSet<String>>();
    assert_eq!((sorted(&foreseen), foreseen.len()), (sorted(&done), done.len()), "{words}");
    assert_eq!(phases_of(&foreseen), phases_of(&done), "{words}");
    foreseen
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Does whole commands: the state that they keep while they wait is large, and on one thread's stack.
fn on_a_large_stack<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    let run = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work());
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(run);
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn what_a_dry_run_prints_is_what_is_done() {
    on_a_large_stack(each_command);
}

async fn each_command() {
    for (fixture, commands) in [
        (SERVICES, &["build-all", "bundle create", "rebuild", "push-all --registry 127.0.0.1:1/shop"][..]),
        (SERVICES, &["prefetch", "alias", "sync-config", "render", "build shop"]),
        (SERVICES, &["bundle create -o TREE/all.tar"]),
        (BASES, &["base-images", "base-images clean", "base-images bump 1.2.4"]),
    ] {
        let bench = Bench::new(fixture);
        for words in commands {
            check(&bench, words).await;
        }
    }
    // What is removed is listed in another way.
    let bench = Bench::new(SERVICES);
    check(&bench, "build-all v2").await;
    let (listed, _) = bench.run("clean --images --format json --dry-run").await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let listed = listed["remove"].as_array().expect("a list").iter();
    let listed: BTreeSet<String> = listed.map(|step| format!("clean-up:{}", word(step, "subject"))).collect();
    assert!(!listed.is_empty());
    let (_, code) = bench.run("clean --images --format json --yes").await;
    assert_eq!((code, bench.done("clean").into_iter().collect()), (Ok(ExitCode::Good), listed));
    // What is no framework does not pass, and is tried all the same.
    let bench = Bench::new(BASES);
    bench.engine.behave("fit-framework", FakeBehaviour { exits: Some(1), ..FakeBehaviour::default() });
    check(&bench, "base-images").await;
    check_ending(&bench, "base-images test", ExitCode::VerifyFailed).await;
}

#[test]
fn a_bundle_is_written_and_loaded_by_steps_of_plans() {
    on_a_large_stack(there_and_back);
}

async fn there_and_back() {
    let here = Bench::new(SERVICES);
    let saved = check(&here, "bundle create -o TREE/all.tar").await;
    assert_eq!(phases_of(&saved).last(), Some(&"save"), "{saved:?}");
    assert!(saved.ends_with(&["save:images".to_owned(), "save:all.tar".to_owned()]), "{saved:?}");
    let there = Bench::new(SERVICES);
    there.tree.write("all.tar", std::fs::read(here.tree.root().join("all.tar")).expect("the bundle"));
    assert_eq!(check(&there, "bundle load TREE/all.tar").await, ["verify:all.tar", "load:all.tar"]);
    let (sent, received) = (here.names().await, there.names().await);
    assert!(!sent.is_empty() && sent == received, "{sent:?} {received:?}");
    there.tree.write("src/shop/main.txt", "changed\n");
    let built = check(&there, "rebuild").await;
    assert!(built.contains(&"build:shop".to_owned()), "{built:?}");
    there.tree.write("compose.yaml", "services: {shop: {image: 'shop:latest'}}\n");
    let (served, _) = there.run("rebuild --down --up --dry-run").await;
    let served = steps_in(&served);
    assert_eq!((&*served[0], &*served[served.len() - 1]), ("stop:compose.yaml", "start:compose.yaml"));
}

#[test]
fn watching_builds_what_changes_and_records_it() {
    on_a_large_stack(watched);
}

async fn watched() {
    let bench = Bench::new(SERVICES);
    let latest = || std::fs::read_link(bench.tree.root().join("target/xtask/runs/latest")).ok();
    let built = async |before: Option<std::path::PathBuf>| {
        let events = bench.tree.root().join("target/xtask/runs/latest/events.ndjson");
        let ended = || std::fs::read_to_string(&events).is_ok_and(|text| text.contains("\"run-finished\""));
        while latest() == before || !ended() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let done = bench.done("watch").into_iter();
        done.filter(|step| step.starts_with("build:")).collect::<BTreeSet<String>>()
    };
    let changing = async {
        assert_eq!(built(None).await, ["build:desk", "build:shop"].map(str::to_owned).into());
        let first = latest();
        // Nothing reads it.
        bench.tree.write("src/desk/notes.txt", "x\n");
        // As an editor does it.
        let root = bench.tree.root();
        bench.tree.write("src/desk/4913", "other\n");
        std::fs::rename(root.join("src/desk/4913"), root.join("src/desk/desk.txt")).expect("renamed");
        assert_eq!(built(first.clone()).await, ["build:desk".to_owned()].into());
        let second = latest();
        // What is broken keeps nobody from watching, and settings are read anew.
        bench.tree.write(".config/xtask.toml", "prefix = 3\n");
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        bench.tree.write(".config/xtask.toml", "prefix = 'new-'\n");
        assert_eq!(built(second).await, ["build:new-desk", "build:new-shop"].map(str::to_owned).into());
    };
    tokio::select! {
        ended = bench.run("watch") => panic!("it ended: {:?}", ended.1),
        () = changing => {}
    }
}

#[test]
fn tests_are_steps_that_are_done_once() {
    on_a_large_stack(tested);
}

async fn tested() {
    let bench = Bench::new(SERVICES);
    // What comes first is the same for all.
    let own = |steps: Vec<String>| -> Vec<String> {
        let is_own = |step: &String| step.starts_with("build:") || step.starts_with("test:");
        let own: BTreeSet<String> = steps.into_iter().filter(is_own).collect();
        own.into_iter().collect()
    };
    assert_eq!(own(check(&bench, "build shop --target made").await), ["build:shop.made"]);
    let (_, code) = bench.run("build --target nowhere").await;
    assert_eq!(code.expect_err("there is none").code(), ExitCode::Usage);
    let (_, code) = bench.run("test").await;
    assert_eq!(code.expect_err("there is none").code(), ExitCode::NothingSelected);
    bench.tree.write("src/shop/service.toml", "test = 'made'\nsize_budget = '1 B'\n");
    bench.tree.write("src/desk/service.toml", "test = ['check', 'it']\n");
    bench.engine.behave("desk", FakeBehaviour { exits: Some(3), ..FakeBehaviour::default() });
    // What is a stage was built by `--target`, so it has passed.
    let failing = check_ending(&bench, "test", ExitCode::VerifyFailed).await;
    assert_eq!(own(failing), ["build:desk", "build:shop", "test:desk"]);
    bench.engine.behave("desk", FakeBehaviour { exits: Some(0), ..FakeBehaviour::default() });
    assert_eq!(own(check(&bench, "test").await), ["test:desk"]);
    let (text, code) = bench.run("test --dry-run").await;
    assert!(code == Ok(ExitCode::Good) && text.contains("test  0 to do, 2 fine"), "{text}");
    assert_eq!(own(check(&bench, "test --force desk").await), ["test:desk"]);
    bench.tree.write("src/shop/main.txt", "other\n");
    assert_eq!(own(check(&bench, "test").await), ["build:desk", "build:shop", "test:desk", "test:shop.made"]);
    let left = bench.engine.containers("").await.expect("the fake answers");
    assert!(left.is_empty(), "{left:?}");
    let (text, code) = bench.run("size shop").await;
    assert!(code == Ok(ExitCode::Good) && text.contains("over its budget of 1 B"), "{text}");
    let (_, code) = bench.run("size shop --check").await;
    assert_eq!(code.expect_err("it is too large").code(), ExitCode::VerifyFailed);
}

#[test]
fn dockerfiles_are_checked_before_anything_is_built() {
    on_a_large_stack(checked);
}

async fn checked() {
    let bench = Bench::new(
        "//- src/fine/Dockerfile\nFROM 127.0.0.1:1/base:1\n\
         //- src/odd/Dockerfile\nFROM 127.0.0.1:1/base:1\n# check: that is odd\n\
         //- src/bad/Dockerfile\nFROM 127.0.0.1:1/base:1\n# refused: that is bad\n",
    );
    let (text, code) = bench.run("plan").await;
    assert!(!text.contains("that is") && code == Ok(ExitCode::Good), "nobody asked: {text}");
    assert_eq!(bench.run("prefetch").await.1, Ok(ExitCode::Good));
    let (text, code) = bench.run("plan --check-dockerfiles").await;
    assert!(text.contains("warning: src/odd/Dockerfile:2: that is odd"), "{text}");
    assert!(text.contains("error: src/bad/Dockerfile:2: that is bad"), "{text}");
    assert_eq!(code, Ok(ExitCode::SourceInvalid), "{text}");
    let (_, code) = bench.run("build-all --check-dockerfiles").await;
    assert_eq!(code, Ok(ExitCode::SourceInvalid));
    let built = bench.names().await;
    let is_built = |name: &str| built.iter().any(|known| known.familiar() == format!("{name}:latest"));
    assert!(is_built("fine") && is_built("odd") && !is_built("bad"), "{built:?}");
}
