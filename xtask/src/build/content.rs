//! Images of an engine's store, lent to a builder that has none: containerd's content service, as far as BuildKit asks for it
//! (github.com/containerd/containerd, `api/services/content/v1/content.proto`; buildkit, `source/containerimage/ocilayout.go`).
//!
//! In: images whose blobs lie in the store of blobs. Out: their bytes, by digest. What was not lent is not there.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::control::LARGEST_MESSAGE;
use super::folders::{LocalFolder, LocalFolders};
use crate::bundle::manifest::StoredImage;
use crate::bundle::store::BlobStore;
use crate::engine::layout::Layout;
use crate::model::{BuildSpec, Digest, Reference};

/// What the builder calls our store of content.
pub(super) const STORE: &str = "xtask";
/// The metadata by which it does (buildkit, `session/content/attachable.go`).
const STORE_KEY: &str = "buildkit-attachable-store-id";
/// How much is in one message.
const CHUNK: usize = 1 << 20;
const CHUNKS_AHEAD: usize = 2;

/// Images that a build may stand on.
#[derive(Debug, Default)]
pub(super) struct Lent {
    /// The manifests, by what the Dockerfile calls the images.
    pub(super) names: BTreeMap<Reference, Digest>,
    manifests: BTreeMap<Digest, Bytes>,
    /// Sizes of what lies in the store.
    blobs: BTreeMap<Digest, u64>,
    store: Blobs,
}

/// Where blobs lie.
#[derive(Debug, Default)]
enum Blobs {
    /// There are none.
    #[default]
    Nowhere,
    Store(BlobStore),
    Layout(Arc<Layout>),
}

impl Lent {
    /// Images that lie in this store, by what the Dockerfile calls them.
    pub(super) fn new(store: BlobStore, images: impl IntoIterator<Item = (Reference, StoredImage)>) -> Self {
        let mut lent = Self { store: Blobs::Store(store), ..Self::default() };
        for (name, image) in images {
            let manifest = image.manifest.descriptor.digest;
            lent.names.insert(name, manifest.clone());
            lent.manifests.insert(manifest, image.manifest.bytes.into());
            let blobs = image.layers.into_iter().map(|layer| layer.blob).chain([image.config]);
            lent.blobs.extend(blobs.map(|blob| (blob.digest, blob.size)));
        }
        lent
    }

    /// What of these a layout has, by what the Dockerfile calls it.
    pub(super) fn of_layout(layout: &Arc<Layout>, spec: &BuildSpec) -> Self {
        let mut lent = Self { store: Blobs::Layout(layout.clone()), ..Self::default() };
        for (name, there) in &spec.contexts {
            if let Some(found) = layout.find(there, &spec.platform) {
                let (digest, text) = found.manifest;
                lent.names.insert(name.clone(), digest.clone());
                lent.manifests.insert(digest, text.into());
                lent.blobs.extend(found.blobs);
            }
        }
        lent
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        let manifest = self.manifests.get(digest).map(|bytes| bytes.len() as u64);
        manifest.or_else(|| self.blobs.get(digest).copied())
    }

    /// A blob from `offset` on.
    fn open(&self, digest: &Digest, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(match (self.manifests.get(digest), &self.store) {
            (Some(bytes), _) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Box::new(&bytes[start..])
            }
            (None, Blobs::Store(store)) => Box::new(store.open_at(digest, offset)?),
            (None, Blobs::Layout(layout)) => Box::new(open_in(layout, digest, offset)?),
            (None, Blobs::Nowhere) => return Err(io::ErrorKind::NotFound.into()),
        })
    }
}

fn open_in(layout: &Layout, digest: &Digest, offset: u64) -> io::Result<File> {
    let mut file = File::open(layout.blob(digest))?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file)
}

/// What a builder may read under one name.
#[derive(Clone)]
enum Readable {
    Lent(Arc<Lent>),
    Folder(LocalFolder),
}

impl Readable {
    fn size(&self, digest: &str) -> Result<(Digest, u64), Status> {
        let unknown = || Status::not_found(format!("{digest} is not here"));
        let known: Digest = digest.parse().map_err(|_| unknown())?;
        let size = match self {
            Self::Lent(lent) => lent.size(&known),
            Self::Folder(folder) => folder.layout.size(&known),
        };
        Ok((known, size.ok_or_else(unknown)?))
    }

    /// Hands on a part of a blob, piece by piece; blocks.
    fn send(
        &self,
        digest: &Digest,
        part: (u64, u64),
        tell: &mut dyn FnMut(ReadResponse) -> bool,
    ) -> io::Result<()> {
        let (mut offset, mut left) = part;
        let mut source: Box<dyn Read + '_> = match self {
            Self::Lent(lent) => lent.open(digest, offset)?,
            Self::Folder(folder) => Box::new(open_in(&folder.layout, digest, offset)?),
        };
        while left > 0 {
            let mut data = Vec::new();
            source.by_ref().take(left.min(CHUNK as u64)).read_to_end(&mut data)?;
            if data.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let read = data.len() as u64;
            if !tell(ReadResponse { offset: i64::try_from(offset).unwrap_or(i64::MAX), data }) {
                return Ok(());
            }
            (offset, left) = (offset + read, left - read);
        }
        Ok(())
    }
}

/// `containerd.services.content.v1.InfoRequest`
#[derive(Clone, PartialEq, prost::Message)]
struct InfoRequest {
    #[prost(string, tag = "1")]
    digest: String,
}

/// `containerd.services.content.v1.Info`, without times and labels.
#[derive(Clone, PartialEq, prost::Message)]
struct Info {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    size: i64,
}

/// `containerd.services.content.v1.InfoResponse`
#[derive(Clone, PartialEq, prost::Message)]
struct InfoResponse {
    #[prost(message, optional, tag = "1")]
    info: Option<Info>,
}

/// `containerd.services.content.v1.ReadContentRequest`
#[derive(Clone, PartialEq, prost::Message)]
struct ReadRequest {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    offset: i64,
    /// 0 is all that is left.
    #[prost(int64, tag = "3")]
    size: i64,
}

/// `containerd.services.content.v1.ReadContentResponse`
#[derive(Clone, PartialEq, prost::Message)]
struct ReadResponse {
    #[prost(int64, tag = "1")]
    offset: i64,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

/// Serves what is lent, and what lies in folders.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) lent: Arc<Lent>,
    pub(super) folders: Arc<LocalFolders>,
}

impl Content {
    /// What the builder calls so.
    fn named(&self, store: &str) -> Option<Readable> {
        match self.folders.get(store) {
            Some(folder) => Some(Readable::Folder(folder.clone())),
            None => (store == format!("oci:{STORE}")).then(|| Readable::Lent(self.lent.clone())),
        }
    }
}

impl NamedService for Content {
    const NAME: &'static str = "containerd.services.content.v1.Content";
}

impl Service<http::Request<Body>> for Content {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let store = request.headers().get(STORE_KEY).and_then(|name| name.to_str().ok());
        let store = store.and_then(|name| self.named(name));
        Box::pin(async move {
            let Some(store) = store else {
                return Ok(Status::not_found("no such store of content").into_http());
            };
            let method = request.uri().path().rsplit('/').next().map(str::to_owned).unwrap_or_default();
            Ok(match (method.as_str(), store) {
                ("Info", store) => Grpc::new(ProstCodec::default()).unary(store, request).await,
                ("Read", store) => Grpc::new(ProstCodec::default()).server_streaming(store, request).await,
                ("Write", Readable::Folder(folder)) => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc = grpc.max_decoding_message_size(LARGEST_MESSAGE);
                    grpc.streaming(folder, request).await
                }
                _ => Status::unimplemented("what is lent is only read").into_http(),
            })
        })
    }
}

impl UnaryService<InfoRequest> for Readable {
    type Response = InfoResponse;
    type Future = BoxFuture<Response<InfoResponse>, Status>;

    fn call(&mut self, request: Request<InfoRequest>) -> Self::Future {
        let found = self.size(&request.into_inner().digest).map(|(digest, size)| {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            Response::new(InfoResponse { info: Some(Info { digest: digest.to_string(), size }) })
        });
        Box::pin(std::future::ready(found))
    }
}

impl ServerStreamingService<ReadRequest> for Readable {
    type Response = ReadResponse;
    type ResponseStream = Pin<Box<ReceiverStream<Result<ReadResponse, Status>>>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<ReadRequest>) -> Self::Future {
        let ReadRequest { digest, offset, size: wanted } = request.into_inner();
        let store = self.clone();
        Box::pin(async move {
            let (digest, size) = store.size(&digest)?;
            let offset = u64::try_from(offset).ok().filter(|offset| *offset <= size);
            let offset = offset.ok_or_else(|| Status::out_of_range(format!("{digest} has {size} bytes")))?;
            let left = size - offset;
            let wanted =
                u64::try_from(wanted).ok().filter(|wanted| *wanted > 0).map_or(left, |w| w.min(left));
            let (pieces, to_send) = mpsc::channel(CHUNKS_AHEAD);
            tokio::task::spawn_blocking(move || {
                let mut tell = |piece| pieces.blocking_send(Ok(piece)).is_ok();
                if let Err(error) = store.send(&digest, (offset, wanted), &mut tell) {
                    // Whoever asked may be gone.
                    let _ = pieces.blocking_send(Err(Status::internal(format!("{digest}: {error}"))));
                }
            });
            Ok(Response::new(Box::pin(ReceiverStream::new(to_send))))
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic::client::Grpc as Client;
    use tonic::service::Routes;

    use super::super::control::tests::connected;
    use super::*;
    use crate::bundle::BLOBS;
    use crate::host::inside::Folder;

    const METHODS: &str = "/containerd.services.content.v1.Content";

    fn asked<T>(store: &'static str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let store = tonic::metadata::MetadataValue::from_static(store);
        request.metadata_mut().insert("buildkit-attachable-store-id", store);
        request
    }

    /// A builder's question about the size of a blob, and what it gets of it from `offset` on.
    async fn ask(
        lent: &Arc<Lent>,
        store: &'static str,
        digest: &Digest,
        offset: i64,
    ) -> Result<(i64, Vec<u8>), Status> {
        let routes = Routes::new(Content { lent: lent.clone(), folders: Arc::default() }).prepare();
        let origin = http::Uri::from_static("http://localhost");
        let mut client = Client::with_origin(connected(routes).await, origin);
        let ready = |_| Status::unavailable("gone");
        client.ready().await.map_err(ready)?;
        let question = asked(store, InfoRequest { digest: digest.to_string() });
        let path = http::uri::PathAndQuery::from_static("/containerd.services.content.v1.Content/Info");
        let told = client.unary(question, path, ProstCodec::<_, InfoResponse>::default()).await?.into_inner();
        client.ready().await.map_err(ready)?;
        let question = asked(store, ReadRequest { digest: digest.to_string(), offset, size: 0 });
        let path = http::uri::PathAndQuery::try_from(format!("{METHODS}/Read")).expect("a path");
        let codec = ProstCodec::<_, ReadResponse>::default();
        let mut pieces = client.server_streaming(question, path, codec).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.message().await? {
            bytes.extend(piece.data);
        }
        Ok((told.info.unwrap_or_default().size, bytes))
    }

    #[tokio::test]
    async fn a_builder_reads_what_it_was_lent_and_nothing_else_of_the_store() {
        let folder = tempfile::tempdir().expect("folder");
        let store = BlobStore::open(&Folder::open(folder.path()).expect("open"), BLOBS).expect("a store");
        let (config, other) = (vec![b'c'; 3 * CHUNK / 2], b"another image's".to_vec());
        let of_other = store.put_config(&other).expect("kept");
        let of_config = store.put_config(&config).expect("kept");
        let mut lent = Lent { store: Blobs::Store(store), ..Lent::default() };
        lent.blobs.insert(of_config.clone(), config.len() as u64);
        let manifest = Digest::from_sha256(&[7; 32]);
        lent.manifests.insert(manifest.clone(), Bytes::from_static(b"{}"));
        let lent = Arc::new(lent);
        assert_eq!(
            ask(&lent, "oci:xtask", &of_config, 0).await.expect("lent"),
            (config.len() as i64, config.clone())
        );
        let end = ask(&lent, "oci:xtask", &of_config, config.len() as i64 - 2).await.expect("lent");
        assert_eq!(end.1, b"cc");
        assert_eq!(ask(&lent, "oci:xtask", &manifest, 1).await.expect("lent"), (2, b"}".to_vec()));
        for (store, digest, offset, code) in [
            ("oci:xtask", &of_other, 0, Code::NotFound),
            ("oci:other", &of_config, 0, Code::NotFound),
            ("xtask", &of_config, 0, Code::NotFound),
            ("oci:xtask", &of_config, -1, Code::OutOfRange),
            ("oci:xtask", &of_config, i64::MAX, Code::OutOfRange),
        ] {
            let refused = ask(&lent, store, digest, offset).await.expect_err(store);
            assert_eq!(refused.code(), code, "{store} {digest} {offset}: {refused}");
        }
    }
}
