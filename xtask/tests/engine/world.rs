//! What a contract test stands on: an engine, a registry, a folder with files, names that nobody else has.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use xtask::build::{BuildError, Builder as _};
use xtask::engine::{AnyEngine, EngineError, OnProgress, Progress, Store as _, Surroundings, connect};
use xtask::model::{
    BuildSpec, ContextFile, ContextFileKind, ContextFiles, Digest, ImageId, ImageName, Platform, Reference,
};

use crate::support::{PrivateEngine, Registry, find_program, unique_name};
use crate::testing::TestTree;

/// Everything a test needs; cleans up after itself.
pub struct World {
    pub engine: AnyEngine,
    /// The engine's `DOCKER_HOST`; empty for the fake one.
    pub host: String,
    /// What names begin with.
    pub prefix: String,
    /// `127.0.0.1:PORT`
    pub registry: String,
    pub folder: tempfile::TempDir,
    /// Keeps them running.
    pub private: Option<PrivateEngine>,
    _registry: Option<Registry>,
}

impl World {
    pub fn new(engine: AnyEngine, registry: Option<Registry>) -> Self {
        Self {
            engine,
            host: String::new(),
            prefix: format!("xtask-test-{}", unique_name()),
            registry: registry.as_ref().map_or_else(|| "registry.example".to_owned(), Registry::domain),
            folder: tempfile::tempdir().unwrap(),
            private: None,
            _registry: registry,
        }
    }

    /// A reference that only this test uses: `xtask-test-1f-0/NAME`.
    pub fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.prefix).parse().unwrap()
    }

    /// The same in the test's registry.
    pub fn remote(&self, name: &str) -> Reference {
        format!("{}/{}/{name}", self.registry, self.prefix).parse().unwrap()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the context, with its permission bits, and lists it.
    pub fn file(&self, path: &str, content: &str, mode: u32) -> ContextFile {
        let full = self.path().join("context").join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(&full, content).unwrap();
        std::fs::set_permissions(&full, std::fs::Permissions::from_mode(mode)).unwrap();
        let digest = Digest::from_sha256(&Sha256::digest(content.as_bytes()).into());
        let kind = ContextFileKind::File { size: content.len() as u64, digest };
        ContextFile { path: path.to_owned(), mode, kind, source: None }
    }

    /// Makes a symlink of the context, and lists it.
    pub fn symlink(&self, path: &str, target: &str) -> ContextFile {
        let full = self.path().join("context").join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, &full).unwrap();
        let kind = ContextFileKind::Symlink { target: target.to_owned() };
        ContextFile { path: path.to_owned(), mode: 0o777, kind, source: None }
    }

    /// Makes a folder of the context, and lists it.
    pub fn directory(&self, path: &str, mode: u32) -> ContextFile {
        let full = self.path().join("context").join(path);
        std::fs::create_dir_all(&full).unwrap();
        std::fs::set_permissions(&full, std::fs::Permissions::from_mode(mode)).unwrap();
        ContextFile { path: path.to_owned(), mode, kind: ContextFileKind::Directory, source: None }
    }

    pub fn spec(&self, name: &str, text: &str, files: Vec<ContextFile>) -> BuildSpec {
        std::fs::create_dir_all(self.path().join("context")).unwrap();
        BuildSpec {
            image: ImageName::new(name),
            tags: vec![self.reference(name)],
            dockerfile: format!("context/{name}.Dockerfile"),
            text: text.replace("BASE", &self.reference("base:1").familiar()),
            context: "context".to_owned(),
            files: ContextFiles::new(files.into_iter().map(|file| (file, true))),
            target: None,
            platform: Platform::local(),
            build_args: Default::default(),
            labels: Default::default(),
            network: None,
            secrets: Default::default(),
            contexts: Default::default(),
            layouts: Vec::new(),
            output: Default::default(),
            attestations: Default::default(),
            epoch: None,
            no_cache: false,
            cache_from: Vec::new(),
            cache_to: None,
            caches: Default::default(),
            inline_cache: Default::default(),
        }
    }

    pub async fn build(&self, spec: &BuildSpec) -> Result<ImageId, BuildError> {
        // What a build prints helps only when the test fails, and then the harness shows it.
        let show: OnProgress<'_> = &|progress| {
            if let Progress::Log { line, .. } = progress {
                eprintln!("{}: {line}", spec.image);
            }
        };
        self.engine.build(self.path(), spec, show).await
    }

    /// Takes away every name that this test gave; an engine that is not ours must not keep them.
    pub async fn clean_up(&self) {
        let observed = self.engine.observe().await.unwrap();
        let ours = |name: &&Reference| name.path().starts_with(&format!("{}/", self.prefix));
        for name in observed.images().iter().flat_map(|image| &image.names).filter(ours) {
            self.engine.remove(name).await.unwrap();
        }
    }

    /// The program on this engine and the tree at `root`; of this process's environment it sees nothing.
    pub fn program(&self, root: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask-images"));
        command
            .args(["--progress", "plain"])
            .env_clear()
            .env("XTASK_CALLED_AS", "cargo xtask")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", root)
            .env("DOCKER_HOST", &self.host)
            .env("XTASK_ROOT", root);
        command
    }

    /// The same, images named after this test.
    pub fn named_program(&self, tree: &TestTree) -> Command {
        let mut command = self.program(&tree.root());
        command.env("XTASK_PREFIX", format!("{}/", self.prefix));
        command
    }

    /// Runs the program in a tree, images named after this test; what it told ends the test if its exit code is another.
    #[track_caller]
    pub fn xtask(&self, tree: &TestTree, words: &str, code: i32) -> String {
        let mut command = self.named_program(tree);
        ended(command.args(words.split_whitespace()).env("XTASK_NETWORK", "external"), code)
    }

    /// Nothing of this test is left in the engine, kept stages and digests included.
    pub async fn forget(&self) {
        let observed = self.engine.observe().await.unwrap();
        let prefix = format!("{}/", self.prefix);
        let of_test = |name: &&Reference| name.to_string().contains(&prefix);
        for image in observed.images() {
            for name in image.names.iter().chain(&image.digests).filter(of_test) {
                self.engine.remove(name).await.unwrap();
            }
        }
    }

    /// The same test on another engine.
    pub async fn on(&self, host: &str) -> World {
        let mut other = World::new(connect_to(host, None).await.unwrap(), None);
        host.clone_into(&mut other.host);
        other.prefix.clone_from(&self.prefix);
        other
    }

    /// A root folder with a shell in it, as a tar; no other test has this layer.
    pub fn rootfs(&self) -> PathBuf {
        let path = self.path().join("rootfs.tar");
        let mut tar = tar::Builder::new(std::fs::File::create(&path).unwrap());
        let mut folder = |name: &str, mode: u32| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(mode);
            header.set_size(0);
            tar.append_data(&mut header, name, std::io::empty()).unwrap();
        };
        for name in ["bin/", "etc/", "proc/", "sys/", "dev/"] {
            folder(name, 0o755);
        }
        folder("tmp/", 0o1777);
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(self.prefix.len() as u64);
        tar.append_data(&mut header, "etc/test", self.prefix.as_bytes()).unwrap();
        if let Some(busybox) = find_program("busybox") {
            let content = std::fs::read(busybox).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, "bin/busybox", content.as_slice()).unwrap();
            for name in ["sh", "cat", "sleep", "stat", "test", "touch", "ls", "head", "readlink", "seq"] {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_mode(0o777);
                tar.append_link(&mut header, format!("bin/{name}"), "busybox").unwrap();
            }
        }
        tar.finish().unwrap();
        path
    }
}

/// Engines that are up beside the one under test.
pub fn other_hosts() -> Vec<String> {
    let hosts = std::env::var("XTASK_TEST_OTHER_HOSTS").unwrap_or_default();
    hosts.split(',').filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

/// Tells `ci` what its table of commands is to say of this engine, where that is not that the tests passed: that nobody
/// tried (`—`), or `no: why`.
pub fn found(command: &str, cell: &str) {
    eprintln!("{command}: {cell}");
    if let Some(file) = std::env::var_os("XTASK_TEST_FINDINGS") {
        let mut file = std::fs::File::options().append(true).create(true).open(file).unwrap();
        writeln!(file, "{command}\t{cell}").unwrap();
    }
}

/// Runs a program to its end; what it told, which ends the test if the exit code is another.
#[track_caller]
pub fn ended(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{command:?}: {out}{err}");
    format!("{out}{err}")
}

/// The document that a command printed before whatever else it said.
#[track_caller]
pub fn json(told: &str) -> serde_json::Value {
    serde_json::Deserializer::from_str(told).into_iter().next().expect("a document").expect(told)
}

/// Says nothing of progress.
pub fn quietly() -> OnProgress<'static> {
    &|_| {}
}

/// An engine that runs containers, with a registry beside it; none, said aloud, where there is none.
pub async fn real_world(test: &str) -> Option<World> {
    match find_real_world().await {
        Ok(world) => Some(world),
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "{test}: CI needs a container engine, but {cause}");
            eprintln!("skipped: {test}: {cause}");
            None
        }
    }
}

async fn find_real_world() -> Result<World, String> {
    if find_program("busybox").is_none() {
        return Err("there is no `busybox` to make a base image of".to_owned());
    }
    let registry = Registry::start()?;
    match std::env::var("XTASK_TEST_DOCKER_HOST") {
        Ok(host) if !host.is_empty() => {
            let engine = connect_to(&host, None).await.map_err(|error| format!("{host}: {error:?}"))?;
            let mut world = World::new(engine, Some(registry));
            world.host = host;
            Ok(world)
        }
        _ => private_world(Some(registry)).await,
    }
}

/// A private engine, whatever the environment says: for tests that end it.
pub async fn private_world(registry: Option<Registry>) -> Result<World, String> {
    let private = PrivateEngine::start()?;
    let engine = connect_to(&private.host(), None).await.map_err(|error| format!("{error:?}"))?;
    let mut world = World::new(engine, registry);
    world.host = private.host();
    world.private = Some(private);
    Ok(world)
}

/// Connects to an endpoint, with the credentials that lie in a folder.
pub async fn connect_to(host: &str, config: Option<&Path>) -> Result<AnyEngine, EngineError> {
    connect_with(host, config, Duration::from_secs(180)).await
}

/// The same, with so much patience for silent registries.
pub async fn connect_with(
    host: &str,
    config: Option<&Path>,
    stall: Duration,
) -> Result<AnyEngine, EngineError> {
    // An endpoint over TLS needs its certificates; a person's own credentials are none of a test's business.
    let variable = |name: &str| match name {
        "DOCKER_TLS_VERIFY" | "DOCKER_CERT_PATH" => std::env::var(name).ok(),
        "DOCKER_HOST" => Some(host.to_owned()),
        "DOCKER_CONFIG" => config.map(|folder| folder.display().to_string()),
        _ => None,
    };
    connect(&Surroundings { stall, ..Surroundings::new(&variable, None) }).await
}
