//! EFFECT: tries an image out: runs it, waits until it is healthy, asks it, stops it.
//!
//! In: a [`SmokeSpec`] and an engine. Out: a [`SmokeResult`], which says what was seen and judges nothing
//! ([`super::checks`] does). The container is found again by its labels, so whoever drops this future half-way can
//! still remove it.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Containers, EngineError, OnProgress, Progress, Store};
use crate::model::{
    Afterwards, ContainerId, ContainerSpec, ContainerState, ExecOutput, Health, Healthcheck, HttpAnswer,
    HttpAsk, PublishedPort, SmokeResult, SmokeSpec, Stopped, Unit,
};
use crate::registry::loopback;

/// Between two looks at a container.
const LOOK: Duration = Duration::from_millis(250);
/// How often its health check is made; an image's own interval is for production.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// No image is waited for longer.
const LONGEST: Duration = Duration::from_secs(600);
/// How long an image without a health check has to stay up to count as started.
const STAYS_UP: Duration = Duration::from_secs(1);
/// A port may be published a moment before the program inside listens.
const HTTP_PATIENCE: Duration = Duration::from_secs(10);
/// What the steps of a trial are counted as.
const STEPS: u64 = 4;

/// Tries an image out. What the container printed comes as log lines of the step.
///
/// # Errors
/// What kept the engine from running it at all. An image that misbehaves is no error: what was seen says so.
pub async fn try_out<E: Store + Containers>(
    engine: &E,
    spec: &SmokeSpec,
    progress: OnProgress<'_>,
) -> Result<SmokeResult, EngineError> {
    let began = Instant::now();
    let step = |done: u64, detail: &str| {
        let detail = Some(detail.to_owned());
        progress(Progress::Moved { done, total: STEPS, unit: Unit::Steps, detail });
    };
    let details = engine.details(&spec.reference).await?;
    let mut seen = SmokeResult {
        image: spec.image.clone(),
        os: spec.os.clone(),
        reference: spec.reference.clone(),
        details,
        health: Health::Unchecked,
        healthy_after: Duration::ZERO,
        unwell: None,
        answers: Default::default(),
        answered: None,
        stopped: None,
        took: Duration::ZERO,
    };
    let Some(details) = &seen.details else { return Ok(seen) };
    let patience = patience(spec.healthy_within, details.healthcheck.as_ref());
    step(0, "starting");
    let id = engine.run(&container(spec)).await?;
    step(1, "waiting until it is healthy");
    let (health, unwell) = wait_until_healthy(engine, &id, patience).await?;
    seen.healthy_after = began.elapsed();
    seen.health = health;
    seen.unwell = unwell;
    if seen.unwell.is_none() {
        step(2, "asking it");
        ask(engine, &id, spec, &mut seen).await?;
    }
    step(3, "stopping");
    if spec.afterwards == Afterwards::Remove {
        seen.stopped = stop(engine, &id, spec.expected.stop_within).await?;
    }
    for (stream, line) in engine.logs(&id).await.unwrap_or_default() {
        progress(Progress::Log { stream, line });
    }
    if spec.afterwards == Afterwards::Remove {
        engine.remove_container(&id).await?;
    }
    seen.took = began.elapsed();
    step(STEPS, "done");
    Ok(seen)
}

/// Runs the commands in it, and asks it over HTTP.
async fn ask<E: Containers>(
    engine: &E,
    id: &ContainerId,
    spec: &SmokeSpec,
    seen: &mut SmokeResult,
) -> Result<(), EngineError> {
    for (name, command) in &spec.commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let answer = match engine.exec(id, &words).await {
            Ok(answer) => answer,
            // Told as what it is: the command gave no answer.
            Err(error) => ExecOutput { exit_code: -1, stdout: String::new(), stderr: error.to_string() },
        };
        seen.answers.insert(name.clone(), answer);
    }
    if let Some(ask) = &spec.ask {
        seen.answered = Some(ask_it(engine, id, ask).await?);
    }
    Ok(())
}

fn container(spec: &SmokeSpec) -> ContainerSpec {
    let port = |ask: &HttpAsk| PublishedPort { container: ask.port, host: None };
    ContainerSpec {
        labels: spec.labels.clone(),
        ports: spec.ask.iter().map(port).collect(),
        health_interval: Some(HEALTH_INTERVAL),
        ..ContainerSpec::of(spec.reference.clone())
    }
}

/// As long as the image's own health check would take to give it up, made every [`HEALTH_INTERVAL`], if that is longer
/// than `least`.
fn patience(least: Duration, check: Option<&Healthcheck>) -> Duration {
    let Some(check) = check else { return least };
    // What is not said is the engine's default: 30 s for a check, 3 of them.
    let one = check.timeout.unwrap_or(Duration::from_secs(30)) + HEALTH_INTERVAL;
    let own = check.start_period.unwrap_or_default() + one * (check.retries.unwrap_or(3) + 1);
    own.max(least).min(LONGEST)
}

/// Its health, and why it is not well if it is not.
async fn wait_until_healthy<E: Containers>(
    engine: &E,
    id: &ContainerId,
    patience: Duration,
) -> Result<(Health, Option<String>), EngineError> {
    let began = Instant::now();
    loop {
        let Some(state) = engine.container(id).await? else {
            return Ok((Health::Unchecked, Some("somebody removed its container".to_owned())));
        };
        let waited = began.elapsed();
        if !state.running {
            return Ok((state.health, Some(how_it_ended(&state))));
        }
        match state.health {
            Health::Healthy => return Ok((Health::Healthy, None)),
            Health::Unchecked if waited >= STAYS_UP => return Ok((Health::Unchecked, None)),
            Health::Unhealthy => return Ok((Health::Unhealthy, Some(checks_said("is unhealthy", &state)))),
            Health::Starting if waited >= patience => {
                let what = format!("was not healthy within {} s", patience.as_secs());
                return Ok((Health::Starting, Some(checks_said(&what, &state))));
            }
            Health::Starting | Health::Unchecked => tokio::time::sleep(LOOK).await,
        }
    }
}

fn how_it_ended(state: &ContainerState) -> String {
    let code = state.exit_code.unwrap_or_default();
    let mut text = format!("ended by itself with status {code}");
    if state.out_of_memory {
        text.push_str(", for want of memory");
    }
    if !state.error.is_empty() {
        text.push_str(": ");
        text.push_str(&state.error);
    }
    text
}

/// The last health check's own words say more than "unhealthy".
fn checks_said(what: &str, state: &ContainerState) -> String {
    match state.health_log.iter().rev().find(|line| !line.is_empty()) {
        Some(said) => format!("{what}; its health check says: {said}"),
        None => format!("{what}; its health check says nothing"),
    }
}

/// Asks until something answers at all: any status is an answer.
async fn ask_it<E: Containers>(
    engine: &E,
    id: &ContainerId,
    ask: &HttpAsk,
) -> Result<Result<HttpAnswer, String>, EngineError> {
    let Some(state) = engine.container(id).await? else { return Ok(Err("its container is gone".to_owned())) };
    let Some(port) = state.ports.get(&ask.port).copied() else {
        return Ok(Err(format!("port {} is not published", ask.port)));
    };
    let began = Instant::now();
    loop {
        match loopback::get(port, &ask.path).await {
            Ok(answer) => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                return Ok(Ok(HttpAnswer { status: answer.status, body }));
            }
            Err(cause) if began.elapsed() >= HTTP_PATIENCE => return Ok(Err(cause)),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Asks it to end; none when it had ended before.
async fn stop<E: Containers>(
    engine: &E,
    id: &ContainerId,
    within: Duration,
) -> Result<Option<Stopped>, EngineError> {
    if engine.container(id).await?.is_none_or(|state| !state.running) {
        return Ok(None);
    }
    let began = Instant::now();
    engine.stop(id, within).await?;
    let after = began.elapsed();
    let exit_code = engine.container(id).await?.and_then(|state| state.exit_code);
    Ok(Some(Stopped { after, exit_code }))
}

#[cfg(test)]
#[path = "smoke_tests.rs"]
mod tests;
