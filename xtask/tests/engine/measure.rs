//! Figures, not tests: run with `--ignored --nocapture` and, for times that mean something, `--release`.

use std::time::Instant;

use sha2::{Digest as _, Sha256};
use xtask::build::Builder as _;
use xtask::engine::Store as _;
use xtask::model::{ContextFile, ContextFileKind, Digest, Platform};

use crate::world::{quietly, real_world};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn twenty_cold_builds_at_once() {
    let Some(world) = real_world("twenty_cold_builds_at_once").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let specs: Vec<_> = (0..20)
        .map(|number| {
            let files = (0..50)
                .map(|file| world.file(&format!("{number}/{file}"), &format!("{number} {file}"), 0o644))
                .collect();
            let text = format!("FROM BASE\nCOPY {number} /x/\nRUN echo {number} > /y\n");
            world.spec(&format!("cold:{number}"), &text, files)
        })
        .collect();
    for round in ["cold", "cached"] {
        let begin = Instant::now();
        let builds = specs.iter().map(|spec| world.engine.build(world.path(), spec, quietly()));
        for result in futures_util::future::join_all(builds).await {
            result.unwrap();
        }
        eprintln!("20 builds, {round}: {:.2?}", begin.elapsed());
    }
    world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn looking_at_the_store() {
    let Some(world) = real_world("looking_at_the_store").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    for number in 0..200 {
        world.engine.tag(&base, &world.reference(&format!("name:{number}"))).await.unwrap();
    }
    for _ in 0..3 {
        let begin = Instant::now();
        let observed = world.engine.observe().await.unwrap();
        eprintln!("{} images, 201 names: {:.2?}", observed.images().len(), begin.elapsed());
    }
    world.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_large_file_takes_little_memory() {
    let Some(world) = real_world("a_large_file_takes_little_memory").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let path = world.path().join("context/big");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut hasher = Sha256::new();
    {
        use std::io::Write as _;
        let mut file = std::fs::File::create(&path).unwrap();
        let mut chunk = vec![0_u8; 1 << 20];
        for number in 0..300_u32 {
            for (index, byte) in chunk.iter_mut().enumerate() {
                *byte = (index as u32).wrapping_mul(2_654_435_761).wrapping_add(number) as u8;
            }
            hasher.update(&chunk);
            file.write_all(&chunk).unwrap();
        }
    }
    let kind =
        ContextFileKind::File { size: 300 << 20, digest: Digest::from_sha256(&hasher.finalize().into()) };
    let file = ContextFile { path: "big".to_owned(), mode: 0o644, kind, source: None };
    let spec = world.spec("big:1", "FROM BASE\nCOPY big /\n", vec![file]);
    let before = peak_memory();
    let begin = Instant::now();
    world.build(&spec).await.unwrap();
    eprintln!("300 MB: {:.2?}, peak memory {before} kB before, {} kB after", begin.elapsed(), peak_memory());
    world.clean_up().await;
}

/// `VmHWM` of this process, in kB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kb| kb.parse().ok()).unwrap_or(0)
}
