//! Where the text of an endpoint leads: `unix://`, `tcp://`, `https://` and `ssh://`, as `DOCKER_HOST` and docker
//! contexts have them. Nothing is opened here.

use std::sync::Arc;

use super::http::Address;
use super::ssh::{Spec, Ssh};
use super::tls::{TlsFiles, Verify};

/// The address that a text names. `tls` says that TCP means TLS, and with which certificates; `path` where programs are
/// looked for (none: where this process looks).
pub(super) fn address(host: &str, tls: Option<TlsFiles>, path: Option<&str>) -> Result<Address, String> {
    let Some((scheme, rest)) = host.split_once("://") else {
        if host.starts_with(['/', '.', '~']) || host.ends_with(".sock") {
            let path = if host.starts_with('/') { host } else { "/path/to/docker.sock" };
            return Err(format!("a socket is written with `unix://` and its whole path: unix://{path}"));
        }
        return tcp("tcp", host, tls);
    };
    match scheme {
        "unix" if rest.is_empty() => Err("names no socket: unix:///var/run/docker.sock is one".to_owned()),
        "unix" => Ok(Address::Unix(rest.into())),
        "tcp" | "http" | "https" => tcp(scheme, rest, tls),
        "ssh" => Ok(Address::Ssh(Ssh::new(Spec::parse(rest)?, path.map(str::to_owned)))),
        "npipe" => {
            Err("named pipes are of Windows; this program speaks unix, tcp and ssh endpoints".to_owned())
        }
        "fd" => {
            Err("fd:// is for the engine's own side; name its socket: unix:///var/run/docker.sock".to_owned())
        }
        other => Err(format!("`{other}://` is not a kind of endpoint: unix, tcp and ssh are")),
    }
}

fn tcp(scheme: &str, rest: &str, tls: Option<TlsFiles>) -> Result<Address, String> {
    let tls = tls.or((scheme == "https").then_some(TlsFiles { folder: None, verify: Verify::Yes }));
    let authority = rest.trim_end_matches('/');
    if let Some(path) = authority.split_once('/').map(|(_, path)| path) {
        return Err(format!("a path (`/{path}`) is no part of an engine's endpoint here"));
    }
    if authority.contains('@') {
        return Err("a user has no place in a tcp endpoint: TLS certificates say who you are".to_owned());
    }
    let default_port = if tls.is_some() { 2376 } else { 2375 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| format!("`{port}` is not a port"))?)
        }
        _ => (authority, default_port),
    };
    let host = if host.is_empty() { "localhost" } else { host }.to_owned();
    match tls {
        None => Ok(Address::Tcp { host, port }),
        Some(files) => {
            Ok(Address::Tls { server: host.clone(), host, port, config: Arc::new(files.config()?) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, tls: Option<TlsFiles>, expected: &str) {
        let told = match address(host, tls, None) {
            Ok(Address::Unix(path)) => format!("unix {}", path.display()),
            Ok(Address::Tcp { host, port }) => format!("tcp {host} {port}"),
            Ok(Address::Tls { host, port, .. }) => format!("tls {host} {port}"),
            Ok(Address::Program(_)) => unreachable!("no scheme names one"),
            Ok(Address::Ssh(_)) => "ssh".to_owned(),
            Err(cause) => cause,
        };
        assert_eq!(told, expected, "{host}");
    }

    #[test]
    fn endpoints_are_parsed() {
        check("unix:///a b/c.sock", None, "unix /a b/c.sock");
        check("tcp://1.2.3.4", None, "tcp 1.2.3.4 2375");
        check("tcp://1.2.3.4:99/", None, "tcp 1.2.3.4 99");
        check("host:99", None, "tcp host 99");
        check("tcp://[::1]:99", None, "tcp [::1] 99");
        check("tcp://[::1]", None, "tcp [::1] 2375");
        check("ssh://ada@far", None, "ssh");
        let unverified = || Some(TlsFiles { folder: None, verify: Verify::No });
        check("tcp://a", unverified(), "tls a 2376");
        check("unix:///a.sock", unverified(), "unix /a.sock");
    }

    #[test]
    fn what_is_no_endpoint_says_why() {
        let written = "a socket is written with `unix://` and its whole path: unix://";
        check("/run/my engine.sock", None, &format!("{written}/run/my engine.sock"));
        for relative in ["docker.sock", "./docker.sock", "~/docker.sock"] {
            check(relative, None, &format!("{written}/path/to/docker.sock"));
        }
        check("unix://", None, "names no socket: unix:///var/run/docker.sock is one");
        check("tcp://a:b", None, "`b` is not a port");
        check("tcp://a:1/v1", None, "a path (`/v1`) is no part of an engine's endpoint here");
        check("tcp://u@a:1", None, "a user has no place in a tcp endpoint: TLS certificates say who you are");
        check("gopher://a", None, "`gopher://` is not a kind of endpoint: unix, tcp and ssh are");
        check("https://a", None, "TLS needs certificates: DOCKER_CERT_PATH names their folder");
        check(
            "ssh://-oProxyCommand=x",
            None,
            "`-oProxyCommand=x` begins with a dash, which no host and no user does",
        );
        check(
            "npipe:////./pipe/docker_engine",
            None,
            "named pipes are of Windows; this program speaks unix, tcp and ssh endpoints",
        );
        check(
            "fd://",
            None,
            "fd:// is for the engine's own side; name its socket: unix:///var/run/docker.sock",
        );
        let nowhere = Some(TlsFiles { folder: Some("/nowhere".into()), verify: Verify::Yes });
        check("tcp://a", nowhere, "TLS needs /nowhere/ca.pem, which is not there");
    }
}
