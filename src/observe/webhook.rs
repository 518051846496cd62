//! Tells another program, over HTTP, what it wants to know of at once: that expectations failed.
//!
//! ```text
//! event ─ bounded queue ─→ a few signed POSTs at a time ─→ 2xx: done
//!                                    ↑                      └→ otherwise again, a few times, ever later
//!                                    └─ bounded, by due time ──┘
//! ```
//! Nobody waits for the receiver, and no event for the pauses of another: what does not fit the queue is counted and left out.
//! Who must know all asks the tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use prometheus::IntCounterVec;
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::metrics::Metrics;
use crate::error::{Error, Result, SqlState};

/// Events that wait for their first attempt, and at most as many that wait for another one.
const QUEUE_MAX: usize = 1_000;
/// Attempts under way.
const AT_ONCE_MAX: usize = 8;
/// Times that an event is sent.
const ATTEMPTS_MAX: u32 = 6;
/// Before the second attempt; doubled for each other one.
const PAUSE: Duration = Duration::from_secs(1);
/// For one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where events go.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    pub url: String,
    /// Signs what is sent.
    pub secret: Option<String>,
}

/// The sending end; cheap to clone.
#[derive(Debug, Clone)]
pub struct Webhook {
    queue: mpsc::Sender<Bytes>,
    outcomes: IntCounterVec,
}

impl Webhook {
    /// Starts the task that sends; it ends when nobody is left who could send.
    ///
    /// # Errors
    /// F0000 for a URL that is none of http or https.
    pub fn start(settings: WebhookSettings, metrics: &Arc<Metrics>) -> Result<Self> {
        let invalid = |why: String| {
            Error::new(SqlState::ConfigFileError, format!("invalid URL of the webhook \"{}\": {why}", settings.url))
        };
        let url = reqwest::Url::parse(&settings.url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("http or https is expected".to_owned()));
        }
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| Error::internal("no HTTP client could be made").with_source(error))?;
        let (queue, events) = mpsc::channel(QUEUE_MAX);
        let outcomes = metrics.webhook_deliveries().clone();
        let sender = Sender { client, url, secret: settings.secret, outcomes: outcomes.clone() };
        tokio::spawn(sender.run(events));
        Ok(Self { queue, outcomes })
    }

    /// Sends an event soon, or counts that there was no room for it.
    pub fn send(&self, event: &serde_json::Value) {
        if self.queue.try_send(Bytes::from(event.to_string())).is_err() {
            self.outcomes.with_label_values(&["dropped"]).inc();
            tracing::warn!("the webhook's queue is full: an event was left out");
        }
    }
}

struct Sender {
    client: reqwest::Client,
    url: reqwest::Url,
    secret: Option<String>,
    outcomes: IntCounterVec,
}

/// An event on its way.
struct Delivery {
    /// The same for all attempts.
    id: String,
    body: Bytes,
    attempt: u32,
}

impl Sender {
    async fn run(self, mut events: mpsc::Receiver<Bytes>) {
        let sender = Arc::new(self);
        let mut attempts: JoinSet<Option<Delivery>> = JoinSet::new();
        let mut waiting: BTreeMap<(Instant, String), Delivery> = BTreeMap::new();
        let mut is_open = true;
        loop {
            let is_free = attempts.len() < AT_ONCE_MAX;
            let due = waiting.first_key_value().map(|((due, _), _)| *due).filter(|_| is_free);
            let takes = is_open && is_free && waiting.len() + attempts.len() < QUEUE_MAX;
            let next = tokio::select! {
                // Who waits for another attempt goes first.
                biased;
                Some(done) = attempts.join_next() => {
                    if let Ok(Some(again)) = done {
                        let pause = PAUSE * 2_u32.saturating_pow(again.attempt - 1);
                        waiting.insert((Instant::now() + pause, again.id.clone()), Delivery { attempt: again.attempt + 1, ..again });
                    }
                    None
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    waiting.pop_first().map(|(_, delivery)| delivery)
                }
                event = events.recv(), if takes => {
                    is_open = event.is_some();
                    event.map(|body| Delivery { id: uuid::Uuid::now_v7().to_string(), body, attempt: 1 })
                }
                else => return,
            };
            if let Some(delivery) = next {
                let sender = Arc::clone(&sender);
                attempts.spawn(async move { sender.attempt(delivery).await });
            }
        }
    }

    /// One attempt; what is to be tried again.
    async fn attempt(&self, delivery: Delivery) -> Option<Delivery> {
        let Delivery { id, body, attempt } = &delivery;
        let why = match self.post(id, body.clone()).await {
            Ok(status) if status.is_success() => {
                self.outcomes.with_label_values(&["delivered"]).inc();
                return None;
            }
            Ok(status) => format!("it answered {status}"),
            Err(error) => error.without_url().to_string(),
        };
        tracing::warn!(attempt, delivery = id, "the webhook could not be told: {why}");
        if *attempt < ATTEMPTS_MAX {
            return Some(delivery);
        }
        self.outcomes.with_label_values(&["failed"]).inc();
        None
    }

    async fn post(&self, id: &str, body: Bytes) -> std::result::Result<reqwest::StatusCode, reqwest::Error> {
        let at = chrono::Utc::now().timestamp().to_string();
        let mut request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("user-agent", concat!("lakegate/", env!("CARGO_PKG_VERSION")))
            .header("x-lakegate-delivery", id)
            .header("x-lakegate-timestamp", &at);
        if let Some(signature) = self.secret.as_ref().and_then(|secret| signature(secret, &at, &body)) {
            request = request.header("x-lakegate-signature", signature);
        }
        Ok(request.body(body).send().await?.status())
    }
}

/// `sha256=` and the HMAC of the timestamp, a dot and the body, in hex.
fn signature(secret: &str, at: &str, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("sha256={hex}"))
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn the_signature_is_that_of_other_programs() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let expected = "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(signature("key", "1700000000", b"{}").as_deref(), Some(expected));
    }
}
