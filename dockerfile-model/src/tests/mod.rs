//! Cases that BuildKit's own front end (v0.25) was asked about, and laws.

mod front_ends;
mod inputs;
mod laws;
mod lines;
mod scopes;
mod stages;
mod vertexes;

use std::collections::BTreeMap;

use super::{Options, Resolved, parse, resolve};
use crate::{Brought, Diagnostic, Platform, Severity, Triggers};

/// One question about a Dockerfile.
struct Ask<'a> {
    text: &'a str,
    target: Option<&'a str>,
    args: BTreeMap<String, String>,
    platform: Platform,
    build_platform: Platform,
    triggers: Triggers,
}

fn ask(text: &str) -> Ask<'_> {
    let amd64 = Platform::new("linux", "amd64", None);
    Ask {
        text,
        target: None,
        args: BTreeMap::new(),
        platform: amd64.clone(),
        build_platform: amd64,
        triggers: Triggers::new(),
    }
}

impl<'a> Ask<'a> {
    fn target(mut self, target: &'a str) -> Self {
        self.target = Some(target);
        self
    }

    fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What an image brings; `?` stands for one that nobody has seen.
    fn brings(mut self, image: &str, triggers: &[&str]) -> Self {
        let brought = match triggers {
            ["?"] => Brought::Unknown,
            known => Brought::Known(known.iter().map(|text| (*text).to_owned()).collect()),
        };
        self.triggers.insert(image.parse().expect("a reference"), brought);
        self
    }

    fn platform(mut self, platform: &str) -> Self {
        self.platform = platform.parse().expect("a platform");
        self
    }

    fn resolve(&self) -> (Resolved, Vec<Diagnostic>) {
        let (file, mut diagnostics) = parse("Dockerfile", self.text);
        let options = Options {
            target: self.target,
            build_args: &self.args,
            platform: &self.platform,
            build_platform: &self.build_platform,
            triggers: &self.triggers,
        };
        let resolved = resolve(&file, &options);
        diagnostics.extend(resolved.diagnostics.clone());
        diagnostics.sort_by_key(|diagnostic| diagnostic.line);
        (resolved, diagnostics)
    }

    /// Familiar names of the images, in order, with a platform where it is not the target's.
    fn images(&self) -> String {
        let (resolved, _) = self.resolve();
        let show = |image: &crate::BaseImage| match &image.platform {
            Some(platform) => format!("{}@{platform}", image.reference.familiar()),
            None => image.reference.familiar(),
        };
        resolved.base_images.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn errors(&self) -> Vec<String> {
        let (_, diagnostics) = self.resolve();
        let is_error = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
        diagnostics.iter().filter(is_error).map(|d| format!("{}: {}", d.line, d.message)).collect()
    }

    /// The images, and no error.
    #[track_caller]
    fn gives(&self, images: &str) {
        assert_eq!(self.images(), images, "{}", self.text);
        assert_eq!(self.errors(), Vec::<String>::new(), "{}", self.text);
    }

    /// The images, and exactly one error with these words.
    #[track_caller]
    fn fails(&self, images: &str, line: u32, words: &[&str]) {
        assert_eq!(self.images(), images, "{}", self.text);
        let errors = self.errors();
        let [error] = errors.as_slice() else { panic!("one error, not {errors:#?}, in {}", self.text) };
        assert!(error.starts_with(&format!("{line}: ")), "{error}");
        for word in words {
            assert!(error.contains(word), "{error:?} must name {word:?}");
        }
    }
}
