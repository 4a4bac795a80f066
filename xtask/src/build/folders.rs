//! Caches in folders on this machine (docs.docker.com, "Local cache"): the builder reads and writes them through containerd's
//! content service on the session (buildkit, `cache/remotecache/local`), as `content.rs` lends images. Images in folders
//! (`oci-layout://`) it reads likewise.
//!
//! A cache is an image layout that all images share; its index calls each one's cache by a tag. What was read of a folder is
//! believed by nobody but the builder, which hashes it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use prost::Message;
use serde_json::Value;
use tokio::sync::mpsc;
use tonic::codegen::BoxFuture;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::server::StreamingService;
use tonic::{Request, Response, Status, Streaming};

use crate::engine::layout::{Incoming, Layout};
use crate::model::{BuildSpec, BuilderCache, CacheKind, Digest};

/// What a builder answers the cache that it has left by.
const CACHE: &str = "cache.manifest";
/// Messages that may wait for the disk, and answers for the network.
const AHEAD: usize = 4;

/// The folders of one build, by what the builder calls them: caches, and layouts with images that it may build on.
#[derive(Debug, Default)]
pub(super) struct LocalFolders(BTreeMap<String, LocalFolder>);

/// One folder.
#[derive(Clone, Debug)]
pub(super) struct LocalFolder {
    pub(super) layout: Arc<Layout>,
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Reads,
    Writes,
}

impl LocalFolders {
    /// Those that a build names; `root` is what its paths are relative to.
    pub(super) fn of(root: &Path, spec: &BuildSpec) -> Self {
        let mut all = BTreeMap::new();
        all.extend(spec.layouts.iter().map(|context| {
            let layout = Arc::new(Layout::at(root.join(&context.folder)));
            (format!("oci:{}", context.stage), LocalFolder { layout, access: Access::Reads })
        }));
        let named = |caches: &[BuilderCache], key: &str, access| {
            let folders = caches.iter().filter_map(|cache| cache.folder(key)).map(|folder| {
                let layout = Arc::new(Layout::at(folder.to_owned()));
                (format!("local:{}", folder.display()), LocalFolder { layout, access })
            });
            folders.collect::<Vec<_>>()
        };
        all.extend(named(&spec.caches.from, "src", Access::Reads));
        all.extend(named(&spec.caches.to, "dest", Access::Writes));
        Self(all)
    }

    /// Whether it names none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that the builder calls so.
    pub(super) fn get(&self, name: &str) -> Option<&LocalFolder> {
        self.0.get(name)
    }
}

/// How a builder is told of a cache that it may look into; not at all of one that is not there yet.
pub(super) fn told_of(cache: &BuilderCache) -> Option<Vec<(String, String)>> {
    let mut told: Vec<(String, String)> = cache.told().collect();
    if let Some(folder) = cache.folder("src") {
        let digest = Layout::at(folder.to_owned()).named(cache.tag())?;
        told.push(("digest".to_owned(), digest.to_string()));
    }
    Some(told)
}

/// Has the index of each folder name what a build has left there; blocks.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn name(caches: &[BuilderCache], answer: &BTreeMap<&str, &str>) -> io::Result<()> {
    let Some(left) = answer.get(CACHE) else { return Ok(()) };
    let descriptor: Value = serde_json::from_str(left)?;
    let here = caches.iter().filter(|cache| cache.kind == CacheKind::Local);
    here.filter_map(|cache| Some((cache, cache.folder("dest")?)))
        .try_for_each(|(cache, folder)| Layout::at(folder.to_owned()).call(&descriptor, cache.tag()))
}

/// `containerd.services.content.v1.WriteContentRequest`, without labels.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(int64, tag = "3")]
    total: i64,
    #[prost(string, tag = "4")]
    expected: String,
    #[prost(int64, tag = "5")]
    offset: i64,
    #[prost(bytes = "vec", tag = "6")]
    data: Vec<u8>,
}

/// `containerd.services.content.v1.WriteContentResponse`, without times.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteResponse {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(int64, tag = "4")]
    offset: i64,
    #[prost(int64, tag = "5")]
    total: i64,
    #[prost(string, tag = "6")]
    digest: String,
}

/// `containerd.services.content.v1.WriteAction`
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum Action {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

/// One blob being written (containerd, `plugins/services/content/contentserver`).
struct Writing {
    layout: Arc<Layout>,
    incoming: Option<Incoming>,
}

impl Writing {
    /// Does what one message asks; blocks.
    fn take(&mut self, asked: WriteRequest) -> Result<WriteResponse, Status> {
        let action = asked.action();
        let expected: Option<Digest> = asked.expected.parse().ok();
        let broken = |error: io::Error| Status::internal(error.to_string());
        let incoming = match &mut self.incoming {
            Some(incoming) => incoming,
            // Once it is begun it ends well, whoever else was quicker: a builder takes no such answer in the middle.
            none => {
                if expected.as_ref().and_then(|digest| self.layout.size(digest)).is_some() {
                    return Err(Status::already_exists(asked.expected));
                }
                none.insert(self.layout.begin().map_err(broken)?)
            }
        };
        if !asked.data.is_empty() {
            if u64::try_from(asked.offset) != Ok(incoming.size) {
                return Err(Status::out_of_range(format!("{} bytes have come so far", incoming.size)));
            }
            incoming.take(&asked.data).map_err(broken)?;
        }
        let (digest, size) = (incoming.digest(), incoming.size);
        if action == Action::Commit {
            if asked.total > 0 && u64::try_from(asked.total) != Ok(size) {
                return Err(Status::failed_precondition(format!(
                    "{size} bytes have come of {}",
                    asked.total
                )));
            }
            let whole = self.incoming.take().ok_or_else(|| Status::internal("it is written already"))?;
            let named = expected.unwrap_or_else(|| digest.clone());
            whole.keep(&named).map_err(|error| Status::failed_precondition(error.to_string()))?;
        }
        Ok(WriteResponse {
            action: asked.action,
            offset: i64::try_from(size).unwrap_or(i64::MAX),
            total: asked.total,
            digest: digest.to_string(),
        })
    }
}

impl StreamingService<WriteRequest> for LocalFolder {
    type Response = WriteResponse;
    type ResponseStream = Pin<Box<ReceiverStream<Result<WriteResponse, Status>>>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<WriteRequest>>) -> Self::Future {
        let Self { layout, access } = self.clone();
        Box::pin(async move {
            if access != Access::Writes {
                return Err(Status::permission_denied("this cache is only read"));
            }
            let mut messages = request.into_inner();
            let (to_disk, mut asked) = mpsc::channel(AHEAD);
            let (answers, answered) = mpsc::channel(AHEAD);
            tokio::spawn(async move {
                // What is broken off is not kept.
                while let Ok(Some(message)) = messages.message().await {
                    if to_disk.send(message).await.is_err() {
                        break;
                    }
                }
            });
            tokio::task::spawn_blocking(move || {
                let mut writing = Writing { layout, incoming: None };
                while let Some(message) = asked.blocking_recv() {
                    let answer = writing.take(message);
                    let is_over = answer.is_err();
                    if answers.blocking_send(answer).is_err() || is_over {
                        break;
                    }
                }
            });
            Ok(Response::new(Box::pin(ReceiverStream::new(answered))))
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::model::{CacheWay, CacheWays, sha256};

    fn asked(action: Action, expected: &Digest, offset: i64, data: &[u8]) -> WriteRequest {
        let expected = expected.to_string();
        WriteRequest {
            action: action as i32,
            expected,
            offset,
            data: data.to_vec(),
            ..WriteRequest::default()
        }
    }

    #[test]
    fn a_blob_is_kept_when_it_is_what_it_should_be() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Arc::new(Layout::at(folder.path().join("cache")));
        let writing = || Writing { layout: layout.clone(), incoming: None };
        let digest = sha256(b"a layer");
        let mut one = writing();
        assert_eq!(one.take(asked(Action::Stat, &digest, 0, b"")).expect("begun").offset, 0);
        assert_eq!(one.take(asked(Action::Write, &digest, 0, b"a ")).expect("taken").offset, 2);
        let gap = one.take(asked(Action::Write, &digest, 5, b"er")).expect_err("a gap");
        assert_eq!(gap.code(), Code::OutOfRange);
        assert_eq!(layout.size(&digest), None, "not before it is whole");
        let kept = one.take(asked(Action::Commit, &digest, 2, b"layer")).expect("kept");
        assert_eq!((kept.offset, kept.digest), (7, digest.to_string()));
        assert_eq!(layout.size(&digest), Some(7));
        let again = writing().take(asked(Action::Stat, &digest, 0, b"")).expect_err("it is here");
        assert_eq!(again.code(), Code::AlreadyExists);
        let both = sha256(b"shared");
        let (mut quick, mut slow) = (writing(), writing());
        slow.take(asked(Action::Write, &both, 0, b"sha")).expect("begun");
        quick.take(asked(Action::Commit, &both, 0, b"shared")).expect("kept");
        slow.take(asked(Action::Write, &both, 3, b"red")).expect("goes on");
        slow.take(asked(Action::Commit, &both, 6, b"")).expect("is the same");
        assert_eq!(layout.size(&both), Some(6));
        let other = sha256(b"something else");
        let mut wrong = writing();
        let refused = wrong.take(asked(Action::Commit, &other, 0, b"a layer")).expect_err("another one");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(layout.size(&other), None);
        drop((one, wrong, quick, slow));
        let left = std::fs::read_dir(folder.path().join("cache/blobs/sha256")).expect("a folder").count();
        assert_eq!(left, 2, "what was not kept is gone");
    }

    #[test]
    fn a_cache_is_looked_into_once_something_was_left_in_it() {
        let folder = tempfile::tempdir().expect("folder");
        let text = format!("type=local,dest={},tag=api", folder.path().join("cache").display());
        let ways: CacheWays = text.parse().expect("a cache");
        let [CacheWay::Builder(cache)] = &ways.0[..] else { panic!("one") };
        assert_eq!(told_of(cache), None, "nothing is there yet");
        let left = format!(r#"{{"mediaType":"m","digest":"{}","size":7}}"#, sha256(b"a cache"));
        let caches = std::slice::from_ref(cache);
        name(caches, &BTreeMap::from([(CACHE, left.as_str())])).expect("named");
        let told = told_of(cache).expect("there");
        let of = |wanted: &str| told.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
        assert_eq!(of("digest"), Some(sha256(b"a cache").to_string().as_str()));
        assert_eq!(of("src"), folder.path().join("cache").to_str());
        // What another image left stays.
        let ways: CacheWays = text.replace("tag=api", "tag=web").parse().expect("a cache");
        let [CacheWay::Builder(other)] = &ways.0[..] else { panic!("one") };
        assert_eq!(told_of(other), None);
        name(std::slice::from_ref(other), &BTreeMap::from([(CACHE, left.as_str())])).expect("named");
        assert!(told_of(cache).is_some() && told_of(other).is_some());
    }
}
