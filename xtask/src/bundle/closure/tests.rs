//! What goes along, of tiny trees and a store in memory.

use std::collections::BTreeSet;

use super::*;
use crate::engine::{FakeEngine, Store as _, fake_image};
use crate::model::AliasRules;
use crate::plan::rebuild::lineage::{LineageInput, lineages};
use crate::read::compose;
use crate::read::tree;
use crate::settings::env::Env;
use crate::settings::{Layer, load};
use crate::testing::TestTree;

const TREE: &str = "\
//- src/api/Dockerfile
# syntax=docker/dockerfile:1
FROM debian:12 AS builder
COPY a .
FROM quay.io/x/run:1
COPY --from=builder /a /a
COPY --from=ghcr.io/tool:2 /t /t
RUN --mount=type=bind,from=busybox:1,target=/m ls /m
//- src/api/a
1
//- src/api/dependency.conf
redis:7
//- src/broker/dependency.conf
nats:2
//- src/web/Dockerfile
FROM api
//- compose.yaml
services:
  api:
    image: api:latest
  old:
    image: web:v0
  db:
    image: postgres:16
  cache:
    image: redis:7
  own:
    image: mine
    build: .
";

async fn found(only: &[&str], here: &[&str]) -> (Closure, Vec<Missing>) {
    found_in(TREE, only, here).await
}

async fn found_in(tree: &str, only: &[&str], here: &[&str]) -> (Closure, Vec<Missing>) {
    let fixture = TestTree::new(tree);
    let config = load(&fixture.root(), Layer::default(), &Env::default(), None).unwrap();
    let reading = tree::look(&config, Platform::local()).unwrap();
    let engine = FakeEngine::new();
    for (at, names) in here.iter().enumerate() {
        let names: Vec<Reference> = names.split(' ').map(|name| name.parse().unwrap()).collect();
        engine.store(fake_image(&at.to_string(), &names.iter().collect::<Vec<_>>()));
    }
    let observed = engine.observe().await.unwrap();
    let graph = &reading.tree.graph;
    let named = graph.images().iter().filter(|i| only.is_empty() || only.contains(&i.service.as_str()));
    let selected = graph.closure(&named.map(|image| image.name.clone()).collect::<BTreeSet<_>>());
    let lineages = lineages(&LineageInput {
        graph,
        files: &|name| Some(reading.tree.contexts.get(name)?.files.clone()),
        build_platform: &Platform::local(),
        base: &|_| None,
        key: &|_| None,
    });
    let compose = [compose::read(&fixture.root(), &["compose.yaml".to_owned()], &|_| None).unwrap()];
    let closure = closure(&ClosureInput {
        selected: &selected,
        graph,
        lineages: &lineages,
        compose: &compose,
        rules: AliasRules { internal_registry: None, prefixes: &Default::default() },
        observed: &observed,
        platform: &Platform::local(),
    });
    let missing = missing(&closure, &observed);
    (closure, missing)
}

fn told(closure: &Closure) -> String {
    let one = |wanted: &WantedImage| {
        let further: String =
            wanted.further_names.iter().map(|name| format!(" = {}", name.familiar())).collect();
        let by = wanted.needed_by.join(", ");
        format!("{} {}{further} <- {by}\n", wanted.role.name(), wanted.reference.familiar())
    };
    let warnings = closure.warnings.iter().map(|warning| format!("warning: {warning}\n"));
    closure.images.iter().map(one).chain(warnings).collect()
}

#[tokio::test]
async fn everything_that_a_rebuild_and_a_start_need_goes_along() {
    let here = ["debian:12 localhost/debian:12", "quay.io/x/run:1"];
    let (closure, missing) = found(&[], &here).await;
    insta::assert_snapshot!(told(&closure), @"
    frontend docker/dockerfile:1 <- src/api/Dockerfile:1
    image api:latest <- src/api/Dockerfile
    image broker:latest <- src/broker/dependency.conf:1
    base busybox:1 <- src/api/Dockerfile:7
    base debian:12 = localhost/debian:12 <- src/api/Dockerfile:2
    companion nats:2 <- src/broker/dependency.conf:1
    compose postgres:16 <- compose.yaml:7
    companion redis:7 <- src/api/dependency.conf:1, compose.yaml:9
    image web:latest <- src/web/Dockerfile
    stage xtask-cache/api:latest.1 <- src/api/Dockerfile:4
    stage xtask-cache/api:latest.builder <- src/api/Dockerfile:2
    base ghcr.io/tool:2 <- src/api/Dockerfile:6
    base quay.io/x/run:1 <- src/api/Dockerfile:4
    warning: compose.yaml:5: `old` runs web:v0, and web:latest is what goes along
    warning: compose.yaml:11: compose builds mine:latest of `own` itself, and it does not go along: `docker compose build own` first
    ");
    let missing: Vec<String> = missing
        .iter()
        .map(|m| format!("{} ({}): {}\n", m.reference.familiar(), m.needed_by.join(", "), m.command))
        .collect();
    insta::assert_snapshot!(missing.concat(), @"
    docker/dockerfile:1 (src/api/Dockerfile:1): cargo xtask prefetch docker/dockerfile:1
    busybox:1 (src/api/Dockerfile:7): cargo xtask prefetch busybox:1
    nats:2 (src/broker/dependency.conf:1): cargo xtask prefetch nats:2
    postgres:16 (compose.yaml:7): cargo xtask prefetch postgres:16
    redis:7 (src/api/dependency.conf:1, compose.yaml:9): cargo xtask prefetch redis:7
    ghcr.io/tool:2 (src/api/Dockerfile:6): cargo xtask prefetch ghcr.io/tool:2
    ");
}

#[tokio::test]
async fn what_is_not_selected_stays_and_is_told_where_it_is_started() {
    let (closure, _) = found(&["broker"], &[]).await;
    insta::assert_snapshot!(told(&closure), @"
    image broker:latest <- src/broker/dependency.conf:1
    companion nats:2 <- src/broker/dependency.conf:1
    compose postgres:16 <- compose.yaml:7
    compose redis:7 <- compose.yaml:9
    warning: compose.yaml:3: `api` runs api, which is not selected and does not go along
    warning: compose.yaml:5: `old` runs web, which is not selected and does not go along
    warning: compose.yaml:11: compose builds mine:latest of `own` itself, and it does not go along: `docker compose build own` first
    ");
}

#[tokio::test]
async fn what_is_pinned_by_digest_goes_along_under_a_name_that_an_archive_can_carry() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let tree = "//- src/api/Dockerfile\nFROM alpine:3@{}\nCOPY --from=tool@{} /t /t\n\
        //- compose.yaml\nservices:\n  db:\n    image: db:1@{}\n";
    let (closure, _) = found_in(&tree.replace("{}", &digest), &[], &[]).await;
    let told = told(&closure).replace(&digest, "{}").replace(&"a".repeat(64), "HEX");
    for goes in [
        "base alpine:3@{} = xtask-pinned:HEX <- src/api/Dockerfile:1\n",
        "base tool@{} = xtask-pinned:HEX <- src/api/Dockerfile:2\n",
        "compose db:1@{} = xtask-pinned:HEX <- compose.yaml:3\n",
        "warning: compose.yaml:3: `db` runs db:1@{}, which is pinned",
    ] {
        assert!(told.contains(goes), "{goes}{told}");
    }
    assert_eq!(told.matches("warning").count(), 1, "{told}");
}
