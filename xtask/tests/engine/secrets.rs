//! Secrets and agents in a build on a real engine: they are there while it runs, and nowhere afterwards.

use std::collections::BTreeMap;

use xtask::engine::Store as _;
use xtask::model::{BuildSecrets, Hidden, Platform, SecretSource, SshSource};

use crate::world::real_world;

const DOCKERFILE: &str = r#"FROM BASE
RUN --mount=type=secret,id=token,required case "$(cat /run/secrets/token)" in hush-*) ;; *) exit 1; esac
RUN --mount=type=secret,id=file,target=/etc/it test "$(cat /etc/it)" = from-a-file
RUN --mount=type=secret,id=nobody test ! -e /run/secrets/nobody
RUN --mount=type=ssh,required test -S "$SSH_AUTH_SOCK"
RUN test ! -e /run/secrets/token && test ! -s /etc/it && test -z "$SSH_AUTH_SOCK"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn they_are_there_while_an_instruction_runs_and_nowhere_afterwards() {
    let Some(world) = real_world("they_are_there_while_an_instruction_runs").await else { return };
    let base = world.reference("base:1");
    world.engine.import(&world.rootfs(), &base, &Platform::local(), &Default::default()).await.unwrap();
    let file = world.path().join("it");
    std::fs::write(&file, "from-a-file").unwrap();
    let socket = world.path().join("agent");
    let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let token =
        SecretSource::Variable { name: "TOKEN".to_owned(), value: Hidden::new("hush-hush-hush".to_owned()) };
    let given = [("token".to_owned(), token), ("file".to_owned(), SecretSource::File(file))];
    let ssh = BTreeMap::from([("default".to_owned(), SshSource::Agent(socket))]);
    let mut spec = world.spec("secret:1", DOCKERFILE, Vec::new());
    spec.secrets = BuildSecrets { secrets: given.into(), ssh };
    let id = world.build(&spec).await.unwrap();
    let details = world.engine.details(&spec.tags[0]).await.unwrap().unwrap();
    assert_eq!(details.id, id);
    assert!(!format!("{details:?}{spec:?}").contains("hush-hush-hush"));
    spec.secrets = BuildSecrets::default();
    spec.no_cache = true;
    let error = world.build(&spec).await.unwrap_err();
    assert_eq!(error.place(&spec.dockerfile), Some(format!("{}:2", spec.dockerfile)), "{error:?}");
    world.clean_up().await;
}
