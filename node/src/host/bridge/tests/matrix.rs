//! Every method of the table, against every right and every kind of folder. What is sent and answered is made from the
//! table's own shapes, so a new method is in here by being in the table.

use farhelm_core::codex::image::{ImageKind, data_url};
use farhelm_core::policy::notifications::{About, NOTIFICATIONS};
use farhelm_core::policy::{Effect, Field, Method, Shape, Subject, Verdict, table};
use farhelm_core::wire::envelope::Failure;
use serde_json::Map;

use super::*;

/// The phone that asks.
pub(super) const PHONE: u8 = 2;
/// An owner's, whose request shows that nothing came before it.
const WITNESS: u8 = 9;

/// What Codex answers to the look-up of a thread that it doesn't know.
const UNKNOWN: Result<Value, &str> = Err("no such thread");

#[tokio::test]
async fn a_method_is_forwarded_exactly_for_those_who_have_its_right() {
    let mut stage = Stage::followed().await;
    for method in table::METHODS {
        let (asks, forwarded) = (params(method, "t", "/src"), (method.name, Ok(result(method, "t", "/src"))));
        let forwarded: Vec<_> = tools(method).chain([forwarded]).collect();
        for right in Right::ALL {
            stage.grant(PHONE, Grant::of(right));
            if method.verdict == Verdict::Allow && right >= method.right {
                let answer = stage.ask(method, asks.clone(), forwarded.clone()).await;
                assert!(
                    answer.as_ref().is_ok_and(|answer| !answer.is_null()),
                    "{} for {right}: {answer:?}",
                    method.name
                );
            } else if method.verdict == Verdict::Own && method.subject == Subject::Host && right >= method.right {
                // Not the bridge's; it has passed all that the bridge asks.
                let not_here = stage.refusal(method, asks.clone(), []).await;
                assert!(not_here.contains("this host can't do"), "{not_here}");
            } else if method.verdict == Verdict::Own && right >= method.right {
                // The host looks for the item itself.
                let nothing = ("thread/turns/list", Ok(json!({"data": []})));
                let none = stage.refusal(method, asks.clone(), [nothing]).await;
                assert!(none.contains("no such image"), "{none}");
            } else {
                stage.refusal(method, asks.clone(), []).await;
            }
        }
        stage.grant(PHONE, Grant { until_ms: Some(1), ..Grant::of(Right::Owner) });
        let over = stage.refusal(method, asks.clone(), []).await;
        assert!(over.contains("time on the host is over"), "{over}");
        stage.grants.send_replace(Grants::default());
        let unpaired = stage.refusal(method, asks, []).await;
        assert!(unpaired.contains("not paired"), "{unpaired}");
    }
}

#[tokio::test]
async fn a_method_about_a_thread_passes_exactly_in_the_devices_folders() {
    let mut stage = Stage::followed().await;
    let of_thread = |method: &&Method| matches!(method.subject, Subject::Thread(_));
    for method in for_phones().filter(of_thread) {
        let forwarded = (method.name, Ok(result(method, "t", "/src")));
        stage.grant(PHONE, only("/src"));
        stage.passes(method, params(method, "t", "/src"), tools(method).chain([forwarded])).await;
        stage.grant(PHONE, only("/other"));
        let refusal = stage.refusal(method, params(method, "t", "/src"), []).await;

        // A thread that isn't followed: Codex is asked where it is, and nothing more if that isn't the phone's.
        let other = &*format!("not followed, {}", method.name);
        let look = |folder| ("thread/read", Ok(json!({"thread": {"id": other, "cwd": folder}})));
        let asks = params(method, other, "/src");
        stage.grant(PHONE, only("/src"));
        for elsewhere in [look("/other"), look("/srcs"), look("/src/../other"), look("src"), ("thread/read", UNKNOWN)] {
            assert_eq!(stage.refusal(method, asks.clone(), [elsewhere]).await, refusal, "ids can't be probed");
        }
        let forwarded = (method.name, Ok(result(method, other, "/src/deep")));
        // Before the agent works there, it is opened: under which terms it would work isn't known otherwise.
        let opened = (method.effect == Effect::Work).then(|| ("thread/resume", Ok(opened(other, "/src/deep"))));
        stage
            .passes(method, asks, [look("/src/deep")].into_iter().chain(opened).chain(tools(method)).chain([forwarded]))
            .await;
    }
}

#[tokio::test]
async fn what_an_answer_says_of_its_threads_folder_counts_too() {
    let mut stage = Stage::followed().await;
    let of_one = |method: &&Method| matches!(method.subject, Subject::Thread(_) | Subject::Folder(_));
    for method in for_phones().filter(of_one).filter(|method| result(method, "t", "/src").get("thread").is_some()) {
        stage.grant(PHONE, only("/src"));
        let mut moved = result(method, "t", "/src");
        moved["thread"]["cwd"] = "/other".into();
        let mut nowhere = moved.clone();
        nowhere["thread"]["cwd"] = Value::Null;
        for answer in [moved, nowhere] {
            stage.refusal(method, params(method, "t", "/src"), tools(method).chain([(method.name, Ok(answer))])).await;
        }
    }
}

#[tokio::test]
async fn a_method_that_starts_a_thread_does_so_in_the_devices_start_folders_only() {
    let mut stage = Stage::followed().await;
    let folders = ["/src", "/src/other", "/work"].map(str::to_owned).to_vec();
    stage.folders.send_replace(Arc::new(HostFolders { own: folders.clone(), startable: folders }));
    for (method, field) in for_phones().filter_map(|method| Some((method, folder_field(method)?))) {
        for (grant, asked, passes) in [
            (only("/src"), "/src", true),
            (only("/src"), "/src/other", true),
            (only("/src"), "/work", false),
            (only("/src"), "/src/deep", false),
            (only("/src"), "/srcs", false),
            (only("/src/deep"), "/src", false),
            (only("/work"), "/src/../work", false),
            (Grant::of(Right::Owner), "/work", true),
            (Grant::of(Right::Owner), "/", false),
        ] {
            stage.grant(PHONE, grant);
            let mut asks = params(method, "t", asked);
            // Of a host that chooses the folder itself, a phone gets the first of its own.
            let chosen = if method.params.iter().any(|f| f.name == field) { asked } else { continue };
            asks[field] = chosen.into();
            if passes {
                stage.passes(method, asks, [(method.name, Ok(result(method, "new", chosen)))]).await;
            } else {
                stage.refusal(method, asks, []).await;
            }
        }
        stage.grant(PHONE, only("/work"));
        let mut asks = params(method, "t", "/work");
        asks.as_object_mut().unwrap().remove(field);
        stage.passes(method, asks.clone(), [(method.name, Ok(result(method, "new", "/work")))]).await;
        stage.grant(PHONE, only("/nowhere"));
        stage.refusal(method, asks, []).await;
    }
}

#[tokio::test]
async fn a_list_of_threads_holds_those_of_the_devices_folders_only() {
    let mut stage = Stage::followed().await;
    stage.grant(PHONE, only("/src"));
    for method in for_phones() {
        match method.subject {
            Subject::Threads(list) => {
                let folders = ["/src", "/other", "/src/deep", "/srcs", "", "src"];
                let mut answer = result(method, "t", "/src");
                answer[list] = folders.iter().map(|folder| result(method, "t", folder)[list][0].clone()).collect();
                let kept = stage.passes(method, params(method, "t", "/src"), [(method.name, Ok(answer.clone()))]).await;
                assert_eq!(kept[list].as_array().unwrap().len(), 2, "{}: {kept}", method.name);
                for folder in ["/other", "/srcs"] {
                    assert!(!kept.to_string().contains(&format!("{folder:?}")), "{}: {kept}", method.name);
                }
            }
            Subject::ThreadIds(list) => {
                let mut answer = result(method, "t", "/src");
                answer[list] = json!(["gone", "t", "far", "near"]);
                let look = |folder| ("thread/read", Ok(json!({"thread": {"id": "x", "cwd": folder}})));
                let script = [(method.name, Ok(answer)), ("thread/read", UNKNOWN), look("/other"), look("/src")];
                let kept = stage.passes(method, params(method, "t", "/src"), script).await;
                assert_eq!(kept[list], json!(["t", "near"]), "{}", method.name);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_is_not_about_folders_passes_without_any() {
    let mut stage = Stage::followed().await;
    stage.grant(PHONE, only("/nowhere"));
    for method in for_phones().filter(|method| method.subject == Subject::Host) {
        stage.passes(method, params(method, "t", "/src"), [(method.name, Ok(result(method, "t", "/src")))]).await;
    }
}

#[tokio::test]
async fn a_right_lowered_while_codex_thinks_holds_for_the_answer() {
    let mut stage = Stage::followed().await;
    let method = table::find("thread/read").expect("in the table");
    for lowered in [only("/other"), Grant { until_ms: Some(1), ..only("/src") }] {
        stage.grant(PHONE, only("/src"));
        let (bridge, asks) = (stage.bridge.clone(), params(method, "t", "/src").to_string());
        let request = tokio::spawn(async move { bridge.request(id(PHONE), "thread/read", asks.as_bytes()).await });
        let asked = stage.heard().await;
        stage.grant(PHONE, lowered);
        stage.codex().says(json!({"id": asked["id"], "result": result(method, "t", "/src")})).await;
        assert!(within(request).await.unwrap().is_err());
    }
}

impl Stage {
    /// A bridge that follows thread `t` and knows it.
    pub(super) async fn followed() -> Self {
        let mut stage = Self::following().await;
        let mut phone = stage.phone(WITNESS).await;
        // Behind the answer to the resume, so told when that has been taken in.
        stage.tells("thread/name/updated", json!({"threadId": "t", "threadName": "x"})).await;
        while !matches!(phone.told().await, Envelope::Notification(_)) {}
        stage
    }

    /// The phone asks, and Codex hears exactly this and answers it so.
    pub(super) async fn ask<'a>(
        &mut self,
        method: &Method,
        params: Value,
        script: impl IntoIterator<Item = (&'a str, Result<Value, &'a str>)>,
    ) -> Result<Value, Failure> {
        let (bridge, params) = (self.bridge.clone(), params.to_string());
        let codex = async {
            for (name, reply) in script {
                match reply {
                    Ok(result) => self.answers(name, result).await,
                    Err(message) => self.refuses(name, -32600, message).await,
                }
            }
        };
        let request = bridge.request(id(PHONE), method.name, params.as_bytes());
        let (answer, ()) = within(async { tokio::join!(request, codex) }).await;
        self.hears_nothing_more().await;
        answer.map(|text| serde_json::from_slice(&text).unwrap())
    }

    pub(super) async fn passes<'a>(
        &mut self,
        method: &Method,
        params: Value,
        script: impl IntoIterator<Item = (&'a str, Result<Value, &'a str>)>,
    ) -> Value {
        self.ask(method, params, script).await.unwrap_or_else(|failure| panic!("{}: {failure:?}", method.name))
    }

    /// Why the host itself refuses.
    pub(super) async fn refusal<'a>(
        &mut self,
        method: &Method,
        params: Value,
        script: impl IntoIterator<Item = (&'a str, Result<Value, &'a str>)>,
    ) -> String {
        let failure = self.ask(method, params, script).await.expect_err(method.name);
        assert_eq!(failure.by, FailedBy::Policy, "{}: {failure:?}", method.name);
        failure.message
    }

    /// What had been sent to Codex before would be heard before this.
    pub(super) async fn hears_nothing_more(&mut self) {
        self.grant(WITNESS, Grant::of(Right::Owner));
        let bridge = self.bridge.clone();
        let (answer, ()) = tokio::join!(
            bridge.request(id(WITNESS), "model/list", b"{}"),
            self.answers("model/list", json!({"data": []}))
        );
        assert!(answer.is_ok());
    }
}

/// The methods that are forwarded for somebody.
pub(super) fn for_phones() -> impl Iterator<Item = &'static Method> {
    table::METHODS.iter().filter(|method| method.verdict == Verdict::Allow)
}

const fn folder_field(method: &Method) -> Option<&'static str> {
    match method.subject {
        Subject::Folder(field) => Some(field),
        _ => None,
    }
}

fn id(seed: u8) -> NodeId {
    Identity::from_seed(&[seed; 32]).node_id()
}

/// An owner in one folder.
pub(super) fn only(folder: &str) -> Grant {
    Grant { folders: Folders::Only(vec![folder.into()]), ..Grant::of(Right::Owner) }
}

/// Parameters that the table takes: what must be there, and what the request is about.
pub(super) fn params(method: &Method, thread: &str, folder: &str) -> Value {
    let about = match method.subject {
        Subject::Thread(field) | Subject::Folder(field) => Some(field),
        _ => None,
    };
    let sent = |field: &&Field| field.required || Some(field.name) == about;
    let sample = Sample { thread, folder };
    Value::Object(method.params.iter().filter(sent).map(|field| sample.field(field)).collect())
}

/// Before the agent works on a thread, Codex is asked for its tools.
pub(super) fn tools(method: &Method) -> impl Iterator<Item = (&'static str, Result<Value, &'static str>)> {
    let works = method.effect == Effect::Work && matches!(method.subject, Subject::Thread(_));
    works.then(|| ("mcpServerStatus/list", Ok(json!({"data": [], "nextCursor": null})))).into_iter()
}

/// What a resume answers.
pub(super) fn opened(thread: &str, folder: &str) -> Value {
    result(table::find("thread/resume").expect("in the table"), thread, folder)
}

/// A result with everything that the table lets through.
fn result(method: &Method, thread: &str, folder: &str) -> Value {
    let mut result = Sample { thread, folder }.value("", &method.result);
    if let Subject::ThreadIds(list) = method.subject {
        result[list] = json!([thread]);
    }
    result
}

/// Values of a shape, about one thread.
struct Sample<'a> {
    thread: &'a str,
    folder: &'a str,
}

impl Sample<'_> {
    fn field(&self, field: &Field) -> (String, Value) {
        (field.name.to_owned(), self.value(field.name, &field.shape))
    }

    fn object(&self, fields: &[Field]) -> Map<String, Value> {
        fields.iter().map(|field| self.field(field)).collect()
    }

    fn value(&self, name: &str, shape: &Shape) -> Value {
        match shape {
            Shape::Text(_) => match name {
                "id" | "threadId" => self.thread.into(),
                "cwd" => self.folder.into(),
                // Within the floor.
                "approvalPolicy" => "on-request".into(),
                _ => "x".into(),
            },
            Shape::DataImage(_) => data_url(ImageKind::Gif, b"GIF89a").into(),
            Shape::Bool => (name != "networkAccess").into(),
            Shape::Int(least, _) => (*least).max(1).into(),
            Shape::OneOf(texts) => texts[0].into(),
            Shape::List(_, of) => json!([self.value(name, of)]),
            Shape::AtMost(_, _, list) => self.value(name, list),
            Shape::Object(fields) => self.object(fields).into(),
            Shape::Tagged(variants, _) => {
                let (tag, fields) = variants[0];
                let mut object = self.object(fields);
                object.insert("type".into(), tag.into());
                object.into()
            }
            Shape::Json => "x".into(),
            Shape::Either(shapes) => self.value(name, &shapes[0]),
        }
    }
}

#[tokio::test]
async fn a_notification_goes_to_those_with_its_right_in_the_folder_of_its_thread() {
    for entry in NOTIFICATIONS {
        let mut stage = Stage::following().await;
        let mut phones = Vec::new();
        for (seed, right) in (2..).zip(Right::ALL) {
            phones.push((right, true, stage.phone_with(seed, Grant { right, ..only("/src") }).await));
        }
        phones.push((Right::Owner, false, stage.phone_with(WITNESS, only("/other")).await));
        for (_, covered, phone) in &mut phones {
            phone.attached.watch(vec!["t".into()]).await;
            if *covered {
                phone.shown().await;
            }
        }
        let told = Sample { thread: "t", folder: "/src" }.object(entry.params);
        stage.tells(entry.name, told.into()).await;
        // An owner of the folder gets everything; once it has, so have the others whatever is theirs.
        let (_, _, owner) = &mut phones[Right::ALL.len() - 1];
        owner.notified(entry.name).await;
        stage.rules.send_modify(|rules| rules.accept_for_session = true);
        for (right, covered, phone) in &mut phones {
            let mut got = *right == Right::Owner && *covered;
            loop {
                match phone.told().await {
                    Envelope::Host(state) if state.rules.accept_for_session => break,
                    Envelope::Notification(notification) => got |= notification.method == entry.name,
                    _ => {}
                }
            }
            let theirs = *right >= entry.right && (*covered || entry.subject == About::Host);
            assert_eq!(got, theirs, "{} for {right}, in its folder: {covered}", entry.name);
        }
    }
}
