//! What a phone may do changes while it is attached, and threads move while they are looked at.

use std::os::unix::fs::symlink;

use farhelm_core::wire::envelope::Notification;

use super::*;

#[tokio::test]
async fn every_change_of_what_a_phone_may_do_is_told_at_once() {
    let stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    let both = ["/src", "/work"].map(str::to_owned).to_vec();
    stage.folders.send_replace(Arc::new(HostFolders { own: both.clone(), startable: both.clone() }));
    let told = phone.host().await;
    assert_eq!((&told.start_folders, &told.entitlement), (&both, &Grant::of(Right::Owner).resolve(&both)));

    // What the host's file says is in place of all of its own, and may be nothing.
    let named = |folders: &[&str]| folders.iter().map(|folder| (*folder).to_owned()).collect::<Vec<_>>();
    for folders in [named(&["/work"]), named(&[])] {
        stage.standard.send_modify(|standard| standard.folders = Some(folders.clone()));
        let told = phone.host().await;
        assert_eq!((told.entitlement.folders, told.start_folders), (folders.clone(), folders));
    }
    stage.grant(2, only("/src", Right::Operator));
    assert_eq!(phone.host().await.entitlement.folders, ["/src"], "its own are its own");

    stage.grant(2, only("/work", Right::Operator));
    let told = phone.host().await;
    assert_eq!((told.folder.as_str(), told.start_folders), ("/work", vec!["/work".to_owned()]));

    stage.grant(2, only("/work", Right::Approver));
    let told = phone.host().await;
    assert_eq!((told.folder.as_str(), told.start_folders, told.entitlement.right), ("", vec![], Right::Approver));

    stage.rules.send_modify(|rules| rules.accept_for_session = true);
    assert!(phone.host().await.rules.accept_for_session);
}

#[tokio::test]
async fn an_approval_is_for_those_who_may_see_its_thread_and_decide() {
    let mut stage = Stage::following().await;
    let mut elsewhere = stage.phone_with(3, only("/other", Right::Owner)).await;
    let mut viewer = stage.phone_with(4, only("/src", Right::Viewer)).await;
    let mut approver = stage.phone_with(5, only("/src", Right::Approver)).await;
    stage.asks(0, "make").await;
    let approval = viewer.asked().await;
    viewer.decides(&approval, Decision::Accept).await;
    assert_eq!(viewer.decided().await, Err(DecisionRefusal::NotAllowed));
    // It was never told of it, and knows it all the same.
    elsewhere.decides(&approval, Decision::Accept).await;
    let first = elsewhere.told().await;
    assert!(matches!(&first, Envelope::Approvals(list) if list.open.is_empty()), "{first:?}");
    assert_eq!(elsewhere.decided().await, Err(DecisionRefusal::NotAllowed));

    let open = approver.asked().await;
    approver.decides(&open, Decision::Decline).await;
    stage.takes(json!({"id": 0, "result": {"decision": "decline"}})).await;
    assert_eq!(approver.decided().await, Ok(()));
    assert_eq!(viewer.resolved().await.outcome, Outcome::Declined);
    stage.grant(3, only("/other", Right::Viewer));
    let next = elsewhere.told().await;
    assert!(matches!(next, Envelope::Host(_)), "{next:?}");
}

#[tokio::test]
async fn a_right_that_is_lowered_while_an_approval_is_open_decides_nothing() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    let approval = phone.asked().await;
    stage.grant(2, only("/src", Right::Viewer));
    phone.decides(&approval, Decision::Accept).await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::NotAllowed));

    // Folders that don't hold it any more take it away, and give it back.
    stage.grant(2, only("/other", Right::Owner));
    assert_eq!(phone.listed().await, []);
    phone.decides(&approval, Decision::Accept).await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::NotAllowed));
    stage.grant(2, only("/src", Right::Owner));
    assert_eq!(phone.listed().await, std::slice::from_ref(&approval));
    phone.decides(&approval, Decision::Decline).await;
    stage.takes(json!({"id": 0, "result": {"decision": "decline"}})).await;
    assert_eq!(phone.decided().await, Ok(()));
}

#[tokio::test]
async fn a_session_ends_when_its_devices_time_is_over() {
    let stage = Stage::following().await;
    let soon = crate::host::devices::now_ms() + 200;
    let mut guest = stage.phone_with(2, Grant { until_ms: Some(soon), ..Grant::of(Right::Owner) }).await;
    let mut other = stage.phone(3).await;
    assert_eq!(within(guest.attached.ended()).await, Some(CloseReason::Expired));
    assert!(crate::host::devices::now_ms() >= soon);
    assert!(stage.bridge.request(guest.identity.node_id(), "model/list", b"{}").await.is_err());

    // A time that is set while it is attached counts as well.
    stage.grant(3, Grant { until_ms: Some(1), ..Grant::of(Right::Owner) });
    assert_eq!(within(other.attached.ended()).await, Some(CloseReason::Expired));
}

#[tokio::test]
async fn with_remote_connections_off_sessions_end_and_nothing_is_answered_until_they_are_on() {
    let stage = Stage::following().await;
    let (mut owner, mut viewer) = (stage.phone(2).await, stage.phone_with(3, only("/src", Right::Viewer)).await);
    stage.rules.send_modify(|rules| rules.remote_connections = false);
    for phone in [&mut owner, &mut viewer] {
        assert_eq!(within(phone.attached.ended()).await, Some(CloseReason::SwitchedOff));
    }
    let refused = stage.bridge.request(owner.identity.node_id(), "model/list", b"{}").await.expect_err("refused");
    assert_eq!(refused.by, FailedBy::Policy);
    assert!(refused.message.contains("switched remote connections off"), "{}", refused.message);

    // One that isn't paired any more is told that, not this.
    stage.grants.send_replace(Grants::default());
    let stranger = stage.bridge.request(owner.identity.node_id(), "model/list", b"{}").await.expect_err("refused");
    assert!(stranger.message.contains("not paired"), "{}", stranger.message);

    stage.rules.send_modify(|rules| rules.remote_connections = true);
    stage.phone(4).await;
}

#[tokio::test]
async fn a_frozen_host_ends_sessions_and_takes_neither_requests_nor_decisions_until_it_is_thawed() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    let approval = phone.asked().await;
    stage.frozen.send_replace(Some(Frozen { at_ms: 1, by: FrozenBy::Desk }));
    stage.bridge.enforced().await;
    // What was under way when it was frozen comes too late.
    phone.decides(&approval, Decision::Accept).await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::NotAllowed));
    assert_eq!(within(phone.attached.ended()).await, Some(CloseReason::Frozen));
    let refused = stage.bridge.request(phone.identity.node_id(), "model/list", b"{}").await.expect_err("refused");
    assert!(refused.by == FailedBy::Policy && refused.message.contains("farhelm thaw"), "{}", refused.message);

    // It counts before the switch, which may be off as well.
    stage.rules.send_modify(|rules| rules.remote_connections = false);
    let refused = stage.bridge.request(phone.identity.node_id(), "model/list", b"{}").await.expect_err("refused");
    assert!(refused.message.contains("farhelm thaw"), "{}", refused.message);
    stage.rules.send_modify(|rules| rules.remote_connections = true);
    stage.frozen.send_replace(None);
    let mut again = stage.phone(3).await;
    assert_eq!(again.asked().await, approval, "the approval is open still");
}

#[tokio::test]
async fn a_device_without_a_grant_gets_no_session() {
    let stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.grants.send_replace(Grants::default());
    assert_eq!(within(phone.attached.ended()).await, Some(CloseReason::Revoked));
}

#[tokio::test]
async fn a_thread_that_moves_is_judged_by_where_it_is_now() {
    let mut stage = Stage::following().await;
    let (mut here, mut there) = (
        stage.phone_with(2, only("/src", Right::Owner)).await,
        stage.phone_with(3, only("/other", Right::Owner)).await,
    );
    here.attached.watch(vec!["t".into()]).await;
    there.attached.watch(vec!["t".into()]).await;
    assert_eq!(here.shown().await.folder, "/src");
    stage.asks(0, "make").await;
    let approval = here.asked().await;

    stage.moves("/other").await;
    assert_eq!(here.listed().await, []);
    // In the order of everything that one is told.
    assert_eq!(there.listed().await, []);
    there.is_shown_and_asked("/other", &approval).await;
    stage.tells("turn/started", json!({"threadId": "t", "turn": {"id": "u", "status": "inProgress"}})).await;
    assert_eq!(there.notified("turn/started").await["threadId"], "t");
    stage.moves("/src").await;
    assert_eq!(here.shown().await.folder, "/src");
}

#[tokio::test]
async fn a_link_is_judged_by_where_it_leads() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("real")).unwrap();
    std::fs::create_dir(at("other")).unwrap();
    symlink(at("real"), at("link")).unwrap();
    let mut stage = Stage::following().await;
    let mut real = stage.phone_with(2, only(&at("real"), Right::Owner)).await;
    let mut other = stage.phone_with(3, only(&at("other"), Right::Owner)).await;
    stage.moves(&at("link")).await;
    stage.asks(0, "make").await;
    let approval = real.asked().await;
    // A grant that names the link itself holds nothing: grants are stored as they really are.
    stage.grant(3, only(&at("link"), Right::Owner));
    other.host().await;
    other.decides(&approval, Decision::Accept).await;
    assert_eq!(other.decided().await, Err(DecisionRefusal::NotAllowed));
}

#[tokio::test]
async fn a_thread_elsewhere_is_not_opened_for_a_phone_that_looks_at_it() {
    let mut stage = Stage::with_loaded(&[]).await;
    let mut phone = stage.phone_with(2, only("/src", Right::Owner)).await;
    phone.attached.watch(vec!["t".into()]).await;
    assert_eq!(stage.heard().await["method"], "thread/read");
    let found = Command::Found { thread: "t".into(), place: Some("/other".into()) };
    stage.bridge.command(found).await.expect("the bridge lives");
    // Attached means that the actor has come this far. What Codex hears next is about the grant that covers it.
    stage.phone(9).await;
    stage.grant(2, only("/other", Right::Owner));
    let read = json!({"thread": {"id": "t", "cwd": "/other"}});
    stage.answers("thread/read", read.clone()).await;
    stage.answers("thread/resume", read).await;
    assert_eq!(phone.shown().await.folder, "/other");
}

#[tokio::test]
async fn what_codex_tells_everybody_goes_to_those_who_may_see_the_thread() {
    let mut stage = Stage::following().await;
    let mut here = stage.phone_with(2, only("/src", Right::Viewer)).await;
    let mut there = stage.phone_with(3, only("/other", Right::Viewer)).await;
    stage.tells("thread/started", json!({"thread": {"id": "new", "cwd": "/other"}})).await;
    stage.refuses("thread/resume", -32600, "no rollout found for thread id new").await;
    stage.tells("thread/name/updated", json!({"threadId": "unknown", "threadName": "x"})).await;
    stage.tells("thread/name/updated", json!({"threadId": "t", "threadName": "x"})).await;
    assert_eq!(here.notification().await.method, "thread/name/updated");
    assert_eq!(there.notification().await.method, "thread/started");
    stage.tells("thread/started", json!({"thread": {"id": "t", "cwd": "/other"}})).await;
    let next = there.notification().await;
    assert_eq!(next.method, "thread/started");
    assert!(String::from_utf8_lossy(&next.params).contains("\"t\""), "{next:?}");
}

impl Stage {
    /// Codex says that thread `t` works there from now on.
    async fn moves(&mut self, folder: &str) {
        self.tells("thread/settings/updated", json!({"threadId": "t", "threadSettings": {"cwd": folder}})).await;
    }
}

impl Phone {
    /// The next word on the host.
    async fn host(&mut self) -> HostState {
        loop {
            if let Envelope::Host(host) = self.told().await {
                return host;
            }
        }
    }

    /// Waits until it is shown a thread that works there, and asked this, in whichever order.
    async fn is_shown_and_asked(&mut self, folder: &str, approval: &Approval) {
        let (mut shown, mut asked) = (false, false);
        while !(shown && asked) {
            match self.told().await {
                Envelope::Snapshot(snapshot) => shown |= snapshot.thread.folder == folder,
                Envelope::Approvals(approvals) => asked |= approvals.open.contains(approval),
                _ => {}
            }
        }
    }

    /// The next list of open approvals.
    async fn listed(&mut self) -> Vec<Approval> {
        loop {
            if let Envelope::Approvals(approvals) = self.told().await {
                return approvals.open;
            }
        }
    }

    /// The next notification.
    async fn notification(&mut self) -> Notification {
        loop {
            if let Envelope::Notification(notification) = self.told().await {
                return notification;
            }
        }
    }

    /// The parameters of the next notification of this kind.
    pub(super) async fn notified(&mut self, method: &str) -> Value {
        loop {
            let notification = self.notification().await;
            if notification.method == method {
                return serde_json::from_slice(&notification.params).unwrap();
            }
        }
    }
}

fn only(folder: &str, right: Right) -> Grant {
    Grant { folders: Folders::Only(vec![folder.into()]), ..Grant::of(right) }
}

#[tokio::test]
async fn a_phone_too_slow_for_a_thread_is_shown_it_anew_and_hears_all_else() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    phone.attached.watch(vec!["t".into()]).await;
    phone.shown().await;
    let diff = "x".repeat(1000);
    for n in 0..2500 {
        stage.tells("turn/diff/updated", json!({"threadId": "t", "turnId": "u", "diff": format!("{n} {diff}")})).await;
    }
    let lost = within(phone._at_host.gaps().next()).await;
    assert_eq!(lost, "t");
    stage.asks(0, "make").await;
    phone.asked().await;
    phone.attached.repair(lost).await;
    phone.shown().await;
    stage.tells("turn/diff/updated", json!({"threadId": "t", "turnId": "u", "diff": "last"})).await;
    loop {
        if let Envelope::Notification(Notification { params, .. }) = phone.told().await
            && params.windows(6).any(|text| text == b"\"last\"")
        {
            return;
        }
    }
}
