//! What the parts of a run take: `cargo bench -p xtask-images`. Whole runs are measured by `cargo xtask bench`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use divan::Bencher;
use divan::counter::ItemsCount;
use dockerfile::Options;
use dockerfile::ignorefile::IgnoreFile;
use xtask_images::ci::bench_tree::{Links, Shape};
use xtask_images::events::Sink as _;
use xtask_images::host::Stamp;
use xtask_images::model::{
    Digest, Event, EventKind, ImageName, LogStream, Observed, Phase, Plan, Platform, StepId, Triggers,
};
use xtask_images::plan::build::{self, BuildRequest};
use xtask_images::read::fingerprint::cache::HashCache;
use xtask_images::read::fingerprint::canonical::Parts;
use xtask_images::read::tree::{self, Tree};
use xtask_images::report::canvas::Canvas;
use xtask_images::report::frame::Size;
use xtask_images::report::resolve::{Colour, Display, Forge, Mode, Table, Verbosity};
use xtask_images::report::tty::{Terminal, Tty};
use xtask_images::settings::env::Env;
use xtask_images::settings::{Config, Layer};

const DOCKERFILE: &str = r#"# syntax=docker/dockerfile:1
ARG RUST=1.95
ARG BASE=debian:12-slim
FROM --platform=$BUILDPLATFORM rust:${RUST} AS builder
ARG TARGETARCH
WORKDIR /app
COPY Cargo.toml Cargo.lock ./
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    # what it depends on changes less often than itself
    cargo fetch --locked
COPY src ./src
RUN --mount=from=tools,source=/bin/lint,target=/lint <<EOF
set -e
cargo build --release --target "${TARGETARCH}"
EOF
FROM alpine:3.20 AS tools
FROM ${BASE}
COPY --from=builder --chmod=755 /app/target/release/app /usr/local/bin/
COPY --from=nginx:1.27 /etc/nginx/mime.types config/*.conf "a b.txt" /etc/app/
ENV PATH="/usr/local/bin:${PATH}"
ENTRYPOINT ["app"]
"#;
const IGNORE: &str = "**/node_modules\n*.log\n!keep.log\ntarget\n.git\ndocs/**/*.md\n!docs/README.md\ntmp?\n";

fn main() {
    divan::main();
}

#[divan::bench]
fn dockerfile_parse_and_resolve(bencher: Bencher<'_, '_>) {
    let platform = Platform::local();
    let (build_args, triggers) = (BTreeMap::new(), Triggers::new());
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let (file, _) = dockerfile::parse("Dockerfile", DOCKERFILE);
        let options = Options {
            target: None,
            build_args: &build_args,
            platform: &platform,
            build_platform: &platform,
            triggers: &triggers,
        };
        dockerfile::resolve(&file, &options)
    });
}

#[divan::bench]
fn ignore_match_1000_paths(bencher: Bencher<'_, '_>) {
    let ignore = IgnoreFile::parse(IGNORE);
    let paths: Vec<String> = (0..1000).map(|n| format!("pkg{}/docs/part{n}/page.md", n % 7)).collect();
    bencher
        .counter(ItemsCount::new(paths.len()))
        .bench(|| paths.iter().filter(|path| ignore.is_ignored(path)).count());
}

#[divan::bench(args = [1_000, 50_000])]
fn hash_cache_load(bencher: Bencher<'_, '_>, files: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("files.bin");
    let cache = HashCache::load(&path);
    let stamp = Stamp { size: 400, inode: 7, modified: (100, 5), changed: (100, 5) };
    for file in 0..files {
        let when = UNIX_EPOCH + Duration::from_secs(1_000);
        cache.put(&format!("src/s{}/app", file / 50), &format!("file{:03}", file % 50), stamp, [7; 32], when);
    }
    cache.save().expect("saved");
    bencher.counter(ItemsCount::new(files)).bench(|| HashCache::load(&path));
}

/// A tree of 1,000 services, read.
struct World {
    _folder: tempfile::TempDir,
    config: Config,
    tree: Tree,
}

impl World {
    fn new(files: usize, links: Links) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shape = Shape { services: 1_000, files, links, prefix: String::new() };
        shape.write(folder.path(), "").expect("written");
        let config = config(folder.path());
        let tree = look(&config);
        Self { _folder: folder, config, tree }
    }

    fn names(&self) -> BTreeSet<ImageName> {
        self.tree.graph.images().iter().map(|image| image.name.clone()).collect()
    }
}

fn config(root: &Path) -> Config {
    let nothing: [(&str, &str); 0] = [];
    let env: Env = nothing.into_iter().collect();
    xtask_images::settings::load(root, Layer::default(), &env, None).expect("settings")
}

fn look(config: &Config) -> Tree {
    tree::look(config, Platform::local()).expect("a sound .env").tree
}

#[divan::bench(args = [1, 51], sample_count = 20)]
fn look_at_1000_services(bencher: Bencher<'_, '_>, files: usize) {
    let world = World::new(files, Links::None);
    bencher.bench(|| look(&world.config));
}

#[divan::bench]
fn keys_of_1000_images(bencher: Bencher<'_, '_>) {
    let world = World::new(2, Links::None);
    let digest = Digest::from_sha256(&[7; 32]);
    bencher.bench(|| {
        let images = world.tree.graph.images().iter();
        images
            .filter_map(|image| Parts::of(image, &digest, |_| None, |_| None))
            .map(|p| p.key())
            .collect::<Vec<_>>()
    });
}

#[divan::bench(args = [Links::None, Links::Chains])]
fn assess_and_plan_1000_images(bencher: Bencher<'_, '_>, links: Links) {
    let world = World::new(2, links);
    let request = BuildRequest { selected: world.names(), ..BuildRequest::default() };
    let observed = Observed::nothing();
    bencher.bench(|| {
        let (graph, contexts) = (&world.tree.graph, &world.tree.contexts);
        let assessments = build::assess(graph, contexts, &observed, &|_| None);
        build::plan(&request, graph, contexts, &assessments, &observed, &Plan::default())
    });
}

/// A terminal that shows nothing.
struct Nowhere;

impl Terminal for Nowhere {
    fn size(&self) -> Size {
        Size { columns: 80, rows: 24 }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        divan::black_box(text);
        Ok(())
    }

    fn begin(&mut self, _: &Arc<Mutex<Canvas>>) {}
}

/// Eight steps that print, and a redraw for every hundred lines.
#[divan::bench]
fn tty_of_20000_log_lines(bencher: Bencher<'_, '_>) {
    let phase = Phase::Build;
    let steps: Vec<StepId> = (0..8).map(|n| StepId::new(phase, &format!("service-{n}"))).collect();
    let event = |elapsed, kind| Event { v: 1, at: String::new(), elapsed, kind };
    let started = steps.iter().map(|step| EventKind::StepStarted {
        step: step.clone(),
        phase,
        subject: step.as_str().to_owned(),
        why: "not built yet".to_owned(),
    });
    let mut events =
        vec![event(0, EventKind::PhaseStarted { phase, position: 5, of: 6, steps: 8, skipped: 0 })];
    events.extend(started.map(|kind| event(0, kind)));
    events.extend((0..20_000_usize).map(|n| {
        let step = steps[n % steps.len()].clone();
        let line = format!("npm http fetch GET 200 https://registry.npmjs.org/package-{n} 31ms");
        event(n as u64, EventKind::StepLog { step, stream: LogStream::Stdout, line })
    }));
    let (mode, colour, verbosity) = (Mode::Tty, Colour::Yes, Verbosity::Normal);
    let display = Display { mode, colour, verbosity, table: Table::Hidden, forge: Forge::Nobody };
    bencher.counter(ItemsCount::new(events.len())).bench(|| {
        let mut tty = Tty::new(Nowhere, display, None, None);
        for (n, event) in events.iter().enumerate() {
            tty.take(event).expect("nowhere to fail");
            if n % 100 == 0 {
                tty.tick(Duration::from_millis(event.elapsed)).expect("nowhere to fail");
            }
        }
        tty.finish()
    });
}
