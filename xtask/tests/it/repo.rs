//! A tree in a temporary folder, and the program run in it: no environment, no home, no engine, no network.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;

/// A tree of its own, gone when dropped.
pub struct TestRepo {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl TestRepo {
    /// From one text: `//- path` lines begin files, what follows is their content.
    pub fn new(fixture: &str) -> Self {
        let repo = Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() };
        for part in fixture.split("//- ").skip(1) {
            let (path, content) = part.split_once('\n').unwrap_or((part, ""));
            repo.write(path.trim(), content);
        }
        std::fs::create_dir_all(repo.home()).unwrap();
        std::fs::create_dir_all(repo.root()).unwrap();
        repo
    }

    /// The tree's root.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// `HOME` of the program.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Writes a file of the tree.
    pub fn write(&self, path: &str, content: &str) {
        let full = self.root().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, content).unwrap();
    }

    /// Reads a file of the tree.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// With a variable in the program's environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The program with these words, in a folder, ready to start.
    pub fn command_in(&self, folder: &Path, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask-images"));
        let nowhere = format!("unix://{}", self.folder.path().join("no-engine.sock").display());
        command
            .args(shell_words::split(words).unwrap())
            .current_dir(folder)
            .env_clear()
            .env("XTASK_CALLED_AS", "cargo xtask")
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home())
            .env("DOCKER_HOST", nowhere)
            .env("XTASK_ROOT", self.root())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program at the root.
    pub fn output(&self, words: &str) -> Output {
        self.command_in(&self.root(), words).output().unwrap()
    }

    /// Runs it and tells everything: exit status, stdout, stderr; what differs from run to run is taken out.
    #[must_use]
    pub fn run(&self, words: &str) -> String {
        self.told(&self.output(words))
    }

    /// Runs it and gives its exit code.
    #[must_use]
    pub fn code(&self, words: &str) -> i32 {
        self.output(words).status.code().unwrap()
    }

    /// Runs it and gives what it prints as data.
    #[must_use]
    pub fn json(&self, words: &str) -> serde_json::Value {
        let output = self.output(words);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{words}: {error}\n{}", self.told(&output));
        })
    }

    fn told(&self, output: &Output) -> String {
        let mut told = format!("exit {}\n", output.status.code().map_or(-1, |code| code));
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !bytes.is_empty() {
                told.push_str(&format!("--- {name}\n{}", String::from_utf8_lossy(bytes)));
            }
        }
        self.redact(&told)
    }

    /// Takes out what differs from run to run and from machine to machine.
    pub fn redact(&self, text: &str) -> String {
        let real = self.folder.path().canonicalize().unwrap();
        let text = text.replace(&real.display().to_string(), "TMP");
        let text = text.replace(&self.folder.path().display().to_string(), "TMP");
        [
            (r#""platform": "linux/[a-z0-9/]+""#, r#""platform": "linux/ARCH""#),
            (r#""platforms": \[\s+"linux/[a-z0-9/]+"\s+\]"#, r#""platforms": ["linux/ARCH"]"#),
            (r"sha256:[0-9a-f]{12,64}", "sha256:DIGEST"),
            (r"runs/[0-9a-z]+", "runs/RUN"),
            (r"(?m)^\d\d:\d\d ", "00:00 "),
            (r"\b\d+\.\ds\b", "0.0s"),
            (r"(?m)[ \t]+$", ""),
        ]
        .into_iter()
        .fold(text, |text, (pattern, with)| {
            Regex::new(pattern).unwrap().replace_all(&text, with).into_owned()
        })
    }
}
