//! What a journal keeps, by peer, until it is over.

use std::collections::BTreeSet;

use farhelm_core::identity::Identity;
use farhelm_core::wire::limits;

use super::*;

fn peer(seed: u8) -> NodeId {
    Identity::from_seed(&[seed; 32]).node_id()
}

fn act(order: u64) -> Act {
    Act { order, stage: Stage::Received, body: vec![1; 20_000], result: Vec::new(), at_ms: 5 }
}

fn cursors() -> Cursors {
    let log = LogId::new([1; 16]);
    Cursors { generation: 3, log: Some(log), next: 4, heard: Some(Heard { log, upto: 9 }) }
}

#[test]
fn what_is_written_is_read_by_peer() {
    let journal = Journal::in_memory().unwrap();
    let (a, b, id) = (peer(1), peer(2), |n| ActId::new([n; 16]));
    let changes = [
        Change::Cursors(a, cursors()),
        Change::Push(a, 2, vec![2]),
        Change::Push(a, 3, vec![3; 100_000]),
        Change::Push(b, 300, vec![4]),
        Change::Act(a, id(9), act(1)),
        Change::Act(a, id(1), act(2)),
    ];
    journal.write(&changes).unwrap();
    let read = journal.read(a).unwrap();
    assert_eq!(read.cursors, cursors());
    assert_eq!(read.outgoing, [(2, vec![2]), (3, vec![3; 100_000])]);
    assert_eq!(read.acts, [(id(9), act(1)), (id(1), act(2))]);
    assert_eq!(journal.read(b).unwrap().outgoing, [(300, vec![4])]);
    assert_eq!(journal.peers().unwrap(), BTreeSet::from([a, b]).into_iter().collect::<Vec<_>>());
    assert_eq!(journal.read(peer(3)).unwrap(), Peer::default());
}

#[test]
fn what_is_over_is_gone() {
    let journal = Journal::in_memory().unwrap();
    let (a, b, id) = (peer(1), peer(2), ActId::new([7; 16]));
    let push = |peer, seq| Change::Push(peer, seq, vec![1]);
    let all = (1..300).flat_map(|seq| [push(a, seq), push(b, seq)]);
    journal.write(&all.chain([Change::Act(a, id, act(1)), Change::Cursors(a, cursors())]).collect::<Vec<_>>()).unwrap();
    journal.write(&[Change::Trim(a, 298), Change::ForgetAct(a, id)]).unwrap();
    let read = journal.read(a).unwrap();
    assert_eq!((read.outgoing, read.acts), (vec![(299, vec![1])], vec![]));
    journal.write(&[Change::Forget(a)]).unwrap();
    assert_eq!(journal.read(a).unwrap(), Peer::default());
    assert_eq!(journal.read(b).unwrap().outgoing.len(), 299);
}

#[test]
fn a_store_is_no_journal_and_a_journal_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, journal) = (dir.path().join("store"), dir.path().join("journal"));
    drop(crate::Store::open(&store).unwrap());
    drop(Journal::open(&journal).unwrap());
    assert!(matches!(Journal::open(&store), Err(OpenError::Foreign { .. })));
    assert!(matches!(crate::Store::open(&journal), Err(OpenError::Foreign { .. })));
}

#[test]
fn it_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::open(&path).unwrap();
    assert!(matches!(Journal::open(&path), Err(OpenError::InUse { .. })));
    journal.write(&[Change::Push(peer(1), 1, vec![1])]).unwrap();
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().read(peer(1)).unwrap().outgoing, [(1, vec![1])]);
}

#[test]
fn an_act_is_written_at_each_of_its_stages_and_read_whole() {
    let journal = Journal::in_memory().unwrap();
    let (a, id) = (peer(1), ActId::new([7; 16]));
    let received = act(1);
    let done = Act { stage: Stage::Done, result: vec![9; 5_000], ..received.clone() };
    let other = Act { body: vec![3; 20_000], result: Vec::new(), ..done.clone() };
    for act in [received.clone(), Act { stage: Stage::Forwarded, ..received }, done, other] {
        journal.write(&[Change::Act(a, id, act.clone())]).unwrap();
        assert_eq!(journal.read(a).unwrap().acts, [(id, act)]);
    }
    journal.write(&[Change::ForgetAct(a, id)]).unwrap();
    assert_eq!((journal.read(a).unwrap(), journal.peers().unwrap()), (Peer::default(), vec![]));
}

#[test]
fn a_body_is_as_long_as_an_envelope_may_be_and_a_longer_one_changes_nothing() {
    let journal = Journal::in_memory().unwrap();
    let body = |length| vec![5; length];
    let act = |asked, answered| Act { body: body(asked), result: body(answered), ..act(1) };
    let (a, id) = (peer(1), ActId::new([7; 16]));
    let most =
        [Change::Push(a, 1, body(limits::ENVELOPE)), Change::Act(a, id, act(limits::ENVELOPE, limits::ENVELOPE))];
    journal.write(&most).unwrap();
    let kept = journal.read(a).unwrap();
    assert_eq!((kept.outgoing[0].1.len(), kept.acts[0].1.result.len()), (limits::ENVELOPE, limits::ENVELOPE));
    let longer = limits::ENVELOPE + 1;
    for change in
        [Change::Push(a, 2, body(longer)), Change::Act(a, id, act(longer, 0)), Change::Act(a, id, act(1, longer))]
    {
        let refused = journal.write(&[Change::Push(a, 2, vec![1]), change]);
        assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
        assert_eq!(journal.read(a).unwrap(), kept);
    }
}

#[test]
fn a_journal_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Journal>();
}

#[test]
fn changes_that_are_made_once_more_change_nothing() {
    let journal = Journal::in_memory().unwrap();
    let (a, id) = (peer(1), |n| ActId::new([n; 16]));
    let earlier = [Change::Push(a, 1, vec![1]), Change::Act(a, id(1), act(1))];
    journal.write(&earlier).unwrap();
    let changes = [
        Change::Cursors(a, cursors()),
        Change::Push(a, 2, vec![2]),
        Change::Trim(a, 1),
        Change::Act(a, id(2), act(2)),
        Change::ForgetAct(a, id(1)),
    ];
    journal.write(&changes).unwrap();
    let once = journal.read(a).unwrap();
    journal.write(&changes).unwrap();
    assert_eq!(journal.read(a).unwrap(), once);
}
