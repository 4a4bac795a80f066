//! An engine that is reached by other ways than its socket.

use std::os::unix::fs::PermissionsExt as _;

use xtask::engine::{Surroundings, connect};

use crate::contract::contract;
use crate::support::find_program;
use crate::world::{World, real_world};

/// The same engine, through a program called `ssh` that runs what it is told on this machine.
async fn through_ssh(mut world: World) -> Result<World, String> {
    if !world.host.starts_with("unix://") || find_program("docker").is_none() {
        return Err(format!("it takes the docker program and a socket, not {}", world.host));
    }
    let program = world.path().join("ssh");
    let script = format!(
        "#!/bin/sh\n[ \"$6 $7 $8 $9\" = '-l ada -p 2222' ] || exit 2\nshift 11\nDOCKER_HOST={} exec \"$@\"\n",
        world.host
    );
    std::fs::write(&program, script).map_err(|error| error.to_string())?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    let path = format!("{}:{}", world.path().display(), std::env::var("PATH").unwrap_or_default());
    let find = |name: &str| match name {
        "DOCKER_HOST" => Some("ssh://ada@builder:2222".to_owned()),
        "PATH" => Some(path.clone()),
        _ => None,
    };
    let engine = connect(&Surroundings::new(&find, None)).await;
    world.engine = engine.map_err(|error| format!("{error:?}"))?;
    Ok(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_ssh_keeps_the_contract() {
    let test = "an_engine_behind_ssh_keeps_the_contract";
    let Some(world) = real_world(test).await else { return };
    match through_ssh(world).await {
        Ok(world) => {
            assert_eq!(world.engine.endpoint(), "ssh://ada@builder:2222");
            contract(&world).await;
        }
        Err(cause) => {
            eprintln!("skipped: {test}: {cause}");
        }
    }
}
