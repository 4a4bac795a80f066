//! A builder that is no engine, with a registry as its store, or a layout in a folder: what is there is asked of it, what is built
//! goes there. Containers it has none, and it keeps no image itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::builders::{BuilderNode, NodePlatforms};
use super::layout::Layout;
use super::{ByteStream, Containers, EngineError, Loaded, OnProgress, Store, Surroundings};
use crate::host::inside::Folder;
use crate::model::{
    Capabilities, ContainerId, ContainerSpec, ContainerState, Digest, ExecOutput, Identity, ImageDetails,
    ImageId, IndexSpec, LayerSize, LocalImage, LogStream, Observed, Platform, Reference,
};
use crate::registry::{Registry, RegistryError};

/// Where it is remembered what was seen in registries, relative to the root.
const FILE: &str = "target/xtask/cache/registry.json";
/// How many questions a registry is asked at the same time.
const QUESTIONS: usize = 16;

/// A name to look for in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sought {
    /// The name there.
    pub reference: Reference,
    /// What it is wanted for.
    pub platform: Platform,
    /// Further names that the tree has for it, and the registry does not need to.
    pub also: Vec<Reference>,
    /// A registry that does not answer for it is an error.
    pub is_ours: bool,
}

/// The builder and its registry. A clone asks for the same names.
#[derive(Clone)]
pub struct Elsewhere {
    /// Where it builds.
    pub(crate) nodes: Vec<BuilderNode>,
    pub(crate) surroundings: Arc<Surroundings>,
    capabilities: Capabilities,
    registry: Arc<Registry>,
    /// What has the images of the tree in place of a registry.
    pub(crate) layout: Option<Arc<Layout>>,
    /// What manifests were found to be, for a digest always stands for the same.
    seen: Arc<Mutex<Seen>>,
    /// What was asked for last.
    sought: Arc<Mutex<Vec<Sought>>>,
    /// What each node runs, once it was asked.
    pub(crate) platforms: Arc<NodePlatforms>,
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elsewhere").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Elsewhere {
    /// A builder that has said what it can do. `root` is where it is remembered what was seen in registries.
    pub fn new(
        nodes: Vec<BuilderNode>,
        capabilities: Capabilities,
        surroundings: Surroundings,
        root: &Path,
    ) -> Self {
        let registry = Arc::new(Registry::with(surroundings.credentials.clone()));
        let (sought, seen) = (Arc::default(), Arc::new(Mutex::new(Seen::load(root))));
        Self {
            nodes,
            surroundings: Arc::new(surroundings),
            capabilities,
            registry,
            layout: None,
            seen,
            sought,
            platforms: Arc::default(),
        }
    }

    /// The same with a layout in a folder in place of the registry.
    pub fn into_layout(self, folder: PathBuf) -> Self {
        Self { layout: Some(Arc::new(Layout::at(folder))), ..self }
    }

    /// Where its first node is.
    pub fn endpoint(&self) -> &str {
        self.nodes.first().map_or("", BuilderNode::endpoint)
    }

    /// Looks for these names, and from now on for these whenever the store is looked at.
    ///
    /// # Errors
    /// When a registry does not answer that is ours.
    pub async fn look_for(&self, names: Vec<Sought>) -> Result<Observed, EngineError> {
        locked(&self.sought).clone_from(&names);
        // What a name stands for is asked once, for however many platforms it is wanted.
        let by_name: Vec<Vec<Sought>> =
            names.chunk_by(|one, next| one.reference == next.reference).map(<[Sought]>::to_vec).collect();
        let found: Vec<Vec<Result<Option<LocalImage>, EngineError>>> = futures_util::stream::iter(by_name)
            .map(|sought| async move { self.find(&sought).await })
            .buffered(QUESTIONS)
            .collect()
            .await;
        let found: Vec<Option<LocalImage>> = found.into_iter().flatten().collect::<Result<_, _>>()?;
        locked(&self.seen).save();
        let seen: Vec<(&Sought, LocalImage)> =
            names.iter().zip(found).filter_map(|(sought, image)| Some((sought, image?))).collect();
        let own = &self.capabilities.platform;
        let others: BTreeSet<&Platform> =
            names.iter().map(|sought| &sought.platform).filter(|platform| *platform != own).collect();
        let observed =
            |platform| Observed::new(self.capabilities.clone(), merged(of_platform(&names, &seen, platform)));
        let all = others.into_iter();
        Ok(all.fold(observed(own), |all, other| all.with_view(other.clone(), observed(other))))
    }

    /// What one name stands for, on each of the platforms that it is sought for.
    async fn find(&self, sought: &[Sought]) -> Vec<Result<Option<LocalImage>, EngineError>> {
        let Some(first) = sought.first() else { return Vec::new() };
        if let Some(layout) = self.layout.as_ref().filter(|_| first.is_ours) {
            return sought.iter().map(|sought| Ok(of_layout(layout, sought))).collect();
        }
        let digest = self.registry.named_digest(&first.reference).await;
        let mut found = Vec::with_capacity(sought.len());
        for sought in sought {
            found.push(match &digest {
                Ok(digest) => self.find_by(digest, sought).await,
                Err(error) => absent(sought, error),
            });
        }
        found
    }

    async fn find_by(&self, digest: &Digest, sought: &Sought) -> Result<Option<LocalImage>, EngineError> {
        let Sought { reference, platform, also, .. } = sought;
        let (digest, image) = match self.look_at(digest, reference, platform).await {
            Ok(found) => found,
            Err(error) => return absent(sought, &error),
        };
        Ok(Some(LocalImage {
            names: std::iter::once(reference).chain(also).cloned().collect(),
            digests: vec![reference.pinned(&digest)],
            id: ImageId::new(digest),
            identity: Some(image.identity),
            platform: Some(image.platform),
            labels: image.labels,
            size: image.size,
        }))
    }

    async fn look_at(
        &self,
        digest: &Digest,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<(Digest, SeenImage), RegistryError> {
        if let Some(known) = locked(&self.seen).find(digest, platform) {
            return Ok((digest.clone(), known));
        }
        let (digest, found) = match self.registry.image(&reference.pinned(digest), platform).await {
            Ok(found) => (digest.clone(), found),
            // One that says digests of its own knows nothing by them.
            Err(RegistryError::NotFound(_) | RegistryError::DigestMismatch { .. }) => {
                let found = self.registry.image(reference, platform).await?;
                (found.digest.clone(), found)
            }
            Err(error) => return Err(error),
        };
        let image = SeenImage {
            identity: found.config.identity(),
            platform: found.config.platform(),
            labels: found.config.run_config().labels,
            // An image without layers of its own is there all the same.
            size: found.size.max(1),
        };
        locked(&self.seen).put(digest.clone(), platform.clone(), image.clone());
        Ok((digest, image))
    }

    fn unfit(&self, what: &str) -> EngineError {
        let lacks = format!("is a builder and no engine: it {what}");
        EngineError::Unfit { endpoint: self.endpoint().to_owned(), lacks }
    }
}

fn of_layout(layout: &Layout, sought: &Sought) -> Option<LocalImage> {
    let Sought { reference, platform, also, .. } = sought;
    layout.find(reference, platform).map(|found| LocalImage {
        names: std::iter::once(reference).chain(also).cloned().collect(),
        digests: vec![reference.pinned(&found.named)],
        identity: Some(found.config.identity()),
        platform: Some(found.config.platform()),
        labels: found.config.run_config().labels,
        size: found.size.max(1),
        id: ImageId::new(found.named),
    })
}

/// What it means that an image was not found.
fn absent(sought: &Sought, error: &RegistryError) -> Result<Option<LocalImage>, EngineError> {
    match error {
        RegistryError::NotFound(_) | RegistryError::NoPlatform { .. } => Ok(None),
        error if sought.is_ours => Err(translated(error)),
        // The builder may reach what we do not.
        _ => Ok(None),
    }
}

/// What was seen, as it is for a platform: a base image that somebody wants for this one is not another one's.
fn of_platform<'a>(
    names: &'a [Sought],
    seen: &'a [(&'a Sought, LocalImage)],
    platform: &'a Platform,
) -> impl Iterator<Item = LocalImage> + 'a {
    let here: BTreeSet<&Reference> =
        names.iter().filter(|sought| sought.platform == *platform).map(|sought| &sought.reference).collect();
    let is_its = move |sought: &Sought| {
        sought.is_ours || sought.platform == *platform || !here.contains(&sought.reference)
    };
    seen.iter().filter(move |(sought, _)| is_its(sought)).map(|(_, image)| image.clone())
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was found in registries, by digest and what it was wanted for.
#[derive(Debug, Default)]
struct Seen {
    root: PathBuf,
    images: BTreeMap<(Digest, Platform), SeenImage>,
    /// Those that somebody asked for in this process; the others are forgotten when there is something new to keep.
    used: BTreeSet<(Digest, Platform)>,
    is_new: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SeenImage {
    identity: Identity,
    platform: Platform,
    labels: BTreeMap<String, String>,
    size: u64,
}

impl Seen {
    /// A file that is missing or foreign tells nothing.
    fn load(root: &Path) -> Self {
        let text = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
        let images: Vec<((Digest, Platform), SeenImage)> = serde_json::from_str(&text).unwrap_or_default();
        Self { root: root.to_owned(), images: images.into_iter().collect(), ..Self::default() }
    }

    fn find(&mut self, digest: &Digest, platform: &Platform) -> Option<SeenImage> {
        let key = (digest.clone(), platform.clone());
        let known = self.images.get(&key)?.clone();
        self.used.insert(key);
        Some(known)
    }

    fn put(&mut self, digest: Digest, platform: Platform, image: SeenImage) {
        let key = (digest, platform);
        self.used.insert(key.clone());
        self.images.insert(key, image);
        self.is_new = true;
    }

    /// A convenience: without it a registry is asked once more.
    fn save(&mut self) {
        if std::mem::take(&mut self.is_new)
            && let Ok(folder) = Folder::open(&self.root)
            && let Ok(text) = serde_json::to_vec(
                &self.images.iter().filter(|(key, _)| self.used.contains(key)).collect::<Vec<_>>(),
            )
        {
            let _ = folder.write(FILE, &text, None);
        }
    }
}

/// One image for each manifest, and each platform of an index, under all its names.
fn merged(found: impl Iterator<Item = LocalImage>) -> Vec<LocalImage> {
    let mut all: BTreeMap<(ImageId, Option<Platform>), LocalImage> = BTreeMap::new();
    for image in found {
        match all.entry((image.id.clone(), image.platform.clone())) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(image);
            }
            std::collections::btree_map::Entry::Occupied(mut known) => {
                known.get_mut().names.extend(image.names);
                known.get_mut().digests.extend(image.digests);
            }
        }
    }
    all.into_values().collect()
}

fn translated(error: &RegistryError) -> EngineError {
    match error {
        RegistryError::Unreachable { .. } => EngineError::RegistryUnreachable(error.to_string()),
        RegistryError::NotFound(_) | RegistryError::NoPlatform { .. } => {
            EngineError::NotFound(error.to_string())
        }
        RegistryError::Denied { .. } => EngineError::Denied(error.to_string()),
        RegistryError::Throttled { retry_after, .. } => EngineError::Transient {
            cause: error.to_string(),
            retry_after: retry_after.map(|wait| wait.as_secs()),
        },
        RegistryError::Status { .. }
        | RegistryError::DigestMismatch { .. }
        | RegistryError::Malformed { .. } => EngineError::Other(error.to_string()),
    }
}

impl Store for Elsewhere {
    async fn observe(&self) -> Result<Observed, EngineError> {
        let names = locked(&self.sought).clone();
        self.look_for(names).await
    }

    async fn observe_names(&self, _: &[String]) -> Result<Observed, EngineError> {
        self.observe().await
    }

    async fn inspect(&self, reference: &Reference) -> Result<Option<LocalImage>, EngineError> {
        self.inspect_on(reference, &self.capabilities.platform).await
    }

    async fn history(&self, _: &Reference) -> Result<Option<Vec<LayerSize>>, EngineError> {
        // A registry has layers as they are packed.
        Ok(None)
    }

    async fn details(&self, reference: &Reference) -> Result<Option<ImageDetails>, EngineError> {
        let platform = &self.capabilities.platform;
        if let Some(found) = self.layout.as_ref().and_then(|layout| layout.find(reference, platform)) {
            let (platform, layers) = (found.config.platform(), found.config.rootfs.diff_ids.clone());
            let details =
                ImageDetails::of(ImageId::new(found.named), platform, layers, found.config.run_config());
            return Ok(Some(ImageDetails { size: found.size, ..details }));
        }
        match self.registry.image(reference, &self.capabilities.platform).await {
            Ok(image) => {
                let (platform, layers) = (image.config.platform(), image.config.rootfs.diff_ids.clone());
                let id = ImageId::new(image.digest);
                let details = ImageDetails::of(id, platform, layers, image.config.run_config());
                Ok(Some(ImageDetails { size: image.size, ..details }))
            }
            Err(RegistryError::NotFound(_) | RegistryError::NoPlatform { .. }) => Ok(None),
            Err(error) => Err(translated(&error)),
        }
    }

    async fn layers(&self, _: &ImageId) -> Result<Option<Vec<Digest>>, EngineError> {
        Err(self.unfit("keeps no images"))
    }

    async fn pull(&self, reference: &Reference, _: &Platform, _: OnProgress<'_>) -> Result<(), EngineError> {
        Err(EngineError::NotFound(reference.familiar()))
    }

    async fn tag(&self, _: &Reference, _: &Reference) -> Result<(), EngineError> {
        Err(self.unfit("gives no names to images that it did not build"))
    }

    async fn inspect_on(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<LocalImage>, EngineError> {
        let (reference, platform) = (reference.clone(), platform.clone());
        let sought = Sought { reference, platform, also: Vec::new(), is_ours: true };
        self.find(&[sought]).await.pop().unwrap_or(Ok(None))
    }

    async fn index(&self, spec: &IndexSpec) -> Result<ImageId, EngineError> {
        self.registry.put_index(spec).await.map(ImageId::new).map_err(|error| translated(&error))
    }

    async fn push(&self, _: &Reference, _: OnProgress<'_>) -> Result<Digest, EngineError> {
        Err(self.unfit("pushes what it builds, and nothing else"))
    }

    async fn import(
        &self,
        _: &Path,
        _: &Reference,
        _: &Platform,
        _: &BTreeMap<String, String>,
    ) -> Result<ImageId, EngineError> {
        Err(self.unfit("keeps no images"))
    }

    async fn save(&self, _: &[Reference]) -> Result<ByteStream, EngineError> {
        Err(self.unfit("keeps no images"))
    }

    async fn load(&self, _: ByteStream) -> Result<Loaded, EngineError> {
        Err(self.unfit("keeps no images"))
    }

    async fn remove(&self, _: &Reference) -> Result<(), EngineError> {
        Err(self.unfit("keeps no images"))
    }

    async fn remove_unnamed(&self, _: &ImageId) -> Result<(), EngineError> {
        Err(self.unfit("keeps no images"))
    }
}

impl Containers for Elsewhere {
    async fn run(&self, _: &ContainerSpec) -> Result<ContainerId, EngineError> {
        Err(self.unfit("runs no containers"))
    }

    async fn container(&self, _: &ContainerId) -> Result<Option<ContainerState>, EngineError> {
        Err(self.unfit("runs no containers"))
    }

    async fn exec(&self, _: &ContainerId, _: &[&str]) -> Result<ExecOutput, EngineError> {
        Err(self.unfit("runs no containers"))
    }

    async fn logs(&self, _: &ContainerId) -> Result<Vec<(LogStream, String)>, EngineError> {
        Err(self.unfit("runs no containers"))
    }

    async fn stop(&self, _: &ContainerId, _: Duration) -> Result<(), EngineError> {
        Err(self.unfit("runs no containers"))
    }

    async fn remove_container(&self, _: &ContainerId) -> Result<(), EngineError> {
        Err(self.unfit("runs no containers"))
    }

    async fn containers(&self, _: &str) -> Result<Vec<ContainerId>, EngineError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Keeps, sha256};
    use crate::registry::tests::faulty_proxy::{FaultyProxy, Trouble};

    const CONFIG: &str =
        r#"{"os":"linux","architecture":"amd64","config":{"Labels":{"a":"b"}},"rootfs":{"diff_ids":[]}}"#;

    fn digest(text: &str) -> Digest {
        sha256(text.as_bytes())
    }

    fn manifest() -> String {
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"{}"}},"layers":[]}}"#, digest(CONFIG))
    }

    /// A registry with one image, `a:1`. `head` is what it answers to a question about it without a body.
    async fn registry(head: u16) -> FaultyProxy {
        let proxy = FaultyProxy::start(None).await;
        let said = vec![("Docker-Content-Digest", digest(&manifest()).to_string())];
        proxy.fault("HEAD /v2/a/manifests/1", usize::MAX, Trouble::Answer(head, said, String::new()));
        for path in ["1", digest(&manifest()).as_str()] {
            let path = format!("GET /v2/a/manifests/{path}");
            proxy.fault(&path, usize::MAX, Trouble::Answer(200, Vec::new(), manifest()));
        }
        let path = format!("GET /v2/a/blobs/{}", digest(CONFIG));
        proxy.fault(&path, usize::MAX, Trouble::Answer(200, Vec::new(), CONFIG.to_owned()));
        proxy.fault("/v2/a/manifests/2", usize::MAX, Trouble::Answer(404, Vec::new(), String::new()));
        proxy
    }

    fn elsewhere(root: &Path) -> Elsewhere {
        let capabilities = Capabilities {
            name: "buildkit".to_owned(),
            version: "1".to_owned(),
            api: (0, 0),
            buildkit: true,
            platform: Platform::new("linux", "amd64", None),
            keeps: Keeps::Registry,
        };
        Elsewhere::new(Vec::new(), capabilities, Surroundings::default(), root)
    }

    fn sought(text: &str, is_ours: bool) -> Sought {
        let also = vec!["plain:1".parse().expect("a name")];
        let platform = Platform::new("linux", "amd64", None);
        Sought { reference: text.parse().expect(text), platform, also, is_ours }
    }

    #[tokio::test]
    async fn an_image_is_read_once_and_known_by_its_digest() {
        for head in [200, 405] {
            let (root, proxy) = (tempfile::tempdir().expect("folder"), registry(head).await);
            let name = format!("{}/a:1", proxy.domain());
            let mut asked = 0;
            for questions in if head == 200 { [3, 1] } else { [4, 2] } {
                let there = elsewhere(root.path());
                let observed = there.look_for(vec![sought(&name, true)]).await.expect("answers");
                let image = observed.find(&name.parse().expect("a name")).expect("is there");
                assert_eq!((image.id.digest(), image.labels["a"].as_str()), (&digest(&manifest()), "b"));
                assert!(observed.find(&"plain:1".parse().expect("a name")).is_some(), "under all its names");
                assert!(observed.is_registry() && image.identity.is_some());
                let so_far = proxy.seen("").len();
                assert_eq!(so_far - asked, questions, "HEAD answers {head}");
                asked = so_far;
            }
        }
    }

    #[tokio::test]
    async fn what_is_away_is_an_error_only_where_it_is_ours() {
        let (root, proxy) = (tempfile::tempdir().expect("folder"), registry(200).await);
        let there = elsewhere(root.path());
        let missing = format!("{}/a:2", proxy.domain());
        let nowhere = "127.0.0.1:1/a:1";
        let look = async |name: &str, is_ours| {
            there.look_for(vec![sought(name, is_ours)]).await.map(|found| found.images().len())
        };
        assert_eq!(look(&missing, true).await, Ok(0));
        assert_eq!(look(nowhere, false).await, Ok(0));
        assert!(matches!(look(nowhere, true).await, Err(EngineError::RegistryUnreachable(_))));
    }
}
