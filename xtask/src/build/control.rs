//! One connection to a BuildKit: its Control API (github.com/moby/buildkit, `api/services/control/control.proto`), and the
//! session that it asks us things through.
//!
//! An engine has it behind `POST /grpc`, upgraded to h2c (moby, `api/server/router/grpc`). Dropping the connection ends
//! everything that the builder does for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{
    BytesMessage, InfoRequest, ListWorkersRequest, SolveRequest, SolveResponse, StatusRequest, StatusResponse,
};
use bollard_buildkit_proto::pb::Platform;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncWrite, join};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use tokio_util::sync::PollSender;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic_prost::ProstCodec;

use super::Worker;
use super::session::BuildSession;
use crate::engine::builders::BuilderNode;
use crate::engine::http::{WireError, chain, empty, target};
use crate::engine::{DockerEngine, EngineError};

/// The largest message that is taken, as buildctl has it (buildkit, `util/grpcutil`: 16 MiB).
pub(super) const LARGEST_MESSAGE: usize = 16 << 20;
/// Messages of the session that may wait for the network.
const MESSAGES_AHEAD: usize = 16;
/// A connection that is over says why soon.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Names nobody: gRPC wants an authority, and a socket has none.
const ORIGIN: &str = "http://localhost";

/// A connection.
pub(super) struct Control {
    client: ControlClient<Channel>,
    /// What `client` speaks on.
    channel: Channel,
    /// Ends with what went wrong, if anything did.
    connection: AbortOnDropHandle<Option<String>>,
}

impl Control {
    /// Opens one to a daemon.
    pub(super) async fn dial(node: &BuilderNode) -> Result<Self, EngineError> {
        Self::over(TokioIo::new(node.wire.dial().await?)).await
    }

    /// Opens one to an engine's own builder.
    pub(super) async fn open(engine: &DockerEngine) -> Result<Self, EngineError> {
        Self::over(upgraded(engine, "/grpc", HeaderMap::new()).await?).await
    }

    /// Lets an engine's builder ask `session` things, on a connection of its own, as an engine takes it too (moby,
    /// `api/server/router/session`): files are framed once there, and twice inside a stream of the Control API.
    pub(super) async fn serve_beside(
        engine: &DockerEngine,
        session: BuildSession,
    ) -> Result<AbortOnDropHandle<()>, EngineError> {
        let stream = upgraded(engine, "/session", session.metadata().into_headers()).await?;
        Ok(AbortOnDropHandle::new(tokio::spawn(answer(stream, session))))
    }

    /// Speaks on a connection that is open.
    async fn over<S>(stream: S) -> Result<Self, EngineError>
    where
        S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let mut http = Builder::new(TokioExecutor::new());
        let (sender, connection) = http
            .adaptive_window(true)
            .handshake(stream)
            .await
            .map_err(|error| EngineError::Gone(chain(&error)))?;
        let connection = tokio::spawn(async move { connection.await.err().map(|error| chain(&error)) });
        let connection = AbortOnDropHandle::new(connection);
        let channel = Channel(sender);
        let client = ControlClient::with_origin(channel.clone(), Uri::from_static(ORIGIN))
            .max_decoding_message_size(LARGEST_MESSAGE);
        Ok(Self { client, channel, connection })
    }

    /// Why the connection ended: whoever waited for an answer only hears that it did.
    pub(super) async fn why_gone(&mut self) -> Option<String> {
        tokio::time::timeout(LAST_WORDS, &mut self.connection).await.ok()?.ok()?
    }

    /// Lets the builder ask `session` things for as long as what is returned is kept. The builder sees to it that this comes
    /// first: it waits for the session that a build names.
    pub(super) fn serve(&self, session: BuildSession) -> AbortOnDropHandle<()> {
        let mut client = self.client.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let (outgoing, messages) = mpsc::channel(MESSAGES_AHEAD);
            let mut request = tonic::Request::new(ReceiverStream::new(messages));
            *request.metadata_mut() = session.metadata();
            // Why there is none, or how it ended, the build says.
            let Ok(offered) = client.session(request).await else { return };
            let incoming = offered.into_inner();
            let incoming = incoming.map_ok(|message| Bytes::from(message.data)).map_err(io::Error::other);
            let pipe = join(StreamReader::new(incoming), Messages(PollSender::new(outgoing)));
            answer(TokioIo::new(pipe), session).await;
        }))
    }

    /// What the daemon is, and what its workers build for.
    pub(super) async fn about(&self) -> Result<(Option<String>, Vec<Worker>), Status> {
        let mut client = self.client.clone();
        let workers = client.list_workers(ListWorkersRequest::default()).await?.into_inner().record;
        // Daemons before 0.11 do not tell (buildkit, `control/control.go`).
        let version = match client.info(InfoRequest {}).await {
            Ok(info) => info.into_inner().buildkit_version.map(|known| known.version),
            Err(_) => None,
        };
        let platform = |p: &Platform| {
            crate::model::Platform::new(
                &p.os,
                &p.architecture,
                Some(p.variant.as_str()).filter(|v| !v.is_empty()),
            )
        };
        let workers = workers.into_iter().map(|worker| Worker {
            platforms: worker.platforms.iter().map(platform).collect(),
            labels: worker.labels.into_iter().collect(),
            id: worker.id,
        });
        Ok((version, workers.collect()))
    }

    /// Builds; comes back when it is over.
    pub(super) async fn solve(&self, request: SolveRequest) -> Result<SolveResponse, Status> {
        Ok(self.client.clone().solve(request).await?.into_inner())
    }

    /// Asks within a build that was opened without a front end, by that build's name (buildkit, `client/buildid`).
    pub(super) async fn ask_gateway<Q, A>(&self, build: &str, verb: &str, question: Q) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut client = Grpc::with_origin(self.channel.clone(), Uri::from_static(ORIGIN))
            .max_decoding_message_size(LARGEST_MESSAGE);
        let path = format!("/moby.buildkit.v1.frontend.LLBBridge/{verb}");
        let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
        let mut request = tonic::Request::new(question);
        let name = build.parse().map_err(|_| Status::internal("a build's name is no ASCII"))?;
        request.metadata_mut().insert("buildkit-controlapi-buildid", name);
        client.ready().await.map_err(|error| Status::unknown(chain(&error)))?;
        Ok(client.unary(request, path, ProstCodec::<Q, A>::default()).await?.into_inner())
    }

    /// What a build tells, until it is over. It may be asked for before the build begins.
    pub(super) fn status(&self, build: String) -> mpsc::Receiver<StatusResponse> {
        let (tell, told) = mpsc::channel(MESSAGES_AHEAD);
        let mut client = self.client.clone();
        tokio::spawn(async move {
            let request = StatusRequest { r#ref: build };
            let messages = async {
                let mut messages = client.status(request).await?.into_inner();
                while let Some(message) = messages.message().await? {
                    if tell.send(message).await.is_err() {
                        break;
                    }
                }
                Ok::<(), Status>(())
            };
            tokio::select! {
                () = tell.closed() => {}
                // The build itself says how it ended.
                _ = messages => {}
            }
        });
        told
    }
}

/// A connection to something of an engine's that is no HTTP/1.1.
async fn upgraded(engine: &DockerEngine, path: &str, headers: HeaderMap) -> Result<Upgraded, EngineError> {
    let mut request = Request::post(target(engine.api, path, &[]))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "h2c")
        .body(empty())
        .map_err(|error| EngineError::Other(error.to_string()))?;
    request.headers_mut().extend(headers);
    let answer = engine.wire.call(request, "its builder").await?;
    let unfit = |error: WireError| EngineError::Unfit {
        endpoint: engine.endpoint().to_owned(),
        lacks: format!("offers no BuildKit: {error}"),
    };
    answer.upgrade().await.map_err(unfit)
}

/// Answers whatever is asked on a connection, until it ends. Why it does, the build says.
async fn answer<S>(stream: S, session: BuildSession)
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(stream, TowerToHyperService::new(session.into_routes()))
        .await;
}

/// gRPC over a connection of ours.
#[derive(Clone)]
pub(super) struct Channel(SendRequest<tonic::body::Body>);

impl Service<Request<tonic::body::Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// What we write to the session, as messages.
struct Messages(PollSender<BytesMessage>);

impl AsyncWrite for Messages {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.0.poll_reserve(context)).map_err(closed)?;
        self.0.send_item(BytesMessage { data: bytes.to_vec() }).map_err(closed)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    pub(in crate::build) use super::Channel;
    use super::*;

    /// Whoever asks what `routes` answer.
    pub(in crate::build) async fn connected(routes: tonic::service::Routes) -> Channel {
        let (near, far) = tokio::io::duplex(64 << 10);
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(far), TowerToHyperService::new(routes));
        tokio::spawn(server);
        let client = Builder::new(TokioExecutor::new()).handshake(TokioIo::new(near));
        let (sender, connection) = client.await.expect("a connection");
        tokio::spawn(connection);
        Channel(sender)
    }
}
