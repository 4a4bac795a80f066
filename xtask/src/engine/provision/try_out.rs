//! Runs an image on a disposable engine until it answers over HTTP, and removes the container again.

use std::time::Duration;

use super::disposable::DisposableEngine;
use super::http::{ask_engine, ask_service};

/// A service that takes longer to answer does not work.
const PATIENCE: Duration = Duration::from_secs(30);

impl DisposableEngine {
    /// Runs `image` as it is and returns what it answers to `GET path` on `port`, as soon as that is a 200.
    ///
    /// # Errors
    /// What the engine refused, or what the container printed when it did not answer; for people.
    pub async fn try_out(&self, image: &str, port: u16, path: &str) -> Result<String, String> {
        let created = serde_json::json!({ "Image": image }).to_string();
        let id = match self.ask("POST", "/containers/create", &created).await? {
            (201, body) => {
                let body: serde_json::Value =
                    serde_json::from_str(&body).map_err(|error| error.to_string())?;
                body["Id"].as_str().unwrap_or_default().to_owned()
            }
            (_, refused) => return Err(format!("cannot run {image}: {}", refused.trim())),
        };
        let answer = self.start_and_ask(&id, port, path).await;
        // The engine goes soon anyway, and the container with it.
        let _ = self.ask("DELETE", &format!("/containers/{id}?force=1&v=1"), "").await;
        answer.map_err(|why| format!("{image} {why}"))
    }

    async fn start_and_ask(&self, id: &str, port: u16, path: &str) -> Result<String, String> {
        match self.ask("POST", &format!("/containers/{id}/start"), "").await? {
            (204, _) => {}
            (_, refused) => return Err(format!("does not start: {}", refused.trim())),
        }
        let (_, text) = self.ask("GET", &format!("/containers/{id}/json"), "").await?;
        let container: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let address = container["NetworkSettings"]["IPAddress"].as_str().unwrap_or_default().to_owned();
        let knock = async {
            loop {
                if let Some((200, body)) = ask_service(&address, port, path).await {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, knock).await {
            Ok(body) => Ok(body),
            Err(_) => {
                let logs = format!("/containers/{id}/logs?stdout=1&stderr=1&tail=20");
                let (_, printed) = self.ask("GET", &logs, "").await?;
                // Each line comes in a frame of the attach protocol, whose head is not text.
                let printed: String = printed.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
                let wait = PATIENCE.as_secs();
                Err(format!(
                    "does not answer GET {path} on {address}:{port} within {wait} s; it printed:\n{printed}"
                ))
            }
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
        ask_engine(self.home(), method, path, body)
            .await
            .ok_or_else(|| format!("the engine at {} does not answer", self.endpoint()))
    }
}
