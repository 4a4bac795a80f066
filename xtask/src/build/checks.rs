//! BuildKit's own checks of a Dockerfile, without a build (docs.docker.com, "Build checks").
//!
//! In: a [`BuildSpec`]. Out: what its front end finds. It is asked by the subrequest `frontend.lint` (buildkit,
//! `frontend/subrequests/lint`), whose answer is no image but a document, and only the gateway hands that on
//! (`frontend/gateway/pb/gateway.proto`): `Solve` of the Control API opens a build without a front end, `LLBBridge/Solve` asks
//! within it, `LLBBridge/Return` ends it.

use std::collections::HashMap;
use std::path::Path;

use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use prost::Message;
use serde::Deserialize;
use tonic::Status;

use super::BuildError;
use super::solve::{Target, dockerfile_name, front_end_attrs, offer, refused};
use crate::engine::EngineError;
use crate::model::{BuildSpec, Diagnostic, or_default};

/// What the front end is asked for.
const LINT: &str = "frontend.lint";
/// A front end that knows no subrequests would build.
const NEEDS_SUBREQUESTS: &str = "moby.buildkit.frontend.subrequests";
/// What is found, in the metadata of the answer.
const RESULT: &str = "result.json";
/// In what a build of this front end ends that checks hold for errors (`# check=error=true`; buildkit, `linter/linter.go`).
const VIOLATION: &str = "lint violation";

/// Asks the front end of a builder. None if that has no checks.
pub(super) async fn check(
    target: &Target<'_>,
    root: &Path,
    spec: &BuildSpec,
) -> Result<Option<Vec<Diagnostic>>, BuildError> {
    let (session, _context) = offer(target, root, spec)?;
    let opening = SolveRequest {
        r#ref: super::session::random_id(),
        session: session.id().to_owned(),
        ..SolveRequest::default()
    };
    let build = opening.r#ref.clone();
    let mut attrs = front_end_attrs(spec, dockerfile_name(spec), target);
    attrs.insert("requestid".to_owned(), LINT.to_owned());
    attrs.insert("frontend.caps".to_owned(), NEEDS_SUBREQUESTS.to_owned());
    let question = Question {
        frontend: "dockerfile.v0".to_owned(),
        frontend_opt: attrs,
        allow_result_return: true,
        allow_result_array_ref: true,
    };
    let (control, _session) = target.open(session).await?;
    let asked = async {
        let answer: Answer = control.ask_gateway(&build, "Solve", question).await?;
        let end = Return { result: Some(Found::default()) };
        let Ended {} = control.ask_gateway(&build, "Return", end).await?;
        Ok(answer)
    };
    // The build is over when the gateway says so; before that it has nothing to tell but that it cannot go on.
    let opened = control.solve(opening);
    tokio::pin!(asked, opened);
    let answered: Result<Answer, Status> = tokio::select! {
        answer = &mut asked => answer,
        ended = &mut opened => match ended {
            Ok(_) => asked.await,
            Err(status) => Err(status),
        },
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(status) if says_unsupported(status.message()) => return Ok(None),
        Err(status) => return Err(refused(spec, None, &status)),
    };
    let Some(document) = answer.result.unwrap_or_default().metadata.remove(RESULT) else { return Ok(None) };
    let odd = |error| EngineError::Other(format!("what the checks found cannot be read: {error}"));
    let found: Document = serde_json::from_slice(&document).map_err(odd)?;
    Ok(Some(diagnostics(found, &spec.dockerfile)))
}

/// What front ends and builders say that know no such question.
fn says_unsupported(said: &str) -> bool {
    ["unsupported request", "unsupported frontend capability", "unknown service", "unknown method"]
        .iter()
        .any(|words| said.contains(words))
}

/// As findings of ours. What keeps a Dockerfile from being built is an error, everything else a warning.
fn diagnostics(found: Document, dockerfile: &str) -> Vec<Diagnostic> {
    let is_violation = |error: &&Unbuildable| error.message.starts_with(VIOLATION);
    let is_strict = found.error.as_ref().filter(is_violation).is_some();
    let of = if is_strict { Diagnostic::error } else { Diagnostic::warning };
    let mut all: Vec<Diagnostic> = found
        .warnings
        .into_iter()
        .map(|warning| {
            let detail = warning.detail.trim().trim_end_matches('.');
            let more = [warning.rule, warning.url].into_iter().filter(|text| !text.is_empty());
            let more = more.collect::<Vec<_>>().join(", ");
            of(dockerfile, warning.location.line(), format!("{detail} ({more})"))
        })
        .collect();
    let other = found.error.filter(|error| !error.message.starts_with(VIOLATION));
    all.extend(other.map(|error| {
        let message = error.message.split("\n").next().unwrap_or_default();
        Diagnostic::error(dockerfile, error.location.line(), message)
    }));
    all.sort_by_key(|found| found.line);
    all
}

/// What the checks found (buildkit, `frontend/subrequests/lint/lint.go`).
#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "or_default")]
    warnings: Vec<Warning>,
    #[serde(rename = "buildError")]
    error: Option<Unbuildable>,
}

#[derive(Deserialize)]
struct Warning {
    #[serde(default, rename = "ruleName")]
    rule: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    location: Location,
}

#[derive(Deserialize)]
struct Unbuildable {
    message: String,
    #[serde(default)]
    location: Location,
}

#[derive(Default, Deserialize)]
struct Location {
    #[serde(default, deserialize_with = "or_default")]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
struct Range {
    start: Position,
}

#[derive(Deserialize)]
struct Position {
    line: u32,
}

impl Location {
    /// 0 where it is the whole file.
    fn line(&self) -> u32 {
        self.ranges.first().map_or(0, |range| range.start.line)
    }
}

/// `SolveRequest` of the gateway, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "2")]
    frontend: String,
    #[prost(map = "string, string", tag = "3")]
    frontend_opt: HashMap<String, String>,
    #[prost(bool, tag = "5")]
    allow_result_return: bool,
    #[prost(bool, tag = "6")]
    allow_result_array_ref: bool,
}

/// `SolveResponse` of the gateway.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "3")]
    result: Option<Found>,
}

/// `Result` of the gateway: what was found, without an image.
#[derive(Clone, PartialEq, Message)]
struct Found {
    #[prost(map = "string, bytes", tag = "10")]
    metadata: HashMap<String, Vec<u8>>,
}

/// `ReturnRequest` of the gateway.
#[derive(Clone, PartialEq, Message)]
struct Return {
    #[prost(message, optional, tag = "1")]
    result: Option<Found>,
}

/// `ReturnResponse` of the gateway.
#[derive(Clone, PartialEq, Message)]
struct Ended {}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<String> {
        let document: Document = serde_json::from_str(json).expect("a document");
        diagnostics(document, "src/api/Dockerfile").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_found_is_told_with_its_line() {
        let at = |line: u32| {
            format!(r#""location":{{"ranges":[{{"start":{{"line":{line}}},"end":{{"line":9}}}}]}}"#)
        };
        let late = format!(r#"{{"ruleName":"A","url":"https://x/a","detail":"late.",{}}}"#, at(7));
        let early = format!(r#"{{"ruleName":"B","detail":"early",{}}}"#, at(2));
        let error = |message: &str| format!(r#""buildError":{{"message":"{message}",{}}}"#, at(3));
        let cases = [
            (r#"{"warnings":[]}"#.to_owned(), vec![]),
            (
                r#"{"warnings":null,"buildError":{"message":"base:1: not found","location":{"ranges":null}}}"#.to_owned(),
                vec!["error: src/api/Dockerfile: base:1: not found"],
            ),
            (
                format!(r#"{{"warnings":[{late},{early}]}}"#),
                vec![
                    "warning: src/api/Dockerfile:2: early (B)",
                    "warning: src/api/Dockerfile:7: late (A, https://x/a)",
                ],
            ),
            (
                format!(r#"{{"warnings":[{early}],{}}}"#, error("lint violation found for rules: B")),
                vec!["error: src/api/Dockerfile:2: early (B)"],
            ),
            (
                format!(r#"{{"warnings":[{early}],{}}}"#, error("unknown instruction: FORM\\nmore")),
                vec![
                    "warning: src/api/Dockerfile:2: early (B)",
                    "error: src/api/Dockerfile:3: unknown instruction: FORM",
                ],
            ),
            (
                r#"{"warnings":[{"ruleName":"C","detail":"anywhere"}]}"#.to_owned(),
                vec!["warning: src/api/Dockerfile: anywhere (C)"],
            ),
        ];
        for (json, told) in cases {
            assert_eq!(found(&json), told, "{json}");
        }
    }
}
