//! The policy against Codex's real messages, against what a phone must not send, and against anything at all.

use proptest::prelude::*;
use serde_json::{Value, json};

mod generator;

use super::notifications::{NOTIFICATIONS, WITHHELD};
use super::table::METHODS;
use super::*;
use crate::codex::fixtures;
use crate::codex::thread::{Summary, Thread};

fn defaults() -> Defaults {
    Defaults::new("/home/me/project")
}

fn ask(method: &str, params: Value) -> Result<Value, Refusal> {
    request(method, &params, Right::Owner, &defaults()).map(|forward| {
        assert_eq!(forward.method.name, method);
        forward.params
    })
}

fn refused(method: &str, params: Value) -> String {
    ask(method, params).expect_err("refused").to_string()
}

#[test]
fn a_started_thread_gets_the_hosts_folder_and_rules() {
    let params = json!({"model": "gpt-5.5", "cwd": "/home/me/project", "approvalPolicy": "on-request",
        "sandbox": "workspace-write", "config": held_down()});
    assert_eq!(ask("thread/start", json!({"model": "gpt-5.5"})), Ok(params));
    let without_model = ask("thread/start", Value::Null).expect("allowed");
    assert_eq!(without_model["cwd"], "/home/me/project");
    assert_eq!(without_model.get("model"), None);
}

/// What the default rules take away from Codex's own config.
fn held_down() -> Value {
    json!({
        "sandbox_workspace_write.writable_roots": [],
        "sandbox_workspace_write.network_access": false,
        "features.computer_use": false,
        "plugins": {
            "computer-use@openai-bundled": {"enabled": false},
            "unified-computer-use@openai-bundled": {"enabled": false},
        },
    })
}

#[test]
fn what_the_rules_allow_is_left_to_codexs_config_and_nothing_is_added() {
    let rules = Rules { network_access: true, computer_use_mobile: true, ..Rules::default() };
    let widest = Rules { approval_policy: "never".into(), sandbox: "danger-full-access".into(), ..rules };
    for method in ["thread/start", "thread/resume"] {
        let params = if method == "thread/resume" { json!({"threadId": "t"}) } else { Value::Null };
        let strict = ask(method, params.clone()).expect("allowed");
        assert_eq!(strict["config"], held_down(), "{method}");
        let open = request(method, &params, Right::Owner, &Defaults::of(&widest, "/f")).expect("allowed").params;
        assert_eq!(open["config"], json!({"sandbox_workspace_write.writable_roots": []}), "{method}");
    }
}

#[test]
fn a_phone_sends_neither_folder_nor_rules() {
    let fields = [
        "config",
        "sandbox",
        "approvalPolicy",
        "approvalsReviewer",
        "permissions",
        "cwd",
        "runtimeWorkspaceRoots",
        "modelProvider",
        "baseInstructions",
        "developerInstructions",
        "environments",
        "dynamicTools",
        "history",
        "path",
    ];
    for field in fields {
        // The host holds a folder against those it offers; it is the only one of these that a phone names.
        if field != "cwd" {
            let error = ask("thread/start", json!({ field: "x" })).expect_err("refused");
            assert_eq!(error, Refusal::UnknownField { method: "thread/start", field: field.into() });
        }
        let error = ask("thread/resume", json!({"threadId": "t", field: "x"})).expect_err("refused");
        assert_eq!(error, Refusal::UnknownField { method: "thread/resume", field: field.into() });
    }
    for field in ["approvalPolicy", "sandboxPolicy", "cwd", "toolOutput", "additionalContext", "outputSchema"] {
        let params = json!({"threadId": "t", "input": [], field: "x"});
        assert!(matches!(ask("turn/start", params), Err(Refusal::UnknownField { .. })), "{field}");
    }
}

#[test]
fn a_turn_is_rebuilt_with_text_and_the_senders_id() {
    let params = json!({"threadId": "t", "input": [{"type": "text", "text": "go on"}], "clientUserMessageId": "m1",
        "model": "gpt-5.5", "effort": "high"});
    assert_eq!(ask("turn/start", params.clone()), Ok(params));
    let params = json!({"threadId": "t", "input": [{"type": "text", "text": "stop"}], "expectedTurnId": "1"});
    assert_eq!(ask("turn/steer", params.clone()), Ok(params));
}

#[test]
fn input_that_names_a_path_or_an_address_is_refused() {
    let inputs = [
        json!({"type": "localImage", "path": "/etc/passwd"}),
        json!({"type": "localAudio", "path": "/etc/passwd"}),
        json!({"type": "skill", "name": "x", "path": "/x"}),
        json!({"type": "mention", "name": "x", "path": "/x"}),
        json!({"text": "no type"}),
    ];
    for input in inputs {
        let params = json!({"threadId": "t", "input": [input]});
        let error = ask("turn/start", params).expect_err("refused");
        assert!(matches!(&error, Refusal::WrongValue { field, .. } if field == "input.0.type"), "{error}");
    }
    for url in ["http://169.254.169.254/", "file:///etc/passwd", "data:text/html,x", "data:image/png;base64,AAAA"] {
        let params = json!({"threadId": "t", "input": [{"type": "image", "url": url}]});
        let error = ask("turn/start", params).expect_err("refused");
        assert!(matches!(&error, Refusal::WrongValue { field, .. } if field == "input.0.url"), "{error}");
    }
    let params = json!({"threadId": "t", "input": [{"type": "text", "text": "x", "path": "/x"}]});
    let field = "input.0.path".to_owned();
    assert_eq!(ask("turn/start", params), Err(Refusal::UnknownField { method: "turn/start", field }));
}

#[test]
fn a_resume_asks_for_the_newest_page_only() {
    let page = json!({"limit": 20, "sortDirection": "desc", "itemsView": "full"});
    let params = json!({"threadId": "t", "excludeTurns": true, "config": held_down(), "initialTurnsPage": page});
    assert_eq!(ask("thread/resume", json!({"threadId": "t"})), Ok(params));
}

#[test]
fn every_right_opens_what_needs_it_or_less_and_nothing_else() {
    for method in METHODS {
        for right in Right::ALL {
            let refused = request(method.name, &json!({"no such field": 1}), right, &defaults()).expect_err("refused");
            let opened = matches!(refused, Refusal::UnknownField { .. });
            assert_eq!(opened, method.verdict.is_for_phones() && right >= method.right, "{} for {right}", method.name);
        }
    }
}

#[test]
fn refusals_say_which_method_and_field_and_what_to_do() {
    insta::assert_snapshot!(
        [
            refused("fs/readFile", json!({"path": "/etc/hostname"})),
            refused("initialize", json!({})),
            refused("turn/start", json!({"threadId": "t", "input": [], "sandboxPolicy": {}})),
            refused("turn/interrupt", json!({"threadId": "t"})),
            refused("thread/list", json!({"limit": 5000})),
            refused("thread/list", json!({"sortDirection": "up"})),
            refused("turn/start", json!({"threadId": "t", "input": [{"type": "image", "url": "x"}]})),
            refused("turn/start", json!([])),
            refused("turn/start\u{1b}[2J", json!({})),
        ]
        .join("\n"),
        @r#"
    fs/readFile is not for phones (it reads any path; the host reads images that stand in a thread); do it at the desk
    initialize is not for phones (the connection to Codex is the host's); do it at the desk
    turn/start: the field "sandboxPolicy" is not for phones; send it without
    turn/interrupt: the field "turnId" is missing; update the app on the phone
    thread/list: "limit" must be a whole number from 1 to 100; correct it and send again
    thread/list: "sortDirection" must be one of asc, desc; correct it and send again
    turn/start: "input.0.url" must be the data: URL of a PNG, JPEG, GIF or WebP image of at most 4194304 bytes, in base64; correct it and send again
    turn/start: "params" must be an object; correct it and send again
    "turn/start\u{1b}[2J" is not a method this host knows; do it at the desk
    "#
    );
}

#[test]
fn a_prompt_over_the_limit_is_refused() {
    let prompt = |bytes| json!({"threadId": "t", "input": [{"type": "text", "text": "x".repeat(bytes)}]});
    assert!(ask("turn/start", prompt(crate::wire::limits::PROMPT)).is_ok());
    assert!(refused("turn/start", prompt(crate::wire::limits::PROMPT + 1)).contains("input.0.text"));
}

#[test]
fn a_message_with_more_images_than_the_limit_is_refused() {
    let url = crate::codex::image::data_url(crate::codex::image::ImageKind::Png, b"\x89PNG\r\n\x1a\nrest");
    for method in METHODS.iter().filter(|method| method.params.iter().any(|field| field.name == "input")) {
        let with = |images| {
            let mut params = generator::least(method.params);
            params["input"] = vec![json!({"type": "image", "url": url}); images].into();
            ask(method.name, params)
        };
        assert!(with(crate::wire::limits::IMAGES).is_ok(), "{}", method.name);
        assert!(with(crate::wire::limits::IMAGES + 1).is_err(), "{}", method.name);
    }
}

#[test]
fn names_stand_once_and_host_filled_fields_are_not_the_phones() {
    for (i, method) in METHODS.iter().enumerate() {
        assert!(METHODS[..i].iter().all(|other| other.name != method.name), "{} twice", method.name);
        for given in method.given {
            let phones = method.params.iter().any(|field| field.name == given.name);
            // The one that a phone may choose: a folder that the host offers.
            let chosen = (method.name, given.name) == ("thread/start", "cwd");
            assert_eq!(phones, chosen, "{}.{}", method.name, given.name);
        }
    }
}

#[test]
fn results_keep_what_a_screen_needs_and_nothing_else() {
    let story = fixtures::story("answer");
    let resume = fixtures::results(&story, "initialTurnsPage").next().expect("a resume");
    let filtered = result("thread/resume", resume);
    assert_eq!(Thread::from_resume(&filtered), Thread::from_resume(resume));
    let text = filtered.to_string();
    for hidden in ["rollout-", "sessionId", "originator", "modelProvider", "cliVersion", ".codex"] {
        assert!(resume.to_string().contains(hidden) && !text.contains(hidden), "{hidden}");
    }
    let lists = fixtures::messages(fixtures::LISTS);
    let list = fixtures::results(&lists, "readStates").next().expect("a list");
    assert_eq!(Summary::from_list(&result("thread/list", list)), Summary::from_list(list));
    let models = fixtures::results(&lists, "data").last().expect("a list");
    let model = &result("model/list", models)["data"][0];
    assert_eq!((&model["id"], &model["defaultReasoningEffort"]), (&json!("gpt-6.1-sol"), &json!("low")));
    assert_eq!(model.get("availabilityNux"), None);
}

#[test]
fn filtering_first_reduces_to_the_same_thread() {
    for (name, _) in fixtures::STORIES {
        let story = fixtures::story(name);
        let (mut whole, mut filtered) = (Thread::default(), Thread::default());
        for (method, params) in fixtures::notifications(&story) {
            whole.apply(method, params);
            match notification(method, params) {
                Some(params) => {
                    filtered.apply(method, &params);
                }
                None => assert_eq!(method, "serverRequest/resolved"),
            }
        }
        assert!(!whole.turns.is_empty());
        assert_eq!(filtered, whole, "{name}");
        for resumed in fixtures::results(&story, "initialTurnsPage") {
            let filtered = Thread::from_resume(&result("thread/resume", resumed));
            assert_eq!(filtered, Thread::from_resume(resumed), "{name}");
        }
    }
}

#[test]
fn settings_reach_a_phone_in_every_form_they_have() {
    let sandboxes = [
        json!({"type": "dangerFullAccess"}),
        json!({"type": "readOnly", "networkAccess": true}),
        json!({"type": "externalSandbox", "networkAccess": "enabled"}),
        json!({"type": "workspaceWrite", "writableRoots": ["/"], "networkAccess": true, "excludeTmpdirEnvVar": false,
            "excludeSlashTmp": true}),
    ];
    let switches = json!({"granular": {"sandbox_approval": true, "rules": false, "skill_approval": true,
        "request_permissions": false, "mcp_elicitations": true}});
    for sandbox in sandboxes {
        for policy in [json!("never"), switches.clone()] {
            let params = json!({"threadId": "t", "threadSettings": {"cwd": "/p", "model": "m", "effort": "low",
                "approvalPolicy": policy, "sandboxPolicy": sandbox, "modelProvider": "p"}});
            let mut whole = Thread::new("t");
            let mut filtered = whole.clone();
            whole.apply("thread/settings/updated", &params);
            let params = notification("thread/settings/updated", &params).expect("for phones");
            assert!(params["threadSettings"].get("modelProvider").is_none());
            filtered.apply("thread/settings/updated", &params);
            assert_eq!(filtered, whole);
        }
    }
}

#[test]
fn an_item_of_a_new_kind_arrives_as_its_name_only() {
    let item = json!({"type": "hologram", "id": "i", "server": "s", "arguments": {"token": "secret"}});
    let params = json!({"threadId": "t", "turnId": "1", "item": item, "startedAtMs": 1});
    let kept = json!({"threadId": "t", "turnId": "1", "item": {"type": "hologram", "id": "i"}});
    assert_eq!(notification("item/started", &params), Some(kept));
}

#[test]
fn an_image_in_a_message_is_counted_and_not_echoed() {
    let content = json!([{"type": "text", "text": "look"}, {"type": "image", "url": "data:image/png;base64,AAAA"}]);
    let item = json!({"type": "userMessage", "id": "i", "clientId": null, "content": content});
    let params = json!({"threadId": "t", "turnId": "1", "item": item});
    let kept = notification("item/completed", &params).expect("for phones");
    assert!(!kept.to_string().contains("base64"));
    let mut thread = Thread::new("t");
    thread.apply("item/completed", &kept);
    let kind = &thread.turns[0].items[0].kind;
    assert!(matches!(kind, crate::codex::thread::ItemKind::UserMessage { attachments: 1, .. }), "{kind:?}");
}

#[test]
fn what_is_not_for_phones_stays_away() {
    for method in
        ["configWarning", "account/updated", "item/reasoning/textDelta", "fs/changed", "rawResponseItem/completed"]
    {
        assert_eq!(notification(method, &json!({"threadId": "t"})), None, "{method}");
    }
    // Half an item is none.
    assert_eq!(notification("item/started", &json!({"threadId": "t", "turnId": "1", "item": {"type": "plan"}})), None);
    assert_eq!(notification("item/agentMessage/delta", &json!({"threadId": "t"})), None);
    assert_eq!(result("fs/readFile", &json!({"dataBase64": "AA=="})), Value::Null);
    assert_eq!(result("initialize", &json!({"userAgent": "x"})), Value::Null);
}

#[test]
fn every_notification_stands_once_and_the_hosts_own_need_more_than_a_viewer() {
    let forwarded = NOTIFICATIONS.iter().map(|entry| entry.name);
    let names: Vec<_> = forwarded.chain(WITHHELD.iter().map(|entry| entry.name)).collect();
    for (i, name) in names.iter().enumerate() {
        assert!(!names[..i].contains(name), "{name} twice");
    }
    assert_eq!(names.len(), 86);
    for entry in NOTIFICATIONS {
        assert_eq!(entry.right == Right::Viewer, entry.subject == About::Thread, "{}", entry.name);
    }
    let limits =
        json!({"rateLimits": {"primary": {"usedPercent": 7}, "credits": {"balance": "9", "hasCredits": true}}});
    assert_eq!(notification("account/rateLimits/updated", &limits), None);
    let entry = notifications::find("account/rateLimits/updated").expect("for operators");
    let kept = json!({"rateLimits": {"primary": {"usedPercent": 7}, "credits": {"hasCredits": true}}});
    assert_eq!((entry.right, entry.filter(&limits)), (Right::Operator, Some(kept)));
    // A warning about no thread can't be tied to a folder.
    assert_eq!(notification("warning", &json!({"message": "w", "threadId": null})), None);
}

#[test]
fn a_thread_entry_names_its_thread() {
    for entry in NOTIFICATIONS.iter().filter(|entry| entry.subject == About::Thread) {
        let named = entry.params.iter().any(|field| field.required && matches!(field.name, "threadId" | "thread"));
        assert!(named, "{}", entry.name);
    }
}

/// What a value may be, read a second time and in another way than the code under test.
fn is_named(shape: &Shape, value: &Value) -> bool {
    let object = |fields: &[Field], tag: Option<&str>| {
        value.as_object().is_some_and(|map| {
            map.iter().all(|(name, value)| {
                (name == "type" && tag.is_some())
                    || fields.iter().any(|f| f.name == name && (value.is_null() || is_named(&f.shape, value)))
            })
        })
    };
    match shape {
        Shape::Text(max) => value.as_str().is_some_and(|text| text.len() <= *max),
        Shape::DataImage(max) => value.as_str().is_some_and(|url| {
            let kinds = [("png", &b"\x89PNG"[..]), ("jpeg", b"\xff\xd8\xff"), ("gif", b"GIF8"), ("webp", b"RIFF")];
            kinds.iter().any(|(kind, magic)| {
                let data = url.strip_prefix(&format!("data:image/{kind};base64,"));
                let bytes = data.and_then(|data| data_encoding::BASE64.decode(data.as_bytes()).ok());
                bytes.is_some_and(|bytes| bytes.len() <= *max && bytes.starts_with(magic))
            })
        }),
        Shape::Bool => value.is_boolean(),
        Shape::Int(min, max) => value.as_i64().is_some_and(|n| n >= *min && n <= *max),
        Shape::OneOf(texts) => texts.iter().any(|text| value == text),
        Shape::List(max, of) => {
            value.as_array().is_some_and(|list| list.len() <= *max && list.iter().all(|value| is_named(of, value)))
        }
        Shape::AtMost(max, tag, list) => {
            let tags = value.as_array().map(|list| list.iter().filter(|of| of["type"].as_str() == Some(*tag)).count());
            tags.is_some_and(|count| count <= *max) && is_named(list, value)
        }
        Shape::Object(fields) => object(fields, None),
        Shape::Tagged(variants, others) => {
            let tag = value["type"].as_str();
            let fields = variants.iter().find(|(name, _)| Some(*name) == tag).map_or(*others, |(_, fields)| fields);
            object(fields, tag)
        }
        Shape::Json => value.is_string(),
        Shape::Either(shapes) => shapes.iter().any(|shape| is_named(shape, value)),
    }
}

/// Any JSON, mostly of names that occur, so that it gets past the first check.
fn any_json() -> impl Strategy<Value = Value> {
    let texts = proptest::sample::select(vec![
        "text",
        "t",
        "agentMessage",
        "userMessage",
        "workspaceWrite",
        "desc",
        "full",
        "",
    ]);
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => (-1..200i64).prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        4 => texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let names = proptest::sample::select(vec![
            "threadId",
            "turnId",
            "itemId",
            "item",
            "turn",
            "thread",
            "id",
            "type",
            "input",
            "text",
            "path",
            "cwd",
            "status",
            "items",
            "changes",
            "kind",
            "diff",
            "content",
            "data",
            "sandbox",
            "threadSettings",
            "model",
            "limit",
            "delta",
            "approvalPolicy",
            "granular",
            "initialTurnsPage",
            "nextCursor",
            "error",
            "message",
            "url",
            "secret",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((names.prop_map(str::to_owned), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn for_phones() -> impl Strategy<Value = &'static Method> {
    proptest::sample::select(METHODS.iter().filter(|method| method.verdict.is_for_phones()).collect::<Vec<_>>())
}

/// Whether a request, if it is forwarded, holds the fields of the list, those the host puts in, and no other.
fn forwards_only_what_is_named(method: &Method, params: Value) -> bool {
    let Ok(Value::Object(mut sent)) = ask(method.name, params) else { return true };
    let puts_in = |given: &Given| method.params.iter().all(|field| field.name != given.name);
    let given = method.given.iter().filter(|given| puts_in(given)).all(|given| sent.remove(given.name).is_some());
    given && is_named(&Shape::Object(method.params), &Value::Object(sent))
}

#[test]
fn every_method_takes_what_fits_it_and_the_generator_reaches_that() {
    for method in METHODS.iter().filter(|method| method.verdict.is_for_phones()) {
        let least = generator::least(method.params);
        assert!(ask(method.name, least.clone()).is_ok(), "{} {least}", method.name);
        let strategy = generator::near(method.params);
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut draw = || strategy.new_tree(&mut runner).expect("a value").current();
        let (taken, refused): (Vec<_>, Vec<_>) =
            (0..256).map(|_| draw()).partition(|p| ask(method.name, p.clone()).is_ok());
        assert!(!taken.is_empty() && !refused.is_empty(), "{}: {} taken", method.name, taken.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_off_the_list_is_ever_forwarded(method in for_phones(), params in any_json()) {
        prop_assert!(forwards_only_what_is_named(method, params));
    }

    #[test]
    fn nor_is_what_almost_fits((method, params) in for_phones().prop_flat_map(|m| (Just(m), generator::near(m.params)))) {
        prop_assert!(forwards_only_what_is_named(method, params));
    }

    #[test]
    fn nothing_off_the_list_ever_comes_back(method in for_phones(), value in any_json(), n in 0..NOTIFICATIONS.len()) {
        let kept = result(method.name, &value);
        prop_assert!(kept.is_null() || is_named(&method.result, &kept));
        let entry = &NOTIFICATIONS[n];
        if let Some(kept) = entry.filter(&value) {
            prop_assert!(is_named(&Shape::Object(entry.params), &kept));
        }
    }

    #[test]
    fn a_method_off_the_list_is_denied(method in "[a-z]{1,8}(/[a-zA-Z]{1,8}){0,2}", params in any_json()) {
        prop_assume!(METHODS.iter().all(|known| known.name != method));
        prop_assert_eq!(ask(&method, params), Err(Refusal::UnknownMethod { method }));
    }
}
