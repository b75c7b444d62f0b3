//! The words of the table: what a JSON value may look like.
//!
//! A [`Shape`] reads in two ways. [`Shape::rebuild`] is strict and makes a new value of what it knows, or says which
//! field is at fault. [`Shape::filter`] leaves out what it doesn't know. Either way nothing is emitted that no shape
//! names.

use serde_json::{Map, Value};

use super::{Defaults, Refusal, computer};
use crate::codex::image;
use crate::codex::message::canonical;
use crate::codex::text::clip;

/// Bytes of an unknown name that are repeated in a refusal.
pub(super) const NAME: usize = 64;

/// What a value may look like. Constant data: a table of any length costs nothing to make.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Text of at most so many bytes.
    Text(usize),
    /// The `data:` URL of an image of at most so many bytes, made anew from what was decoded.
    DataImage(usize),
    /// True or false.
    Bool,
    /// A whole number in this range, both ends included.
    Int(i64, i64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// At most so many values of one shape.
    List(usize, &'static Shape),
    /// This list, with at most so many objects of one `type` in it.
    AtMost(usize, &'static str, &'static Shape),
    /// An object with these fields.
    Object(&'static [Field]),
    /// An object whose field `type` says which fields it has; of any other `type`, the fields named last are kept when
    /// filtering, and nothing is rebuilt.
    Tagged(&'static [(&'static str, &'static [Field])], &'static [Field]),
    /// Anything, given as the canonical text of its JSON; text as it is. For results: nothing like it is rebuilt.
    Json,
    /// The first of these that fits.
    Either(&'static [Shape]),
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub shape: Shape,
    /// Whether a request without it is refused.
    pub required: bool,
}

impl Field {
    /// A field that must be there.
    pub const fn required(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, required: true }
    }

    /// A field that may be left out, or be null.
    pub const fn optional(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, required: false }
    }
}

/// A field the host puts in itself, unless it is one that the phone may send and did.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub fill: Fill,
}

/// Where the value of a [`Given`] field comes from.
#[derive(Debug, Clone, Copy)]
pub enum Fill {
    /// [`Defaults::folder`].
    Folder,
    /// [`Defaults::approval_policy`].
    ApprovalPolicy,
    /// [`Defaults::sandbox`].
    Sandbox,
    /// Settings that hold down what Codex's own config would add to the sandbox and the tools: they only ever take
    /// away. No folder but the thread's own; network and computer use unless [`Defaults`] leave them to Codex's config.
    HoldDown,
    /// True.
    True,
    /// An object of constant fields.
    Object(&'static [(&'static str, Constant)]),
}

/// A constant in a [`Fill::Object`].
#[derive(Debug, Clone, Copy)]
pub enum Constant {
    /// A text.
    Text(&'static str),
    /// A number.
    Number(i64),
}

impl Fill {
    pub(super) fn value(self, defaults: &Defaults) -> Value {
        match self {
            Self::Folder => defaults.folder.as_str().into(),
            Self::ApprovalPolicy => defaults.approval_policy.as_str().into(),
            Self::Sandbox => defaults.sandbox.as_str().into(),
            Self::HoldDown => hold_down(defaults),
            Self::True => true.into(),
            Self::Object(fields) => fields.iter().map(|(name, value)| ((*name).to_owned(), value.value())).collect(),
        }
    }
}

fn hold_down(defaults: &Defaults) -> Value {
    let mut settings = Map::new();
    settings.insert("sandbox_workspace_write.writable_roots".into(), Value::Array(Vec::new()));
    if !defaults.network_access {
        settings.insert("sandbox_workspace_write.network_access".into(), false.into());
    }
    if !defaults.computer_use {
        let off = Value::Object(Map::from_iter([("enabled".to_owned(), false.into())]));
        let plugins = computer::PLUGINS.into_iter().map(|plugin| (plugin.to_owned(), off.clone())).collect();
        settings.insert("plugins".into(), plugins);
        settings.insert("features.computer_use".into(), false.into());
    }
    Value::Object(settings)
}

impl Constant {
    fn value(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.into(),
        }
    }
}

/// What is wrong with a request, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// From the inside out.
    path: Vec<String>,
    kind: FaultKind,
}

#[derive(Debug)]
enum FaultKind {
    Unknown,
    Missing,
    Wrong(String),
}

impl Fault {
    fn wrong(wanted: impl Into<String>) -> Self {
        Self { path: Vec::new(), kind: FaultKind::Wrong(wanted.into()) }
    }

    fn at(mut self, step: impl Into<String>) -> Self {
        self.path.push(step.into());
        self
    }

    pub(super) fn of(self, method: &'static str) -> Refusal {
        let path: Vec<_> = self.path.iter().rev().map(String::as_str).collect();
        let field = if path.is_empty() { "params".into() } else { path.join(".") };
        match self.kind {
            FaultKind::Unknown => Refusal::UnknownField { method, field },
            FaultKind::Missing => Refusal::MissingField { method, field },
            FaultKind::Wrong(wanted) => Refusal::WrongValue { method, field, wanted },
        }
    }
}

impl Shape {
    /// A new value with what this shape names, or the first thing it doesn't.
    pub(super) fn rebuild(&self, value: &Value) -> Result<Value, Fault> {
        match self {
            Self::List(max, of) => {
                let list = value.as_array().filter(|list| list.len() <= *max);
                let list = list.ok_or_else(|| Fault::wrong(self.wanted()))?;
                let each = |(i, value)| of.rebuild(value).map_err(|fault| fault.at(format!("{i}")));
                list.iter().enumerate().map(each).collect::<Result<_, _>>().map(Value::Array)
            }
            Self::AtMost(max, tag, list) => {
                let of_type = value.as_array().into_iter().flatten().filter(|value| value["type"] == *tag);
                if of_type.count() > *max {
                    return Err(Fault::wrong(self.wanted()));
                }
                list.rebuild(value)
            }
            Self::Object(fields) => rebuild_object(value, fields).map(Value::Object),
            Self::Tagged(variants, _) => {
                let map = value.as_object().ok_or_else(|| Fault::wrong(self.wanted()))?;
                let tag = map.get("type").and_then(Value::as_str);
                let known = variants.iter().find(|(name, _)| Some(*name) == tag);
                let (name, fields) = known.ok_or_else(|| Fault::wrong(self.wanted()).at("type"))?;
                rebuild_fields(map, fields, Some(name)).map(Value::Object)
            }
            Self::Either(shapes) => {
                let fits = shapes.iter().find_map(|shape| shape.rebuild(value).ok());
                fits.ok_or_else(|| Fault::wrong(self.wanted()))
            }
            Self::DataImage(max) => {
                let image = value.as_str().and_then(|url| image::from_data_url(url, *max));
                let url = image.map(|(kind, bytes)| image::data_url(kind, &bytes).into());
                url.ok_or_else(|| Fault::wrong(self.wanted()))
            }
            leaf => leaf.leaf(value).ok_or_else(|| Fault::wrong(self.wanted())),
        }
    }

    /// What of a value this shape names; `None` if nothing fits. Nulls of named fields stay.
    pub(super) fn filter(&self, value: &Value) -> Option<Value> {
        match self {
            Self::List(max, of) => {
                Some(value.as_array()?.iter().filter_map(|value| of.filter(value)).take(*max).collect())
            }
            Self::AtMost(_, _, list) => list.filter(value),
            Self::Object(fields) => filter_fields(value.as_object()?, fields, None),
            Self::Tagged(variants, others) => {
                let map = value.as_object()?;
                let tag = map.get("type")?.as_str()?;
                match variants.iter().find(|(name, _)| *name == tag) {
                    Some((name, fields)) => filter_fields(map, fields, Some(name)),
                    None => filter_fields(map, others, Some(clip(tag, NAME))),
                }
            }
            Self::Either(shapes) => shapes.iter().find_map(|shape| shape.filter(value)),
            Self::Json => Some(value.as_str().map_or_else(|| canonical(value), Into::into).into()),
            leaf => leaf.leaf(value),
        }
    }

    /// A value without parts, if it is one of this shape.
    fn leaf(&self, value: &Value) -> Option<Value> {
        let fits = match self {
            Self::Text(max) => value.as_str().is_some_and(|text| text.len() <= *max),
            Self::Bool => value.is_boolean(),
            Self::Int(min, max) => value.as_i64().is_some_and(|number| (*min..=*max).contains(&number)),
            Self::OneOf(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
            Self::DataImage(_)
            | Self::List(..)
            | Self::AtMost(..)
            | Self::Object(_)
            | Self::Tagged(..)
            | Self::Json
            | Self::Either(_) => false,
        };
        fits.then(|| value.clone())
    }

    /// What it takes, in words: for a refusal, and for who reads the table.
    pub fn wanted(&self) -> String {
        match self {
            Self::Text(max) => format!("text of at most {max} bytes"),
            Self::DataImage(max) => {
                format!("the data: URL of a PNG, JPEG, GIF or WebP image of at most {max} bytes, in base64")
            }
            Self::Bool => "true or false".into(),
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::OneOf(texts) => format!("one of {}", texts.join(", ")),
            Self::List(max, _) => format!("a list of at most {max}"),
            Self::AtMost(max, tag, list) => format!("{}, of them at most {max} of the type {tag}", list.wanted()),
            Self::Object(_) => "an object".into(),
            Self::Json => "left out".into(),
            Self::Tagged(variants, _) => {
                format!("one of {}", variants.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
            }
            Self::Either(shapes) => shapes.iter().map(Self::wanted).collect::<Vec<_>>().join(", or "),
        }
    }
}

/// A new object with the fields that are named, or the first thing that isn't.
pub(super) fn rebuild_object(value: &Value, fields: &[Field]) -> Result<Map<String, Value>, Fault> {
    let map = value.as_object().ok_or_else(|| Fault::wrong("an object"))?;
    rebuild_fields(map, fields, None)
}

fn rebuild_fields(map: &Map<String, Value>, fields: &[Field], tag: Option<&str>) -> Result<Map<String, Value>, Fault> {
    let known = |name: &str| fields.iter().any(|field| field.name == name) || (tag.is_some() && name == "type");
    if let Some(stranger) = map.keys().find(|name| !known(name)) {
        return Err(Fault { path: vec![clip(stranger, NAME).into()], kind: FaultKind::Unknown });
    }
    let mut rebuilt = Map::new();
    for field in fields {
        match map.get(field.name).filter(|value| !value.is_null()) {
            Some(value) => {
                let value = field.shape.rebuild(value).map_err(|fault| fault.at(field.name))?;
                rebuilt.insert(field.name.into(), value);
            }
            None if field.required => {
                return Err(Fault { path: vec![field.name.into()], kind: FaultKind::Missing });
            }
            None => {}
        }
    }
    rebuilt.extend(tag.map(|tag| ("type".to_owned(), tag.into())));
    Ok(rebuilt)
}

fn filter_fields(map: &Map<String, Value>, fields: &[Field], tag: Option<&str>) -> Option<Value> {
    let mut kept = Map::new();
    for field in fields {
        let value = map.get(field.name).and_then(|value| match value {
            Value::Null if !field.required => Some(Value::Null),
            value => field.shape.filter(value),
        });
        match value {
            Some(value) => {
                kept.insert(field.name.into(), value);
            }
            // Half an item would be shown as a whole one.
            None if field.required => return None,
            None => {}
        }
    }
    kept.extend(tag.map(|tag| ("type".to_owned(), tag.into())));
    Some(Value::Object(kept))
}
