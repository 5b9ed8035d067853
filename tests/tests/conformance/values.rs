//! Values of the component model as JSON, in the shape that jco gives them in JavaScript: records with
//! camelCase fields and without those that are none, enums as their names, variants as `{tag, val}`, flags
//! as objects of booleans.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use wasmtime::component::Val;
use wasmtime::component::types::Type;

/// A value from JSON.
pub(super) fn lower(ty: &Type, value: &Value) -> Result<Val> {
    let expected = |what: &str| format!("expected {what}, found {value}");
    Ok(match ty {
        Type::Bool => Val::Bool(value.as_bool().with_context(|| expected("a boolean"))?),
        Type::U8 => Val::U8(whole(value)?),
        Type::U32 => Val::U32(whole(value)?),
        Type::U64 => Val::U64(whole(value)?),
        Type::Float32 => Val::Float32(value.as_f64().with_context(|| expected("a number"))? as f32),
        Type::String => Val::String(
            value
                .as_str()
                .with_context(|| expected("a text"))?
                .to_owned(),
        ),
        Type::List(list) => Val::List(
            value
                .as_array()
                .with_context(|| expected("a list"))?
                .iter()
                .map(|item| lower(&list.ty(), item))
                .collect::<Result<_>>()?,
        ),
        Type::Record(record) => {
            let fields = value.as_object().with_context(|| expected("a record"))?;
            let mut known = 0;
            let lowered = record
                .fields()
                .map(|field| {
                    let found = fields.get(&camel(field.name));
                    known += usize::from(found.is_some());
                    let lowered = lower(&field.ty, found.unwrap_or(&Value::Null))
                        .with_context(|| format!("in the field {}", field.name))?;
                    Ok((field.name.to_owned(), lowered))
                })
                .collect::<Result<_>>()?;
            if known != fields.len() {
                bail!("{value} has a field that is not the record's");
            }
            Val::Record(lowered)
        }
        Type::Variant(variant) => {
            let tag = value["tag"]
                .as_str()
                .with_context(|| expected("{tag, val}"))?;
            let case = variant
                .cases()
                .find(|case| case.name == tag)
                .with_context(|| format!("no case {tag}"))?;
            let payload = case.ty.map(|ty| lower(&ty, &value["val"])).transpose()?;
            Val::Variant(tag.to_owned(), payload.map(Box::new))
        }
        Type::Enum(_) => Val::Enum(
            value
                .as_str()
                .with_context(|| expected("a name"))?
                .to_owned(),
        ),
        Type::Option(_) if value.is_null() => Val::Option(None),
        Type::Option(option) => Val::Option(Some(Box::new(lower(&option.ty(), value)?))),
        _ => bail!("no value of this type is passed in JSON: {ty:?}"),
    })
}

fn whole<T: TryFrom<u64>>(value: &Value) -> Result<T> {
    value
        .as_u64()
        .and_then(|number| T::try_from(number).ok())
        .with_context(|| format!("expected a whole number that fits, found {value}"))
}

/// JSON of a value.
pub(super) fn lift(ty: &Type, value: &Val) -> Result<Value> {
    Ok(match (ty, value) {
        (_, Val::Bool(value)) => json!(value),
        (_, Val::U8(value)) => json!(value),
        (_, Val::U32(value)) => json!(value),
        (_, Val::U64(value)) => json!(value),
        (_, Val::Float32(value)) => json!(value),
        (_, Val::String(value)) => json!(value),
        (_, Val::Enum(value)) => json!(value),
        (Type::List(list), Val::List(items)) => items
            .iter()
            .map(|item| lift(&list.ty(), item))
            .collect::<Result<_>>()?,
        (Type::Record(record), Val::Record(fields)) => {
            let mut lifted = Map::new();
            for (field, (name, value)) in record.fields().zip(fields) {
                let value = lift(&field.ty, value)?;
                if !value.is_null() {
                    lifted.insert(camel(name), value);
                }
            }
            Value::Object(lifted)
        }
        (Type::Variant(variant), Val::Variant(name, payload)) => {
            let ty = variant
                .cases()
                .find(|case| case.name == name)
                .and_then(|case| case.ty);
            tagged(name, ty.as_ref(), payload.as_deref())?
        }
        (Type::Result(result), Val::Result(Ok(payload))) => {
            tagged("ok", result.ok().as_ref(), payload.as_deref())?
        }
        (Type::Result(result), Val::Result(Err(payload))) => {
            tagged("err", result.err().as_ref(), payload.as_deref())?
        }
        (Type::Option(_), Val::Option(None)) => Value::Null,
        (Type::Option(option), Val::Option(Some(value))) => lift(&option.ty(), value)?,
        (Type::Flags(flags), Val::Flags(set)) => Value::Object(
            flags
                .names()
                .map(|name| (camel(name), json!(set.iter().any(|flag| flag == name))))
                .collect(),
        ),
        _ => bail!("no value of this type is given in JSON: {value:?}"),
    })
}

fn tagged(tag: &str, ty: Option<&Type>, payload: Option<&Val>) -> Result<Value> {
    let mut object = Map::from_iter([("tag".to_owned(), json!(tag))]);
    if let (Some(ty), Some(payload)) = (ty, payload) {
        let value = lift(ty, payload)?;
        if !value.is_null() {
            object.insert("val".to_owned(), value);
        }
    }
    Ok(Value::Object(object))
}

fn camel(name: &str) -> String {
    let mut camel = String::new();
    let mut up = false;
    for character in name.chars() {
        match character {
            '-' => up = true,
            _ if up => {
                camel.extend(character.to_uppercase());
                up = false;
            }
            _ => camel.push(character),
        }
    }
    camel
}
