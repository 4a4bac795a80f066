//! Random Dockerfiles of stages that copy from each other, built, kept with an inline cache, and built and kept again from
//! what was kept: the engine is still there, and what only a network could give is not asked for again.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use xtask::build::Builder as _;
use xtask::engine::{Progress, Store as _};
use xtask::model::{BuildSpec, InlineCache, Platform};

use crate::world::{World, real_world};

/// What the tree of each Dockerfile holds; the first is edited.
const FILES: [&str; 3] = ["page", "package.json", "note"];
/// Each leaves something that no second run would make again, as what is downloaded does.
const FETCH: &str = "RUN cat /proc/sys/kernel/random/uuid >/fetched";
const CASES: usize = 4;
const EDITS: usize = 2;

/// The base of a stage, and its instructions, both as numbers that [`dockerfile`] reads.
type Choices = Vec<(u8, Vec<u8>)>;

/// The found engine killer, by hand.
const KILLER: &str = "FROM BASE AS s0\nWORKDIR /app\nCOPY package.json ./\nRUN echo m >x\nCOPY . .\nRUN cat page >y\n\
    FROM BASE AS s1\nWORKDIR /app\nCOPY --from=s0 /app/package.json ./\nCOPY --from=s0 /app/y ./\nCOPY --from=s0 /app/x ./\n";

fn choices() -> impl Strategy<Value = Choices> {
    vec((any::<u8>(), vec(any::<u8>(), 1..7)), 2..5)
}

/// What a stage holds so far.
#[derive(Clone, Default)]
struct Made {
    files: BTreeSet<&'static str>,
    /// Whether something of it follows from the file that is edited.
    is_edited: bool,
}

/// Stages stand on the base or on each other, and copy what is there. Nothing is fetched after what is edited.
fn dockerfile(choices: &Choices) -> String {
    let mut text = String::new();
    let mut made: Vec<Made> = Vec::new();
    for (index, (base, instructions)) in choices.iter().enumerate() {
        let below = usize::from(*base) % (2 * index + 1);
        let mut here = if below < index { made[below].clone() } else { Made::default() };
        let on = if below < index { format!("s{below}") } else { "BASE".to_owned() };
        text.push_str(&format!("FROM {on} AS s{index}\nWORKDIR /app\n"));
        for (position, choice) in instructions.iter().enumerate() {
            let pick = usize::from(choice / 8);
            let file = FILES[pick % FILES.len()];
            let from = (index > 0).then(|| pick % index).filter(|from| !made[*from].files.is_empty());
            match (choice % 8, from) {
                (0, _) if !here.is_edited => text.push_str(&format!("{FETCH}-{position}\n")),
                (1, _) => {
                    text.push_str(&format!("COPY {file} ./\n"));
                    here.files.insert(file);
                    here.is_edited |= file == FILES[0];
                }
                (2, _) => {
                    text.push_str("COPY . .\n");
                    here.files.extend(FILES);
                    here.is_edited = true;
                }
                (4, _) if !here.files.is_empty() => {
                    text.push_str("RUN cat * >/y; cat /y >y\n");
                    here.files.insert("y");
                }
                (5.., Some(from)) => {
                    let all: Vec<&str> = made[from].files.iter().copied().collect();
                    let file = all[pick % all.len()];
                    text.push_str(&format!("COPY --from=s{from} /app/{file} ./\n"));
                    here.files.insert(file);
                    here.is_edited |= made[from].is_edited;
                }
                _ => {
                    text.push_str("RUN echo m >x\n");
                    here.files.insert("x");
                }
            }
        }
        made.push(here);
    }
    text
}

/// What a build ran of what only a network could give.
async fn build(world: &World, spec: &BuildSpec) -> Vec<String> {
    let fetched = Mutex::new(Vec::new());
    let note = |progress: Progress| {
        if let Progress::Part { name, cached: false, .. } = progress
            && name.contains("fetched")
        {
            fetched.lock().unwrap().push(name);
        }
    };
    let built = world.engine.build(world.path(), spec, &note).await;
    assert!(built.is_ok(), "{built:?}\n{}\n{:?}", spec.text, spec.cache_from);
    fetched.into_inner().unwrap()
}

/// A machine that has nothing but images: the builder forgets all that it made.
fn forget(world: &World) {
    let Some(socket) = world.host.strip_prefix("unix://") else { return };
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .write_all(b"POST /build/prune?all=1 HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn lives_through(world: &World, text: &str) {
    let files = |page: &str| {
        let contents = [page, "{}", "note"];
        FILES.iter().zip(contents).map(|(name, content)| world.file(name, content, 0o644)).collect::<Vec<_>>()
    };
    let stages = text.lines().filter(|line| line.starts_with("FROM")).count();
    let mut kept = Vec::new();
    for edit in 0..=EDITS {
        if edit % 2 == 1 {
            forget(world);
        }
        let mut spec = world.spec("web", text, files(&format!("page {edit}")));
        spec.cache_from.clone_from(&kept);
        let fetched = build(world, &spec).await;
        assert!(edit == 0 || fetched.is_empty(), "{fetched:?} ran again:\n{text}");
        for stage in 0..stages {
            let mut keep = world.spec(&format!("s{stage}"), text, files(&format!("page {edit}")));
            keep.target = Some(format!("s{stage}"));
            keep.cache_from.clone_from(&kept);
            keep.inline_cache = InlineCache::Yes;
            build(world, &keep).await;
        }
        kept = (0..stages).map(|stage| world.reference(&format!("s{stage}"))).collect();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_dockerfile_ends_the_engine_by_what_is_kept_of_it() {
    let Some(world) = real_world("no_dockerfile_ends_the_engine_by_what_is_kept_of_it").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let mut runner = TestRunner::deterministic();
    let random = (0..CASES).map(|_| dockerfile(&choices().new_tree(&mut runner).unwrap().current()));
    for text in std::iter::once(KILLER.to_owned()).chain(random) {
        lives_through(&world, &text).await;
    }
    world.clean_up().await;
}
