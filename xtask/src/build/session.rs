//! A BuildKit session: a gRPC server of ours that the builder asks through the connection that we opened to it
//! (github.com/moby/buildkit, `session/`).
//!
//! In: what a build may read, and where credentials are. Out: a session id for the build to name, and answers.

use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::health;
use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::filesync::v1 as filesync;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard_buildkit_proto::moby::filesync::v1::file_send_server::FileSendServer;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::{FileSync, FileSyncServer};
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::Routes;
use tonic::{Response, Status, Streaming};

use super::content::{Content, Lent};
use super::control::LARGEST_MESSAGE;
use super::delivery::Delivery;
use super::filesync::{PACKETS_AHEAD, SentTree};
use super::folders::LocalFolders;
use super::secrets::{Agents, SecretsService};
use crate::model::BuildSecrets;
use crate::registry::credentials::Credentials;

/// The ignore file that front ends ask the context for, before anything else.
const IGNORE_FILE: &str = ".dockerignore";

/// What a session serves.
pub(super) struct Served {
    /// The Dockerfile.
    pub(super) dockerfile: Arc<SentTree>,
    /// The build context.
    pub(super) context: Arc<SentTree>,
    /// Answers what registries ask the builder.
    pub(super) credentials: Credentials,
    /// What is in no layer.
    pub(super) secrets: BuildSecrets,
    /// Images that it may build on.
    pub(super) lent: Arc<Lent>,
    /// Caches and images in folders.
    pub(super) folders: Arc<LocalFolders>,
    /// What takes the result; none where it does not come here.
    pub(super) delivery: Option<Delivery>,
}

/// A session that a builder is offered.
pub(super) struct BuildSession {
    id: String,
    shared_key: String,
    served: Served,
}

impl BuildSession {
    /// Builds with the same `shared_key` reuse what the builder was sent before; it has to be ASCII, since it travels in a
    /// header.
    pub(super) fn new(shared_key: String, served: Served) -> Self {
        Self { id: random_id(), shared_key, served }
    }

    /// What a build names it by.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What the builder has to know of it (buildkit, `session/manager.go`).
    pub(super) fn metadata(&self) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        let mut methods = vec!["/moby.filesync.v1.FileSync/DiffCopy", "/moby.filesync.v1.Auth/Credentials"];
        if !self.served.secrets.secrets.is_empty() {
            methods.push("/moby.buildkit.secrets.v1.Secrets/GetSecret");
        }
        if !self.served.secrets.ssh.is_empty() {
            methods.extend(["/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"]);
        }
        if !self.served.lent.names.is_empty() || !self.served.folders.is_empty() {
            methods.extend([
                "/containerd.services.content.v1.Content/Info",
                "/containerd.services.content.v1.Content/Read",
            ]);
        }
        if self.served.delivery.is_some() {
            methods.push("/moby.filesync.v1.FileSend/DiffCopy");
        }
        let methods = methods.into_iter().map(|method| ("x-docker-expose-session-grpc-method", method));
        let about = [
            ("x-docker-expose-session-uuid", self.id.as_str()),
            ("x-docker-expose-session-name", "xtask"),
            ("x-docker-expose-session-sharedkey", self.shared_key.as_str()),
        ];
        for (name, value) in about.into_iter().chain(methods) {
            if let Ok(value) = MetadataValue::try_from(value) {
                metadata.append(name, value);
            }
        }
        metadata
    }

    /// Answers to what it asks.
    pub(super) fn into_routes(mut self) -> Routes {
        let credentials = self.served.credentials.clone();
        let BuildSecrets { secrets, ssh } = std::mem::take(&mut self.served.secrets);
        let content = Content { lent: self.served.lent.clone(), folders: self.served.folders.clone() };
        let delivery = self.served.delivery.take();
        let delivered = |to| FileSendServer::new(to).max_decoding_message_size(LARGEST_MESSAGE);
        let mut routes = Routes::new(FileSyncServer::new(self.served));
        if let Some(delivery) = delivery {
            routes = routes.add_service(delivered(delivery));
        }
        routes
            .add_service(content)
            .add_service(AuthServer::new(Registries { credentials }))
            .add_service(SecretsServer::new(SecretsService(secrets)))
            .add_service(SshServer::new(Agents::new(ssh)))
            .add_service(HealthServer::new(Alive))
            .prepare()
    }
}

/// 128 random bits as hex; the standard library's hash seeds are its one source of randomness.
pub(super) fn random_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    let word = || RandomState::new().hash_one(std::time::Instant::now());
    format!("{:016x}{:016x}", word(), word())
}

type Packets = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

#[tonic::async_trait]
impl FileSync for Served {
    type DiffCopyStream = Packets;
    type TarStreamStream = Packets;

    async fn diff_copy(
        &self,
        request: tonic::Request<Streaming<Packet>>,
    ) -> Result<Response<Packets>, Status> {
        let asked = |key: &str| -> Vec<String> {
            request
                .metadata()
                .get_all(key)
                .iter()
                .filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect()
        };
        let names = asked("dir-name");
        let tree = match names.first().map(String::as_str) {
            Some("dockerfile") => self.dockerfile.clone(),
            // The list of files is the result of the ignore rules already: applied twice, they could take
            // away what an instruction of another ignore file brought back.
            Some("context") if asked("followpaths") == [IGNORE_FILE] => Arc::new(SentTree::empty()),
            Some("context") => self.context.clone(),
            other => {
                let name = other.unwrap_or_default();
                return Err(Status::not_found(format!("no folder `{name}` in this build")));
            }
        };
        Ok(Response::new(serve(tree, request.into_inner())))
    }

    async fn tar_stream(&self, _: tonic::Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        Err(Status::unimplemented("files are served by DiffCopy"))
    }
}

/// One thread that may block reads files; one task hears what the builder wants.
fn serve(tree: Arc<SentTree>, mut incoming: Streaming<Packet>) -> Packets {
    let (packets, to_send) = mpsc::channel(PACKETS_AHEAD);
    let (ask, asked) = mpsc::unbounded_channel();
    let sender = packets.clone();
    tokio::task::spawn_blocking(move || tree.send(&sender, asked));
    tokio::spawn(async move {
        loop {
            let packet = tokio::select! {
                packet = incoming.message() => packet,
                () = packets.closed() => return,
            };
            let Ok(Some(packet)) = packet else { return };
            match PacketType::try_from(packet.r#type) {
                Ok(PacketType::PacketReq) => {
                    if ask.send(packet.id).is_err() {
                        return;
                    }
                }
                Ok(PacketType::PacketFin) => {
                    let fin = Packet { r#type: PacketType::PacketFin.into(), ..Packet::default() };
                    let _ = packets.send(Ok(fin)).await;
                    return;
                }
                // Why, the build says.
                Ok(PacketType::PacketErr) => return,
                Ok(PacketType::PacketStat | PacketType::PacketData) | Err(_) => {}
            }
        }
    });
    Box::pin(stream::unfold(to_send, |mut to_send| async move {
        to_send.recv().await.map(|packet| (packet, to_send))
    }))
}

/// Answers for what `FROM` and `# syntax=` pull.
struct Registries {
    credentials: Credentials,
}

#[tonic::async_trait]
impl Auth for Registries {
    async fn credentials(
        &self,
        request: tonic::Request<filesync::CredentialsRequest>,
    ) -> Result<Response<filesync::CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let (username, secret) = self
            .credentials
            .find(&host)
            .await
            .map(crate::registry::credentials::Login::into_parts)
            .unwrap_or_default();
        Ok(Response::new(filesync::CredentialsResponse { username, secret }))
    }

    // Without these three the builder fetches tokens itself, with the credentials above.

    async fn fetch_token(
        &self,
        _: tonic::Request<filesync::FetchTokenRequest>,
    ) -> Result<Response<filesync::FetchTokenResponse>, Status> {
        Err(Status::unimplemented("tokens are the builder's to fetch"))
    }

    async fn get_token_authority(
        &self,
        _: tonic::Request<filesync::GetTokenAuthorityRequest>,
    ) -> Result<Response<filesync::GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("tokens are the builder's to fetch"))
    }

    async fn verify_token_authority(
        &self,
        _: tonic::Request<filesync::VerifyTokenAuthorityRequest>,
    ) -> Result<Response<filesync::VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("tokens are the builder's to fetch"))
    }
}

/// The builder asks every few seconds whether we are still there.
struct Alive;

#[tonic::async_trait]
impl Health for Alive {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<health::HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        _: tonic::Request<health::HealthCheckRequest>,
    ) -> Result<Response<health::HealthCheckResponse>, Status> {
        let status = health::health_check_response::ServingStatus::Serving.into();
        Ok(Response::new(health::HealthCheckResponse { status }))
    }

    async fn list(
        &self,
        _: tonic::Request<health::HealthListRequest>,
    ) -> Result<Response<health::HealthListResponse>, Status> {
        Err(Status::unimplemented("only `Check` is answered"))
    }

    async fn watch(
        &self,
        _: tonic::Request<health::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only `Check` is answered"))
    }
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::filesync::v1::file_sync_client::FileSyncClient;
    use tonic::Code;

    use super::super::control::tests::connected;
    use super::*;
    use crate::model::{BuildSpec, ContextFile, ContextFileKind, ContextFiles, Digest};

    /// What a builder gets that asks for `folder` and then for the file of this number.
    async fn ask(folder: &'static str, file: u32) -> Result<Vec<u8>, Status> {
        let tree = tempfile::tempdir().expect("folder");
        std::fs::write(tree.path().join("in"), "inside").expect("written");
        std::fs::write(tree.path().join("out"), "not in the list").expect("written");
        let digest = "fea0d14f3b93ce51a2bba3d3a9c9a2b6a9a8d0c2b0b0b0b0b0b0b0b0b0b0b0b0";
        let digest: Digest = format!("sha256:{digest}").parse().expect("digest");
        let kind = ContextFileKind::File { size: 6, digest };
        let file_in = ContextFile { path: "in".to_owned(), mode: 0o644, kind, source: None };
        let spec =
            BuildSpec { files: ContextFiles::new([(file_in, true)]), ..super::super::solve::tests::spec() };
        let context = SentTree::of_context(tree.path().to_owned(), &spec).expect("a context");
        let served = Served {
            dockerfile: Arc::new(SentTree::of_dockerfile("Dockerfile", "FROM scratch\n")),
            context: Arc::new(context),
            credentials: Credentials::default(),
            secrets: BuildSecrets::default(),
            lent: Arc::default(),
            folders: Arc::default(),
            delivery: None,
        };
        let session = BuildSession::new("key".to_owned(), served);
        let mut client = FileSyncClient::with_origin(
            connected(session.into_routes()).await,
            http::Uri::from_static("http://localhost"),
        );
        let wanted = Packet { r#type: PacketType::PacketReq.into(), id: file, ..Packet::default() };
        let (ask, asked) = mpsc::channel(4);
        ask.send(wanted).await.expect("open");
        let mut request = tonic::Request::new(stream::unfold(asked, |mut asked| async move {
            asked.recv().await.map(|packet| (packet, asked))
        }));
        request.metadata_mut().insert("dir-name", MetadataValue::from_static(folder));
        let mut packets = client.diff_copy(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(packet) = packets.message().await? {
            let is_end = packet.r#type == i32::from(PacketType::PacketData) && packet.data.is_empty();
            bytes.extend(packet.data);
            if is_end {
                break;
            }
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_builder_gets_what_was_offered_and_nothing_else() {
        assert_eq!(ask("dockerfile", 0).await.expect("offered"), b"FROM scratch\n");
        for folder in ["/etc", "..", "", "home"] {
            assert_eq!(ask(folder, 0).await.expect_err(folder).code(), Code::NotFound, "{folder}");
        }
        // A file that was never listed, by whatever number.
        for number in [1, 7, u32::MAX] {
            let refused = ask("context", number).await.expect_err("not offered");
            assert!(refused.message().contains("which was never offered"), "{refused}");
        }
    }
}
