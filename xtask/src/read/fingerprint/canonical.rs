//! Pure: everything that decides what a build makes, to one key, and what differs between two of them.
//!
//! In: the reachable Dockerfile, target, platform, build args, base images by what is in them, internal bases by key, and the
//! digest over the context files. Out: [`Parts`] and its key. Never reads anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{
    BaseImage, Change, ContextFile, ContextFileKind, Digest, Identity, Image, ImageName, ImageSource,
    Platform, Reference, path_order, sha256,
};

/// Raised whenever the meaning of a key changes; images of another format are rebuilt once.
const FORMAT: u32 = 2;
/// So many entries with unusual permission bits are named in a label.
const NAMED_MODES: usize = 64;
/// BuildKit and the classic builder make different images of the same Dockerfile (FIELD C6).
const BUILDER: &str = "buildkit";

/// What a key is made of, small enough for a label. Values are digests: no build arg is readable here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Version of the format of keys, of the program that wrote it.
    pub format: u32,
    /// The builder.
    pub builder: String,
    /// Digest of the reachable part of the Dockerfile.
    pub dockerfile: String,
    /// The stage; none is the last one.
    pub target: Option<String>,
    /// The platform.
    pub platform: Platform,
    /// Digest of each build arg's value, by name; labels that were asked for are told apart by `--label `.
    pub args: BTreeMap<String, String>,
    /// What is in each external base, by familiar name; none for one that is not here.
    pub bases: BTreeMap<String, Option<Identity>>,
    /// Key of each image of this tree that it builds on.
    pub needs: BTreeMap<ImageName, Digest>,
    /// Digest over the files.
    pub files: Digest,
    /// Permission bits of entries that have others than most, where these are few: no part of the key, for `files` has
    /// them, but with them a change can be named where the list of files is not known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modes: BTreeMap<String, u32>,
}

/// What a base is called in a key: with its platform where the same name is also used for another one.
fn name_in_key(base: &BaseImage, image: &Image) -> String {
    let name = base.reference.familiar();
    let is_other = |other: &BaseImage| other.reference == base.reference && other.platform != base.platform;
    match &base.platform {
        Some(platform) if image.base_images.iter().any(is_other) => format!("{name} ({platform})"),
        _ => name,
    }
}

impl Parts {
    /// The parts of an image as it would be built now. `base` gives what is in an external base,
    /// `need_key` the key of an image of this tree.
    pub fn of(
        image: &Image,
        files: &Digest,
        base: impl Fn(&BaseImage) -> Option<Identity>,
        need_key: impl Fn(&ImageName) -> Option<Digest>,
    ) -> Option<Self> {
        let ImageSource::Build(target) = &image.source else { return None };
        Some(Self {
            format: FORMAT,
            builder: BUILDER.to_owned(),
            dockerfile: short_digest(&target.reachable_text),
            target: target.target.clone(),
            platform: image.platform.clone(),
            args: target
                .build_args
                .iter()
                .map(|(name, value)| (name.clone(), short_digest(value)))
                .chain(
                    target
                        .labels
                        .iter()
                        .map(|(name, value)| (format!("--label {name}"), short_digest(value))),
                )
                .collect(),
            bases: image.base_images.iter().map(|named| (name_in_key(named, image), base(named))).collect(),
            needs: image.needs.iter().filter_map(|name| Some((name.image(), need_key(name)?))).collect(),
            files: files.clone(),
            modes: BTreeMap::new(),
        })
    }

    /// With the permission bits of these entries.
    #[must_use]
    pub fn with_modes<'a>(self, files: impl Iterator<Item = &'a ContextFile>) -> Self {
        let unusual = files.filter(|file| file.mode != usual_mode(&file.kind));
        let modes: BTreeMap<String, u32> =
            unusual.take(NAMED_MODES + 1).map(|file| (file.path.clone(), file.mode)).collect();
        Self { modes: if modes.len() > NAMED_MODES { BTreeMap::new() } else { modes }, ..self }
    }

    /// With the names that its triggers carry instead of those in the Dockerfile.
    #[must_use]
    pub fn with_left<'a>(self, names: impl Iterator<Item = (&'a Reference, &'a Reference)>) -> Self {
        let told: String = names.map(|(written, name)| format!("\n{written} is {name}")).collect();
        if told.is_empty() {
            return self;
        }
        Self { dockerfile: short_digest(&(self.dockerfile + &told)), ..self }
    }

    /// The entries whose permission bits differ from those of then; none if anything else does too.
    pub fn modes_changed_since(&self, old: &Self, now: &[ContextFile]) -> Option<Vec<Change>> {
        let then = |file: &ContextFile| {
            let mode = old.modes.get(&file.path).copied().unwrap_or_else(|| usual_mode(&file.kind));
            ContextFile { mode, ..file.clone() }
        };
        let then: Vec<ContextFile> = now.iter().map(then).collect();
        (digest_files(&then) == old.files).then(|| differing_files(now, &then))
    }

    /// The key: SHA-256 over the parts, each with its length before it, in a fixed order.
    pub fn key(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        field(&self.format.to_le_bytes());
        field(self.builder.as_bytes());
        field(self.dockerfile.as_bytes());
        field(self.target.as_deref().map_or(&b"-"[..], str::as_bytes));
        field(self.platform.to_string().as_bytes());
        field(&(self.args.len() as u64).to_le_bytes());
        for (name, value) in &self.args {
            field(name.as_bytes());
            field(value.as_bytes());
        }
        field(&(self.bases.len() as u64).to_le_bytes());
        for (name, identity) in &self.bases {
            field(name.as_bytes());
            field(identity.as_ref().map_or("-", Identity::as_str).as_bytes());
        }
        field(&(self.needs.len() as u64).to_le_bytes());
        for (name, key) in &self.needs {
            field(name.as_str().as_bytes());
            field(key.as_str().as_bytes());
        }
        field(self.files.as_str().as_bytes());
        Digest::from_sha256(&hash.finalize().into())
    }

    /// What differs from the parts of the image that is there. `files` compares the files one by one where both
    /// lists are known.
    pub fn changes_since(&self, old: &Self, files: impl FnOnce() -> Vec<Change>) -> Vec<Change> {
        if self.format != old.format || self.builder != old.builder {
            return vec![Change::KeyFormat];
        }
        let mut changes = Vec::new();
        if self.files != old.files {
            changes.extend(files());
        }
        if self.dockerfile != old.dockerfile {
            changes.push(Change::Dockerfile);
        }
        changes.extend(differing(&self.args, &old.args).map(|name| Change::BuildArg(name.clone())));
        changes.extend(differing(&self.needs, &old.needs).map(|name| Change::Base(name.clone())));
        changes.extend(
            differing(&self.bases, &old.bases).filter_map(|name| Some(Change::BaseImage(name.parse().ok()?))),
        );
        if self.target != old.target {
            changes.push(Change::Target);
        }
        if self.platform != old.platform {
            changes.push(Change::Platform);
        }
        changes
    }
}

/// The permission bits that nearly all files, folders and symlinks have.
fn usual_mode(kind: &ContextFileKind) -> u32 {
    match kind {
        ContextFileKind::File { .. } => 0o644,
        ContextFileKind::Directory => 0o755,
        ContextFileKind::Symlink { .. } => 0o777,
    }
}

/// The digest over the files that a build can read: path, permission bits, type, content or symlink target.
/// `files` is in [`path_order`].
pub fn digest_files<'a>(files: impl IntoIterator<Item = &'a ContextFile>) -> Digest {
    let mut hash = Sha256::new();
    for file in files {
        hash.update((file.path.len() as u64).to_le_bytes());
        hash.update(file.path.as_bytes());
        hash.update(file.mode.to_le_bytes());
        match &file.kind {
            ContextFileKind::File { digest, .. } => {
                hash.update(b"f");
                hash.update(digest.hex().as_bytes());
            }
            ContextFileKind::Directory => hash.update(b"d"),
            ContextFileKind::Symlink { target } => {
                hash.update(b"l");
                hash.update((target.len() as u64).to_le_bytes());
                hash.update(target.as_bytes());
            }
        }
    }
    Digest::from_sha256(&hash.finalize().into())
}

/// What differs between two lists of files, both in [`path_order`].
pub fn differing_files(now: &[ContextFile], then: &[ContextFile]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut now, mut then) = (now.iter().peekable(), then.iter().peekable());
    loop {
        let order = match (now.peek(), then.peek()) {
            (Some(a), Some(b)) => path_order(&a.path, &b.path),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return changes,
        };
        match order {
            std::cmp::Ordering::Less => changes.extend(now.next().map(|f| Change::Added(f.path.clone()))),
            std::cmp::Ordering::Greater => {
                changes.extend(then.next().map(|f| Change::Removed(f.path.clone())))
            }
            std::cmp::Ordering::Equal => {
                if let (Some(a), Some(b)) = (now.next(), then.next()) {
                    if a.kind != b.kind {
                        changes.push(Change::Content(a.path.clone()));
                    } else if a.mode != b.mode {
                        changes.push(Change::Mode { path: a.path.clone(), then: b.mode, now: a.mode });
                    }
                }
            }
        }
    }
}

/// Names whose values differ, or that only one side has.
fn differing<'a, K: Ord, V: PartialEq>(
    now: &'a BTreeMap<K, V>,
    then: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let changed = now.iter().filter(|(name, value)| then.get(*name) != Some(*value)).map(|(name, _)| name);
    let gone = then.keys().filter(|name| !now.contains_key(*name));
    changed.chain(gone)
}

/// The first 32 hex digits of a text's SHA-256: enough against accidents, short enough for a label.
fn short_digest(text: &str) -> String {
    let digest = sha256(text.as_bytes());
    digest.hex()[..32].to_owned()
}
