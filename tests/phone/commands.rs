//! Every command of the scriptable phone against the real Codex.

use farhelm::demo::world::Behind;
use farhelm::host::desk::{Consent, Desk};
use farhelm_core::policy::{Grant, Right};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::codex::codex;
use super::{PATIENCE, Scene, code, events, stderr, text};

impl Scene {
    /// A phone paired with a host of the real Codex; `None` where that isn't installed.
    async fn real() -> Option<Self> {
        let scene = Self::behind(Behind::Codex(Some(codex()?))).await;
        scene.pair().await;
        Some(scene)
    }

    /// What a command that succeeds says.
    async fn says(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.phone(&[arguments, &["--json"]].concat()).await;
        assert_eq!(code(&output), 0, "{arguments:?}: {output:?}");
        events(&output)
    }

    /// Asks until the answer has this in it.
    async fn until(&self, arguments: &[&str], word: &str) -> String {
        let asked = async {
            loop {
                let said = json!(self.says(arguments).await).to_string();
                if said.contains(word) {
                    return said;
                }
            }
        };
        timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{arguments:?} never said {word:?}"))
    }

    /// Starts a thread and waits for its turn's end.
    async fn thread(&self, prompt: &str) -> String {
        let said = self.says(&["start", prompt]).await;
        text(&said[0]["thread"])
    }
}

fn find<'a>(said: &'a [Value], is: &str) -> &'a Value {
    said.iter().find(|event| event["is"] == is).unwrap_or_else(|| panic!("no {is}: {said:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_shown_page_by_page_searched_and_kept_in_order() {
    let Some(scene) = Scene::real().await else { return };
    let thread = scene.thread("The first word is aardvark.").await;
    for prompt in ["The second word is buffalo.", "The third word is chinchilla."] {
        scene.says(&["send", &thread, prompt]).await;
    }

    let page = scene.says(&["show", &thread, "--turns", "2"]).await;
    let shown = json!(page).to_string();
    assert!(shown.contains("chinchilla") && shown.contains("buffalo") && !shown.contains("aardvark"), "{shown}");
    let before = text(&find(&page, "more")["before"]);
    let older = scene.says(&["show", &thread, "--before", &before]).await;
    assert!(json!(older).to_string().contains("aardvark"), "{older:?}");
    let whole = json!(scene.says(&["show", &thread, "--all"]).await).to_string();
    let place = |word: &str| whole.find(word).unwrap_or_else(|| panic!("no {word}"));
    assert!(place("aardvark") < place("buffalo") && place("buffalo") < place("chinchilla"));

    let hits = scene.says(&["search", "buffalo"]).await;
    assert_eq!(find(&hits, "hit")["thread"]["id"], json!(thread));
    assert_eq!(scene.says(&["search", "dromedary"]).await, [Value::Null; 0]);

    scene.says(&["rename", &thread, "three animals"]).await;
    let listed = scene.says(&["threads", "--title", "three animals"]).await;
    assert_eq!((&listed[0]["id"], &listed[0]["name"]), (&json!(thread), &json!("three animals")));

    let copy = text(&find(&scene.says(&["fork", &thread]).await, "forked")["copy"]);
    assert_ne!(copy, thread);
    assert!(json!(scene.says(&["show", &copy]).await).to_string().contains("chinchilla"));

    scene.says(&["archive", &thread]).await;
    let ids = |said: Vec<Value>| said.iter().map(|row| text(&row["id"])).collect::<Vec<_>>();
    assert!(!ids(scene.says(&["threads"]).await).contains(&thread));
    assert!(ids(scene.says(&["threads", "--archived"]).await).contains(&thread));
    scene.says(&["unarchive", &thread[..20]]).await;
    assert!(ids(scene.says(&["threads"]).await).contains(&thread));

    assert_eq!(scene.says(&["goal", &thread]).await, [json!({"is": "goal", "objective": null})]);
    assert_eq!(scene.says(&["images", &thread]).await, [Value::Null; 0]);
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_chosen_used_and_read_back() {
    let Some(scene) = Scene::real().await else { return };
    let models = scene.says(&["model"]).await;
    let model = models.iter().find(|model| model["id"] == "gpt-5.5").expect("the model of these tests");
    assert!(model["efforts"].as_array().is_some_and(|efforts| efforts.contains(&json!("high"))), "{model}");

    let thread = scene.thread("Hello.").await;
    let set = scene.says(&["model", &thread, "gpt-5.5"]).await;
    assert_eq!(find(&set, "settings")["model"], "gpt-5.5");
    let set = scene.says(&["effort", &thread, "high"]).await;
    assert_eq!(find(&set, "settings")["effort"], "high");

    let usage = scene.says(&["usage"]).await;
    let usage = find(&usage, "usage");
    assert!(usage["limits_unknown"].is_string() && usage["plan"].is_null(), "there is no account here: {usage}");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_turn_is_steered_and_messages_wait_behind_it() {
    let Some(scene) = Scene::real().await else { return };
    let thread = text(&scene.says(&["start", "--detach", "SLOW secs=60"]).await[0]["thread"]);
    let first = scene.says(&["queue", &thread, "add", "Then the first."]).await;
    let first = text(&find(&first, "queued")["id"]);
    scene.says(&["queue", &thread, "add", "Then the second."]).await;
    let texts = |said: &[Value]| said.iter().map(|row| text(&row["text"])).collect::<Vec<_>>();
    assert_eq!(texts(&scene.says(&["queue", &thread]).await), ["Then the first.", "Then the second."]);
    scene.says(&["queue", &thread, "move", &first, "--to", "2"]).await;
    assert_eq!(texts(&scene.says(&["queue", &thread, "list"]).await), ["Then the second.", "Then the first."]);
    scene.says(&["queue", &thread, "delete", &first]).await;
    assert_eq!(code(&scene.phone(&["queue", &thread, "delete", &first]).await), 15);

    // The answer under way is cut, and the turn goes on with what was said.
    let steered = scene.says(&["steer", &thread, "Enough of that."]).await;
    assert_eq!(find(&steered, "steered")["thread"], json!(thread));
    let shown = scene.until(&["show", &thread, "--all"], "Then the second.").await;
    assert!(shown.contains("Enough of that."), "{shown}");
    let none = scene.phone(&["steer", &thread, "too late"]).await;
    assert_eq!(code(&none), 15, "{none:?}");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_interrupted_and_what_it_left_running_is_ended() {
    let Some(scene) = Scene::real().await else { return };
    let thread = text(&scene.says(&["start", "--detach", "EXEC cmd=sleep 600"]).await[0]["thread"]);
    // The command shows once it runs.
    scene.until(&["show", &thread], "sleep 600").await;
    let said = scene.says(&["interrupt", &thread, "--processes"]).await;
    assert_eq!(find(&said, "interrupted")["thread"], json!(thread));
    let left = find(&said, "process");
    assert!(text(&left["command"]).contains("sleep 600") && left["ended"] == true, "{left}");
    let again = scene.says(&["interrupt", &thread, "--processes"]).await;
    assert!(again.iter().all(|event| event["is"] != "process"), "it has ended: {again:?}");
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_reviewed_and_a_thread_is_summed_up() {
    let Some(scene) = Scene::real().await else { return };
    let thread = scene.thread("Hello.").await;
    let review = scene.says(&["review", &thread, "--custom", "Look at the greeting."]).await;
    assert_eq!(find(&review, "review")["thread"], json!(thread));
    scene.says(&["compact", &thread]).await;
    scene.until(&["show", &thread], "compaction").await;
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_and_is_told_what_it_would_need_for_more() {
    let Some(codex) = codex() else { return };
    let scene = Scene::behind(Behind::Codex(Some(codex))).await;
    let (events, _heard) = mpsc::channel(8);
    let desk = Desk::new(Consent::Given, events);
    let invitation =
        scene.world.host.offer_on(Grant::of(Right::Viewer).into(), PATIENCE, desk).await.expect("an offer");
    let ticket = invitation.ticket().encode().to_string();
    assert_eq!(code(&scene.phone_reads(&["pair", "--name", "guest", "-"], &ticket).await), 0);
    assert_eq!(code(&scene.phone(&["threads"]).await), 0);
    for arguments in [&["start", "hello"][..], &["usage"]] {
        let refused = scene.phone(arguments).await;
        assert_eq!(code(&refused), 16, "{refused:?}");
        assert!(stderr(&refused).contains("operator") && stderr(&refused).contains("viewer"), "{refused:?}");
    }
    scene.strike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_none_is_refused_before_anything_is_sent() {
    let scene = Scene::paired().await;
    let fake = scene.state.path().join("fake.png");
    std::fs::write(&fake, "<html>").expect("written");
    let refused = scene.phone(&["start", "look", "--image", fake.to_str().expect("text")]).await;
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("no PNG, JPEG, GIF or WebP"), "{refused:?}");
    assert_eq!(scene.says(&["threads"]).await, [Value::Null; 0]);
    scene.strike().await;
}

/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_sent_along_and_comes_back_as_it_was() {
    let Some(scene) = Scene::real().await else { return };
    let picture = data_encoding::BASE64.decode(PNG.as_bytes()).expect("base64");
    let file = scene.state.path().join("pixel.png");
    std::fs::write(&file, &picture).expect("written");
    let file = file.to_str().expect("text");
    let thread = text(&scene.says(&["start", "What is this?", "--image", file]).await[0]["thread"]);

    let listed = scene.says(&["images", &thread]).await;
    assert_eq!((listed.len(), &listed[0]["index"]), (1, &json!(0)), "{listed:?}");
    let shots = scene.state.path().join("shots");
    let saved = scene.says(&["images", &thread, "--save", shots.to_str().expect("text")]).await;
    assert_eq!((&saved[0]["type"], &saved[0]["bytes"]), (&json!("image/png"), &json!(picture.len())));
    assert_eq!(std::fs::read(shots.join("image-001.png")).expect("saved"), picture);
    let again = scene.phone(&["images", &thread, "--save", shots.to_str().expect("text")]).await;
    assert_eq!(code(&again), 1, "nothing is overwritten: {again:?}");
    scene.strike().await;
}
