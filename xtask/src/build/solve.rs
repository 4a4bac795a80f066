//! One build: a [`BuildSpec`] as BuildKit's Dockerfile front end wants it.
//!
//! In: a spec. Out: the image's ID, or what failed and where. The Dockerfile and the files of the spec
//! are all that the builder can see. It never pulls what the store has: no `pull` is asked for, so a base image
//! of the exact name is used without any network.
//!
//! Dropping the future closes the connection, and the builder gives up.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, CacheOptionsEntry, SolveRequest, SolveResponse, StatusResponse,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::BuildError;
use super::content::{Lent, STORE};
use super::control::Control;
use super::delivery::{Delivery, Taker};
use super::filesync::SentTree;
use super::folders::{self, LocalFolders};
use super::session::{BuildSession, Served, random_id};
use super::trace::{FailedVertex, Trace, exit_code, instruction};
use crate::engine::builders::BuilderNode;
use crate::engine::classify::{classify, says_disk_full, without_stations};
use crate::engine::stall::Watch;
use crate::engine::{DockerEngine, EngineError, ImageStore, OnProgress, Surroundings};
use crate::model::{
    Attestations, BuildSpec, BuilderCache, Digest, ImageId, InlineCache, LayoutContext, Output, Provenance,
    Reference,
};
use crate::registry::credentials::Credentials;

/// A disk that is full ends an instruction soon: it is among so many last words.
const LAST: usize = 10;

/// How long the last words of a build may take to come after its end (as buildctl has it: buildkit, `client/solve.go`).
const LAST_WORDS: Duration = Duration::from_secs(3);
/// What the builder answers the image's ID by.
const IMAGE_ID: &str = "containerimage.digest";
const CONFIG_ID: &str = "containerimage.config.digest";

/// The first API whose builder exports an inline cache on top of imported ones: that of Engine 23.0, with BuildKit 0.10.
/// BuildKit before 0.9 (Engine 20.10 has 0.8) may recurse without end in it, and takes the engine down
/// (moby/buildkit#1609, mended by moby/buildkit#2024).
const EXPORTS_ON_IMPORTS: (u32, u32) = (1, 42);

/// Where something is built, and what that takes from here.
pub(super) struct Target<'a> {
    door: Door<'a>,
    /// Of the engine; none of a daemon.
    api: Option<(u32, u32)>,
    credentials: &'a Credentials,
    stall: Duration,
    proxies: BTreeMap<String, String>,
    /// What it may build on.
    lent: Arc<Lent>,
    /// What takes the result, where it comes here.
    delivery: Option<Delivery>,
}

/// What came of a build, as the builder has it.
pub(super) struct Made {
    /// Of an image in a store that keeps manifests, and in registries.
    pub(super) id: ImageId,
    /// Of the same image in a store that does not.
    pub(super) config: Option<ImageId>,
}

enum Door<'a> {
    Engine(&'a DockerEngine),
    Daemon(&'a BuilderNode),
}

impl<'a> Target<'a> {
    /// An engine's own builder.
    pub(super) fn of(engine: &'a DockerEngine) -> Self {
        Self {
            door: Door::Engine(engine),
            api: Some(engine.api),
            credentials: &engine.credentials,
            stall: engine.stall,
            proxies: engine.proxies.clone(),
            lent: Arc::default(),
            delivery: None,
        }
    }

    /// A node of a builder that is no engine.
    pub(super) fn elsewhere(node: &'a BuilderNode, surroundings: &'a Surroundings) -> Self {
        Self {
            door: Door::Daemon(node),
            api: None,
            credentials: &surroundings.credentials,
            stall: surroundings.stall,
            proxies: surroundings.build_proxies(node.endpoint()),
            lent: Arc::default(),
            delivery: None,
        }
    }

    /// The same, lent some images.
    pub(super) fn lent(self, lent: Arc<Lent>) -> Self {
        Self { lent, ..self }
    }

    /// The same, with somebody who takes the result.
    pub(super) fn delivering(self, delivery: Delivery) -> Self {
        Self { delivery: Some(delivery), ..self }
    }

    /// How layers travel into the engine. One that unpacks them is given them unpacked where they do not go far, and never in a
    /// way that it may not know (zstd, before Engine 23). One that keeps them packed gets those that it lent as they were.
    fn packing(&self) -> Vec<(&'static str, &'static str)> {
        let is_near = matches!(self.door, Door::Daemon(node) if node.wire.is_local());
        match self.delivery.as_ref().map(Delivery::taker) {
            Some(Taker::Engine(_, ImageStore::Graph)) => {
                let compression = if is_near { "uncompressed" } else { "gzip" };
                vec![("compression", compression), ("force-compression", "true")]
            }
            _ => Vec::new(),
        }
    }

    /// A connection, and what answers on it for as long as it is kept.
    pub(super) async fn open(
        &self,
        session: BuildSession,
    ) -> Result<(Control, AbortOnDropHandle<()>), EngineError> {
        match self.door {
            Door::Engine(engine) => {
                let served = Control::serve_beside(engine, session);
                let (control, served) = tokio::try_join!(Control::open(engine), served)?;
                Ok((control, served))
            }
            Door::Daemon(node) => {
                let control = Control::dial(node).await?;
                let served = control.serve(session);
                Ok((control, served))
            }
        }
    }
}

/// Which of so many nodes an image belongs to: the same one whenever there are as many.
pub(super) fn share_of(spec: &BuildSpec, nodes: usize) -> usize {
    let digest: [u8; 32] = Sha256::digest(spec.image.as_str()).into();
    let (first, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    usize::try_from(u64::from_be_bytes(*first) % nodes.max(1) as u64).unwrap_or_default()
}

/// Builds, and returns what the builder calls the image.
pub(super) async fn build(
    target: &Target<'_>,
    root: &Path,
    spec: &BuildSpec,
    progress: OnProgress<'_>,
) -> Result<Made, BuildError> {
    let mut image = None;
    for pass in passes(target.api, spec) {
        image = build_once(target, root, &pass, progress).await?;
    }
    image.ok_or_else(|| EngineError::Gone("the build ended without an image".to_owned()).into())
}

/// What the builder may ask of us, and the context among it.
pub(super) fn offer(
    target: &Target<'_>,
    root: &Path,
    spec: &BuildSpec,
) -> Result<(BuildSession, Arc<SentTree>), BuildError> {
    let context = Arc::new(SentTree::of_context(root.join(&spec.context), spec)?);
    let served = Served {
        dockerfile: Arc::new(SentTree::of_dockerfile(dockerfile_name(spec), &spec.text)),
        context: context.clone(),
        credentials: target.credentials.clone(),
        secrets: spec.secrets.clone(),
        lent: target.lent.clone(),
        folders: Arc::new(LocalFolders::of(root, spec)),
        delivery: target.delivery.clone(),
    };
    Ok((BuildSession::new(shared_key(root, spec), served), context))
}

/// One build; none of its image if it only fills the builder's cache.
async fn build_once(
    target: &Target<'_>,
    root: &Path,
    pass: &Pass<'_>,
    progress: OnProgress<'_>,
) -> Result<Option<Made>, BuildError> {
    let spec = &*pass.spec;
    let (session, context) = offer(target, root, spec)?;
    let request = request(pass, dockerfile_name(spec), session.id(), target);
    let (mut control, _session) = target.open(session).await?;

    let mut trace = Trace::default();
    let told = control.status(request.r#ref.clone());
    let mut watch = Watch::new(target.stall, None);
    let solved = follow(control.solve(request), told, (&mut trace, &mut watch), progress).await;
    trace.finish(progress);
    let undelivered = || Some(target.delivery.as_ref()?.trouble()?.into());
    match (solved?, context.trouble().or_else(undelivered)) {
        // The builder only says that its session went wrong.
        (Err(_), Some(trouble)) => Err(trouble),
        (Err(status), None) => Err(match refused(spec, trace.failure(), &status) {
            BuildError::Engine(EngineError::Gone(said)) => {
                EngineError::Gone(control.why_gone().await.unwrap_or(said)).into()
            }
            other => other,
        }),
        (Ok(answer), _) => {
            let made = made(&answer)?;
            name_caches(spec, answer).await?;
            Ok(made)
        }
    }
}

/// One request to the builder.
struct Pass<'a> {
    spec: Cow<'a, BuildSpec>,
    yields: Yields,
}

/// What comes of a [`Pass`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yields {
    Image,
    /// Nothing but what the builder remembers.
    Cache,
}

/// A builder that must not import and export at once is first made to take over what it is offered; the second build
/// then finds all of it in the builder's own cache.
fn passes(api: Option<(u32, u32)>, spec: &BuildSpec) -> Vec<Pass<'_>> {
    let does_both = spec.inline_cache != InlineCache::No && !spec.cache_from.is_empty();
    if !does_both || api.is_none_or(|api| api >= EXPORTS_ON_IMPORTS) {
        return vec![Pass { spec: Cow::Borrowed(spec), yields: Yields::Image }];
    }
    let import = BuildSpec { inline_cache: InlineCache::No, ..spec.clone() };
    let export = BuildSpec { cache_from: Vec::new(), ..spec.clone() };
    let import = (!spec.no_cache).then_some(Pass { spec: Cow::Owned(import), yields: Yields::Cache });
    import.into_iter().chain([Pass { spec: Cow::Owned(export), yields: Yields::Image }]).collect()
}

/// Hears of a build until it is over, and a little longer.
///
/// # Errors
/// A registry that the builder waits for says nothing.
async fn follow(
    solve: impl Future<Output = Result<SolveResponse, Status>>,
    mut told: mpsc::Receiver<StatusResponse>,
    (trace, watch): (&mut Trace, &mut Watch),
    progress: OnProgress<'_>,
) -> Result<Result<SolveResponse, Status>, EngineError> {
    tokio::pin!(solve);
    let mut is_told = true;
    let solved = loop {
        let next = async {
            tokio::select! {
                message = told.recv(), if is_told => Ok(message),
                solved = &mut solve => Err(solved),
            }
        };
        match watch.over(next, progress).await? {
            Ok(Some(message)) => take(message, trace, watch, progress),
            Ok(None) => is_told = false,
            Err(solved) => break solved,
        }
    };
    let last_words = async {
        while let Some(message) = told.recv().await {
            take(message, trace, watch, progress);
        }
    };
    // The build is none the worse without them.
    let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    Ok(solved)
}

fn take(message: StatusResponse, trace: &mut Trace, watch: &mut Watch, progress: OnProgress<'_>) {
    if trace.take(message, progress) {
        watch.moved();
    }
    watch.from = trace.waits_for();
}

/// What was left in folders has a name there from now on.
async fn name_caches(spec: &BuildSpec, answer: SolveResponse) -> Result<(), EngineError> {
    let caches = spec.caches.to.clone();
    let named = move || {
        let answer = answer.exporter_response.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        folders::name(&caches, &answer.collect())
    };
    let named = tokio::task::spawn_blocking(named).await.map_err(|error| error.to_string());
    let named = named.and_then(|named| named.map_err(|error| error.to_string()));
    named.map_err(|error| EngineError::Other(format!("the cache cannot be kept: {error}")))
}

/// None of a build that only fills the cache.
fn made(answer: &SolveResponse) -> Result<Option<Made>, BuildError> {
    let parse = |id: &String| {
        let odd = |_| EngineError::Other(format!("the builder calls the image `{id}`"));
        id.parse().map_err(odd)
    };
    let id = |key: &str| answer.exporter_response.get(key).map(parse).transpose();
    let config = id(CONFIG_ID)?;
    Ok(id(IMAGE_ID)?.map(|id| Made { id, config }))
}

/// The Dockerfile's own name; the builder shows it.
pub(super) fn dockerfile_name(spec: &BuildSpec) -> &str {
    spec.dockerfile.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("Dockerfile")
}

/// Builds of the same files share what the builder keeps of them. Another image's files would push these out,
/// and two builds cannot use one copy at the same time, so the key is the image's own. Hashed, since a path
/// need not be ASCII and is nobody else's business.
fn shared_key(root: &Path, spec: &BuildSpec) -> String {
    let mut hasher = Sha256::new();
    let target = spec.target.as_deref().unwrap_or_default();
    for part in [
        root.as_os_str().as_encoded_bytes(),
        spec.context.as_bytes(),
        spec.dockerfile.as_bytes(),
        target.as_bytes(),
    ] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Digest::from_sha256(&hasher.finalize().into()).hex().to_owned()
}

fn request(pass: &Pass<'_>, dockerfile: &str, session: &str, target: &Target<'_>) -> SolveRequest {
    let spec = &*pass.spec;
    let (exporter, exporter_attrs) = exporter(pass, target);
    let inline = CacheOptionsEntry { r#type: "inline".to_owned(), attrs: HashMap::new() };
    let inline = (spec.inline_cache != InlineCache::No).then_some(inline);
    let to = spec.cache_to.iter().map(|to| registry_cache(to, &[("mode", "max")]));
    let own = spec.caches.to.iter().map(|cache| entry(cache, cache.told()));
    let exports = inline.into_iter().chain(to).chain(own).collect();
    let is_host = spec.network.as_deref() == Some("host");
    SolveRequest {
        r#ref: random_id(),
        session: session.to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: front_end_attrs(spec, dockerfile, target),
        exporter_deprecated: exporter.to_owned(),
        exporter_attrs_deprecated: exporter_attrs,
        cache: Some(CacheOptions { exports, ..CacheOptions::default() }),
        entitlements: is_host.then(|| "network.host".to_owned()).into_iter().collect(),
        ..SolveRequest::default()
    }
}

/// What the Dockerfile front end is told (buildkit, `frontend/dockerui/config.go`).
pub(super) fn front_end_attrs(
    spec: &BuildSpec,
    dockerfile: &str,
    target: &Target<'_>,
) -> HashMap<String, String> {
    let mut attrs: HashMap<String, String> =
        [("filename", dockerfile.to_owned()), ("platform", spec.platform.to_string())]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
    attrs.extend(
        target.proxies.iter().chain(&spec.build_args).map(|(k, v)| (format!("build-arg:{k}"), v.clone())),
    );
    attrs.extend(spec.labels.iter().map(|(k, v)| (format!("label:{k}"), v.clone())));
    let contexts = named_contexts(spec, &target.lent);
    // What a front end that does not know them would do is build on whatever a registry has under the names. The builder's own
    // stands in for it (buildkit, `frontend/gateway/gateway.go`).
    let is_needed = (!contexts.is_empty()).then(|| "moby.buildkit.frontend.contexts+forward".to_owned());
    attrs.extend(contexts);
    let provenance = spec.attestations.provenance.map(|mode| match mode {
        Provenance::Min => "mode=min".to_owned(),
        Provenance::Max => "mode=max".to_owned(),
    });
    let network = spec.network.clone().filter(|network| network != "default");
    // A daemon is told of each what it is; engines before 23.0 only know the list of names.
    let is_engine = spec.output == Output::Store;
    let cache = names(&spec.cache_from, Reference::familiar);
    let imports: Vec<_> = spec
        .cache_from
        .iter()
        .map(|from| registry_cache(from, &[]))
        .filter(|_| !is_engine || !spec.caches.from.is_empty())
        .chain(spec.caches.from.iter().filter_map(|cache| Some(entry(cache, folders::told_of(cache)?))))
        .map(|entry| serde_json::json!({ "Type": entry.r#type, "Attrs": entry.attrs }))
        .collect();
    let more = [
        ("frontend.caps", is_needed),
        ("target", spec.target.clone()),
        ("no-cache", spec.no_cache.then(String::new)),
        // buildkit, `frontend/attestations/parse.go`.
        ("attest:provenance", provenance),
        ("build-arg:SOURCE_DATE_EPOCH", spec.epoch.map(|seconds| seconds.to_string())),
        ("attest:sbom", spec.attestations.sbom.then(String::new)),
        ("force-network-mode", network),
        ("cache-from", Some(cache).filter(|cache| imports.is_empty() && !cache.is_empty())),
        ("cache-imports", (!imports.is_empty()).then(|| serde_json::Value::from(imports).to_string())),
    ];
    attrs.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    attrs
}

/// What names in the Dockerfile stand for (buildkit, `frontend/dockerui/namedcontext.go`). What an engine has and could not
/// lend, the builder knows by its name if at all.
fn named_contexts(spec: &BuildSpec, lent: &Lent) -> Vec<(String, String)> {
    let there = |(name, there): (&Reference, &Reference)| {
        let there = match lent.names.get(name) {
            Some(digest) => format!("oci-layout://{STORE}@{digest}"),
            None if spec.output == Output::Load => return None,
            None => format!("docker-image://{there}"),
        };
        Some((format!("context:{}", name.context_name()), there))
    };
    let in_folder = |LayoutContext { stage, digest, .. }: &LayoutContext| {
        (format!("context:{stage}"), format!("oci-layout://{stage}@{digest}"))
    };
    spec.contexts.iter().filter_map(there).chain(spec.layouts.iter().map(in_folder)).collect()
}

/// One of the builder's own caches, with what opens it.
fn entry(cache: &BuilderCache, told: impl IntoIterator<Item = (String, String)>) -> CacheOptionsEntry {
    CacheOptionsEntry { r#type: cache.kind.to_string(), attrs: told.into_iter().collect() }
}

/// A registry as a cache (docs.docker.com, "Registry cache").
fn registry_cache(name: &Reference, more: &[(&str, &str)]) -> CacheOptionsEntry {
    let own = [("ref", name.to_string())].into_iter();
    let plain = name.is_on_this_machine().then(|| ("registry.insecure", "true".to_owned()));
    let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let attrs = own.chain(plain).chain(more).map(|(key, value)| (key.to_owned(), value)).collect();
    CacheOptionsEntry { r#type: "registry".to_owned(), attrs }
}

/// Where the result goes.
fn exporter(pass: &Pass<'_>, target: &Target<'_>) -> (&'static str, HashMap<String, String>) {
    let spec = &*pass.spec;
    let (kind, mut attrs) = exporter_of(pass, target);
    if spec.epoch.is_some() && !kind.is_empty() {
        // Files of layers too, and not only what the config says (buildkit v0.13, `exporter/util/epoch`).
        attrs.insert("rewrite-timestamp".to_owned(), "true".to_owned());
    }
    (kind, attrs)
}

fn exporter_of(pass: &Pass<'_>, target: &Target<'_>) -> (&'static str, HashMap<String, String>) {
    let spec = &*pass.spec;
    let name = ("name".to_owned(), names(&spec.tags, ToString::to_string));
    let name = Some(name).filter(|(_, names)| !names.is_empty());
    match (pass.yields, spec.inline_cache) {
        (Yields::Cache, _) => ("", HashMap::new()),
        (Yields::Image, _) if spec.output == Output::PushByDigest => {
            let repository = ("name".to_owned(), names(&spec.tags, Reference::repository));
            // Variants share the repository, and a builder that keeps images would keep them under one name.
            let stored = ("store".to_owned(), "false".to_owned());
            let options = pushing(spec, &["push", "push-by-digest", "name-canonical", "oci-mediatypes"]);
            ("image", options.chain([repository, stored]).collect())
        }
        (Yields::Image, _)
            if matches!(target.delivery.as_ref().map(Delivery::taker), Some(Taker::Layout(..))) =>
        {
            ("oci", name.into_iter().collect())
        }
        (Yields::Image, _) if spec.output == Output::Push => {
            ("image", pushing(spec, &["push"]).chain(name).collect())
        }
        (Yields::Image, _) if spec.output == Output::Load => {
            // Only an index holds attestations, and only a layout holds an index.
            let is_stated = spec.attestations != Attestations::default();
            let packing = target.packing().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
            (if is_stated { "oci" } else { "docker" }, name.into_iter().chain(packing).collect())
        }
        // The engine's own exporter, `moby`, always unpacks (moby, `builder-next/exporter/wrapper.go`).
        (Yields::Image, InlineCache::Packed) => {
            let packed = ("unpack".to_owned(), "false".to_owned());
            ("image", name.into_iter().chain([packed]).collect())
        }
        (Yields::Image, _) => ("moby", name.into_iter().collect()),
    }
}

/// The options of an exporter that are on where it pushes, these and what the registry needs.
fn pushing(spec: &BuildSpec, options: &[&'static str]) -> impl Iterator<Item = (String, String)> {
    // Engines take a registry on this machine without a certificate; a daemon has to be told.
    let is_plain = spec.tags.iter().any(Reference::is_on_this_machine);
    let plain = is_plain.then_some("registry.insecure");
    options.iter().copied().chain(plain).map(|option| (option.to_owned(), "true".to_owned()))
}

fn names(references: &[Reference], name: impl Fn(&Reference) -> String) -> String {
    references.iter().map(name).collect::<Vec<_>>().join(",")
}

/// What an answer of the Control API means that is no good one.
pub(super) fn lost(status: &Status) -> EngineError {
    match std::error::Error::source(status) {
        Some(cause) => EngineError::Gone(crate::engine::http::chain(cause)),
        // The words of bollard's client for a connection that ended before the question.
        None if status.message().starts_with("Service was not ready") => {
            EngineError::Gone(status.message().to_owned())
        }
        None => EngineError::Other(status.message().to_owned()),
    }
}

/// What the end of a build means that the builder does not call a good one.
pub(super) fn refused(spec: &BuildSpec, failed: Option<FailedVertex>, status: &Status) -> BuildError {
    // An error of ours below gRPC: the connection is gone.
    match std::error::Error::source(status) {
        None if matches!(lost(status), EngineError::Other(_)) => {
            failure(spec, failed, status.message().to_owned())
        }
        _ => lost(status).into(),
    }
}

/// What the builder's last word means. An instruction that ran and failed is nobody's passing trouble,
/// whatever its command line says.
fn failure(spec: &BuildSpec, failed: Option<FailedVertex>, cause: String) -> BuildError {
    let exit_code = exit_code(&cause);
    let last_lines = failed.as_ref().map(|failed| failed.last_lines.clone()).unwrap_or_default();
    if let Some(line) =
        last_lines.iter().rev().take(LAST).find(|line| exit_code.is_some() && says_disk_full(line))
    {
        return EngineError::DiskFull(line.clone()).into();
    }
    if exit_code.is_none()
        && let error @ (EngineError::Transient { .. } | EngineError::DiskFull(_)) =
            classify(None, &cause, spec.image.as_str())
    {
        return error.into();
    }
    let vertex = failed.map(|failed| failed.vertex);
    let cause = without_stations(&cause).to_owned();
    BuildError::Failed {
        instruction: vertex.as_deref().and_then(instruction).map(str::to_owned),
        line: vertex.and_then(|vertex| dockerfile_line(spec, &vertex)),
        exit_code,
        cause,
        last_lines,
    }
}

/// The line of the instruction that the builder names.
fn dockerfile_line(spec: &BuildSpec, vertex: &str) -> Option<u32> {
    let (file, _) = dockerfile::parse(&spec.dockerfile, &spec.text);
    dockerfile::line_of_vertex(&file, vertex)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{BuildSecrets, ContextFiles, ImageName, Platform};

    pub(in crate::build) fn spec() -> BuildSpec {
        BuildSpec {
            image: ImageName::new("api"),
            tags: vec!["api:1".parse().expect("tag"), "r.example/api:1".parse().expect("tag")],
            dockerfile: "src/api/Dockerfile".to_owned(),
            text: "FROM scratch\n".to_owned(),
            context: ".".to_owned(),
            files: ContextFiles::default(),
            target: Some("runtime".to_owned()),
            platform: Platform::new("linux", "amd64", None),
            build_args: [("V".to_owned(), "1".to_owned()), ("http_proxy".to_owned(), "mine".to_owned())]
                .into(),
            labels: [("a".to_owned(), "b & \"c\"".to_owned())].into(),
            network: None,
            secrets: BuildSecrets::default(),
            contexts: Default::default(),
            layouts: Vec::new(),
            output: Default::default(),
            attestations: Default::default(),
            epoch: None,
            no_cache: true,
            cache_from: vec!["api:0".parse().expect("tag")],
            cache_to: None,
            caches: Default::default(),
            inline_cache: InlineCache::Yes,
        }
    }

    /// Of a daemon: what is asked of it stands in the spec.
    fn target(proxies: BTreeMap<String, String>) -> Target<'static> {
        let surroundings: &Surroundings = Box::leak(Box::default());
        let nodes = crate::engine::builders::nodes("unix:///no.sock", surroundings).expect("a node");
        Target { proxies, ..Target::elsewhere(&Box::leak(nodes.into_boxed_slice())[0], surroundings) }
    }

    #[test]
    fn everything_that_decides_a_build_is_asked_for() {
        let proxies = [("http_proxy".to_owned(), "p".to_owned()), ("NO_PROXY".to_owned(), "n".to_owned())];
        let spec = spec();
        let [pass] = &passes(Some(EXPORTS_ON_IMPORTS), &spec)[..] else { panic!("one") };
        let request = request(pass, "Dockerfile", "s", &target(proxies.into()));
        let sorted = |attrs: &HashMap<String, String>| {
            let mut attrs: Vec<_> = attrs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            attrs.sort();
            attrs
        };
        assert_eq!(
            sorted(&request.frontend_attrs),
            [
                "build-arg:NO_PROXY=n",
                "build-arg:V=1",
                "build-arg:http_proxy=mine",
                "cache-from=api:0",
                "filename=Dockerfile",
                "label:a=b & \"c\"",
                "no-cache=",
                "platform=linux/amd64",
                "target=runtime",
            ]
        );
        assert_eq!((request.frontend.as_str(), request.session.as_str()), ("dockerfile.v0", "s"));
        assert_eq!(request.exporter_deprecated, "moby");
        let named = ["name=docker.io/library/api:1,r.example/api:1"];
        assert_eq!(sorted(&request.exporter_attrs_deprecated), named);
        let exports = request.cache.unwrap_or_default().exports;
        assert_eq!(exports.iter().map(|cache| cache.r#type.as_str()).collect::<Vec<_>>(), ["inline"]);
        assert!(request.entitlements.is_empty());
    }

    #[test]
    fn images_in_folders_stand_for_their_stages() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().expect("digest");
        let (name, stage, folder) = ("alpine:3".to_owned(), "xtask-layout-1".to_owned(), "images".to_owned());
        let spec = BuildSpec {
            layouts: vec![LayoutContext { name, stage, folder, digest: digest.clone() }],
            ..spec()
        };
        let attrs = front_end_attrs(&spec, "Dockerfile", &target(BTreeMap::new()));
        assert_eq!(attrs["context:xtask-layout-1"], format!("oci-layout://xtask-layout-1@{digest}"));
        assert_eq!(attrs["frontend.caps"], "moby.buildkit.frontend.contexts+forward");
        assert!(!LocalFolders::of(Path::new("/tree"), &spec).is_empty());
    }

    #[test]
    fn the_host_s_network_is_asked_for_and_granted() {
        for (network, forced, entitlements) in [
            (None, None, &[][..]),
            (Some("default"), None, &[]),
            (Some("none"), Some("none"), &[]),
            (Some("host"), Some("host"), &["network.host"]),
        ] {
            let spec = BuildSpec { network: network.map(str::to_owned), ..spec() };
            let [pass] = &passes(Some(EXPORTS_ON_IMPORTS), &spec)[..] else { panic!("one") };
            let request = request(pass, "Dockerfile", "s", &target(BTreeMap::new()));
            let asked = request.frontend_attrs.get("force-network-mode").map(String::as_str);
            assert_eq!(asked, forced);
            assert_eq!(request.entitlements, entitlements);
        }
    }

    /// Engine 20.10 (API 1.41) ends itself when it does both in one build.
    #[test]
    fn an_old_builder_never_exports_a_cache_on_top_of_imported_ones() {
        let reused = BuildSpec { no_cache: false, ..spec() };
        let of = |api, spec: &BuildSpec| {
            let passes = passes(Some(api), spec);
            let told = passes.iter().map(|pass| {
                let request = request(pass, "Dockerfile", "s", &target(BTreeMap::new()));
                let imports = request.frontend_attrs.contains_key("cache-from");
                let exports = !request.cache.unwrap_or_default().exports.is_empty();
                (imports, exports, request.exporter_deprecated)
            });
            told.collect::<Vec<_>>()
        };
        let pass = |imports, exports, exporter: &str| (imports, exports, exporter.to_owned());
        for old in [(1, 40), (1, 41)] {
            assert_eq!(of(old, &reused), [pass(true, false, ""), pass(false, true, "moby")]);
        }
        assert_eq!(of((1, 42), &reused), [pass(true, true, "moby")]);
        let packed = BuildSpec { inline_cache: InlineCache::Packed, ..reused.clone() };
        assert_eq!(of((1, 42), &packed), [pass(true, true, "image")]);
        let plain = BuildSpec { inline_cache: InlineCache::No, ..reused.clone() };
        assert_eq!(of((1, 41), &plain), [pass(true, false, "moby")]);
        let first = BuildSpec { cache_from: Vec::new(), ..reused };
        assert_eq!(of((1, 41), &first), [pass(false, true, "moby")]);
        assert_eq!(of((1, 41), &spec()), [pass(false, true, "moby")], "nothing is taken over with --force");
    }

    #[test]
    fn the_shared_key_is_ascii_and_each_images_own() {
        let (one, mut other) = (spec(), spec());
        other.target = None;
        let key = shared_key(Path::new("/tmp/项目"), &one);
        assert!(key.is_ascii());
        assert_eq!(key, shared_key(Path::new("/tmp/项目"), &one));
        assert_ne!(key, shared_key(Path::new("/tmp/项目"), &other));
        assert_ne!(key, shared_key(Path::new("/tmp"), &one));
    }

    #[test]
    fn failures_are_told_apart() {
        let failed = |lines: &[&str]| {
            Some(FailedVertex {
                vertex: "[runtime 2/3] RUN make".to_owned(),
                last_lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            })
        };
        let plain = failure(&spec(), failed(&["boom"]), "x: exit code: 2".to_owned());
        assert_eq!(plain.to_string(), "`RUN make` exited with status 2");
        let internal = FailedVertex {
            vertex: "[internal] load metadata for docker.io/library/x:1".to_owned(),
            last_lines: Vec::new(),
        };
        let baseless = failure(&spec(), Some(internal), "docker.io/library/x:1: not found".to_owned());
        assert_eq!(baseless.to_string(), "docker.io/library/x:1: not found");
        let full = failure(&spec(), failed(&["cp: No space left on device", "x"]), "exit code: 1".to_owned());
        assert_eq!(full, EngineError::DiskFull("cp: No space left on device".to_owned()).into());
        for words in [
            "frontend grpc server closed unexpectedly",
            "failed to prepare extraction snapshot \"extract-1 x\": parent snapshot y does not exist: not found",
        ] {
            let passing = failure(&spec(), None, words.to_owned());
            assert!(matches!(passing, BuildError::Engine(EngineError::Transient { .. })), "{passing:?}");
        }
        let named = failure(
            &spec(),
            None,
            "executor failed running [sh -c echo unexpected EOF; false]: exit code: 1".into(),
        );
        assert!(matches!(named, BuildError::Failed { exit_code: Some(1), .. }));
    }
}
