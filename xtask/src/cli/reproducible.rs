//! `--reproducible`: which time stands for all times of an image, and who can make it so.

use super::session::Session;
use crate::cli::error::{Error, ErrorKind};
use crate::engine::ImageStore;
use crate::host::HostCommand;
use crate::model::Keeps;

/// The first Engine whose builder rewrites times (BuildKit 0.13).
const ENGINE_SINCE: u32 = 26;

impl Session {
    /// The same, with the time that images get where they are to be reproducible.
    ///
    /// # Errors
    /// Nobody says a time, or the engine's builder cannot write it.
    pub async fn reproducibly(mut self) -> Result<Self, Error> {
        if !self.config.reproducible {
            return Ok(self);
        }
        let epoch = match self.env.source_date_epoch() {
            Ok(Some(epoch)) => epoch,
            Ok(None) => self.time_of_commit().await?,
            Err(text) => {
                let what = format!("SOURCE_DATE_EPOCH is `{text}`, and no number of seconds since 1970");
                return Err(Error::new(ErrorKind::Usage, what).hint("`date +%s` prints such a number"));
            }
        };
        if self.keeps == Keeps::Engine {
            let engine = self.connect().await?;
            let survey = engine.survey().await?;
            let major = survey.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
            if survey.store != ImageStore::Containerd || major.is_some_and(|major| major < ENGINE_SINCE) {
                let what = format!(
                    "the engine at {} gives files the time of the build, which --reproducible does not want",
                    engine.endpoint()
                );
                return Err(Error::new(ErrorKind::EngineUnfit, what)
                    .hint("Engine 26 or newer does not, where it keeps images in containerd")
                    .hint("`--builder BUILDER` builds elsewhere, with BuildKit 0.13 or newer"));
            }
        }
        self.epoch = Some(epoch);
        Ok(self)
    }

    async fn time_of_commit(&self) -> Result<i64, Error> {
        let command =
            HostCommand::new("git").args(["log", "-1", "--format=%ct"]).in_folder(&self.config.root);
        let told = command.output().await.ok().and_then(|told| told.trim().parse().ok());
        told.ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                "--reproducible knows no time: SOURCE_DATE_EPOCH is not set, and there is no commit",
            )
            .hint("`SOURCE_DATE_EPOCH=0` gives everything the first second of 1970")
        })
    }
}

/// Whether a BuildKit of this version surely writes no times: they do since 0.13. One that was not built by a release says
/// `v0.0.0+unknown`.
pub(super) fn is_too_old(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(0)), Some(Ok(minor))) => (1..13).contains(&minor),
        (Some(Ok(_)), _) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_write_no_times_are_known() {
        for (version, expected) in [
            ("v0.12.5", true),
            ("v0.13.0-rc1", false),
            ("v0.25.1", false),
            ("0.9.0", true),
            ("v0.0.0+unknown", false),
            ("v1.0.0", false),
            ("before 0.11", true),
        ] {
            assert_eq!(is_too_old(version), expected, "{version}");
        }
    }
}
