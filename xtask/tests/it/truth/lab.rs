//! A small tree, a fake engine, and the question "what would be rebuilt now, and why".

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use xtask::build::Builder as _;
use xtask::engine::{FakeEngine, Store as _, fake_image};
use xtask::model::{Diagnostic, ImageName, Observed, Plan, Platform, Reason, Reference, StepKind, Triggers};
use xtask::plan::build::{Assessment, BuildRequest, assess, plan};
use xtask::plan::verify;
use xtask::read::tree::{self, Reading};
use xtask::settings::env::Env;
use xtask::settings::{Config, Layer, load};

use crate::testing::TestTree;

/// A tree and an engine of its own.
pub struct Lab {
    pub tree: TestTree,
    pub engine: FakeEngine,
    /// What is typed.
    pub flags: Layer,
    /// What external images bring.
    pub external: Triggers,
}

/// What one look found.
pub struct Look {
    pub config: Config,
    pub reading: Reading,
    pub observed: Observed,
    pub assessments: Vec<Assessment>,
}

impl Lab {
    /// Every base image that fixtures use is there.
    #[track_caller]
    pub fn new(fixture: &str) -> Self {
        let lab = Self {
            tree: TestTree::new(fixture),
            engine: FakeEngine::new(),
            flags: Layer::default(),
            external: Triggers::new(),
        };
        for name in ["debian:12", "alpine:3", "redis:7"] {
            lab.give(name, &format!("the first {name}"));
        }
        lab
    }

    /// The same, with everything built, and found up to date.
    #[track_caller]
    pub fn built(fixture: &str) -> Self {
        let lab = Self::new(fixture);
        lab.build();
        assert_eq!(lab.stale(), "", "everything was just built");
        lab
    }

    /// Lets a name stand for an image.
    pub fn give(&self, name: &str, content: &str) {
        self.engine.store(fake_image(content, &[&reference(name)]));
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.tree.root().join(path)
    }

    /// Writes a file and keeps its permission bits.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        self.tree.write(path, text);
    }

    #[track_caller]
    pub fn append(&self, path: &str, text: &str) {
        let old = self.tree.read(path);
        self.tree.write(path, format!("{old}{text}"));
    }

    #[track_caller]
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let old = self.tree.read(path);
        assert!(old.contains(from), "{path} has no {from:?}");
        self.tree.write(path, old.replace(from, to));
    }

    #[track_caller]
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    #[track_caller]
    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    #[track_caller]
    pub fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[track_caller]
    pub fn symlink(&self, target: &str, link: &str) {
        let link = self.path(link);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(target, link).unwrap();
    }

    /// Sets a file's time, seconds after 1970.
    #[track_caller]
    pub fn touch(&self, path: &str, seconds: u64) {
        let file = fs::File::open(self.path(path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[track_caller]
    pub fn look(&self) -> Look {
        let config = load(&self.tree.root(), self.flags.clone(), &Env::default(), None).unwrap();
        let reading = tree::look_upon(&config, Platform::local(), &self.external).unwrap();
        let observed = wait(self.engine.observe()).unwrap();
        let recall = |digest: &_| tree::recall(&config.root, digest);
        let assessments = assess(&reading.tree.graph, &reading.tree.contexts, &observed, &recall);
        Look { config, reading, observed, assessments }
    }

    /// Looks until no file is too young for its hash to be kept: then no file is read any more.
    #[track_caller]
    pub fn settle(&self) {
        let begin = Instant::now();
        while self.look().reading.tree.hashed > 0 {
            assert!(begin.elapsed() < Duration::from_secs(20), "hashes are not kept");
        }
    }

    /// Builds what is stale, as `build-all` does: writes files, builds, remembers.
    #[track_caller]
    pub fn build(&self) {
        let look = self.look();
        for step in look.reading.sync.steps.iter().chain(&look.reading.render.steps) {
            let StepKind::WriteFile { path, contents, mode, .. } = &step.kind else { continue };
            self.tree.write(path, contents);
            if let Some(mode) = mode {
                self.chmod(path, *mode);
            }
        }
        self.perform(&look, &look.plan(&BuildRequest { selected: look.all(), ..BuildRequest::default() }));
    }

    #[track_caller]
    pub fn perform(&self, look: &Look, plan: &Plan) {
        for step in &plan.steps {
            match &step.kind {
                StepKind::Build(spec) => {
                    wait(self.engine.build(&look.config.root, spec, &|_| {})).unwrap();
                    tree::remember(&look.config.root, look.reading.tree.contexts.get(&spec.image)).unwrap();
                }
                StepKind::Tag { source, targets } => {
                    targets.iter().for_each(|target| wait(self.engine.tag(source, target)).unwrap());
                }
                other => panic!("{other:?} is no step of a build"),
            }
        }
    }

    /// What would be rebuilt: `api (source changed: main.py); web (…)`, in build order.
    #[track_caller]
    pub fn stale(&self) -> String {
        self.look().stale()
    }

    /// What verify says of each image that is not as planned.
    #[track_caller]
    pub fn unverified(&self, planned: &Look) -> String {
        let observed = wait(self.engine.observe()).unwrap();
        let plan = verify::plan(&planned.all(), &planned.reading.tree.graph, &planned.assessments);
        let wrong = plan.steps.iter().filter_map(|step| match &step.kind {
            StepKind::Verify(expectation) => expectation.unmet_in(&observed),
            _ => None,
        });
        wrong.collect::<Vec<_>>().join("; ")
    }
}

impl Look {
    pub fn all(&self) -> BTreeSet<ImageName> {
        self.reading.tree.graph.images().iter().map(|image| image.name.clone()).collect()
    }

    pub fn plan(&self, request: &BuildRequest) -> Plan {
        let (graph, contexts) = (&self.reading.tree.graph, &self.reading.tree.contexts);
        plan(request, graph, contexts, &self.assessments, &self.observed, &Plan::default())
    }

    /// What is done and what cannot be done, each with its reason.
    pub fn stale(&self) -> String {
        let plan = self.plan(&BuildRequest { selected: self.all(), ..BuildRequest::default() });
        let steps = plan.steps.iter().map(|step| format!("{} ({})", step.subject, step.why));
        let broken = plan
            .skipped
            .iter()
            .filter(|skip| matches!(skip.why, Reason::Broken | Reason::NeedFails(_)))
            .map(|skip| format!("{} ({})", skip.subject, skip.why));
        steps.chain(broken).collect::<Vec<_>>().join("; ")
    }

    pub fn assessment(&self, name: &str) -> &Assessment {
        self.assessments.iter().find(|a| a.name.as_str() == name).unwrap()
    }

    pub fn keys(&self) -> BTreeMap<String, String> {
        let key = |a: &Assessment| Some((a.name.to_string(), a.key.as_ref()?.to_string()));
        self.assessments.iter().filter_map(key).collect()
    }

    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.reading.tree.findings.iter().map(|finding| finding.diagnostic.clone()).collect()
    }

    /// One diagnostic a line.
    pub fn said(&self) -> String {
        self.diagnostics().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    /// What an image's key counts.
    pub fn inputs(&self, name: &str) -> Vec<String> {
        let context = self.reading.tree.contexts.get(&ImageName::new(name)).unwrap();
        context.files.inputs().map(str::to_owned).collect()
    }
}

pub fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// The fake engine never waits for anything.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
