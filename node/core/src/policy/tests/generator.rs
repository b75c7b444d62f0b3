//! Values made from the shapes themselves: mostly fitting, sometimes not quite.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::codex::image::{ImageKind, data_url};
use crate::policy::{Field, Shape};

/// The least that fits these fields.
pub(super) fn least(fields: &[Field]) -> Value {
    let required = fields.iter().filter(|field| field.required);
    Value::Object(required.map(|field| (field.name.to_owned(), least_of(&field.shape))).collect())
}

fn least_of(shape: &Shape) -> Value {
    match shape {
        Shape::Text(_) | Shape::Json => json!("x"),
        Shape::DataImage(_) => png().into(),
        Shape::Bool => json!(true),
        Shape::Int(least, _) => json!(least),
        Shape::OneOf(texts) => json!(texts[0]),
        Shape::List(_, of) => json!([least_of(of)]),
        Shape::AtMost(_, _, list) => least_of(list),
        Shape::Object(fields) => least(fields),
        Shape::Tagged(variants, _) => tagged(variants[0].0, least(variants[0].1)),
        Shape::Either(shapes) => least_of(&shapes[0]),
    }
}

/// Objects with most of these fields, most of which fit.
pub(super) fn near(fields: &'static [Field]) -> BoxedStrategy<Value> {
    let each: Vec<_> = fields.iter().map(present).collect();
    (each, stranger())
        .prop_map(|(fields, stranger)| {
            Value::Object(fields.into_iter().flatten().chain(stranger).collect::<Map<_, _>>())
        })
        .boxed()
}

fn present(field: &'static Field) -> BoxedStrategy<Option<(String, Value)>> {
    let there = if field.required { 40 } else { 1 };
    let some = near_to(&field.shape).prop_map(|value| Some((field.name.to_owned(), value)));
    prop_oneof![there => some, 1 => Just(None)].boxed()
}

/// A field that no list names.
fn stranger() -> impl Strategy<Value = Option<(String, Value)>> {
    let names = ["config", "cwd", "sandbox", "approvalPolicy", "path", "permissions", "developer_instructions", "x"];
    let some = (proptest::sample::select(names.to_vec()), odd()).prop_map(|(name, value)| Some((name.into(), value)));
    prop_oneof![20 => Just(None), 1 => some]
}

/// What fits nowhere, or only by chance.
fn odd() -> BoxedStrategy<Value> {
    let url = ["http://169.254.169.254/", "file:///etc/passwd", "data:image/png;base64,AAAA", "data:text/html,x"];
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({"type": "localImage", "path": "/etc/passwd"})),
        Just(json!({"type": "skill", "name": "x", "path": "/x"})),
        any::<i64>().prop_map(Value::from),
        proptest::sample::select(url.to_vec()).prop_map(Value::from),
    ]
    .boxed()
}

fn near_to(shape: &'static Shape) -> BoxedStrategy<Value> {
    let fitting = match shape {
        Shape::Text(_) | Shape::Json => "[a-z/.]{0,12}".prop_map(Value::from).boxed(),
        Shape::DataImage(_) => Just(Value::from(png())).boxed(),
        Shape::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Int(least, most) => (*least..=*most).prop_map(Value::from).boxed(),
        Shape::OneOf(texts) => proptest::sample::select(texts.to_vec()).prop_map(Value::from).boxed(),
        Shape::List(max, of) => vec(near_to(of), 0..=(*max).min(8)).prop_map(Value::from).boxed(),
        Shape::AtMost(_, _, list) => near_to(list),
        Shape::Object(fields) => near(fields),
        Shape::Tagged(variants, _) => {
            let each = variants.iter().map(|(tag, fields)| near(fields).prop_map(|object| tagged(tag, object)).boxed());
            proptest::strategy::Union::new(each).boxed()
        }
        Shape::Either(shapes) => proptest::strategy::Union::new(shapes.iter().map(near_to)).boxed(),
    };
    prop_oneof![40 => fitting, 1 => odd()].boxed()
}

fn tagged(tag: &str, mut object: Value) -> Value {
    object["type"] = tag.into();
    object
}

fn png() -> String {
    data_url(ImageKind::Png, b"\x89PNG\r\n\x1a\nrest")
}
