//! The real program in a real terminal (a pseudo terminal, read by an emulator): what is seen while it works, and what is
//! left when it is stopped.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use regex::Regex;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::repo::TestRepo;

/// Longer than any machine takes, however busy.
const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: u16 = 24;

/// An engine without images, for which a pull never ends.
fn start_engine(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: UnixStream) {
    let mut request = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    let _ = request.read_line(&mut first);
    for line in request.by_ref().lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
    }
    let target = first.split(' ').nth(1).unwrap_or("");
    if target.contains("/images/create") {
        let progress = r#"{"status":"Downloading","id":"4f4fb700ef54","progressDetail":{"current":17000000,"total":49000000}}"#;
        let head =
            "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nConnection: close";
        let _ = stream.write_all(format!("{head}\r\n\r\n{progress}\n").as_bytes());
        // Until the program has had enough of it.
        let _ = stream.read(&mut [0]);
        return;
    }
    let (status, body) = match target.split('?').next().and_then(|path| path.rsplit('/').next()) {
        Some("_ping") => ("200 OK", "OK"),
        Some("version") => {
            ("200 OK", r#"{"Version":"20.10.24","ApiVersion":"1.41","Os":"linux","Arch":"amd64"}"#)
        }
        Some("json") if target.contains("/images/json") => ("200 OK", "[]"),
        _ => ("404 Not Found", r#"{"message":"not here"}"#),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes());
}

/// The program, its terminal, and what is on it.
struct Terminal {
    child: Child,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    _folder: tempfile::TempDir,
    _repo: TestRepo,
}

impl Terminal {
    /// Prefetches, in a terminal of so many columns, with these variables beside `TERM`.
    fn prefetch(columns: u16, options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        start_engine(&socket);
        let repo = TestRepo::new("//- src/api/Dockerfile\nFROM 127.0.0.1:1/team/base:1.2.3\n")
            .with("DOCKER_HOST", &format!("unix://{}", socket.display()))
            .with("TERM", "xterm-256color");
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = || File::options().read(true).write(true).open(&name).unwrap();
        let child = repo
            .command_in(&repo.root(), &format!("prefetch --network external {options}"))
            .stdout(Stdio::from(slave()))
            .stderr(Stdio::from(slave()))
            .spawn()
            .unwrap();
        let (sender, bytes) = channel();
        let mut master = File::from(master);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody writes to any more gives an error.
            while let Ok(count @ 1..) = master.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut screen = vt100::Parser::new(ROWS, columns, 0);
        screen.process(b"$ cargo xtask prefetch\r\n");
        Self { child, bytes, screen, _folder: folder, _repo: repo }
    }

    /// Waits until something is seen.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        while !self.screen.screen().contents().contains(text) {
            match self.bytes.recv_timeout(PATIENCE) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("`{text}` was never seen:\n{}", self.screen.screen().contents()),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end: the exit code, and what is left on the screen.
    fn end(mut self) -> (Option<i32>, String) {
        while let Ok(bytes) = self.bytes.recv_timeout(PATIENCE) {
            self.screen.process(&bytes);
        }
        assert!(!self.screen.screen().hide_cursor(), "the cursor is seen again");
        assert!(!self.screen.screen().alternate_screen());
        (self.child.wait().unwrap().code(), self.seen())
    }

    /// The screen, with times and the run's id taken out.
    fn seen(&self) -> String {
        let text = self.screen.screen().contents();
        let text = Regex::new(r"\b\d\d:\d\d\b").unwrap().replace_all(&text, "MM:SS").into_owned();
        Regex::new(r"xtask/runs/\w+").unwrap().replace_all(&text, "xtask/runs/ID").into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already, but for a test that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_seen_while_it_works_and_after_ctrl_c() {
    let seen = |columns: u16| {
        let mut terminal = Terminal::prefetch(columns, "");
        terminal.wait_for("17 MB/49 MB");
        let during = terminal.seen();
        terminal.signal(Signal::INT);
        let (code, after) = terminal.end();
        assert_eq!(code, Some(130), "{after}");
        assert!(!after.contains("running") && !after.contains("MB"), "{after}");
        format!("{during}\n--- after Ctrl-C\n{after}")
    };
    insta::assert_snapshot!(seen(60), @"
    $ cargo xtask prefetch
      Discovered 1 image, 1 external base image, network
        external (--network)
      1/1   Prefetch [>                ] 0/1   1 running  MM:SS
                 ...eam/base:1.2.3 17 MB/49 MB layer 4... MM:SS
    --- after Ctrl-C
    $ cargo xtask prefetch
      Discovered 1 image, 1 external base image, network
        external (--network)
      Cancelling (interrupted; once more ends at once)
                 127.0.0.1:1/team/base:1.2.3 cancelled    MM:SS
      1/1   Prefetch 1/1   1 cancelled                    MM:SS
      Cancelled 1 cancelled                               MM:SS
    ");
    insta::assert_snapshot!(seen(80), @"
    $ cargo xtask prefetch
      Discovered 1 image, 1 external base image, network external (--network)
      1/1   Prefetch [>                             ] 0/1   1 running         MM:SS
                 ....1:1/team/base:1.2.3 17 MB/49 MB layer 4f4fb700ef54       MM:SS
    --- after Ctrl-C
    $ cargo xtask prefetch
      Discovered 1 image, 1 external base image, network external (--network)
      Cancelling (interrupted; once more ends at once)
                 127.0.0.1:1/team/base:1.2.3 cancelled                        MM:SS
      1/1   Prefetch 1/1   1 cancelled                                        MM:SS
      Cancelled 1 cancelled                                                   MM:SS
    ");
    insta::assert_snapshot!(seen(200), @"
    $ cargo xtask prefetch
      Discovered 1 image, 1 external base image, network external (--network)
      1/1   Prefetch [>                             ] 0/1   1 running                  MM:SS
                 ...0.0.1:1/team/base:1.2.3 17 MB/49 MB layer 4f4fb700ef54             MM:SS
    --- after Ctrl-C
    $ cargo xtask prefetch
      Discovered 1 image, 1 external base image, network external (--network)
      Cancelling (interrupted; once more ends at once)
                 127.0.0.1:1/team/base:1.2.3 cancelled                                 MM:SS
      1/1   Prefetch 1/1   1 cancelled                                                 MM:SS
      Cancelled 1 cancelled                                                            MM:SS
    ");
}

#[test]
fn a_second_ctrl_c_takes_the_bars_away_too() {
    let mut terminal = Terminal::prefetch(80, "");
    terminal.wait_for("17 MB/49 MB");
    terminal.signal(Signal::TERM);
    terminal.signal(Signal::INT);
    let (code, after) = terminal.end();
    assert_eq!(code, Some(130), "{after}");
    assert!(!after.contains("running") && !after.contains("MB"), "{after}");
}

#[test]
fn ctrl_z_leaves_the_terminal_and_fg_draws_anew() {
    let mut terminal = Terminal::prefetch(80, "");
    terminal.wait_for("17 MB/49 MB");
    terminal.signal(Signal::TSTP);
    while terminal.screen.screen().contents().contains("17 MB") {
        let bytes = terminal.bytes.recv_timeout(PATIENCE).unwrap();
        terminal.screen.process(&bytes);
    }
    assert!(!terminal.seen().contains("running"), "{}", terminal.seen());
    let stopped = waitpid(Some(Pid::from_child(&terminal.child)), WaitOptions::UNTRACED).unwrap().unwrap().1;
    assert!(stopped.stopped());
    terminal.signal(Signal::CONT);
    terminal.wait_for("17 MB/49 MB");
    terminal.signal(Signal::INT);
    let (code, after) = terminal.end();
    assert_eq!(code, Some(130), "{after}");
}

#[test]
fn no_colour_where_none_is_wanted() {
    for (options, is_coloured) in
        [("", true), ("--color never", false), ("--progress plain --color never", false)]
    {
        let mut terminal = Terminal::prefetch(80, options);
        terminal.wait_for(if options.contains("plain") { "started" } else { "17 MB/49 MB" });
        terminal.signal(Signal::INT);
        while let Ok(bytes) = terminal.bytes.recv_timeout(PATIENCE) {
            terminal.screen.process(&bytes);
        }
        let screen = terminal.screen.screen();
        let cells = (0..ROWS).flat_map(|row| (0..80).map(move |column| (row, column)));
        let painted = cells
            .filter_map(|(row, column)| screen.cell(row, column))
            .any(|cell| cell.fgcolor() != vt100::Color::Default || cell.bold() || cell.dim());
        assert_eq!(painted, is_coloured, "{options}: {}", screen.contents());
    }
}
