//! Builders that are no engine: where a BuildKit listens, from an endpoint or from what buildx knows of an instance.
//!
//! In: what `--builder` says, and buildx's own folder. Out: the nodes of the builder, in order. Nothing is opened here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::Surroundings;
use super::endpoint::address;
use super::http::{Address, Wire};
use super::provision::builder::PRIVATE;
use super::ssh::Spec;
use super::tls;
use crate::host::HostCommand;
use crate::model::Platform;

/// Where a BuildKit listens on TCP when nothing else is said (buildkitd's own example, `docs/rootless.md`).
const PORT: u16 = 1234;
/// What passes a connection on to the daemon that it stands beside.
const DIAL_STDIO: [&str; 2] = ["buildctl", "dial-stdio"];

/// What each node of a builder runs, its own platform first, once it was asked.
pub type NodePlatforms = tokio::sync::OnceCell<Vec<Vec<Platform>>>;

/// One node of a builder.
#[derive(Clone)]
pub struct BuilderNode {
    /// What it is called: the node's name in buildx, else its endpoint.
    pub name: String,
    /// What somebody said that it builds for; empty asks it.
    pub platforms: Vec<Platform>,
    pub(crate) wire: Wire,
}

impl std::fmt::Debug for BuilderNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuilderNode").field("name", &self.name).finish_non_exhaustive()
    }
}

impl BuilderNode {
    /// Where it is, as people type it.
    pub fn endpoint(&self) -> &str {
        self.wire.shown()
    }
}

/// The file of an instance (docker/buildx, `store/nodegroup.go`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    #[serde(default)]
    driver: String,
    #[serde(default)]
    nodes: Vec<InstanceNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceNode {
    name: String,
    endpoint: String,
    #[serde(default)]
    platforms: Option<Vec<InstancePlatform>>,
    #[serde(default)]
    driver_opts: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct InstancePlatform {
    architecture: String,
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

/// The nodes of a builder: an endpoint is one node, a name is an instance of buildx.
///
/// # Errors
/// What is wrong with the endpoint, or why there is no such instance.
pub fn nodes(builder: &str, surroundings: &Surroundings) -> Result<Vec<BuilderNode>, String> {
    if builder.contains("://") {
        return Ok(vec![node(builder, builder, &BTreeMap::new(), surroundings)?]);
    }
    if let (PRIVATE, Some(endpoint)) = (builder, &surroundings.private_builder) {
        return Ok(vec![node(builder, endpoint, &BTreeMap::new(), surroundings)?]);
    }
    let folder = surroundings.buildx_dir.as_ref().ok_or("there is no home folder to look for buildx's in")?;
    let file = folder.join("instances").join(builder);
    let is_name = builder.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let text = std::fs::read(&file).ok().filter(|_| is_name).ok_or_else(|| {
        let known = instances(folder).join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        format!(
            "no builder `{builder}`: an endpoint (`unix://…`, `tcp://…`, `docker-container://NAME`, …) or an instance of \
             buildx; there: {known}"
        )
    })?;
    let instance: Instance =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let of_node = |known: &InstanceNode| {
        let options = known.driver_opts.clone().unwrap_or_default();
        let endpoint = match instance.driver.as_str() {
            "remote" => known.endpoint.clone(),
            "docker-container" => {
                let container = format!("buildx_buildkit_{}", known.name);
                // Where the container is: a docker context, or an engine's endpoint.
                let way = if known.endpoint.contains("://") { "--host" } else { "--context" };
                let command = HostCommand::new("docker").arg(way).arg(known.endpoint.clone());
                let command = command.args(["exec", "-i"]).arg(&container).args(DIAL_STDIO);
                return Ok(program(
                    &known.name,
                    format!("docker-container://{container}"),
                    command,
                    surroundings,
                ));
            }
            _ => return through_buildx(builder, &known.name, surroundings),
        };
        let mut found = node(&known.name, &endpoint, &options, surroundings)?;
        found.platforms = known
            .platforms
            .iter()
            .flatten()
            .map(|p| Platform::new(&p.os, &p.architecture, p.variant.as_deref().filter(|v| !v.is_empty())))
            .collect();
        Ok(found)
    };
    let nodes: Vec<BuilderNode> = instance.nodes.iter().map(of_node).collect::<Result<_, String>>()?;
    if nodes.is_empty() { Err(format!("{} has no nodes", file.display())) } else { Ok(nodes) }
}

/// The instances that buildx knows, by name.
pub fn instances(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("instances")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Whatever else buildx can reach (`kubernetes`, `cloud`): it passes the connection on.
fn through_buildx(builder: &str, name: &str, surroundings: &Surroundings) -> Result<BuilderNode, String> {
    let command = HostCommand::new("docker").args(["buildx", "dial-stdio", "--builder", builder]);
    Ok(program(name, format!("buildx instance `{builder}`"), command, surroundings))
}

fn program(name: &str, shown: String, command: HostCommand, surroundings: &Surroundings) -> BuilderNode {
    let command = match &surroundings.path {
        Some(path) => command.env("PATH", path),
        None => command,
    };
    let wire = Wire::new(Address::Program(Arc::new(command)), shown);
    BuilderNode { name: name.to_owned(), platforms: Vec::new(), wire }
}

/// One endpoint, as buildx's driver `remote` and buildctl have them. Certificates are named behind a `?`, as the options of
/// that driver (docs.docker.com, "Remote driver"): `cacert`, `cert`, `key`, `servername`.
fn node(
    name: &str,
    endpoint: &str,
    options: &BTreeMap<String, String>,
    surroundings: &Surroundings,
) -> Result<BuilderNode, String> {
    let (place, query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
    let mut options = options.clone();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(format!("`{pair}` in {endpoint} is no `key=value`"))?;
        options.insert(key.to_owned(), value.to_owned());
    }
    let (scheme, rest) = place.split_once("://").ok_or(format!("`{place}` is no endpoint"))?;
    let option = |key: &str| options.get(key).cloned().into_iter();
    let stdio = DIAL_STDIO.map(str::to_owned);
    let wanted = |what: &str| match rest.chars().next() {
        None => Err(format!("{endpoint} names no {what}")),
        // A program would take it for an option.
        Some('-') => Err(format!("`{rest}` begins with a dash, which no {what} does")),
        Some(_) => Ok(()),
    };
    let command = match scheme {
        "docker-container" | "podman-container" => {
            wanted("container")?;
            let engine = if scheme == "docker-container" { "docker" } else { "podman" };
            HostCommand::new(engine).args(["exec", "-i"]).arg(rest).args(stdio)
        }
        "kube-pod" => {
            wanted("pod")?;
            let flags = ["context", "namespace", "container"]
                .into_iter()
                .flat_map(|flag| option(flag).map(move |value| format!("--{flag}={value}")));
            HostCommand::new("kubectl").args(["exec", "-i"]).args(flags).arg(rest).arg("--").args(stdio)
        }
        "ssh" => {
            let spec = Spec::parse(rest)?;
            let user = spec.user.iter().flat_map(|user| ["-l".to_owned(), user.clone()]);
            let port = spec.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]);
            let command = HostCommand::new("ssh").args(["-T", "-o", "BatchMode=yes"]).args(user).args(port);
            command.arg("--").arg(spec.host).args(stdio)
        }
        _ => {
            wanted("host")?;
            let wire = direct(place, scheme, rest, &options)?;
            return Ok(BuilderNode { name: name.to_owned(), platforms: Vec::new(), wire });
        }
    };
    Ok(program(name, place.to_owned(), command, surroundings))
}

fn direct(place: &str, scheme: &str, rest: &str, options: &BTreeMap<String, String>) -> Result<Wire, String> {
    let path = |key: &str| options.get(key).map(PathBuf::from);
    let is_tls = ["cacert", "cert", "key", "servername"].iter().any(|key| options.contains_key(*key));
    if scheme != "tcp" {
        if !matches!(scheme, "unix") {
            return Err(format!(
                "`{scheme}://` is no kind of builder: unix, tcp, ssh, docker-container, podman-container and kube-pod are"
            ));
        }
        return Ok(Wire::new(address(place, None, None)?, place));
    }
    let with_port = match rest.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => rest.to_owned(),
        _ => format!("{rest}:{PORT}"),
    };
    let address = match address(&format!("tcp://{with_port}"), None, None)? {
        Address::Tcp { host, port } if is_tls => {
            let mut config = tls::config_of(path("cacert").as_deref(), path("cert"), path("key"))?;
            // A gRPC server speaks with nobody who does not say so (grpc-go 1.67).
            config.alpn_protocols = vec![b"h2".to_vec()];
            let server = options.get("servername").cloned().unwrap_or_else(|| host.clone());
            Address::Tls { host, port, config: Arc::new(config), server }
        }
        plain => plain,
    };
    Ok(Wire::new(address, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(builder: &str, folder: &Path) -> Result<Vec<String>, String> {
        let surroundings = Surroundings { buildx_dir: Some(folder.to_owned()), ..Surroundings::default() };
        let told = |node: &BuilderNode| {
            let way = node.wire.program().map_or("direct".to_owned(), ToString::to_string);
            let platforms: Vec<String> = node.platforms.iter().map(ToString::to_string).collect();
            format!("{} at {}: {way} {}", node.name, node.endpoint(), platforms.join(" "))
                .trim_end()
                .to_owned()
        };
        Ok(nodes(builder, &surroundings)?.iter().map(told).collect())
    }

    #[test]
    fn endpoints_and_instances_lead_to_nodes() {
        let folder = tempfile::tempdir().expect("folder");
        let instances = folder.path().join("instances");
        std::fs::create_dir(&instances).expect("folder");
        let far = r#"{"Name":"far","Driver":"remote","Nodes":[{"Name":"far0","Endpoint":"tcp://a:1","Platforms":
            [{"architecture":"arm64","os":"linux"}],"DriverOpts":null},{"Name":"far1","Endpoint":"unix:///b","Platforms":null}]}"#;
        std::fs::write(instances.join("far"), far).expect("written");
        let own = r#"{"Name":"own","Driver":"docker-container","Nodes":[{"Name":"own0","Endpoint":"unix:///var/run/docker.sock"}]}"#;
        std::fs::write(instances.join("own"), own).expect("written");
        let pods = r#"{"Name":"pods","Driver":"kubernetes","Nodes":[{"Name":"pods0","Endpoint":"kubernetes:///pods"}]}"#;
        std::fs::write(instances.join("pods"), pods).expect("written");
        for (builder, expected) in [
            ("unix:///run/b.sock", "unix:///run/b.sock at unix:///run/b.sock: direct"),
            ("tcp://builder:9999", "tcp://builder:9999 at tcp://builder:9999: direct"),
            (
                "docker-container://bk",
                "docker-container://bk at docker-container://bk: docker exec -i bk buildctl dial-stdio",
            ),
            (
                "kube-pod://bk-0?namespace=ci&container=buildkitd&context=east",
                "kube-pod://bk-0?namespace=ci&container=buildkitd&context=east at kube-pod://bk-0: kubectl exec -i \
                 '--context=east' '--namespace=ci' '--container=buildkitd' bk-0 -- buildctl dial-stdio",
            ),
            (
                "ssh://me@host:23",
                "ssh://me@host:23 at ssh://me@host:23: ssh -T -o 'BatchMode=yes' -l me -p 23 -- host buildctl dial-stdio",
            ),
            ("far", "far0 at tcp://a:1: direct linux/arm64, far1 at unix:///b: direct"),
            (
                "own",
                "own0 at docker-container://buildx_buildkit_own0: docker --host unix:///var/run/docker.sock exec -i \
                 buildx_buildkit_own0 buildctl dial-stdio",
            ),
            ("pods", "pods0 at buildx instance `pods`: docker buildx dial-stdio --builder pods"),
        ] {
            assert_eq!(of(builder, folder.path()).map(|nodes| nodes.join(", ")).as_deref(), Ok(expected));
        }
        for (builder, expected) in [
            ("tcp://", "tcp:// names no host"),
            ("kube-pod://?namespace=ci", "names no pod"),
            ("docker-container://-v", "begins with a dash"),
            ("ssh://-oProxyCommand=x", "begins with a dash"),
            ("npipe:////./x", "`npipe://` is no kind of builder"),
            ("tcp://a?cacert", "`cacert` in tcp://a?cacert is no `key=value`"),
            ("tcp://a?cert=/no/file", "`cacert=FILE`"),
            ("nobody", "there: far, own, pods"),
            ("../../etc/passwd", "no builder `../../etc/passwd`"),
        ] {
            let why = of(builder, folder.path()).expect_err(builder);
            assert!(why.contains(expected), "{builder}: {why}");
        }
    }
}
