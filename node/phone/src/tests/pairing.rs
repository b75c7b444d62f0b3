//! From a ticket to a paired host, and every way in which it doesn't get there.

use farhelm_core::pairing::{Refusal, Tombstone};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::*;

/// The text the phone scanned.
fn text() -> String {
    ticket().encode().to_string()
}

/// Scans, and plays the host until the desk is asked.
async fn begun(world: &World) -> (Client, Pairing, impl Future<Output = (Wire<DuplexStream>, Claimant)>) {
    let client = world.client().await;
    let (phone, text) = (client.id(), text());
    let (pairing, host) = tokio::join!(client.pair(&text), invited(world, phone));
    (client, pairing.unwrap(), async { host.await.unwrap().unwrap() })
}

/// Answers the next stream's ticket. In the background, as the phone's proof comes with `finish` only.
async fn invited(world: &World, phone: NodeId) -> JoinHandle<Result<(Wire<DuplexStream>, Claimant), channel::Error>> {
    let stream = world.arrival().await.stream;
    tokio::spawn(async move { invite(stream, phone, &host_key()).await })
}

async fn standing(client: &Client) -> Option<Standing> {
    client.hosts().await.unwrap().first().map(|host| host.standing)
}

#[tokio::test(start_paused = true)]
async fn a_ticket_pairs_and_both_sides_show_the_same_words() {
    let world = World::new();
    let (client, pairing, desk) = begun(&world).await;
    let words = pairing.words();
    let desk = async {
        let (mut wire, claimant) = desk.await;
        assert_eq!((claimant.words(), claimant.device_name()), (words, "pocket"));
        let (session, answer) = claimant.accept("the desk").unwrap();
        wire.send_frame(&answer).await.unwrap();
        world.listed(Channel::start(wire, session)).await
    };
    let (paired, desk) = tokio::join!(pairing.finish(LONG), desk);
    let paired = paired.unwrap();
    assert_eq!(paired.name, "the desk");
    assert!(paired.host.live(LONG).await.is_ok(), "the pairing's own channel goes on");
    assert_eq!(standing(&client).await, Some(Standing::Paired));
    drop(desk);
}

#[tokio::test(start_paused = true)]
async fn each_refusal_has_its_name_and_leaves_nothing_behind() {
    let cases = [
        (Refusal::Declined, PairError::Declined),
        (Refusal::Expired, PairError::Expired),
        (Refusal::Spent, PairError::Spent),
        (Refusal::SwitchedOff, PairError::Unavailable),
        (Refusal::Frozen, PairError::Unavailable),
        (Refusal::Unavailable, PairError::Unavailable),
    ];
    for (refusal, error) in cases {
        let world = World::new();
        let (client, pairing, desk) = begun(&world).await;
        let desk = async {
            let (mut wire, claimant) = desk.await;
            wire.send_frame(&claimant.refuse(refusal).unwrap()).await.unwrap();
        };
        let (finished, ()) = tokio::join!(pairing.finish(LONG), desk);
        assert_eq!(finished.unwrap_err(), error);
        assert_eq!(standing(&client).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_declined_second_pairing_costs_the_first_nothing() {
    let world = World::new();
    let (first, host) = world.paired().await;
    let _desk = world.admit().await;
    host.live(LONG).await.unwrap();
    first.shutdown().await;
    let (client, pairing, desk) = begun(&world).await;
    let desk = async {
        let (mut wire, claimant) = desk.await;
        wire.send_frame(&claimant.refuse(Refusal::Declined).unwrap()).await.unwrap();
    };
    assert_eq!(tokio::join!(pairing.finish(LONG), desk).0.unwrap_err(), PairError::Declined);
    assert_eq!(standing(&client).await, Some(Standing::Paired));
    let host = client.connect(host_key().node_id()).await.unwrap();
    let _desk = world.admit().await;
    assert!(host.live(LONG).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_second_pairing_takes_the_place_of_the_first_also_while_it_is_connected() {
    let world = World::new();
    let (client, old) = world.paired().await;
    let _desk = world.admit().await;
    old.live(LONG).await.unwrap();
    let phone = client.id();
    let text = text();
    let (pairing, host) = tokio::join!(client.pair(&text), invited(&world, phone));
    let desk = async {
        let (mut wire, claimant) = host.await.unwrap().unwrap();
        let secret = claimant.pairing_secret();
        let (session, answer) = claimant.accept("desk").unwrap();
        wire.send_frame(&answer).await.unwrap();
        (world.listed(Channel::start(wire, session)).await, secret)
    };
    let (paired, (_desk, secret)) = tokio::join!(pairing.unwrap().finish(LONG), desk);
    paired.unwrap().host.live(LONG).await.unwrap();
    assert_eq!(old.live(LONG).await, Err(Error::Away(Why::Stopped)));
    let record = client.records().get(host_key().node_id()).await.unwrap();
    assert_eq!(record.secrets(), [secret]);
}

#[tokio::test(start_paused = true)]
async fn a_link_lost_after_the_proof_is_finished_by_a_resume() {
    let world = World::new();
    let (client, pairing, desk) = begun(&world).await;
    let desk = async {
        let (wire, claimant) = desk.await;
        // The host has stored the device, and its answer is lost.
        drop(wire);
        claimant.pairing_secret()
    };
    let (finished, stored) = tokio::join!(pairing.finish(LONG), desk);
    assert_eq!(finished.unwrap_err(), PairError::LinkLost);
    assert_eq!(standing(&client).await, Some(Standing::Pending));
    let host = client.connect(host_key().node_id()).await.unwrap();
    let desk = world.listed(admit(world.arrival().await.stream, client.id(), &stored).await.unwrap()).await;
    host.live(LONG).await.unwrap();
    client.shutdown().await;
    assert_eq!(standing(&client).await, Some(Standing::Paired));
    drop(desk);
}

#[tokio::test(start_paused = true)]
async fn a_second_use_of_a_ticket_whose_answer_was_lost_costs_the_first_nothing() {
    let world = World::new();
    let (first, pairing, desk) = begun(&world).await;
    let (finished, stored) = tokio::join!(pairing.finish(LONG), async { desk.await.1.pairing_secret() });
    assert_eq!(finished.unwrap_err(), PairError::LinkLost);
    first.shutdown().await;
    // The person scans again. For the host the ticket is used.
    let (client, pairing, desk) = begun(&world).await;
    let desk = async {
        let (mut wire, claimant) = desk.await;
        wire.send_frame(&claimant.refuse(Refusal::Spent).unwrap()).await.unwrap();
    };
    assert_eq!(tokio::join!(pairing.finish(LONG), desk).0.unwrap_err(), PairError::Spent);
    assert_eq!(standing(&client).await, Some(Standing::Pending));
    let host = client.connect(host_key().node_id()).await.unwrap();
    let _desk = world.listed(admit(world.arrival().await.stream, client.id(), &stored).await.unwrap()).await;
    assert!(host.live(LONG).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pending_pairing_that_the_host_never_took_stays_pending() {
    let world = World::new();
    let (client, pairing, desk) = begun(&world).await;
    let (finished, _) = tokio::join!(pairing.finish(LONG), async { drop(desk.await) });
    assert_eq!(finished.unwrap_err(), PairError::LinkLost);
    let host = client.connect(host_key().node_id()).await.unwrap();
    drop(world.arrival().await);
    let mut state = host.state();
    state.wait_for(|state| matches!(state, Connection::Away { why: Why::NoAnswer, .. })).await.unwrap();
    assert_eq!(standing(&client).await, Some(Standing::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_lost_second_pairing_tries_both_secrets() {
    let world = World::new();
    let (records, _) = Records::open(world.store.clone()).await.unwrap();
    let pending = Some(PairingSecret::from_bytes([4; 32]));
    let record = Record { confirmed: Some(secret()), pending, ..Record::of_ticket(&ticket()) };
    records.put(&record).await.unwrap();
    let client = world.client().await;
    let host = client.connect(host_key().node_id()).await.unwrap();
    // The host knows the first secret only.
    assert!(admit(world.arrival().await.stream, client.id(), &secret()).await.is_err());
    let _desk = world.admit().await;
    assert!(host.live(LONG).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_desk_that_does_not_answer_leaves_it_pending() {
    let world = World::new();
    let (client, pairing, desk) = begun(&world).await;
    let (finished, _held) = tokio::join!(pairing.finish(Duration::from_secs(60)), desk);
    assert_eq!(finished.unwrap_err(), PairError::NoAnswerAtDesk);
    assert_eq!(standing(&client).await, Some(Standing::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_closes_on_the_hello_does_not_know_the_ticket() {
    let world = World::new();
    let client = world.client().await;
    let text = text();
    let (error, ()) = tokio::join!(client.pair(&text), async { drop(world.arrival().await) });
    assert_eq!(error.unwrap_err(), PairError::NotAnswered);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_can_not_be_reached_is_named_with_what_was_tried() {
    let world = World::new();
    world.reachable(false);
    let error = world.client().await.pair(&text()).await.unwrap_err();
    let PairError::Unreachable { tried } = error else { panic!("{error}") };
    assert!(tried[0].contains("/ip4/192.0.2.1/tcp/4001"), "{tried:?}");
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_no_ticket_is_refused_before_anything_is_dialled() {
    let world = World::new();
    let client = world.client().await;
    assert_eq!(client.pair("FARHELM:A").await.unwrap_err(), PairError::BadTicket(ticket::Error::Base32(9)));
    assert!(world.arrivals.lock().await.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn another_host_in_its_place_is_not_paired_with() {
    let world = World::new();
    let client = world.client().await;
    let phone = client.id();
    let impostor = async {
        let stream = world.arrival().await.stream;
        let mut wire = Wire::new(stream);
        // It knows the ticket, and signs with a key of its own.
        let Hello::Pair(claim) = Hello::read(&wire.receive().await.unwrap(), host_key().node_id(), phone).unwrap()
        else {
            panic!("mode pair")
        };
        let own = Identity::from_seed(&[66; 32]);
        let (_, reply) = claim.verify(&ticket_secret()).unwrap().reply(&own, &mut rand::rng()).unwrap();
        wire.send(&reply).await.unwrap();
        wire
    };
    let text = text();
    let (error, _wire) = tokio::join!(client.pair(&text), impostor);
    assert_eq!(error.unwrap_err(), PairError::OtherHost);
    assert_eq!(standing(&client).await, None);
}

/// A store whose host records can't be written.
#[derive(Default)]
struct ReadOnly(key_store::Memory);

#[async_trait]
impl KeyStore for ReadOnly {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, key_store::Error> {
        self.0.get(name).await
    }
    async fn put(&self, name: &str, value: Zeroizing<Vec<u8>>) -> Result<(), key_store::Error> {
        match name {
            "identity" => self.0.put(name, value).await,
            _ => Err(key_store::Error::Failed("full".into())),
        }
    }
    async fn delete(&self, name: &str) -> Result<(), key_store::Error> {
        self.0.delete(name).await
    }
    async fn list(&self) -> Result<Vec<String>, key_store::Error> {
        self.0.list().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_stored_is_not_said_to_the_host() {
    let world = World::on(Arc::new(ReadOnly::default()));
    let client = world.client().await;
    let phone = client.id();
    let text = text();
    let (pairing, host) = tokio::join!(client.pair(&text), invited(&world, phone));
    let error = pairing.unwrap().finish(LONG).await.unwrap_err();
    assert!(matches!(error, PairError::Records(RecordsError::Store(_))), "{error}");
    assert!(matches!(host.await.unwrap(), Err(channel::Error::Io(_))), "the host never saw the proof");
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_at_a_later_connection_says_when_and_ends_the_trying() {
    let world = World::new();
    let (client, host) = world.paired().await;
    let mut wire = Wire::new(world.arrival().await.stream);
    let phone = client.id();
    let Hello::Resume(back) = Hello::read(&wire.receive().await.unwrap(), host_key().node_id(), phone).unwrap() else {
        panic!("mode resume")
    };
    wire.send(&back.bury(&Tombstone::sign(&host_key(), phone, 77))).await.unwrap();
    assert_eq!(host.live(LONG).await, Err(Error::Removed { at_ms: 77 }));
    assert_eq!(host.threads(ThreadQuery::newest(10)).await, Err(Error::Removed { at_ms: 77 }));
    assert_eq!(host.watch("t").await.err(), Some(Error::Removed { at_ms: 77 }));
    host.network_changed().await;
    assert!(timeout(LONG, world.arrivals.lock().await.recv()).await.is_err(), "nothing is tried any more");
    client.shutdown().await;
    assert_eq!(standing(&client).await, Some(Standing::Removed { at_ms: 77 }));
    // Also after a restart.
    let client = world.client().await;
    let host = client.connect(host_key().node_id()).await.unwrap();
    assert_eq!(host.live(LONG).await, Err(Error::Removed { at_ms: 77 }));
}
