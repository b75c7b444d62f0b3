//! Looking after the host's devices, for owners. What takes the desk there is refused from here.

use farhelm_core::policy::{Folders, Right, Terms, Until};
use serde_json::{Map, Value, json};

use super::Host;
use crate::connection::{Connection, Why};
use crate::error::Error;
use crate::results::{Device, rows};

impl Host {
    /// The devices that are paired with the host. Needs owner; changes nothing.
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        let result = self.call("farhelm/devices/list", json!({})).await?;
        Ok(rows(&result, Device::read))
    }

    /// Calls a device by another name; gives it as it is then. Needs owner; not of owners' devices.
    pub async fn rename_device(&self, device: &str, name: &str) -> Result<Device, Error> {
        self.changed("farhelm/devices/rename", json!({"device": device, "name": name})).await
    }

    /// Changes what these terms name of what a device may do; gives it as it is then. Needs owner; not of owners'
    /// devices, never to owner, and no folders or time beyond this phone's own.
    pub async fn grant_device(&self, device: &str, terms: &Terms) -> Result<Device, Error> {
        self.changed("farhelm/devices/grant", params(device, terms)).await
    }

    /// Removes a device for good: on return its sessions are cut. Needs owner; not of owners' devices.
    pub async fn revoke_device(&self, device: &str) -> Result<Device, Error> {
        self.changed("farhelm/devices/revoke", json!({"device": device})).await
    }

    /// Freezes the host: no phone does anything there, this one included, until a person at its desk thaws it. Needs
    /// owner.
    pub async fn freeze(&self) -> Result<(), Error> {
        match self.call("farhelm/freeze", json!({})).await {
            Ok(_) => Ok(()),
            // The answer may be the first that the host holds back by it.
            Err(error) => match *self.state().borrow() {
                Connection::Away { why: Why::Frozen, .. } => Ok(()),
                _ => Err(error),
            },
        }
    }

    async fn changed(&self, method: &'static str, params: Value) -> Result<Device, Error> {
        let result = self.call(method, params).await?;
        result.get("device").and_then(Device::read).ok_or(Error::Unreadable("no device"))
    }
}

fn params(device: &str, terms: &Terms) -> Value {
    let mut params = Map::from_iter([("device".to_owned(), json!(device))]);
    let mut name = |field: &str, value: Value| params.insert(field.to_owned(), value);
    if let Some(right) = terms.right.map(Right::as_str) {
        name("right", json!(right));
    }
    match &terms.folders {
        Some(Folders::Only(folders)) => _ = name("folders", json!(folders)),
        Some(Folders::Host) => _ = name("hostFolders", json!(true)),
        None => {}
    }
    match terms.until {
        Some(Until::Ms(ms)) => _ = name("untilMs", json!(ms)),
        Some(Until::ForGood) => _ = name("forGood", json!(true)),
        None => {}
    }
    Value::Object(params)
}
