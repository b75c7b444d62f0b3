//! Every method that the table has for phones, asked once by an owner's phone of the real Codex, as the table has it.

use std::collections::BTreeSet;

use farhelm_core::policy::table;
use farhelm_phone::{Error, Host};
use serde_json::{Value, json};

use super::{set, told};
use crate::app_server::Client;
use crate::stage::{PATIENCE, Stage, ended};

/// What is tested in another place, and why not here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("farhelm/image/read", "the host answers it itself, and Codex hears nothing of it"),
    ("farhelm/devices/list", "the same"),
    ("farhelm/devices/rename", "the same"),
    ("farhelm/devices/grant", "the same"),
    ("farhelm/devices/revoke", "the same"),
    ("farhelm/freeze", "the same"),
];

/// A phone that notes what it asked for.
struct Asker<'a> {
    host: &'a Host,
    asked: BTreeSet<&'static str>,
}

impl Asker<'_> {
    /// Codex does it; its answer as the policy lets it through.
    async fn gets(&mut self, method: &'static str, params: Value) -> Value {
        self.asked.insert(method);
        let answer = self.host.call(method, params.clone()).await;
        answer.unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// Codex does it; the rows of its answer, of which there are some.
    async fn lists(&mut self, method: &'static str, params: Value) -> Vec<Value> {
        let rows = self.gets(method, params).await["data"].as_array().cloned().unwrap_or_default();
        assert!(!rows.is_empty(), "{method} lists nothing");
        rows
    }

    /// Codex was asked, and has these words why not.
    async fn is_told(&mut self, method: &'static str, params: Value, why: &str) {
        self.asked.insert(method);
        let answer = self.host.call(method, params).await;
        assert!(matches!(&answer, Err(Error::Codex(said)) if said.contains(why)), "{method}: {answer:?}");
    }
}

fn id(of: &Value) -> &str {
    of["id"].as_str().unwrap_or_else(|| panic!("no id: {of}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_for_phones_is_understood_by_the_real_codex() {
    let Some((stage, mut desk)) = set().await else { return };
    let mut phone = Asker { host: &stage.host, asked: BTreeSet::new() };
    what_belongs_to_no_thread(&mut phone).await;
    what_is_read_and_kept_in_order(&stage, &mut desk, &mut phone).await;
    what_has_the_agent_work(&stage, &mut phone).await;

    let for_phones = table::METHODS.iter().filter(|method| method.verdict.is_for_phones()).map(|method| method.name);
    let asked = phone.asked.iter().copied().chain(ELSEWHERE.iter().map(|(name, _)| *name));
    assert_eq!(asked.collect::<BTreeSet<_>>(), for_phones.collect(), "left: asked here; right: the table");
    stage.strike().await;
}

async fn what_belongs_to_no_thread(phone: &mut Asker<'_>) {
    for method in ["model/list", "collaborationMode/list", "permissionProfile/list", "skills/list"] {
        phone.lists(method, json!({})).await;
    }
    let able = phone.gets("modelProvider/capabilities/read", json!({})).await;
    assert!(able["webSearch"].is_boolean(), "{able}");
    assert_eq!(phone.gets("configRequirements/read", json!({})).await, json!({"requirements": null}));
    let account = phone.gets("account/read", json!({})).await;
    assert_eq!(account, json!({"account": null, "requiresOpenaiAuth": false}));
    for method in ["account/rateLimits/read", "account/usage/read"] {
        phone.is_told(method, json!({}), "authentication required").await;
    }
}

async fn what_is_read_and_kept_in_order(stage: &Stage, desk: &mut Client, phone: &mut Asker<'_>) {
    let (thread, turns) = told(stage, &["alpha", "beta"]).await;
    let of = json!({"threadId": thread});

    let roots = json!([{"path": stage.world.work()}]);
    let project = json!({"idempotencyKey": "one", "name": "A project", "roots": roots});
    let project = desk.request("project/create", project).await["result"]["project"].clone();
    assert_eq!(id(&phone.lists("project/list", json!({})).await[0]), id(&project));
    let read = phone.gets("project/read", json!({"projectId": id(&project)})).await;
    assert_eq!(read["project"]["name"], "A project");

    let section = desk.request("threadSection/create", json!({"name": "A section"})).await["result"]["section"].clone();
    let sections = phone.lists("threadSection/list", json!({})).await;
    assert!(sections.iter().any(|listed| id(listed) == id(&section)), "{sections:?}");
    phone.gets("thread/section/move", json!({"threadId": thread, "sectionId": id(&section)})).await;
    let moved = desk.request("thread/read", of.clone()).await;
    assert_eq!(moved["result"]["thread"]["section"]["id"], section["id"], "{moved}");

    let key = json!({"attachmentType": "note", "identityKey": "one"});
    let mut note = key.clone();
    (note["threadId"], note["payload"]) = (json!(thread), json!({"text": "not for phones"}));
    desk.request("thread/attachment/add", note).await;
    let attached = phone.lists("thread/attachment/list", of.clone()).await;
    assert!(attached[0].get("payload").is_none() && attached[0].get("identityKey").is_none(), "{attached:?}");
    assert_eq!(phone.lists("thread/attachmentOwner/list", key).await[0]["threadId"], thread.as_str());

    assert_eq!(id(&phone.lists("thread/list", json!({})).await[0]), thread);
    assert_eq!(phone.lists("thread/loaded/list", json!({})).await, [json!(thread)]);
    assert_eq!(phone.lists("thread/search", json!({"searchTerm": "beta"})).await[0]["thread"]["id"], thread.as_str());
    let found = phone.lists("thread/searchOccurrences", json!({"threadId": thread, "searchTerm": "beta"})).await;
    assert_eq!(found[0]["turnId"], turns[1].as_str());
    assert_eq!(id(&phone.gets("thread/read", of.clone()).await["thread"]), thread);
    assert_eq!(phone.lists("thread/turns/list", of.clone()).await.len(), 2);
    let entry = phone.lists("thread/items/list", of.clone()).await[0].clone();
    let items = json!({"threadId": thread, "turnId": entry["turnId"], "itemIds": [entry["item"]["id"]]});
    assert_eq!(phone.lists("thread/items/read", items).await, [entry]);
    phone.lists("thread/timeline/list", of.clone()).await;
    desk.request("thread/goal/set", json!({"threadId": thread, "objective": "be done", "status": "paused"})).await;
    assert_eq!(phone.gets("thread/goal/get", of.clone()).await["goal"]["objective"], "be done");
    assert_eq!(phone.gets("thread/backgroundTerminals/list", of.clone()).await["data"], json!([]));
    let process = json!({"threadId": thread, "processId": "4711"});
    let ended = phone.gets("thread/backgroundTerminals/terminate", process).await;
    assert_eq!(ended, json!({"terminated": false}));
    phone.gets("thread/backgroundTerminals/clean", of.clone()).await;

    phone.gets("thread/name/set", json!({"threadId": thread, "name": "A name"})).await;
    let seen = json!({"threadId": thread, "expectedRevision": "of another day", "operation": {"type": "read"}});
    phone.is_told("thread/readState/update", seen, "read state changed").await;
    phone.gets("thread/settings/update", json!({"threadId": thread, "effort": "high"})).await;
    let copy = phone.gets("thread/fork", json!({"threadId": thread, "lastTurnId": turns[0]})).await;
    assert_eq!(copy["thread"]["forkedFromId"], thread.as_str());
    phone.gets("thread/archive", of.clone()).await;
    phone.gets("thread/unarchive", of.clone()).await;
    let opened = phone.gets("thread/resume", of.clone()).await;
    assert_eq!(opened["initialTurnsPage"]["data"].as_array().map(Vec::len), Some(2));
    let kept = desk.request("thread/read", of).await["result"]["thread"].clone();
    assert_eq!((&kept["name"], &kept["reasoningEffort"]), (&json!("A name"), &json!("high")));
}

async fn what_has_the_agent_work(stage: &Stage, phone: &mut Asker<'_>) {
    let started = phone.gets("thread/start", json!({})).await;
    let thread = id(&started["thread"]).to_owned();
    let of = json!({"threadId": thread});
    let with = |name: &str, value: Value| json!({"threadId": thread, name: value});
    let input = |text: &str| json!([{"type": "text", "text": text}]);
    let mut watch = stage.host.watch(&thread).await.expect("to follow it");

    let turn = phone.gets("turn/start", with("input", input("SLOW secs=120"))).await;
    let turn = id(&turn["turn"]).to_owned();
    let runs = watch.wait_for(|thread| thread.running().is_some());
    tokio::time::timeout(PATIENCE, runs).await.expect("in time").expect("a running turn");
    let mut settings = with("effort", json!("high"));
    settings["turnId"] = json!(turn);
    phone.is_told("turn/settings/update", settings, "step_model_switching").await;

    let mut queued = Vec::new();
    for text in ["first", "second"] {
        let mut message = with("input", input(text));
        message["clientUserMessageId"] = json!(text);
        queued.push(id(&phone.gets("thread/queue/add", message).await["queuedSubmission"]).to_owned());
    }
    queued.reverse();
    phone.gets("thread/queue/reorder", with("queuedSubmissionIds", json!(queued))).await;
    let mut other = with("queuedSubmissionId", json!(queued[0]));
    other["input"] = input("another");
    phone.gets("thread/queue/update", other).await;
    let deleted = phone.gets("thread/queue/delete", with("queuedSubmissionId", json!(queued[1]))).await;
    assert_eq!(deleted, json!({"deleted": true}));
    let left = phone.lists("thread/queue/list", of.clone()).await;
    assert_eq!((left.len(), id(&left[0]), &left[0]["input"]), (1, queued[0].as_str(), &input("another")));

    let mut steer = with("input", input("SLOW secs=120"));
    steer["expectedTurnId"] = json!(turn);
    assert_eq!(phone.gets("turn/steer", steer).await["turnId"], turn.as_str());
    phone.gets("turn/interrupt", with("turnId", json!(turn))).await;
    ended(&mut watch, &turn).await;
    let next = phone.gets("thread/queue/start", of.clone()).await;
    ended(&mut watch, id(&next["turn"])).await;
    let review = json!({"type": "custom", "instructions": "Look at nothing."});
    let review = phone.gets("review/start", with("target", review)).await;
    ended(&mut watch, id(&review["turn"])).await;
    phone.gets("thread/compact/start", of).await;
}
