//! Which sources of ADD come from somewhere else than the build context.
//!
//! In: a source, variables expanded. Out: local, HTTP or git. The rules are those of BuildKit's
//! `dfgitutil.ParseGitRef` and `isHTTPSource`.

/// Where a source of COPY or ADD lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The build context, a stage or an image.
    Local,
    /// A file behind a URL.
    Http,
    /// A git repository.
    Git,
}

/// Where `source` lies.
pub(super) fn origin_of(source: &str) -> Origin {
    if source.starts_with("./") || source.starts_with("../") || source.starts_with("github.com/") {
        return Origin::Local;
    }
    if let Some((scheme, rest)) = source.split_once("://")
        && !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return match scheme.to_ascii_lowercase().as_str() {
            "ssh" | "git" => Origin::Git,
            "http" | "https" if url_path(rest).ends_with(".git") => Origin::Git,
            // Only lower-case schemes are taken for URLs (`isHTTPSource`).
            "http" | "https" if scheme.starts_with("http") => Origin::Http,
            _ => Origin::Local,
        };
    }
    if is_scp_style(source) { Origin::Git } else { Origin::Local }
}

/// The path of a URL without its scheme: no host, query or fragment.
fn url_path(rest: &str) -> &str {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').map_or("", |at| &rest[at..])
}

/// `user@host:path`
fn is_scp_style(source: &str) -> bool {
    let is_user = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_host = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    };
    source.split_once('@').is_some_and(|(user, rest)| {
        is_user(user) && rest.split_once(':').is_some_and(|(host, _)| is_host(host))
    })
}
