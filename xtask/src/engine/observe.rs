//! What an engine holds, from its own listing: [`Observed`] out of two answers, however many images there are.
//!
//! A fingerprint of ours is a label, and labels come with the listing. Platforms do not (before API 1.48), so
//! they stay unknown here; `inspect` knows them.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::models::{ImageSummary, SystemVersion};
use bollard::query_parameters::ListImagesOptions;

use super::EngineError;
use super::bollard::DockerEngine;
use super::connect::parse_version;
use crate::model::{Capabilities, Keeps, LocalImage, Observed, Platform, Reference};

/// Since which API an engine offers BuildKit sessions on `/build`.
const BUILDKIT_SINCE: (u32, u32) = (1, 39);
/// How often a list is asked for again that could not be made.
const MORE_LISTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Asks for the version and for the images, all or those with names that match a pattern, and for nothing else.
pub(super) async fn observe(
    engine: &DockerEngine,
    patterns: Option<&[String]>,
) -> Result<Observed, EngineError> {
    let (version, images) = tokio::try_join!(engine.docker.version(), list(engine, patterns))
        .map_err(|error| engine.error(error, "the list of images"))?;
    let keeps = if engine.beside.is_some() { Keeps::Beside } else { Keeps::Engine };
    let capabilities = Capabilities { keeps, ..capabilities(version, engine.podman) };
    let images = images.into_iter().filter_map(local_image).collect();
    Ok(match patterns {
        None => Observed::new(capabilities, images),
        Some(_) => Observed::of_some_names(capabilities, images),
    })
}

/// An engine with containerd gives no list at all when an image in it is removed meanwhile: a moment later it does.
async fn list(engine: &DockerEngine, patterns: Option<&[String]>) -> Result<Vec<ImageSummary>, BollardError> {
    let filters = patterns.map(|patterns| HashMap::from([("reference".to_owned(), patterns.to_vec())]));
    let ask = || {
        let options =
            ListImagesOptions { all: false, filters: filters.clone(), ..ListImagesOptions::default() };
        engine.docker.list_images(Some(options))
    };
    for _ in 0..MORE_LISTS {
        match ask().await {
            Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
    ask().await
}

fn capabilities(version: SystemVersion, podman: bool) -> Capabilities {
    let platform = Platform::new(
        version.os.as_deref().unwrap_or("linux"),
        version.arch.as_deref().unwrap_or(std::env::consts::ARCH),
        None,
    );
    let api = version.api_version.as_deref().and_then(parse_version).unwrap_or((0, 0));
    let name = if podman { "podman" } else { "docker" };
    Capabilities {
        name: name.to_owned(),
        version: version.version.unwrap_or_default(),
        api,
        buildkit: !podman && api >= BUILDKIT_SINCE && platform.os == "linux",
        platform,
        keeps: Default::default(),
    }
}

/// An image of the listing; one whose ID is no digest cannot be spoken of.
fn local_image(image: ImageSummary) -> Option<LocalImage> {
    Some(LocalImage {
        id: image.id.parse().ok()?,
        names: references(&image.repo_tags),
        digests: references(&image.repo_digests),
        labels: image.labels.into_iter().collect(),
        size: u64::try_from(image.size).unwrap_or(0),
        platform: None,
        identity: None,
    })
}

/// `<none>:<none>`, as older engines write an image without a name, is no reference.
pub(super) fn references(names: &[String]) -> Vec<Reference> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::engine::{Store as _, Surroundings, connect};

    #[tokio::test]
    async fn a_list_that_could_not_be_made_is_asked_for_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = format!("tcp://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let mut refusals = 2;
            loop {
                let (mut stream, _) = listener.accept().await.expect("a request");
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).await.expect("a request");
                let (status, body) = match String::from_utf8_lossy(&asked[..length]).contains("/images/json")
                {
                    true if refusals > 0 => {
                        refusals -= 1;
                        ("404 Not Found", r#"{"message": "content digest sha256:1: not found"}"#)
                    }
                    true => ("200 OK", "[]"),
                    false => ("200 OK", r#"{"ApiVersion": "1.51", "Version": "28.5.2", "Os": "linux"}"#),
                };
                let head =
                    format!("HTTP/1.1 {status}\r\nApi-Version: 1.51\r\nContent-Length: {}", body.len());
                let answer = format!("{head}\r\nConnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.expect("is heard");
            }
        });
        let variable = |name: &str| (name == "DOCKER_HOST").then(|| host.clone());
        let engine = connect(&Surroundings::new(&variable, None)).await.expect("answers");
        assert_eq!(engine.observe().await.expect("lists").images().len(), 0);
    }

    #[test]
    fn images_without_a_name_are_kept() {
        let id = format!("sha256:{}", "a".repeat(64));
        let image = ImageSummary {
            id: id.clone(),
            repo_tags: vec!["<none>:<none>".into()],
            repo_digests: vec!["<none>@<none>".into(), format!("alpine@{id}")],
            size: 7,
            ..ImageSummary::default()
        };
        let image = local_image(image).expect("kept");
        assert!(image.names.is_empty());
        assert_eq!(image.digests, [format!("alpine@{id}").parse().expect("reference")]);
        assert_eq!(image.size, 7);
    }

    #[test]
    fn podman_has_no_buildkit() {
        let version = SystemVersion {
            api_version: Some("1.41".into()),
            version: Some("4.3.1".into()),
            os: Some("linux".into()),
            arch: Some("amd64".into()),
            ..SystemVersion::default()
        };
        assert!(!capabilities(version.clone(), true).buildkit);
        let docker = capabilities(version, false);
        assert!(docker.buildkit);
        assert_eq!((docker.name.as_str(), docker.api), ("docker", (1, 41)));
    }
}
