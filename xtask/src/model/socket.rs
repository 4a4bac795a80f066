//! An engine's socket that a user may not use: the commonest trouble with engines, and what helps.

/// How somebody gets the right to use an engine's socket, and how to do without it. Each ends a line.
pub const SOCKET_RIGHTS: [&str; 2] = [
    "`sudo usermod -aG docker $USER` lets you use the socket, from the next login on (`newgrp docker`: at once)",
    "without root, `dockerd-rootless-setuptool.sh install` makes an engine of your own (docs.docker.com/go/rootless)",
];

/// The first socket, of endpoints that were tried, that is there and that this user may not use.
pub fn denied_socket(tried: &[(String, String)]) -> Option<&str> {
    let is_denied = |(endpoint, cause): &&(String, String)| {
        endpoint.starts_with("unix://") && cause.to_ascii_lowercase().contains("permission denied")
    };
    tried.iter().find(is_denied).map(|(endpoint, _)| endpoint.as_str())
}
