//! What a phone that was killed had stored and not heard of: read from its journal before it goes on.

use std::path::Path;

use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::Logged;
use farhelm_store::Journal;
use serde_json::{Value, json};

/// `{"is":"kept","prompts":[text],"decisions":[request]}`.
pub(crate) fn report(path: &Path) -> Value {
    let (mut prompts, mut decisions) = (Vec::new(), Vec::new());
    for envelope in asked(path) {
        match envelope {
            Envelope::Request(request) if request.method == "turn/start" => {
                let params: Value = serde_json::from_slice(&request.params).expect("JSON");
                prompts.push(params["input"][0]["text"].clone());
            }
            Envelope::Decision(signed) => decisions.push(json!(signed.key.request)),
            _ => {}
        }
    }
    json!({"is": "kept", "prompts": prompts, "decisions": decisions})
}

fn asked(path: &Path) -> Vec<Envelope> {
    if !path.exists() {
        return Vec::new();
    }
    let journal = Journal::open(path).expect("a journal is whole, whenever its phone was killed");
    let peers = journal.peers().expect("peers");
    let acts = peers.into_iter().flat_map(|peer| journal.read(peer).expect("a peer").acts);
    acts.filter_map(|(_, act)| Logged::decode(&act.body).ok()).map(|logged| logged.envelope).collect()
}
