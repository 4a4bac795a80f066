//! What a build may be told that is in no layer: secrets (`moby.buildkit.secrets.v1`) and ssh agents
//! (`moby.sshforward.v1`), as buildkit's `session/secrets` and `session/sshforward` serve them.
//!
//! In: what was given, by ID. Out: answers to a builder that asks. A value is read when it is asked for and goes nowhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::Secrets;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::Ssh;
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::OnceCell;
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};

use crate::host::{Conversation, HostCommand};
use crate::model::{MAX_SECRET, SecretSource, SshSource};

/// By which a builder says whose agent it wants (`session/sshforward/ssh.go`, `KeySSHID`).
const SSH_ID: &str = "buildkit.ssh.id";
/// Adds keys to the agent that it runs under, says where that listens, and stays until nobody needs it. By itself the agent
/// would only look every ten seconds whether it is needed.
const ADD_KEYS: &str = r#"trap 'kill "$SSH_AGENT_PID"' EXIT
ssh-add -q -- "$@" </dev/null >&2 && echo "$SSH_AUTH_SOCK" && cat >/dev/null && exit
echo 'ssh-add does not take them: a key is in a file that only its owner can read, without a passphrase' >&2
exit 1"#;

/// Hands out secrets.
pub(super) struct SecretsService(pub(super) BTreeMap<String, SecretSource>);

#[tonic::async_trait]
impl Secrets for SecretsService {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        // By this a mount that can do without it does.
        let unknown = || Status::not_found(format!("secret {id}: not found"));
        let data = match self.0.get(&id).ok_or_else(unknown)? {
            SecretSource::Variable { value, .. } => value.reveal().as_bytes().to_vec(),
            SecretSource::File(path) => read(path).await.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => unknown(),
                _ => Status::failed_precondition(format!("secret {id}: {}: {error}", path.display())),
            })?,
        };
        Ok(Response::new(GetSecretResponse { data }))
    }
}

async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let size = tokio::fs::metadata(path).await?.len();
    if size > MAX_SECRET {
        let what = format!("its {size} bytes are more than the {MAX_SECRET} that a secret can have");
        return Err(std::io::Error::other(what));
    }
    tokio::fs::read(path).await
}

/// Hands what is to be signed on to agents.
pub(super) struct Agents(Arc<BTreeMap<String, Agent>>);

impl Agents {
    pub(super) fn new(sources: BTreeMap<String, SshSource>) -> Self {
        let agent = |(id, source)| (id, Agent { source, own: OnceCell::new() });
        Self(Arc::new(sources.into_iter().map(agent).collect()))
    }

    fn find(&self, id: &str) -> Result<&Agent, Status> {
        let id = if id.is_empty() { "default" } else { id };
        self.0.get(id).ok_or_else(|| Status::not_found(format!("unset ssh forward key {id}")))
    }
}

struct Agent {
    source: SshSource,
    /// The one that was started for keys, where the first that asked has started it.
    own: OnceCell<OwnAgent>,
}

impl Agent {
    async fn connect(&self) -> Result<UnixStream, Status> {
        let socket = match &self.source {
            SshSource::Agent(socket) => socket,
            SshSource::Keys(keys) => &self.own.get_or_try_init(|| OwnAgent::start(keys)).await?.socket,
        };
        let lost = |error| Status::unavailable(format!("the ssh agent at {}: {error}", socket.display()));
        UnixStream::connect(socket).await.map_err(lost)
    }
}

/// An agent with these keys and no others; it ends when this is dropped.
struct OwnAgent {
    socket: PathBuf,
    /// Locked by nobody: what is kept in a session has to be `Sync`.
    _running: Mutex<BufReader<Conversation>>,
}

impl OwnAgent {
    async fn start(keys: &[PathBuf]) -> Result<Self, Status> {
        let failed = |why: &dyn std::fmt::Display| Status::failed_precondition(format!("ssh keys: {why}"));
        let keys = keys.iter().map(|key| key.display().to_string());
        let agent = HostCommand::new("ssh-agent").args(["sh", "-c", ADD_KEYS, "sh"]).args(keys);
        // Who is asked for a passphrase is nobody.
        let agent = agent.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
        let mut running = BufReader::new(agent.converse().map_err(|error| failed(&error))?);
        let mut socket = String::new();
        running.read_line(&mut socket).await.map_err(|error| failed(&error))?;
        match socket.trim() {
            "" => Err(failed(&"ssh-agent said nothing")),
            socket => Ok(Self { socket: socket.into(), _running: Mutex::new(running) }),
        }
    }
}

#[tonic::async_trait]
impl Ssh for Agents {
    type ForwardAgentStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        self.find(&request.into_inner().id)?.connect().await?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get(SSH_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let (answers, mut questions) = self.find(id)?.connect().await?.into_split();
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                if questions.write_all(&message.data).await.is_err() {
                    return;
                }
            }
        });
        let kept = self.0.clone();
        let answers = ReaderStream::new(answers).map(move |bytes| {
            // The agent lives as long as somebody speaks with it.
            let _ = &kept;
            bytes.map(|bytes| BytesMessage { data: bytes.to_vec() }).map_err(Status::from)
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
    use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
    use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
    use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
    use http::Uri;
    use tokio::net::UnixListener;
    use tonic::Code;
    use tonic::metadata::MetadataValue;

    use super::super::control::tests::{Channel, connected};
    use super::*;
    use crate::model::Hidden;

    /// A builder that may ask.
    async fn builder(secrets: BTreeMap<String, SecretSource>, ssh: BTreeMap<String, SshSource>) -> Channel {
        let routes = tonic::service::Routes::new(SecretsServer::new(SecretsService(secrets)))
            .add_service(SshServer::new(Agents::new(ssh)))
            .prepare();
        connected(routes).await
    }

    fn origin() -> Uri {
        Uri::from_static("http://localhost")
    }

    #[tokio::test]
    async fn a_builder_gets_the_secrets_that_were_given_and_no_others() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("token"), b"hush\n\xff").expect("written");
        std::fs::File::create(path("huge")).and_then(|file| file.set_len(MAX_SECRET + 1)).expect("written");
        let variable = SecretSource::Variable { name: "V".to_owned(), value: Hidden::new("word") };
        let file = |name: &str| (name.to_owned(), SecretSource::File(path(name)));
        let given = [file("token"), file("huge"), file("gone"), ("v".to_owned(), variable)];
        let mut client = SecretsClient::with_origin(builder(given.into(), BTreeMap::new()).await, origin());
        for (id, expected) in [
            ("token", Ok(&b"hush\n\xff"[..])),
            ("v", Ok(b"word")),
            ("gone", Err((Code::NotFound, "secret gone: not found"))),
            ("/etc/passwd", Err((Code::NotFound, "secret /etc/passwd: not found"))),
            ("huge", Err((Code::FailedPrecondition, "more than the 512000"))),
        ] {
            let request = GetSecretRequest { id: id.to_owned(), ..GetSecretRequest::default() };
            match (client.get_secret(request).await, expected) {
                (Ok(answer), Ok(bytes)) => assert_eq!(answer.into_inner().data, bytes, "{id}"),
                (Err(status), Err((code, message))) => {
                    assert_eq!(status.code(), code, "{id}");
                    assert!(status.message().contains(message), "{id}: {status}");
                }
                (answer, _) => panic!("{id}: {answer:?}"),
            }
        }
    }

    #[tokio::test]
    async fn what_is_to_be_signed_reaches_the_agent_and_its_answer_the_builder() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("agent");
        let listener = UnixListener::bind(&socket).expect("listens");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let given = BTreeMap::from([("default".to_owned(), SshSource::Agent(socket))]);
        let mut client = SshClient::with_origin(builder(BTreeMap::new(), given).await, origin());
        let check = |id: &str| CheckAgentRequest { id: id.to_owned() };
        client.check_agent(check("")).await.expect("the default one");
        assert_eq!(client.check_agent(check("git")).await.expect_err("unknown").code(), Code::NotFound);
        let question = BytesMessage { data: b"sign this".to_vec() };
        let mut request = Request::new(futures_util::stream::iter([question]));
        request.metadata_mut().insert(SSH_ID, MetadataValue::from_static("default"));
        let mut answers = client.forward_agent(request).await.expect("is forwarded").into_inner();
        let answer = answers.message().await.expect("an answer").expect("not the end");
        assert_eq!(answer.data, b"sign this");
    }
}
