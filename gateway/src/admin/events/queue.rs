//! Queues that buckets of others send their notifications to. Each is asked by a task of its own, which no request waits for.
//!
//! What a message tells is marked before the message is taken out of its queue: one that comes twice is looked at twice, and
//! one that nobody understands is taken out and counted, so that it keeps none behind it.

use std::sync::Arc;
use std::time::Duration;

use holdall_namespace::Namespace;
use holdall_namespace::assimilate::{Notifications, Told};
use holdall_namespace::clock::Clock;
use holdall_silos::holdings::Touched;
use holdall_silos::queue::Queue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::message::{self, Message};
use crate::limits::{ADMIN_BODY, QUEUE_LOOK, QUEUE_REST, QUEUE_REST_AT_MOST};
use crate::metrics::Metrics;

/// What asks queues.
pub(crate) struct Queues {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Queues {
    /// Asks the queues that are declared, as they are declared, until `stop`.
    pub(crate) async fn ask_until(self: Arc<Self>, stop: CancellationToken) {
        let mut asked: Vec<(Notifications, AbortOnDropHandle<()>)> = Vec::new();
        while !stop.is_cancelled() {
            let declared = self.namespace.notifications();
            asked.retain(|(known, task)| declared.contains(known) && !task.is_finished());
            for of in declared {
                if !asked.iter().any(|(known, _)| *known == of) {
                    let task = tokio::spawn(Arc::clone(&self).ask_forever(of.clone()));
                    asked.push((of, AbortOnDropHandle::new(task)));
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.clock.sleep(QUEUE_LOOK) => {}
            }
        }
    }

    async fn ask_forever(self: Arc<Self>, of: Notifications) {
        let (mut queue, mut rest) = (None, QUEUE_REST);
        // What an earlier life took out of the queue and had no time to look at is for a pass to see.
        let _ = self.namespace.touch(&of.silo, &[Touched::Below(Vec::new())]);
        loop {
            let came = match self.ask(&of, &mut queue).await {
                Ok(came) => came,
                Err(reason) => {
                    // Once for each reason, however long it lasts.
                    if self.namespace.note_queue(&of, Some(&reason)) {
                        tracing::warn!(silo = of.silo, reason, "the queue of notifications cannot be asked");
                    }
                    queue = None;
                    self.clock.sleep(rest).await;
                    rest = longer(rest);
                    continue;
                }
            };
            if self.namespace.note_queue(&of, None) {
                tracing::info!(silo = of.silo, "the queue of notifications is asked again");
            }
            rest = QUEUE_REST;
            if came == 0 {
                self.clock.sleep(rest).await;
            }
        }
    }

    /// Takes what the queue has; answers how many messages that were.
    async fn ask(&self, of: &Notifications, queue: &mut Option<Queue>) -> Result<usize, String> {
        let queue = match queue {
            Some(queue) => queue,
            None => queue.insert(of.connect()?),
        };
        let messages = queue.receive().await?;
        for message in &messages {
            self.tell(&of.silo, &message.body)?;
        }
        if !messages.is_empty() {
            queue.forget(&messages).await?;
        }
        Ok(messages.len())
    }

    fn tell(&self, silo: &str, body: &str) -> Result<(), String> {
        let (told, odd) = understood(body);
        if let Some(reason) = odd {
            self.metrics.notifications_dropped.inc();
            tracing::warn!(silo, reason, "a message in the queue of notifications is not understood; it is taken out");
        }
        let touched = self.namespace.tell(silo, &told).map_err(|error| error.to_string())?;
        tracing::debug!(silo, told = told.len(), touched, "changes were told by a queue");
        Ok(())
    }
}

/// What a message tells, and why it tells no more, in one sentence fragment.
fn understood(body: &str) -> (Vec<Told>, Option<String>) {
    let nothing = |reason: String| (Vec::new(), Some(reason));
    if body.len() > ADMIN_BODY {
        return nothing(format!("it has more than {ADMIN_BODY} bytes"));
    }
    match message::read(body.as_bytes()) {
        Ok(Message::Touched(told)) => (told, None),
        Ok(Message::Partly(told, odd)) => (told, Some(odd)),
        Ok(Message::Confirm(url)) => {
            nothing(format!("it asks whether these notifications are wanted: open {url} if they are"))
        }
        Ok(Message::Validate(_)) => nothing("it asks for an answer, which a queue cannot give".to_owned()),
        Err(reason) => nothing(reason),
    }
}

/// The next pause after one that did not help.
fn longer(rest: Duration) -> Duration {
    (rest * 2).min(QUEUE_REST_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One message that nobody could read came first again and again, and all behind it waited.
    #[test]
    fn what_tells_nothing_is_told_apart() {
        let event = r#"{"Records":[{"s3":{"bucket":{"name":"photos"},"object":{"key":"a+b"}}}]}"#;
        assert_eq!(understood(event), (vec![Told::key("photos", "a b".to_owned())], None));
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"photos"}"#;
        assert_eq!(understood(test), (Vec::new(), None), "SQS is told that it works");
        let confirm = r#"{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.example/?x"}"#;
        let large = format!(r#"{{"names":["{}"]}}"#, "x".repeat(ADMIN_BODY));
        for (body, reason) in [
            ("hello", "the body is no JSON"),
            ("{}", "neither S3's"),
            (confirm, "it asks whether these notifications are wanted: open https://sns.example/?x"),
            (&*large, "it has more than 1048576 bytes"),
        ] {
            let (told, odd) = understood(body);
            assert!(told.is_empty() && odd.as_ref().is_some_and(|odd| odd.starts_with(reason)), "{odd:?}");
        }
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let pauses: Vec<u64> = std::iter::successors(Some(QUEUE_REST), |rest| Some(longer(*rest)))
            .map(|rest| rest.as_secs())
            .take(8)
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
