//! Where the build context of a folder lies, and what its ignore file hides.
//!
//! In: what the settings and `service.toml` say, what the Dockerfile copies. Out: the folder, relative to the root; of
//! several the first that has what is copied.

use super::service::{Reader, keep};
use crate::model::{Diagnostic, InputPattern, relative};
use crate::read::conf::{self, SERVICE_TOML, ServiceContext};
use crate::read::fingerprint::files::Context;
use crate::settings::ContextChoice;
use dockerfile::ignorefile::IgnoreFile;

impl Reader<'_> {
    /// The first of these folders in which most of the COPY and ADD sources exist.
    pub(super) fn best_context(&self, folders: &[&str], dockerfile: &str, inputs: &[InputPattern]) -> String {
        let mut best = (0, folders.first().copied().unwrap_or("."));
        for (at, folder) in folders.iter().copied().enumerate() {
            let (present, missing) = self.context_at(folder, dockerfile).present_sources(inputs);
            if at == 0 || present > best.0 {
                best = (present, folder);
            }
            if missing.is_empty() {
                break;
            }
        }
        best.1.to_owned()
    }

    /// The context folder, relative to the root; `.` is the root.
    pub(super) fn context(
        &self,
        settings: &conf::ServiceSettings,
        dockerfile: &str,
        inputs: &[InputPattern],
        said: &mut Vec<Diagnostic>,
    ) -> String {
        let folder = self.service.dir.clone();
        let choice = match &settings.context {
            Some(ServiceContext::Folder(relative)) => match conf::resolve_path(&folder, relative) {
                Some(found) => return found,
                None => {
                    let message = format!("the context `{relative}` lies outside the tree");
                    let (file, line) = (self.service.path(SERVICE_TOML), self.service.settings_line());
                    said.push(Diagnostic::error(file, line, message));
                    ContextChoice::Service
                }
            },
            Some(ServiceContext::InTree(folder)) => return folder.clone(),
            Some(ServiceContext::Choice(choice)) => *choice,
            None => self.input.config.context,
        };
        match choice {
            ContextChoice::Service => folder,
            ContextChoice::Root => ".".to_owned(),
            ContextChoice::Auto => {
                let beside = conf::folder_of(dockerfile);
                let best = if beside == folder {
                    self.best_context(&[&folder, "."], dockerfile, inputs)
                } else {
                    self.best_context(&[&folder, beside, "."], dockerfile, inputs)
                };
                if self.fits(&best, dockerfile, inputs) {
                    return best;
                }
                // `docker build -f a/b/Dockerfile a` is common too; of several such folders nobody can choose.
                match self.fitting_above(dockerfile, inputs).as_slice() {
                    [only] => (*only).to_owned(),
                    _ => best,
                }
            }
        }
    }

    /// Whether there are sources of COPY and ADD, and the folder has them all.
    fn fits(&self, folder: &str, dockerfile: &str, inputs: &[InputPattern]) -> bool {
        let (present, missing) = self.context_at(folder, dockerfile).present_sources(inputs);
        present > 0 && missing.is_empty()
    }

    /// The folders between the service and the root that have all sources, the nearest first.
    fn fitting_above(&self, dockerfile: &str, inputs: &[InputPattern]) -> Vec<&str> {
        fn above(dir: &str) -> Option<&str> {
            dir.rsplit_once('/').map(|(above, _)| above)
        }
        let between = std::iter::successors(above(&self.service.dir), |dir| above(dir));
        between.filter(|folder| self.fits(folder, dockerfile, inputs)).collect()
    }

    /// What to set where sources are missing in the context and another one has them all; nothing where none has.
    pub(super) fn other_context(&self, context: &str, dockerfile: &str, inputs: &[InputPattern]) -> String {
        let own = self.service.dir.as_str();
        let above = self.fitting_above(dockerfile, inputs);
        let ends = [own, conf::folder_of(dockerfile), "."]
            .into_iter()
            .filter(|folder| self.fits(folder, dockerfile, inputs));
        let Some(folder) = above.iter().copied().chain(ends).find(|folder| *folder != context) else {
            return String::new();
        };
        let value = match folder {
            "." => "root".to_owned(),
            folder if folder == own => "service".to_owned(),
            folder => relative(own, folder),
        };
        let folder = if folder == "." { "the root" } else { folder };
        format!(
            "; {folder} has all of them: set `context = \"{value}\"` in {}",
            self.service.path(SERVICE_TOML)
        )
    }

    /// What the ignore file of a context hides, and where that file is.
    pub(super) fn ignore_rules(
        &self,
        context: &str,
        said: &mut Vec<Diagnostic>,
    ) -> Option<(IgnoreFile, String)> {
        let root = &self.input.config.root;
        let found = self.input.discovered.ignore_file(root, self.service, context, self.input.rendered);
        let found = keep(said, found).flatten();
        said.extend(self.input.broken_ignore(context));
        let (path, text) = found?;
        let rules = IgnoreFile::parse(&text);
        said.extend(rules.problems().iter().map(|(line, why)| Diagnostic::error(&path, *line, why.as_str())));
        Some((rules, path))
    }

    /// A context folder to read, without ignore rules.
    pub(super) fn context_at<'a>(&'a self, folder: &'a str, dockerfile: &'a str) -> Context<'a> {
        let folder = if folder == "." { "" } else { folder };
        Context { listings: self.listings, folder, ignore: None, dockerfile, given: None }
    }
}
