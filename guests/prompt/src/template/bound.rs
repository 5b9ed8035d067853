//! What variables have is neither deep nor large, and is there: minijinja recurses into lists and maps, and into what it
//! has put off, and none of that is fuel.
//!
//! Variables get their values by these functions (`source`), so that an expression can make of them only a little more.

use minijinja::value::{Kwargs, Tuple, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

/// How deep lists and maps may be in each other.
pub(super) const DEPTH: usize = 100;

/// The value, for a variable.
pub(super) fn bounded(state: &State, value: Value) -> Result<Value, Error> {
    Ok(bound(state, &value, 0)?.unwrap_or(value))
}

/// The value, for a member of a namespace. There can be no namespace in it, as one that has itself goes deep without end.
pub(super) fn bounded_member(state: &State, value: Value) -> Result<Value, Error> {
    let value = bounded(state, value)?;
    if has_namespace(&value)? {
        let message = "expected a value without namespaces for a member of a namespace";
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(value)
}

/// Has the function `namespace` make its members as variables are made.
pub(super) fn bound_namespaces(environment: &mut Environment) -> Result<(), Error> {
    let all = environment.globals().find(|(name, _)| *name == "namespace");
    let (_, make) = all.ok_or_else(|| Error::new(ErrorKind::UnknownFunction, "namespace"))?;
    let bound = move |state: &mut State, map: Option<Value>, kwargs: Kwargs| {
        let mut args = Vec::new();
        if let Some(map) = map {
            args.push(bounded(state, map)?);
        }
        let pairs = kwargs.args().map(|name| {
            let value: Value = kwargs.get(name)?;
            Ok((name, bounded(state, value)?))
        });
        args.push(pairs.collect::<Result<Kwargs, Error>>()?.into());
        make.call(state, &args)
    };
    environment.add_function("namespace", bound);
    Ok(())
}

/// Counts the parts of a value as fuel, and refuses one that goes deep.
pub(super) fn charge(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    bound(state, value, depth).map(|_| ())
}

/// The same value without lists that are put off, if it has any.
fn bound(state: &State, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
    let kind = value.kind();
    if !matches!(kind, ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
        return Ok(None);
    }
    if depth == DEPTH {
        let message = format!("expected lists and maps at most {DEPTH} deep, found more");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let mut changed = kind == ValueKind::Iterable;
    let mut bound = |item: Value| {
        let other = bound(state, &item, depth + 1)?;
        changed |= other.is_some();
        Ok::<_, Error>(other.unwrap_or(item))
    };
    let (mut keys, mut items) = (Vec::new(), Vec::new());
    for item in value.try_iter()? {
        state.consume_fuel(1)?;
        if kind == ValueKind::Map {
            items.push(bound(value.get_item(&item)?)?);
            keys.push(item);
        } else {
            items.push(bound(item)?);
        }
    }
    Ok(match kind {
        _ if !changed => None,
        // Its members are bounded already.
        _ if is_namespace(value) => None,
        // What `groupby` gives has names for its two parts.
        ValueKind::Seq if has_names(value) => None,
        ValueKind::Map => Some(Value::from_pairs(keys.into_iter().zip(items))),
        _ if value.is_tuple() => Some(Value::from(Tuple::from(items))),
        _ => Some(Value::from(items)),
    })
}

/// Whether there is a namespace in a value that does not go deep.
fn has_namespace(value: &Value) -> Result<bool, Error> {
    let kind = value.kind();
    if is_namespace(value) {
        return Ok(true);
    }
    if !matches!(kind, ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
        return Ok(false);
    }
    for item in value.try_iter()? {
        let item = match kind {
            ValueKind::Map => value.get_item(&item)?,
            _ => item,
        };
        if has_namespace(&item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_names(value: &Value) -> bool {
    value
        .get_attr("grouper")
        .is_ok_and(|value| !value.is_undefined())
}

fn is_namespace(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|object| object.type_name().ends_with("::Namespace"))
}
