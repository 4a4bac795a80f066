//! What a builder has built, on its way into an engine or a layout: one stream of an archive (buildkit, `session/filesync`,
//! `FileSend`), handed on as it comes. Nothing of it is held here, and the builder waits where the other side is slower.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::moby::filesync::v1::BytesMessage;
use bollard_buildkit_proto::moby::filesync::v1::file_send_server::FileSend;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::engine::layout::Layout;
use crate::engine::{DockerEngine, EngineError, ImageStore, Store as _};
use crate::model::Reference;

/// Pieces that wait for the disk.
const PIECES_AHEAD: usize = 4;

/// Who takes an archive. A clone speaks of the same one.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    taker: Taker,
    trouble: Arc<Mutex<Option<EngineError>>>,
}

/// Where it goes.
#[derive(Clone, Debug)]
pub(super) enum Taker {
    /// An engine, which keeps images so.
    Engine(Box<DockerEngine>, ImageStore),
    /// A folder, under these names.
    Layout(Arc<Layout>, Vec<Reference>),
}

impl Delivery {
    /// Nothing has come yet.
    pub(super) fn to(taker: Taker) -> Self {
        Self { taker, trouble: Arc::default() }
    }

    /// Where it goes.
    pub(super) fn taker(&self) -> &Taker {
        &self.taker
    }

    /// What was said against it there; the builder's own words for it are worse.
    pub(super) fn trouble(&self) -> Option<EngineError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Taker {
    async fn take(self, archive: BoxStream<'static, io::Result<Bytes>>) -> Result<(), EngineError> {
        match self {
            Self::Engine(engine, _) => engine.load(archive).await.map(drop),
            Self::Layout(layout, names) => {
                let folder = layout.path().display().to_string();
                let taken = lay_out(layout, names, archive).await;
                taken.map_err(|error| EngineError::Other(format!("{folder}: {error}")))
            }
        }
    }
}

async fn lay_out(
    layout: Arc<Layout>,
    names: Vec<Reference>,
    mut archive: BoxStream<'static, io::Result<Bytes>>,
) -> io::Result<()> {
    let (pieces, read) = mpsc::channel(PIECES_AHEAD);
    let taking =
        tokio::task::spawn_blocking(move || layout.take(Pieces { read, piece: Bytes::new() }, &names));
    while let Some(piece) = archive.next().await {
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    taking.await.map_err(io::Error::other)?
}

/// A stream for a thread that blocks.
struct Pieces {
    read: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.read.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let piece = self.piece.split_to(self.piece.len().min(buffer.len()));
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[tonic::async_trait]
impl FileSend for Delivery {
    type DiffCopyStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let archive = request.into_inner();
        // A build that breaks off ends in an error here, and whoever takes it drops what came.
        let archive = archive.map_ok(|message| Bytes::from(message.data)).map_err(io::Error::other);
        let Self { taker, trouble } = self.clone();
        let taken = async move {
            let error = taker.take(archive.boxed()).await.err()?;
            let status = Status::aborted(error.to_string());
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Some(Err(status))
        };
        // The builder takes the end of the answer for the end of the work.
        Ok(Response::new(Box::pin(stream::once(taken).filter_map(std::future::ready))))
    }
}
