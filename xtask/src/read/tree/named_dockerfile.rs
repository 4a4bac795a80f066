//! Whether the Dockerfile that `service.toml` names can be taken.
//!
//! In: what discover found. Out: a finding at the line that names it.

use super::service::Reader;
use crate::model::Diagnostic;
use crate::read::conf::{self, SERVICE_TOML, ServiceSettings};
use crate::read::discover::DOCKERFILE;

impl Reader<'_> {
    /// What is wrong with `dockerfile`, where it is set.
    pub(super) fn refuse_dockerfile(&self, settings: &ServiceSettings) -> Option<Diagnostic> {
        let service = self.service;
        let named = settings.dockerfile.as_ref()?;
        let is_broken = || service.problems.iter().any(|found| found.file == service.dockerfile);
        let message = match conf::resolve_path(&service.dir, named.get_ref()) {
            None => format!("the Dockerfile `{}` lies outside the tree", named.get_ref()),
            Some(path) if path != service.dockerfile => {
                format!(
                    "the Dockerfile is {} already: no variable can be in `dockerfile`, and nothing else where \
                     `services` names files",
                    service.dockerfile
                )
            }
            Some(path) if !service.has(DOCKERFILE) && !is_broken() && !self.is_rendered(&path) => {
                format!("there is no file {path}")
            }
            Some(_) => return None,
        };
        let (file, text) = (service.path(SERVICE_TOML), self.text(SERVICE_TOML).unwrap_or_default());
        Some(Diagnostic::error(file, 0, message).at_offset(text, named.span().start))
    }

    /// Whether a template makes the file, or should.
    fn is_rendered(&self, path: &str) -> bool {
        self.input.rendered.contains_key(path) || self.input.render.broken.contains_key(path)
    }
}
