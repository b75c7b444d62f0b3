//! What phones ask of the host itself: an owner's looks after the devices from afar.
//!
//! ```text
//!  Request ─► the bridge: paired, right, fields ─┬─ farhelm/devices/…, farhelm/freeze ─► here: the door, the book
//!                                                └─ anything else ─► Codex
//! ```
//! The desk stays above: from afar nobody makes an owner, lowers or removes one, or thaws; and nobody gives what it
//! hasn't got itself. So a stolen owner's phone can lock people out, which the desk mends, and can't keep itself in.

use std::str::FromStr;

use farhelm_core::identity::NodeId;
use farhelm_core::policy::{Entitlement, Folders, Forward, Grant, Right, Terms, Until, Verdict, table};
use farhelm_core::wire::envelope::{Failure, Request};
use farhelm_store::{Device, FrozenBy};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::bridge::{Bridge, answer, refused};
use super::devices::{self, Devices, now_ms};
use super::door::Door;
use super::{Error, terms};

/// What a phone did to devices, for the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The device that asked.
    pub by: NodeId,
    /// Its name, not sanitized.
    pub by_name: String,
    /// What it asked: the method's last word.
    pub act: String,
    /// The device it was done to; none if to all.
    pub device: Option<NodeId>,
    /// Its name, not sanitized.
    pub name: String,
}

/// Answers phones' requests. Clones share it.
#[derive(Debug, Clone)]
pub struct Remote {
    bridge: Bridge,
    door: Door,
    done: broadcast::Sender<Done>,
}

impl Remote {
    /// Asks the bridge what it may, and does it at the door.
    pub(super) fn new(bridge: Bridge, door: Door) -> Self {
        Self { bridge, door, done: broadcast::Sender::new(16) }
    }

    /// What phones do to devices from now on.
    pub fn done(&self) -> broadcast::Receiver<Done> {
        self.done.subscribe()
    }

    /// Answers a read: here, or by Codex.
    pub async fn request(&self, device: NodeId, method: &str, params: &[u8]) -> Result<Vec<u8>, Failure> {
        match is_here(method) {
            true => self.carry_out(device, method, params).await,
            false => self.bridge.request(device, method, params).await,
        }
    }

    /// Does what is the host's own to do; `None` if this request isn't. Done twice it is the same.
    pub async fn own(&self, device: NodeId, request: &Request) -> Option<Result<Vec<u8>, Failure>> {
        if !is_here(&request.method) {
            return None;
        }
        Some(self.carry_out(device, &request.method, &request.params).await)
    }

    async fn carry_out(&self, by: NodeId, method: &str, params: &[u8]) -> Result<Vec<u8>, Failure> {
        let Forward { method, params } = self.bridge.prepare(by, method, params).await?;
        let asker = self.device(by)?;
        let result = match method.name {
            "farhelm/devices/list" => self.list(by)?,
            "farhelm/devices/rename" => self.rename(&asker, &params)?,
            "farhelm/devices/grant" => self.grant(&asker, &params)?,
            "farhelm/devices/revoke" => self.revoke(&asker, &params).await?,
            "farhelm/freeze" => self.freeze(&asker).await?,
            other => return Err(refused(&format!("this host can't do {other}; update farhelm on it"))),
        };
        answer(method.name, &result)
    }

    fn book(&self) -> &Devices {
        self.door.devices()
    }

    fn device(&self, key: NodeId) -> Result<Device, Failure> {
        let found = self.book().list().map_err(failed)?.into_iter().find(|device| device.key == key);
        found.ok_or_else(|| refused("no such device is paired with this host; look at the list of devices"))
    }

    /// The device that is named, if it isn't an owner's: what is done to those takes the desk.
    fn lesser(&self, params: &Value) -> Result<Device, Failure> {
        let key = params.get("device").and_then(Value::as_str).unwrap_or_default();
        let key = NodeId::from_str(key).map_err(|_| refused("a device is named by its peer id"))?;
        let device = self.device(key)?;
        match device.grant.right {
            Right::Owner => Err(refused("an owner's device is looked after at the desk, with `farhelm devices`")),
            _ => Ok(device),
        }
    }

    fn list(&self, by: NodeId) -> Result<Value, Failure> {
        let rows: Vec<_> = self.book().list().map_err(failed)?.iter().map(|device| row(device, by)).collect();
        Ok(json!({ "data": rows }))
    }

    fn rename(&self, asker: &Device, params: &Value) -> Result<Value, Failure> {
        let device = self.lesser(params)?;
        let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
        let renamed = self.book().rename(&device.key.to_string(), name).map_err(failed)?;
        self.tell(asker, "renamed", Some(&device));
        Ok(json!({ "device": row(&renamed, asker.key) }))
    }

    fn grant(&self, asker: &Device, params: &Value) -> Result<Value, Failure> {
        let (device, named) = (self.lesser(params)?, named(params)?);
        let terms = terms::settle(named, now_ms()).map_err(|error| refused(&error.to_string()))?;
        let own = self.bridge.entitlement(asker.key)?;
        within(&terms, &asker.grant, &own).map_err(refused)?;
        let changed = self.book().regrant(device.key, &terms).map_err(failed)?;
        let changed = changed.ok_or_else(|| refused("it was removed meanwhile"))?;
        self.tell(asker, "granted", Some(&device));
        Ok(json!({ "device": row(&changed, asker.key) }))
    }

    async fn revoke(&self, asker: &Device, params: &Value) -> Result<Value, Failure> {
        let device = self.lesser(params)?;
        self.door.revoke(device.key).await.map_err(failed)?;
        self.tell(asker, "revoked", Some(&device));
        Ok(json!({ "device": row(&device, asker.key) }))
    }

    async fn freeze(&self, asker: &Device) -> Result<Value, Failure> {
        self.door.freeze(FrozenBy::Device(asker.key)).await.map_err(failed)?;
        self.tell(asker, "froze", None);
        Ok(json!({}))
    }

    fn tell(&self, asker: &Device, act: &str, device: Option<&Device>) {
        let name = device.map(|device| device.name.clone()).unwrap_or_default();
        let (by, by_name, act) = (asker.key, asker.name.clone(), act.to_owned());
        // Nobody may be at the desk.
        let _ = self.done.send(Done { by, by_name, act, device: device.map(|device| device.key), name });
    }
}

/// Whether a method is answered here.
fn is_here(method: &str) -> bool {
    let is_own = table::find(method).is_some_and(|known| known.verdict == Verdict::Own);
    is_own && (method.starts_with("farhelm/devices/") || method == "farhelm/freeze")
}

/// What a request names of a grant.
fn named(params: &Value) -> Result<Terms, Failure> {
    let is = |name| params.get(name).and_then(Value::as_bool) == Some(true);
    let texts = |value: &Value| value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect();
    let folders: Option<Vec<String>> = params.get("folders").and_then(texts);
    let until = params.get("untilMs").and_then(Value::as_u64);
    let right = params.get("right").and_then(Value::as_str);
    let right = right.map(Right::from_str).transpose().map_err(|error| refused(&error.to_string()))?;
    if (folders.is_some() && is("hostFolders")) || (until.is_some() && is("forGood")) {
        return Err(refused("name either folders or hostFolders, and either untilMs or forGood"));
    }
    let folders = folders.map(Folders::Only).or(is("hostFolders").then_some(Folders::Host));
    let until = until.map(Until::Ms).or(is("forGood").then_some(Until::ForGood));
    if right.is_none() && folders.is_none() && until.is_none() {
        return Err(refused("name what shall change: a right, folders or a time"));
    }
    Ok(Terms { right, folders, until })
}

/// Whether what is named is no more than what somebody has who gives it.
fn within(named: &Terms, of: &Grant, now: &Entitlement) -> Result<(), &'static str> {
    let is_placed = match &named.folders {
        None => true,
        Some(Folders::Host) => of.folders == Folders::Host,
        Some(Folders::Only(folders)) => folders.iter().all(|folder| now.covers(folder)),
    };
    let is_timed = match (named.until, of.until_ms) {
        (None, _) | (_, None) => true,
        (Some(Until::ForGood), Some(_)) => false,
        (Some(Until::Ms(until)), Some(own)) => until <= own,
    };
    match (is_placed, is_timed, named.right == Some(Right::Owner)) {
        (false, ..) => Err("a phone gives no folders beyond its own; do it at the desk"),
        (_, false, _) => Err("a phone gives no time beyond its own; do it at the desk"),
        (.., true) => Err("an owner is made at the desk"),
        _ => Ok(()),
    }
}

fn row(device: &Device, by: NodeId) -> Value {
    let Device { key, name, grant, paired_at_ms, last_seen_ms, .. } = device;
    let folders = match &grant.folders {
        Folders::Host => None,
        Folders::Only(folders) => Some(folders),
    };
    json!({
        "device": key.to_string(),
        "name": name,
        "right": grant.right,
        "folders": folders,
        "untilMs": grant.until_ms,
        "expired": grant.resolve(&[]).expired(now_ms()),
        "pairedAtMs": paired_at_ms,
        "lastSeenMs": last_seen_ms,
        "self": *key == by,
    })
}

fn failed(error: impl Into<Error>) -> Failure {
    match error.into() {
        // What was asked can't be so.
        error @ Error::Devices(devices::Error::Who(_) | devices::Error::Name(_)) => refused(&error.to_string()),
        error => {
            tracing::error!(%error, "what an owner's phone asked could not be done");
            refused("the host could not do it; look at the desk, nothing is certain to have changed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(folders: &[&str]) -> Folders {
        Folders::Only(folders.iter().map(|folder| (*folder).to_owned()).collect())
    }

    #[test]
    fn nobody_gives_more_than_it_has() {
        let host = ["/host".to_owned()];
        let unlimited = Grant::of(Right::Owner);
        let limited = Grant { folders: only(&["/a"]), until_ms: Some(10), ..unlimited.clone() };
        let gives = |of: &Grant, named: Terms| within(&named, of, &of.resolve(&host)).is_ok();
        let folders = |folders| Terms { folders: Some(folders), ..Terms::default() };
        let until = |until| Terms { until: Some(until), ..Terms::default() };
        for (named, by_unlimited, by_limited) in [
            (folders(Folders::Host), true, false),
            (folders(only(&["/host/x"])), true, false),
            (folders(only(&["/a/x"])), false, true),
            (folders(only(&["/a/x", "/b"])), false, false),
            (until(Until::ForGood), true, false),
            (until(Until::Ms(11)), true, false),
            (until(Until::Ms(10)), true, true),
            (Terms { right: Some(Right::Operator), ..Terms::default() }, true, true),
            (Terms { right: Some(Right::Owner), ..Terms::default() }, false, false),
        ] {
            assert_eq!(gives(&unlimited, named.clone()), by_unlimited, "{named:?}");
            assert_eq!(gives(&limited, named.clone()), by_limited, "{named:?}");
        }
    }

    #[test]
    fn what_a_request_names_is_read_and_nothing_twice_or_not_at_all() {
        let read = |params: Value| named(&params).map_err(|failure| failure.message);
        assert_eq!(read(json!({"right": "viewer"})), Ok(Terms { right: Some(Right::Viewer), ..Terms::default() }));
        let all = json!({"folders": ["/a"], "untilMs": 5});
        assert_eq!(read(all), Ok(Terms { right: None, folders: Some(only(&["/a"])), until: Some(Until::Ms(5)) }));
        for none in [json!({}), json!({"hostFolders": false}), json!({"forGood": false, "device": "x"})] {
            assert!(read(none).unwrap_err().contains("name what shall change"));
        }
        for twice in [json!({"folders": [], "hostFolders": true}), json!({"untilMs": 1, "forGood": true})] {
            assert!(read(twice).unwrap_err().contains("either"));
        }
    }

    #[test]
    fn no_method_thaws_and_none_makes_an_owner() {
        assert!(table::METHODS.iter().all(|method| !method.name.contains("thaw")));
        let grant = table::find("farhelm/devices/grant").expect("in the table");
        let right = grant.params.iter().find(|field| field.name == "right").expect("a field");
        let farhelm_core::policy::Shape::OneOf(rights) = right.shape else { panic!("{right:?}") };
        assert_eq!(rights, ["viewer", "approver", "operator"]);
    }
}
