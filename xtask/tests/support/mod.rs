//! Real programs for tests: a private container engine and a registry, each in a temporary folder.
//!
//! Nothing here touches the default socket. Teardown does not depend on a test's good end: a small shell
//! process holds the other end of a pipe, and when that closes (the guard is dropped, the test panics, the
//! whole process is killed) it ends the program by its id, unmounts what it mounted, takes the bridge away
//! and removes the folder.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for the pipe to close, then cleans up: `$1` the folder, `$2` the program's id, `$3` its bridge.
const CLEAN_UP: &str = r#"
trap '' INT TERM HUP
read -r _
folder=$1 pid=$2 bridge=$3
kill -TERM "$pid" 2>/dev/null
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
kill -KILL "$pid" 2>/dev/null
helper=$(cat "$folder/exec/containerd/containerd.pid" 2>/dev/null) && kill -KILL "$helper" 2>/dev/null
awk '{ print $2 }' /proc/mounts | grep "^$folder/" | sort -r | while read -r mount; do umount -l "$mount"; done
[ -z "$bridge" ] || ip link del "$bridge" 2>/dev/null
rm -rf "$folder"
"#;

/// A program in a folder of its own, gone without trace when this is dropped.
struct Program {
    folder: PathBuf,
    child: Child,
    janitor: Child,
    pipe: Option<ChildStdin>,
}

impl Program {
    /// Starts a program whose files all lie in `folder`; `log` in it takes what it says.
    fn start(folder: PathBuf, bridge: &str, mut command: Command) -> Result<Self, String> {
        let text = |error: std::io::Error| format!("{}: {error}", command.get_program().display());
        let log = std::fs::File::create(folder.join("log")).map_err(text)?;
        let errors = log.try_clone().map_err(text)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let janitor = Command::new("sh")
            .args(["-c", CLEAN_UP, "sh"])
            .arg(&folder)
            .args([&child.id().to_string(), bridge])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match janitor {
            Ok(mut janitor) => {
                let pipe = janitor.stdin.take();
                Ok(Self { folder, child, janitor, pipe })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("sh: {error}"))
            }
        }
    }

    /// Waits until `ready`, or says how the program ended.
    fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<(), String> {
        let begin = Instant::now();
        while !ready() {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
            if ended || begin.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(15).collect();
                let tail: Vec<&str> = lines.into_iter().rev().collect();
                return Err(format!("it did not start:\n{}", tail.join("\n")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"\n");
        }
        // First the program, which is our child and would stay a zombie that still seems to live.
        let _ = self.child.wait();
        let _ = self.janitor.wait();
    }
}

/// A folder below the system's temporary one that no other process uses.
fn unique_folder(kind: &str) -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join(format!("xtask-{kind}-{}", unique_name()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Short, and different in every process and at every call.
pub fn unique_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("{:x}-{:x}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A container engine of the tests' own: own data, own socket, own bridge.
pub struct PrivateEngine {
    program: Program,
}

impl PrivateEngine {
    /// Starts `dockerd`. Needs root and the program itself; the error says what is missing.
    pub fn start() -> Result<Self, String> {
        if !is_root() {
            return Err("starting a private engine takes root".to_owned());
        }
        for program in ["dockerd", "ip"] {
            if find_program(program).is_none() {
                return Err(format!("there is no `{program}`"));
            }
        }
        let folder = unique_folder("engine")?;
        let bridge = make_bridge()?;
        // The machine's own settings are somebody else's.
        let settings = folder.join("daemon.json");
        std::fs::write(&settings, "{}\n").map_err(|error| error.to_string())?;
        let mut command = Command::new("dockerd");
        command
            .arg(format!("--host=unix://{}", folder.join("docker.sock").display()))
            .arg(format!("--data-root={}", folder.join("data").display()))
            .arg(format!("--exec-root={}", folder.join("exec").display()))
            .arg(format!("--pidfile={}", folder.join("pid").display()))
            .arg(format!("--bridge={bridge}"))
            .arg(format!("--config-file={}", settings.display()))
            .args(["--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        let program = Program::start(folder.clone(), &bridge, command).inspect_err(|_| {
            // Nobody else knows of these yet.
            let _ = run("ip", &["link", "del", &bridge]);
            let _ = std::fs::remove_dir_all(&folder);
        })?;
        let mut engine = Self { program };
        let socket = engine.socket();
        engine.program.wait_until(|| answers(&socket))?;
        Ok(engine)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.program.folder.join("docker.sock")
    }

    /// What `DOCKER_HOST` would be.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        let _ = self.program.child.kill();
        let _ = self.program.child.wait();
    }
}

/// `user:password` of a guarded registry, in base64 as `docker login` stores it.
pub const LOGIN: &str = "dGVzdGVyOnNlY3JldA==";

/// A registry on a port of its own, plain HTTP, nothing in it.
pub struct Registry {
    _program: Program,
    address: SocketAddr,
}

impl Registry {
    /// Starts `docker-registry`; the error says what is missing.
    pub fn start() -> Result<Self, String> {
        Self::start_with("")
    }

    /// The same, but it wants to be told [`LOGIN`].
    pub fn start_guarded() -> Result<Self, String> {
        // bcrypt of the password.
        let users = "tester:$2b$04$BYcRedZGeXhAmP80jdC0x.5qp94sy.f3uiKclvwyHlPHRTZW79R6y\n";
        Self::start_with(users)
    }

    fn start_with(users: &str) -> Result<Self, String> {
        let name = ["docker-registry", "registry"].into_iter().find(|name| find_program(name).is_some());
        let name = name.ok_or_else(|| "there is no `docker-registry`".to_owned())?;
        let folder = unique_folder("registry")?;
        let address = free_address();
        let settings = folder.join("config.yml");
        let mut text = format!(
            "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            folder.join("data").display()
        );
        if !users.is_empty() {
            let file = folder.join("users");
            std::fs::write(&file, users).map_err(|error| error.to_string())?;
            text.push_str(&format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", file.display()));
        }
        std::fs::write(&settings, text).map_err(|error| error.to_string())?;
        let mut command = Command::new(name);
        command.arg("serve").arg(&settings);
        let mut program = Program::start(folder, "", command)?;
        program.wait_until(|| TcpStream::connect(address).is_ok())?;
        Ok(Self { _program: program, address })
    }

    /// `127.0.0.1:PORT`
    pub fn domain(&self) -> String {
        self.address.to_string()
    }
}

/// A local address where nobody listens.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Makes a bridge with a network that no other interface has.
fn make_bridge() -> Result<String, String> {
    let bridge = format!("xt{}", unique_name().replace('-', "x"));
    run("ip", &["link", "add", &bridge, "type", "bridge"])?;
    let taken = Command::new("ip").args(["-o", "-4", "addr"]).output();
    let taken = taken.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // Two processes at the same time begin at different numbers.
    let first = std::process::id() % 250;
    let network = (0..250)
        .map(|step| format!("172.30.{}", 1 + (first + step) % 250))
        .find(|network| !taken.contains(&format!("{network}.")))
        .ok_or_else(|| "no free network below 172.30.0.0/16".to_owned());
    let up = network.and_then(|network| {
        run("ip", &["addr", "add", &format!("{network}.1/24"), "dev", &bridge])?;
        run("ip", &["link", "set", &bridge, "up"])
    });
    match up {
        Ok(()) => Ok(bridge),
        Err(error) => {
            let _ = run("ip", &["link", "del", &bridge]);
            Err(error)
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Where a program lies, as a shell would find it.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn answers(socket: &Path) -> bool {
    use std::io::Read as _;
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let asked = stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 12];
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 200"
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
