//! What a bundle says that it holds, read from its small files and checked against itself.
//!
//! ```text
//! index.json -> our manifest -> each image's manifest -> its config
//! ```
//! Each of these is hashed as it is read, has a limit, and has to agree with the one above it. Whatever follows from
//! our manifest (`index.json`, `manifest.json`) is made again and compared. Large blobs are not read here, only their
//! sizes are compared; [`super::verify`] reads them. In: a [`Bundle`]. Out: [`Contents`], or all that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Component, Path};

use serde::de::DeserializeOwned;

use super::finding::{BundleError, BundleFinding};
use super::layout::{self, EntryName, ImageManifest, SmallBlob};
use super::manifest::{self, BundleManifest, Descriptor, Member, StoredImage, StoredIndex, StoredLayer};
use super::open::Bundle;
use crate::model::{Digest, ImageConfig, LAYOUT_VERSION, sha256};

/// The longest index, image manifest or config that is read.
const LARGEST_JSON: u64 = 16 << 20;
/// The longest manifest of ours, unpacked.
const LARGEST_MANIFEST: u64 = 128 << 20;

/// What a bundle says that it holds, with all of its large blobs still to be read.
#[derive(Clone, Debug)]
pub struct Contents {
    bundle: Bundle,
    manifest: BundleManifest,
    images: BTreeMap<Digest, StoredImage>,
    large: BTreeMap<Digest, LargeBlob>,
}

/// A blob that is read only to be proven, or used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeBlob {
    /// What it should be.
    pub descriptor: Descriptor,
    /// What it should be once it is unpacked; none of artifacts and files.
    pub diff_id: Option<Digest>,
    /// Who needs it.
    pub needed_by: Vec<String>,
}

impl Contents {
    /// Reads the small files of a bundle.
    ///
    /// # Errors
    /// [`BundleError::NotABundle`] for an image layout of others, [`BundleError::Refused`] with all that is wrong.
    pub fn read(bundle: Bundle) -> Result<Self, BundleError> {
        let mut reading = Reading { bundle: &bundle, findings: Vec::new() };
        let found = reading.read();
        let findings = reading.findings;
        let refused = |findings| BundleError::Refused { path: bundle.path().to_owned(), findings };
        match found {
            Err(Stop::NotABundle(why)) => {
                Err(BundleError::NotABundle { path: bundle.path().to_owned(), why })
            }
            Err(Stop::BundleFinding(finding)) => Err(refused(vec![finding])),
            Ok(_) if !findings.is_empty() => Err(refused(findings)),
            Ok((manifest, images, large)) => Ok(Self { bundle, manifest, images, large }),
        }
    }

    /// Where the blobs are.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Our own manifest.
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// The image of a member; none when the receiver has to have it already.
    pub fn image(&self, member: &Member) -> Option<&StoredImage> {
        self.images.get(&member.image_id)
    }

    /// The images that the bundle holds, once each.
    pub fn images(&self) -> impl Iterator<Item = &StoredImage> {
        self.images.values()
    }

    /// Layers, artifacts and files that the bundle holds, once each.
    pub fn large_blobs(&self) -> impl Iterator<Item = &LargeBlob> {
        self.large.values()
    }
}

/// What ends the reading at once.
enum Stop {
    NotABundle(String),
    BundleFinding(BundleFinding),
}

impl From<BundleFinding> for Stop {
    fn from(finding: BundleFinding) -> Self {
        Self::BundleFinding(finding)
    }
}

type Images = BTreeMap<Digest, StoredImage>;
type LargeBlobs = BTreeMap<Digest, LargeBlob>;

struct Reading<'a> {
    bundle: &'a Bundle,
    findings: Vec<BundleFinding>,
}

impl Reading<'_> {
    fn read(&mut self) -> Result<(BundleManifest, Images, LargeBlobs), Stop> {
        let layout = self.file(&EntryName::Layout, LARGEST_JSON)?;
        if layout != LAYOUT_VERSION {
            return Err(BundleFinding::new("oci-layout is not of version 1.0.0").into());
        }
        let index = self.file(&EntryName::Index, LARGEST_JSON)?;
        let ours =
            layout::find_manifest(&index).map_err(|why| Stop::NotABundle(format!("index.json: {why}")))?;
        let mut manifest = self.manifest(&ours)?;
        let mut images = Images::new();
        let mut large = LargeBlobs::new();
        let mut used = BTreeSet::from([ours.clone()]);
        let required: BTreeSet<&Digest> = manifest.requires.images.iter().collect();
        let mut unneeded: BTreeSet<&Digest> = manifest.requires.layers.iter().collect();
        for (id, members) in by_image(&manifest) {
            if required.contains(id) {
                continue;
            }
            match self.image(id, &members) {
                Ok(image) => {
                    used.extend([members[0].manifest.digest.clone(), id.clone()]);
                    used.extend(image.index.iter().map(|index| index.blob.descriptor.digest.clone()));
                    let needed_by: Vec<String> = members.iter().map(|m| m.reference.familiar()).collect();
                    for blob in image.index.iter().flat_map(|index| &index.attached) {
                        self.want(&mut large, blob, None, needed_by.clone());
                    }
                    for (layer, chain) in image.layers.iter().zip(image.chain_ids()) {
                        if !unneeded.remove(&chain) && manifest.requires.layers.binary_search(&chain).is_err()
                        {
                            self.want(&mut large, &layer.blob, Some(&layer.diff_id), needed_by.clone());
                        }
                    }
                    images.insert(id.clone(), image);
                }
                Err(finding) => self.findings.push(finding),
            }
        }
        for artifact in &manifest.artifacts {
            if manifest.requires.artifacts.binary_search(&artifact.blob.digest).is_err() {
                self.want(&mut large, &artifact.blob, None, vec![artifact.file.clone()]);
            }
        }
        for file in &manifest.files {
            self.want(&mut large, &file.blob, None, vec![file.path.clone()]);
        }
        used.extend(large.keys().cloned());
        for blob in large.values_mut() {
            blob.needed_by.sort();
            blob.needed_by.dedup();
            self.look_at(blob);
        }
        // Behind something broken, other blobs only seem to be needed by nobody.
        if self.findings.is_empty() {
            self.find_unneeded(&unneeded, &used);
            self.compare(&EntryName::Index, &index, &layout::index(&manifest, &ours));
            let docker = self.file(&EntryName::DockerManifest, LARGEST_JSON)?;
            self.compare(&EntryName::DockerManifest, &docker, &layout::docker_manifest(&manifest, &images));
        }
        complete(&mut manifest, &images);
        Ok((manifest, images, large))
    }

    /// Layers that a delta leaves out for no image, and blobs that nothing leads to.
    fn find_unneeded(&mut self, layers: &BTreeSet<&Digest>, used: &BTreeSet<Digest>) {
        self.findings.extend(layers.iter().map(|chain| {
            BundleFinding::new(format!("the manifest requires layer {chain}, which no image of it has"))
        }));
        let entries = self.bundle.entries().filter_map(|(name, _)| match name {
            EntryName::Blob(digest) => Some(digest),
            _ => None,
        });
        let unused = entries.filter(|digest| !used.contains(digest));
        self.findings
            .extend(unused.map(|digest| BundleFinding::of_blob(digest, "nothing in the bundle needs it")));
    }

    /// Our own manifest, checked in itself.
    fn manifest(&self, digest: &Digest) -> Result<BundleManifest, BundleFinding> {
        let ours = ["the manifest of the bundle".to_owned()];
        let of = |what: String| BundleFinding::of_blob(digest, what).needed_by(&ours);
        let packed = self.blob(digest, None).map_err(|finding| finding.needed_by(&ours))?;
        let mut text = Vec::new();
        let unpacked = zstd::Decoder::new(packed.as_slice())
            .and_then(|decoder| decoder.take(LARGEST_MANIFEST + 1).read_to_end(&mut text));
        unpacked.map_err(|error| of(format!("it cannot be unpacked: {error}")))?;
        if text.len() as u64 > LARGEST_MANIFEST {
            return Err(of(format!("it is longer than {LARGEST_MANIFEST} bytes")));
        }
        #[derive(serde::Deserialize)]
        struct Versioned {
            version: u32,
        }
        let versioned: Versioned = parse(&text).map_err(of)?;
        if versioned.version > manifest::VERSION {
            return Err(of(format!(
                "it is of format {}, and this program reads up to {}; load it with the program that made it",
                versioned.version,
                manifest::VERSION
            )));
        }
        let manifest: BundleManifest = parse(&text).map_err(of)?;
        check_manifest(&manifest).map_err(of)?;
        Ok(manifest)
    }

    /// An image's manifest and config.
    fn image(&self, id: &Digest, members: &[&Member]) -> Result<StoredImage, BundleFinding> {
        let needed_by: Vec<String> = members.iter().map(|member| member.reference.familiar()).collect();
        let named = &members[0].manifest;
        let of = |digest: &Digest, what: String| BundleFinding::of_blob(digest, what).needed_by(&needed_by);
        let differs = |member: &&&Member| {
            member.manifest != *named
                || member.index != members[0].index
                || member.attached != members[0].attached
        };
        if let Some(other) = members.iter().find(differs) {
            return Err(of(&other.manifest.digest, format!("image {id} has two manifests")));
        }
        let whose = |finding: BundleFinding| finding.needed_by(&needed_by);
        check_type(named, &layout::MANIFESTS).map_err(whose)?;
        let text = self.blob(&named.digest, Some(named.size)).map_err(whose)?;
        let manifest: ImageManifest = parse(&text).map_err(|what| of(&named.digest, what))?;
        check_type(&manifest.config, &layout::CONFIGS).map_err(whose)?;
        if manifest.config.digest != *id {
            let what = format!("its config is {}, and the image should be {id}", manifest.config.digest);
            return Err(of(&named.digest, what));
        }
        let config = self.blob(id, Some(manifest.config.size)).map_err(whose)?;
        let config: ImageConfig = parse(&config).map_err(|what| of(id, what))?;
        let identity = config.identity();
        if let Some(said) = members.iter().filter_map(|m| m.identity.as_ref()).find(|said| **said != identity)
        {
            return Err(of(id, format!("its identity is {identity}, and the bundle says {said}")));
        }
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let what =
                format!("it has {} layers, and its config has {}", manifest.layers.len(), diff_ids.len());
            return Err(of(&named.digest, what));
        }
        for layer in &manifest.layers {
            check_type(layer, &layout::LAYERS).map_err(whose)?;
        }
        let layers = manifest.layers.into_iter().zip(diff_ids);
        Ok(StoredImage {
            reference: members[0].reference.clone(),
            image_id: id.clone(),
            identity,
            config: manifest.config,
            manifest: SmallBlob { descriptor: named.clone(), bytes: text },
            index: self.index(members[0], named).map_err(whose)?,
            layers: layers.map(|(blob, diff_id)| StoredLayer { diff_id, blob }).collect(),
        })
    }

    /// The index that a member says its manifest is in.
    fn index(&self, member: &Member, manifest: &Descriptor) -> Result<Option<StoredIndex>, BundleFinding> {
        #[derive(serde::Deserialize)]
        struct Index {
            manifests: Vec<Descriptor>,
        }
        let Some(descriptor) = &member.index else { return Ok(None) };
        check_type(descriptor, &layout::INDEXES)?;
        let bytes = self.blob(&descriptor.digest, Some(descriptor.size))?;
        let of = |what: String| BundleFinding::of_blob(&descriptor.digest, what);
        let index: Index = parse(&bytes).map_err(of)?;
        if !index.manifests.iter().any(|entry| entry.digest == manifest.digest) {
            return Err(of(format!("it does not name the manifest {}", manifest.digest)));
        }
        let blob = SmallBlob { descriptor: descriptor.clone(), bytes };
        Ok(Some(StoredIndex { blob, attached: member.attached.clone() }))
    }

    /// Notes a large blob that somebody needs.
    fn want(
        &mut self,
        large: &mut LargeBlobs,
        descriptor: &Descriptor,
        diff_id: Option<&Digest>,
        needed_by: Vec<String>,
    ) {
        let digest = &descriptor.digest;
        if let Some(known) = large.get_mut(digest) {
            // Docker's manifests and OCI's call the same layer differently.
            if known.descriptor.size != descriptor.size || known.diff_id.as_ref() != diff_id {
                let what = "two images disagree about what it is";
                self.findings.push(BundleFinding::of_blob(digest, what).needed_by(&needed_by));
            }
            known.needed_by.extend(needed_by);
            return;
        }
        let blob = LargeBlob { descriptor: descriptor.clone(), diff_id: diff_id.cloned(), needed_by };
        large.insert(digest.clone(), blob);
    }

    /// What can be said about a large blob without reading it.
    fn look_at(&mut self, blob: &LargeBlob) {
        let LargeBlob { descriptor, needed_by, .. } = blob;
        let what = match self.bundle.size_of(&EntryName::Blob(descriptor.digest.clone())) {
            None => "it is missing".to_owned(),
            Some(size) if size != descriptor.size => {
                format!("it has {size} bytes, and should have {}", descriptor.size)
            }
            Some(_) => return,
        };
        self.findings.push(BundleFinding::of_blob(&descriptor.digest, what).needed_by(needed_by));
    }

    /// A small blob, whole and proven.
    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<Vec<u8>, BundleFinding> {
        let of = |what: String| BundleFinding::of_blob(digest, what);
        let name = EntryName::Blob(digest.clone());
        let found = self.bundle.size_of(&name).ok_or_else(|| of("it is missing".to_owned()))?;
        if let Some(size) = size.filter(|size| *size != found) {
            return Err(of(format!("it has {found} bytes, and should have {size}")));
        }
        let bytes = self.file(&name, LARGEST_JSON).map_err(|finding| of(finding.what))?;
        if sha256(&bytes) != *digest {
            return Err(of("its content is another one: the digest differs".to_owned()));
        }
        Ok(bytes)
    }

    /// A small file, whole.
    fn file(&self, name: &EntryName, limit: u64) -> Result<Vec<u8>, BundleFinding> {
        let path = name.path();
        let size =
            self.bundle.size_of(name).ok_or_else(|| BundleFinding::new(format!("{path} is missing")))?;
        if size > limit {
            return Err(BundleFinding::new(format!(
                "{path} has {size} bytes, and {limit} would be very long"
            )));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        let read = self.bundle.read(name).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|error| BundleFinding::new(format!("{path} cannot be read: {error}")))?;
        Ok(bytes)
    }

    fn compare(&mut self, name: &EntryName, found: &[u8], expected: &[u8]) {
        if found != expected {
            let what = format!("{} does not say what the manifest of the bundle says", name.path());
            self.findings.push(BundleFinding::new(what));
        }
    }
}

/// Says of each member what is in it: bundles of version 1 do not.
fn complete(manifest: &mut BundleManifest, images: &Images) {
    for member in &mut manifest.members {
        let known = images.get(&member.image_id).map(|image| image.identity.clone());
        member.identity = known.or_else(|| member.identity.take());
    }
}

/// The members of each image.
fn by_image(manifest: &BundleManifest) -> BTreeMap<&Digest, Vec<&Member>> {
    let mut images: BTreeMap<&Digest, Vec<&Member>> = BTreeMap::new();
    for member in &manifest.members {
        images.entry(&member.image_id).or_default().push(member);
    }
    images
}

fn check_type(descriptor: &Descriptor, known: &[&str]) -> Result<(), BundleFinding> {
    if known.contains(&descriptor.media_type.as_str()) {
        return Ok(());
    }
    // Whoever made it may have put anything into the text.
    let found = descriptor.media_type.escape_debug();
    let wanted = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(" or ");
    Err(BundleFinding::of_blob(
        &descriptor.digest,
        format!("it is of type `{found}`, and should be {wanted}"),
    ))
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| format!("it does not say what it should: {error}"))
}

/// What could do harm when it is believed: paths that leave the tree, and texts that command a terminal.
fn check_manifest(manifest: &BundleManifest) -> Result<(), String> {
    let requires = &manifest.requires;
    for list in [&requires.images, &requires.layers, &requires.artifacts] {
        if !list.is_sorted_by(|a, b| a < b) {
            return Err("what it requires is not sorted".to_owned());
        }
    }
    if let Some(name) = layout::clashing_name(manifest) {
        return Err(format!("two different images are called {name}"));
    }
    for file in &manifest.files {
        if !is_inside(&file.path) {
            return Err(format!("the file `{}` would be written outside the tree", file.path.escape_debug()));
        }
        if is_hidden(&file.path) {
            return Err(format!("the file `{}` is none that a bundle carries", file.path));
        }
    }
    for artifact in &manifest.artifacts {
        if !is_inside(&artifact.file) || artifact.file.contains('/') {
            return Err(format!("the artifact `{}` is no name of a file", artifact.file.escape_debug()));
        }
    }
    let text = serde_json::to_value(manifest).map_err(|error| error.to_string())?;
    match control_text(&text) {
        Some(text) => Err(format!("the text `{}` has control characters", text.escape_debug())),
        None => Ok(()),
    }
}

/// A relative path of plain names, with `/`.
fn is_inside(path: &str) -> bool {
    let is_plain = |c: Component| matches!(c, Component::Normal(_));
    !path.is_empty()
        && !path.contains(['\\', ':'])
        && Path::new(path).components().all(is_plain)
        && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// What programs read unasked (`.git/hooks`, `.cargo/config.toml`); `.env.example` is not of that kind.
fn is_hidden(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    folders.split('/').any(|folder| folder.starts_with('.'))
        || (name.starts_with('.') && name != ".env.example")
}

/// The first text in a document that has control characters.
fn control_text(value: &serde_json::Value) -> Option<&str> {
    match value {
        serde_json::Value::String(text) => text.chars().any(char::is_control).then_some(text.as_str()),
        serde_json::Value::Array(list) => list.iter().find_map(control_text),
        serde_json::Value::Object(map) => map.values().find_map(control_text),
        _ => None,
    }
}
