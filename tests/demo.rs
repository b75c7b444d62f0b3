//! The demo's story on the scripted agent and on the real Codex: the same steps, the same outcome.

#[path = "support/codex.rs"]
mod codex;

use farhelm::demo::story::{self, Step};
use farhelm::demo::world::{Behind, World};

/// Tells the story and gives the steps; the world is gone afterwards, without a trace.
async fn tell(behind: Behind) -> Vec<Step> {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("FARHELM_LOG") {
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    }
    let world = World::start(behind).await.expect("a world");
    let scratch = world.scratch().to_owned();
    let mut steps = Vec::new();
    let told = story::run(&world, "agent", &mut |step| {
        eprintln!("{step:?}");
        steps.push(step);
    })
    .await;
    world.shutdown().await.expect("a clean end");
    told.expect("the story");
    assert!(!scratch.exists(), "the scratch folder is left behind");
    steps
}

/// The steps by name, without what differs from run to run.
fn names(steps: &[Step]) -> Vec<String> {
    let name = |step: &Step| serde_json::to_value(step).expect("a step")["step"].as_str().expect("a name").to_owned();
    steps.iter().map(name).collect()
}

const STORY: [&str; 16] = [
    "relay", "host", "ticket", "words", "paired", "path", "said", "approval", "decided", "answer", "path", "said",
    "approval", "decided", "answer", "done",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_scripted_agent_tells_the_whole_story() {
    assert_eq!(names(&tell(Behind::Script).await), STORY);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_codex_tells_the_same_story() {
    let Some(program) = codex::codex() else { return };
    assert_eq!(names(&tell(Behind::Codex(Some(program))).await), STORY);
}
