//! What kind of trouble it is that an engine speaks of. Pure.
//!
//! Engines answer 500 to nearly everything that a registry or a builder told them, and put errors in streams
//! that began with 200, so the text decides. The texts are Go's `net` and `net/http` errors, the registry
//! API's error codes (OCI distribution-spec, "Error Codes"), and those of BuildKit.

use super::EngineError;

/// Texts of a full disk.
const FULL: &[&str] = &["no space left on device", "disk quota exceeded"];
/// Texts of a port that somebody else has.
const TAKEN: &[&str] = &["port is already allocated", "address already in use"];
/// Texts of a registry that asks for patience.
const THROTTLED: &[&str] = &["toomanyrequests", "too many requests", "http 429", "status: 429", "rate limit"];
/// Texts of a refusal. Docker Hub does not tell "not there" from "not yours".
const DENIED: &[&str] = &[
    "pull access denied",
    "access denied",
    "access to the resource is denied",
    "denied:",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "incorrect username or password",
    "401 unauthorized",
    "403 forbidden",
];
/// Texts of a registry that takes nothing: a front that is read-only answers so to what would change it.
const READ_ONLY: &[&str] = &["http 405", "405 method not allowed", "method not allowed"];
/// Texts of a registry that cannot be reached from here.
const OUT_OF_REACH: &[&str] = &[
    "no such host",
    "connection refused",
    "network is unreachable",
    "no route to host",
    "host is down",
    "server misbehaving",
    "temporary failure in name resolution",
    "server gave http response to https client",
    "x509:",
    "certificate signed by unknown authority",
    "first record does not look like a tls handshake",
    "proxyconnect",
];
/// Texts of trouble that may be over a moment later.
const TRANSIENT: &[&str] = &[
    "tls handshake timeout",
    "i/o timeout",
    "client.timeout exceeded",
    "context deadline exceeded",
    "request canceled while waiting for connection",
    "unexpected eof",
    "connection reset",
    "broken pipe",
    "connection timed out",
    "http2: server sent goaway",
    "stream error: stream id",
    "frontend grpc server closed unexpectedly",
    "failed to get dead record",
    "no active session",
    // containerd tidies up while an image is unpacked (moby/buildkit 6521).
    "failed to prepare extraction snapshot",
    // A registry that gets one blob twice at once may lose it (seen of distribution 2.8, its storage in a folder).
    "provided digest did not match uploaded content",
    "blob unknown to registry",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway",
    "status: 500",
    "status: 502",
    "status: 503",
    "status: 504",
    "status code 500",
    "status code 502",
    "status code 503",
    "status code 504",
];
/// How containerd begins to tell of a registry's answer: `unexpected status from GET request to URL: 503 Busy`
/// (containerd, `core/remotes/docker/fetcher.go`).
const ODD_STATUS: &str = "unexpected status from ";

/// Texts of something that is not there.
const ABSENT: &[&str] = &[
    "manifest unknown",
    "name unknown",
    "no such image",
    "does not exist locally",
    "tag does not exist",
    "repository name not known",
    "not found",
    "no matching manifest",
    "does not match the specified platform",
];

/// What kind of trouble the engine's words mean. `status` is the engine's own answer where it had one;
/// `about` names what was asked for.
pub(crate) fn classify(status: Option<u16>, message: &str, about: &str) -> EngineError {
    let text = message.to_ascii_lowercase();
    let says = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    let said = || {
        let said = without_stations(message.trim());
        if said.is_empty() { "the engine gave no reason".to_owned() } else { said.to_owned() }
    };
    if says(FULL) {
        EngineError::DiskFull(said())
    } else if says(TAKEN) {
        EngineError::PortTaken(said())
    } else if says(THROTTLED) || status == Some(429) || odd_status(&text) == Some(429) {
        EngineError::Transient { cause: said(), retry_after: retry_after(&text) }
    } else if says(READ_ONLY) {
        let why = "the registry is read-only: it answers 405 Method Not Allowed to a push";
        EngineError::ReadOnly(why.to_owned())
    } else if says(OUT_OF_REACH) {
        EngineError::RegistryUnreachable(plainly(&said()))
    } else if says(DENIED) || text.trim() == "denied" || matches!(status, Some(401 | 403)) {
        EngineError::Denied(said())
    } else if says(TRANSIENT)
        || text.trim_end().ends_with(": eof")
        || matches!(status, Some(502..=504))
        || matches!(odd_status(&text), Some(500 | 502..=504))
    {
        EngineError::Transient { cause: said(), retry_after: retry_after(&text) }
    } else if says(ABSENT) || status == Some(404) {
        let told = text.contains("manifest") || text.contains("platform");
        EngineError::NotFound(if told { format!("{about} ({})", said()) } else { about.to_owned() })
    } else {
        EngineError::Other(said())
    }
}

/// The registry's status, where containerd tells one.
fn odd_status(text: &str) -> Option<u16> {
    let (_, told) = text.split_once(ODD_STATUS)?;
    told.split(": ").find_map(|part| part.split(' ').next()?.parse().ok())
}

/// What is wrong between an engine and a registry, in words for people where Go's are only for programmers.
fn plainly(said: &str) -> String {
    let host = said.split_once("://").and_then(|(_, rest)| rest.split(['/', '"']).next());
    let host = host.unwrap_or("the registry");
    let clock = |when: &str| {
        let (now, then) = said.split_once("current time ")?.1.split_once(when)?;
        Some((now.to_owned(), then.split_whitespace().next()?.to_owned()))
    };
    if let Some((now, then)) = clock(" is after ") {
        return format!("the certificate of {host} expired at {then} (the engine's clock says {now})");
    }
    if let Some((now, then)) = clock(" is before ") {
        return format!("the certificate of {host} is valid from {then} on (the engine's clock says {now})");
    }
    let lower = said.to_ascii_lowercase();
    let words = [
        (
            "certificate signed by unknown authority",
            "the engine does not know who signed the certificate of {host}",
        ),
        (
            "server gave http response to https client",
            "{host} speaks plain HTTP, and the engine expects HTTPS",
        ),
        ("connection refused", "nothing answers at {host}: connection refused"),
        ("no such host", "there is no host {host}: the name is not known to the engine's name server"),
    ];
    match words.iter().find(|(sign, _)| lower.contains(sign)) {
        Some((_, words)) if host != "the registry" => words.replace("{host}", host),
        _ => said.to_owned(),
    }
}

/// Through which parts of an engine, or of this program, a message came: nothing that a person could mend.
const STATIONS: &[&str] = &[
    "Error response from daemon: ",
    "error reading a body from connection: ",
    "failed to solve with frontend dockerfile.v0: ",
    "failed to solve with frontend gateway.v0: ",
    "failed to solve: ",
    "rpc error: code = Unknown desc = ",
    "failed to create LLB definition: ",
    "failed to do request: ",
];

/// What was said, without the stations that it came through.
pub(crate) fn without_stations(mut message: &str) -> &str {
    while let Some(rest) = STATIONS.iter().find_map(|station| message.strip_prefix(station)) {
        message = rest;
    }
    message
}

/// Whether a process in a build complained about a full disk.
pub(crate) fn says_disk_full(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    FULL.iter().any(|text| line.contains(text))
}

/// The seconds in `retry-after: 30`, where a registry's answer was passed on so.
fn retry_after(lower: &str) -> Option<u64> {
    let (_, rest) = lower.split_once("retry-after")?;
    let digits: String =
        rest.trim_start_matches([':', '=', ' ', '"']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: Option<u16>, message: &str, kind: &str) {
        let error = classify(status, message, "alpine:3");
        let is = match &error {
            EngineError::NotFound(_) => "not found",
            EngineError::Denied(_) => "denied",
            EngineError::Transient { retry_after: None, .. } => "transient",
            EngineError::Transient { .. } => "transient, wait",
            EngineError::RegistryUnreachable(_) => "unreachable",
            EngineError::ReadOnly(_) => "read-only",
            EngineError::DiskFull(_) => "full",
            EngineError::PortTaken(_) => "taken",
            _ => "other",
        };
        assert_eq!(is, kind, "{message}");
        assert!(!error.to_string().is_empty());
    }

    #[test]
    fn the_way_that_a_message_took_is_not_told() {
        let said = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to do request: \
                    Head \"https://r/v2/x/manifests/1\": dial tcp: lookup r: no such host";
        assert_eq!(
            without_stations(said),
            "Head \"https://r/v2/x/manifests/1\": dial tcp: lookup r: no such host"
        );
        assert_eq!(without_stations("no: failed to solve: x"), "no: failed to solve: x");
    }

    #[test]
    fn trouble_on_the_way_to_a_registry_is_told_in_plain_words() {
        for (said, expect) in [
            (
                "Get \"https://r:5/v2/\": x509: certificate has expired or is not yet valid: current time \
                 2026-11-29T13:11:36Z is after 2021-01-01T00:00:00Z",
                "the certificate of r:5 expired at 2021-01-01T00:00:00Z (the engine's clock says 2026-11-29T13:11:36Z)",
            ),
            (
                "Get \"https://r:5/v2/\": tls: failed to verify certificate: x509: certificate has expired or is not yet \
                 valid: current time 2001-01-01T00:00:00Z is before 2021-01-01T00:00:00Z",
                "the certificate of r:5 is valid from 2021-01-01T00:00:00Z on (the engine's clock says 2001-01-01T00:00:00Z)",
            ),
            (
                "Get \"https://r/v2/\": x509: certificate signed by unknown authority",
                "the engine does not know who signed the certificate of r",
            ),
            (
                "failed to do request: Head \"https://127.0.0.1:1/v2/x/blobs/sha256:6\": dial tcp 127.0.0.1:1: connect: \
                 connection refused",
                "nothing answers at 127.0.0.1:1: connection refused",
            ),
            ("dial tcp: connect: network is unreachable", "dial tcp: connect: network is unreachable"),
            (
                "dial tcp 127.0.0.1:1: connect: connection refused",
                "dial tcp 127.0.0.1:1: connect: connection refused",
            ),
        ] {
            let told = match classify(None, said, "x") {
                EngineError::RegistryUnreachable(told) => told,
                other => other.to_string(),
            };
            assert_eq!(told, expect, "{said}");
        }
    }

    #[test]
    fn knows_the_words_of_engines_and_registries() {
        for (status, message, kind) in [
            (Some(404), "manifest for alpine:9 not found: manifest unknown: manifest unknown", "not found"),
            (Some(404), "No such image: alpine:9", "not found"),
            (None, "An image does not exist locally with the tag: r.example/a", "not found"),
            (None, "tag does not exist: r.example/a:1", "not found"),
            (None, "no matching manifest for linux/s390x in the manifest list entries", "not found"),
            (
                Some(404),
                "pull access denied for nope, repository does not exist or may require 'docker login': denied: \
                 requested access to the resource is denied",
                "denied",
            ),
            (Some(500), "Get \"https://r.example/v2/\": unauthorized: authentication required", "denied"),
            (None, "no basic auth credentials", "denied"),
            (None, "denied", "denied"),
            (
                Some(500),
                "toomanyrequests: You have reached your pull rate limit. You may increase the limit",
                "transient",
            ),
            (
                Some(500),
                "error parsing HTTP 429 response body: invalid character 'T'; Retry-After: 7",
                "transient, wait",
            ),
            (Some(500), "received unexpected HTTP status: 503 Service Unavailable", "transient"),
            (
                None,
                "failed to push r.example/a: errors:\nunknown: provided digest did not match uploaded content\nunknown: \
                 blob unknown to registry - sha256:ae7b",
                "transient",
            ),
            (
                None,
                "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to http://r.example:5000/v2/a/manifests/sha256:0cd7: 503 Busy",
                "transient",
            ),
            (
                None,
                "unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 429 Slow",
                "transient",
            ),
            (None, "unexpected status from POST request to https://r.example/v2/a/blobs: 418 No", "other"),
            (
                Some(500),
                "Get \"https://registry-1.docker.io/v2/\": net/http: TLS handshake timeout",
                "transient",
            ),
            (None, "unexpected EOF", "transient"),
            (Some(500), "Get \"https://r.example/v2/\": EOF", "transient"),
            (Some(500), "dial tcp 10.0.0.1:443: i/o timeout", "transient"),
            (None, "read tcp 1.2.3.4:1->5.6.7.8:443: read: connection reset by peer", "transient"),
            (
                Some(500),
                "Get \"https://r.example/v2/\": net/http: request canceled while waiting for connection \
                 (Client.Timeout exceeded while awaiting headers)",
                "transient",
            ),
            (None, "frontend grpc server closed unexpectedly", "transient"),
            (None, "failed to get dead record", "transient"),
            (None, "no active session for abc: context deadline exceeded", "transient"),
            (
                Some(500),
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 10.0.0.2:53: \
                 no such host",
                "unreachable",
            ),
            (Some(500), "dial tcp 127.0.0.1:5000: connect: connection refused", "unreachable"),
            (
                Some(500),
                "dial tcp: lookup r on 1.1.1.1:53: dial udp: connect: network is unreachable",
                "unreachable",
            ),
            (
                Some(500),
                "Get \"https://r.example:5000/v2/\": http: server gave HTTP response to HTTPS client",
                "unreachable",
            ),
            (Some(500), "x509: certificate signed by unknown authority", "unreachable"),
            (
                None,
                "error parsing HTTP 405 response body: invalid character 'M' looking for beginning of value: \"Method not allowed\\n\"",
                "read-only",
            ),
            (None, "unknown: Method not allowed\n", "read-only"),
            (
                None,
                "unknown: unexpected status from POST request to http://r:1/v2/x/blobs/uploads/: 405 Method Not Allowed",
                "read-only",
            ),
            (Some(500), "write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "full"),
            (
                Some(500),
                "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:15000 failed: \
                 port is already allocated",
                "taken",
            ),
            (
                Some(500),
                "Error starting userland proxy: listen tcp4 127.0.0.1:1: bind: address already in use",
                "taken",
            ),
            (Some(500), "something entirely different", "other"),
            (Some(500), "", "other"),
        ] {
            check(status, message, kind);
        }
    }
}
