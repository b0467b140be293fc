//! Small requests to the HTTP door that are large once they are decoded, or deep, by callers.

use anyhow::Result;
use bytes::Bytes;

use crate::attack::Attack;
use crate::grpc;
use crate::peer::{ATTACKER, Peer, send_all};
use crate::stage::{Stage, TENANT_ACCOUNT};

/// Callers, each with one request at a time.
const CALLERS: usize = 8;
/// The size of a JSON text: a little less than the limit of 1 MiB.
const JSON_BYTES: usize = 1_000_000;
/// The size of a protobuf message: a little less than the limit of 4 MiB.
const PROTO_BYTES: usize = 4_000_000;

pub(super) const ATTACK: Attack = Attack::new(
    "door-bombs",
    "8 callers with JSON and protobuf of deep nesting, very many elements and very many fields",
    |stage| {
        Box::pin(async move {
            let callers = (0..CALLERS).map(|number| caller(&stage, number));
            futures_util::future::try_join_all(callers).await.map(drop)
        })
    },
);

/// A request: the method, the content type and the body.
type Bomb = (&'static str, &'static str, Bytes);

fn bombs() -> Vec<Bomb> {
    let text = |method, text: String| (method, "application/json", Bytes::from(text));
    let json = |method, begin: &str, repeated: &str, end: &str| {
        text(method, [begin, &repeated.repeat(JSON_BYTES / repeated.len()), end].concat())
    };
    let account = format!(r#"{{"account":"{TENANT_ACCOUNT}","#);
    let labels: Vec<_> = (0..60_000).map(|number| format!(r#""l{number}":"","#)).collect();
    let labels = labels.concat();
    // Empty texts, of two bytes each.
    let scopes = grpc::field(5, b"").repeat(PROTO_BYTES / 2);
    vec![
        json("BatchVerify", r#"{"requests":"#, "[", ""),
        json("BatchVerify", "", r#"{"requests":["#, ""),
        json("BatchVerify", r#"{"requests":["#, "{},", "{}]}"),
        json("BatchVerify", r#"{"requests":["#, "null,", "null]}"),
        json("BatchVerify", r#"{"requests":[{"scopes":["#, r#""","#, r#"""]}]}"#),
        json("CreateKey", &format!(r#"{account}"scopes":["#), r#""","#, r#"""]}"#),
        text("CreateKey", format!(r#"{account}"labels":{{{labels}"z":""}}}}"#)),
        json("CreateKey", &account, r#""x":1,"#, r#""y":1}"#),
        json("ImportKeys", &format!(r#"{account}"keys":["#), "{},", "{}]}"),
        ("CreateKey", "application/proto", scopes.into()),
    ]
}

async fn caller(stage: &Stage, number: usize) -> Result<()> {
    let bombs = bombs();
    loop {
        // The tenant may create keys, and the verifier may verify.
        for &(method, content_type, ref body) in bombs.iter().cycle().skip(number).take(bombs.len()) {
            let token = if method.contains("Verify") { &stage.verifier } else { &stage.tenant };
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
            let Ok(mut peer) = Peer::open_door(stage, ATTACKER, 65_535, &headers).await else {
                stage.answers.count("no connection");
                continue;
            };
            let Ok((mut sender, answer)) = peer.call(&grpc::path(method)).await else { continue };
            let mut answer = tokio::spawn(answer.read());
            let sent = async {
                if send_all(&mut sender, body.clone()).await.is_ok() {
                    stage.effort.sent(body.len());
                    let _ = sender.send_data(Bytes::new(), true);
                }
            };
            // The server may answer before it has read the message.
            tokio::select! {
                () = sent => drop(answer.await),
                _ = &mut answer => {}
            }
        }
    }
}
