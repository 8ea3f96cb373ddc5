//! What a notification says, whoever sent it. Pure; nothing of it is believed.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>,
//! <https://cloud.google.com/storage/docs/pubsub-notifications>,
//! <https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage>

use holdall_namespace::assimilate::Told;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Envelopes within envelopes: S3's event in SNS' in SQS' in a batch of them.
const DEEPEST: usize = 5;

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// These may have changed.
    Touched(Vec<Told>),
    /// The same, of a message that is understood in part; and what of it is not, in one sentence fragment.
    Partly(Vec<Told>, String),
    /// Azure Event Grid asks whether its events are wanted; this is to be said back.
    Validate(String),
    /// Amazon SNS asks the same; somebody has to open this.
    Confirm(String),
}

/// Reads a body, or says in one sentence fragment why it is none that is known.
pub(super) fn read(body: &[u8]) -> Result<Message, String> {
    let value = serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    read_value(&value, 0)
}

fn read_value(value: &Value, depth: usize) -> Result<Message, String> {
    if depth > DEEPEST {
        return Err("envelopes within envelopes".to_owned());
    }
    if let Value::Array(events) = value {
        return all(events.iter().map(|event| read_value(event, depth + 1)));
    }
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if let Some(Value::Array(records)) = value.get("Records") {
        return all(records.iter().map(|record| of_record(record, depth + 1)));
    }
    if let Some(Value::Array(messages)) = value.get("Messages") {
        return all(messages.iter().map(|message| nested(message.get("Body"), depth)));
    }
    match text("Type") {
        Some("Notification") => return nested(value.get("Message"), depth),
        Some("SubscriptionConfirmation") => return confirm(value),
        Some("UnsubscribeConfirmation") => return Ok(Message::Touched(Vec::new())),
        _ => {}
    }
    if text("Event") == Some("s3:TestEvent") {
        return Ok(Message::Touched(Vec::new()));
    }
    if text("source") == Some("aws.s3") {
        return of_event_bridge(value);
    }
    if let Some(attributes) = value.pointer("/message/attributes") {
        return of_pub_sub(attributes);
    }
    if let Some(kind) = text("eventType").or_else(|| text("type")) {
        return of_event_grid(kind, value);
    }
    plain(value)
}

/// One message of several: what asks for an answer goes before what is told, and what is odd keeps back nothing beside it.
fn all(messages: impl Iterator<Item = Result<Message, String>>) -> Result<Message, String> {
    let (mut told, mut odd) = (Vec::new(), None);
    for message in messages {
        match message {
            Ok(Message::Touched(more)) => told.extend(more),
            Ok(Message::Partly(more, reason)) => {
                told.extend(more);
                odd.get_or_insert(reason);
            }
            Ok(asks) => return Ok(asks),
            Err(reason) => {
                odd.get_or_insert(reason);
            }
        }
    }
    match odd {
        None => Ok(Message::Touched(told)),
        Some(reason) if told.is_empty() => Err(reason),
        Some(reason) => Ok(Message::Partly(told, reason)),
    }
}

fn nested(text: Option<&Value>, depth: usize) -> Result<Message, String> {
    let text = text.and_then(Value::as_str).ok_or("an envelope without a message")?;
    let value = serde_json::from_str(text).map_err(|error| format!("an envelope's message is no JSON: {error}"))?;
    read_value(&value, depth + 1)
}

fn confirm(value: &Value) -> Result<Message, String> {
    let url = value.get("SubscribeURL").and_then(Value::as_str);
    url.map(|url| Message::Confirm(url.to_owned())).ok_or_else(|| "a subscription without a `SubscribeURL`".to_owned())
}

/// S3's own, as MinIO sends it too, or another service's record around it.
fn of_record(record: &Value, depth: usize) -> Result<Message, String> {
    if let Some(body) = record.get("body") {
        return nested(Some(body), depth);
    }
    if let Some(message) = record.pointer("/Sns/Message") {
        return nested(Some(message), depth);
    }
    let text = |path: &str| record.pointer(path).and_then(Value::as_str);
    let (bucket, key) = (text("/s3/bucket/name"), text("/s3/object/key"));
    let (bucket, key) = bucket.zip(key).ok_or("a record that names no bucket and key")?;
    let key = percent_decode_str(&key.replace('+', " ")).decode_utf8().map(std::borrow::Cow::into_owned);
    let key = key.map_err(|_| "a key that is not UTF-8".to_owned())?;
    Ok(Message::Touched(vec![Told::key(bucket, key)]))
}

/// S3's events by `EventBridge` have keys as they are.
fn of_event_bridge(value: &Value) -> Result<Message, String> {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    let (bucket, key) = (text("/detail/bucket/name"), text("/detail/object/key"));
    let (bucket, key) = bucket.zip(key).ok_or("an event that names no bucket and key")?;
    Ok(Message::Touched(vec![Told::key(bucket, key.to_owned())]))
}

fn of_pub_sub(attributes: &Value) -> Result<Message, String> {
    let text = |name: &str| attributes.get(name).and_then(Value::as_str);
    let (bucket, key) = text("bucketId").zip(text("objectId")).ok_or("a message without `bucketId` and `objectId`")?;
    Ok(Message::Touched(vec![Told::key(bucket, key.to_owned())]))
}

/// Event Grid's own form, and that of `CloudEvents`.
fn of_event_grid(kind: &str, value: &Value) -> Result<Message, String> {
    if kind == "Microsoft.EventGrid.SubscriptionValidationEvent" {
        let code = value.pointer("/data/validationCode").and_then(Value::as_str);
        return code
            .map(|code| Message::Validate(code.to_owned()))
            .ok_or_else(|| "a validation without code".to_owned());
    }
    if !kind.starts_with("Microsoft.Storage.") {
        return Err(format!("events of the kind `{}` are not known", kind.escape_debug()));
    }
    let subject = value.get("subject").and_then(Value::as_str).unwrap_or_default();
    let at = subject.strip_prefix("/blobServices/default/containers/");
    let (container, key) = at.and_then(|at| at.split_once("/blobs/")).ok_or("a subject that names no blob")?;
    let of = |key: String| {
        let told = Told::key(container, key);
        if kind.contains("Directory") { told.and_below() } else { told }
    };
    let mut told = vec![of(key.to_owned())];
    // What is renamed leaves a name behind, which stands in a URL.
    let source = value.pointer("/data/sourceUrl").and_then(Value::as_str);
    if let Some((_, key)) = source.and_then(|url| url.split_once(&format!("/{container}/"))) {
        told.extend(percent_decode_str(key).decode_utf8().ok().map(|key| of(key.into_owned())));
    }
    Ok(Message::Touched(told))
}

/// `{"names": ["photos/a.jpg"], "below": ["photos/2024/"]}`: what a script sends.
fn plain(value: &Value) -> Result<Message, String> {
    let list = |name: &str| value.get(name).map(Value::as_array);
    let (names, below) = (list("names"), list("below"));
    if names.is_none() && below.is_none() {
        return Err("neither S3's, Pub/Sub's nor Event Grid's notification, nor `names` or `below`".to_owned());
    }
    let mut told = Vec::new();
    for (which, list) in [("names", names), ("below", below)] {
        for name in list.map(|list| list.ok_or(format!("`{which}` is no list"))).transpose()?.into_iter().flatten() {
            let name = Told::name(name.as_str().ok_or_else(|| format!("`{which}` has what is no text"))?);
            told.push(if which == "below" { name.and_below() } else { name });
        }
    }
    Ok(Message::Touched(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(told: &[Told]) -> Message {
        Message::Touched(told.to_vec())
    }

    fn key(bucket: &str, key: &str) -> Told {
        Told::key(bucket, key.to_owned())
    }

    const S3: &str = r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put",
        "s3":{"bucket":{"name":"photos"},"object":{"key":"a+b%2Bc/%C3%BC.jpg","size":1,"eTag":"x"}}},
        {"eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"photos"},"object":{"key":"gone"}}}]}"#;

    /// Keys were taken as they stood there: of `a b+c` nobody ever saw a change.
    #[test]
    fn events_of_s3_have_keys_as_forms_do() {
        assert_eq!(read(S3.as_bytes()), Ok(touched(&[key("photos", "a b+c/ü.jpg"), key("photos", "gone")])));
        let minio = S3.replacen('{', r#"{"EventName":"s3:ObjectCreated:Put","Key":"photos/a",  "#, 1);
        assert_eq!(read(minio.as_bytes()), read(S3.as_bytes()));
    }

    #[test]
    fn envelopes_are_opened() {
        let quoted = serde_json::to_string(S3).unwrap();
        let sns = format!(r#"{{"Type":"Notification","TopicArn":"arn:x","Message":{quoted}}}"#);
        let in_sqs = serde_json::to_string(&sns).unwrap();
        for body in [
            sns.clone(),
            format!(r#"{{"Messages":[{{"MessageId":"1","Body":{quoted}}}]}}"#),
            format!(r#"{{"Messages":[{{"MessageId":"1","Body":{in_sqs}}}]}}"#),
            format!(r#"{{"Records":[{{"eventSource":"aws:sqs","body":{quoted}}}]}}"#),
            format!(r#"{{"Records":[{{"EventSource":"aws:sns","Sns":{{"Message":{quoted}}}}}]}}"#),
        ] {
            assert_eq!(read(body.as_bytes()), read(S3.as_bytes()), "{body}");
        }
        let mut deep = S3.to_owned();
        for _ in 0..=DEEPEST {
            deep = serde_json::json!({ "Type": "Notification", "Message": deep }).to_string();
        }
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn what_asks_for_an_answer_is_told_apart() {
        let sns = r#"{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.example/?x"}"#;
        assert_eq!(read(sns.as_bytes()), Ok(Message::Confirm("https://sns.example/?x".to_owned())));
        let grid = r#"[{"id":"1","subject":"","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent",
            "data":{"validationCode":"512d38b6","validationUrl":"https://x"}}]"#;
        assert_eq!(read(grid.as_bytes()), Ok(Message::Validate("512d38b6".to_owned())));
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"photos"}"#;
        assert_eq!(read(test.as_bytes()), Ok(touched(&[])));
    }

    #[test]
    fn other_clouds_tell_in_their_own_ways() {
        let bridge = r#"{"detail-type":"Object Created","source":"aws.s3",
            "detail":{"bucket":{"name":"photos"},"object":{"key":"a+b"}}}"#;
        assert_eq!(read(bridge.as_bytes()), Ok(touched(&[key("photos", "a+b")])));
        let pub_sub = r#"{"message":{"attributes":{"bucketId":"photos","objectId":"a+b c","eventType":"OBJECT_FINALIZE"},
            "data":"e30=","messageId":"1"},"subscription":"projects/x"}"#;
        assert_eq!(read(pub_sub.as_bytes()), Ok(touched(&[key("photos", "a+b c")])));
        let subject = "/blobServices/default/containers/photos/blobs/a/b c.jpg";
        let grid = format!(r#"[{{"eventType":"Microsoft.Storage.BlobCreated","subject":"{subject}","data":{{}}}}]"#);
        assert_eq!(read(grid.as_bytes()), Ok(touched(&[key("photos", "a/b c.jpg")])));
        let cloud = format!(
            r#"{{"specversion":"1.0","type":"Microsoft.Storage.DirectoryRenamed","source":"/x","subject":"{subject}",
            "data":{{"sourceUrl":"https://x.dfs.core.windows.net/photos/old%20name"}}}}"#
        );
        let folders = [key("photos", "a/b c.jpg").and_below(), key("photos", "old name").and_below()];
        assert_eq!(read(cloud.as_bytes()), Ok(touched(&folders)));
        let own = r#"{"names":["a","b+c"],"below":["d/"]}"#;
        assert_eq!(
            read(own.as_bytes()),
            Ok(touched(&[Told::name("a"), Told::name("b+c"), Told::name("d/").and_below()]))
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_a_reason() {
        for (body, reason) in [
            ("", "the body is no JSON"),
            ("7", "neither S3's"),
            ("{}", "neither S3's"),
            (r#"{"Records":[{}]}"#, "a record that names no bucket and key"),
            (r#"{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"%ff"}}}]}"#, "a key that is not UTF-8"),
            (r#"{"Type":"Notification"}"#, "an envelope without a message"),
            (r#"{"Type":"Notification","Message":"hello"}"#, "an envelope's message is no JSON"),
            (r#"{"message":{"attributes":{}}}"#, "a message without `bucketId`"),
            (r#"[{"eventType":"Microsoft.Resources.X","subject":"/a"}]"#, "events of the kind"),
            (r#"[{"eventType":"Microsoft.Storage.BlobCreated","subject":"/a"}]"#, "a subject that names no blob"),
            (r#"{"names":"a"}"#, "`names` is no list"),
            (r#"{"below":[7]}"#, "`below` has what is no text"),
        ] {
            let told = read(body.as_bytes()).unwrap_err();
            assert!(told.starts_with(reason), "{body}: {told}");
        }
    }

    /// One record of a kind that is not known took the names of all others in its message with it.
    #[test]
    fn what_is_odd_keeps_back_nothing_beside_it() {
        let odd = S3.replacen("[{", r#"[{"eventName":"x"},{"#, 1);
        let told = vec![key("photos", "a b+c/ü.jpg"), key("photos", "gone")];
        let partly = Message::Partly(told, "a record that names no bucket and key".to_owned());
        assert_eq!(read(odd.as_bytes()), Ok(partly.clone()));
        let batch = serde_json::json!({ "Messages": [{ "Body": odd }, { "Body": "hello" }] }).to_string();
        assert_eq!(read(batch.as_bytes()), Ok(partly));
    }
}
