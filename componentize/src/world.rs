//! What a component imports and exports, in WIT's terms.

use crate::guard::quietly;
use crate::refusal::{Reason, Refusal};
use serde::Serialize;
use wit_component::DecodedWasm;

/// Imports and exports of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct World {
    /// Interfaces and functions that it needs.
    pub imports: Vec<String>,
    /// Interfaces and functions that it offers.
    pub exports: Vec<String>,
}

/// Reads the world of a component.
///
/// # Errors
/// Bytes that are no component.
pub fn world(component: &[u8]) -> Result<World, Refusal> {
    crate::validate::component(component)?;
    let decoded = match quietly(|| wit_component::decode(component)) {
        Ok(Ok(decoded)) => decoded,
        Ok(Err(error)) => return Err(unreadable(&format!("{error:#}"))),
        Err(panic) => return Err(unreadable(&panic)),
    };
    let DecodedWasm::Component(resolve, id) = decoded else {
        return Err(unreadable("it is a WIT package"));
    };
    let world = &resolve.worlds[id];
    let names = |keys: &mut dyn Iterator<Item = &wit_parser::WorldKey>| {
        keys.map(|key| resolve.name_world_key(key)).collect()
    };
    Ok(World {
        imports: names(&mut world.imports.keys()),
        exports: names(&mut world.exports.keys()),
    })
}

fn unreadable(why: &str) -> Refusal {
    Refusal::new(
        Reason::Unreadable,
        format!("the component cannot be described: {why}"),
        "a component with a WIT world",
        "build it again with a current toolchain",
    )
}
