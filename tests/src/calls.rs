//! Single calls with their arguments laid out in the guest's memory.

use crate::machine::{Machine, Outcome};

/// Where results go: graphs, contexts, bytes written.
pub const RESULT: u32 = 16;
/// Where names go.
pub const NAME: u32 = 256;
/// Where records of tensors go.
pub const TENSOR: u32 = 1024;
/// Where dimensions go.
pub const DIMENSIONS: u32 = 1088;
/// Where the elements of inputs go.
pub const DATA: u32 = 2048;
/// Where outputs go.
pub const BUFFER: u32 = 40_000;

/// Loads a graph by name.
pub fn load_by_name(machine: &mut dyn Machine, name: &str) -> Outcome {
    machine.write(NAME, name.as_bytes());
    machine.call("load_by_name", &[NAME, name.len() as u32, RESULT])
}

/// Makes a context.
pub fn init(machine: &mut dyn Machine, graph: u32) -> Outcome {
    machine.call("init_execution_context", &[graph, RESULT])
}

/// Loads a graph and makes a context; gives the context.
pub fn open(machine: &mut dyn Machine, name: &str) -> u32 {
    assert_eq!(load_by_name(machine, name), Outcome::Errno(0), "{name}");
    let graph = machine.word(RESULT);
    assert_eq!(init(machine, graph), Outcome::Errno(0), "{name}");
    machine.word(RESULT)
}

/// Writes a tensor's record with all that it points to.
pub fn write_tensor(machine: &mut dyn Machine, at: u32, dimensions: &[u32], ty: u8, data: &[u8]) {
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    machine.write(DATA, data);
    machine.write(DIMENSIONS, &words(dimensions));
    // The bytes behind the type are undefined.
    let ty = u32::from(ty) | 0xa5c3_7f00;
    let record = [
        DIMENSIONS,
        dimensions.len() as u32,
        ty,
        DATA,
        data.len() as u32,
    ];
    machine.write(at, &words(&record));
}

/// Sets an input of bytes with one dimension.
pub fn set_input(machine: &mut dyn Machine, context: u32, index: u32, data: &[u8]) -> Outcome {
    write_tensor(machine, TENSOR, &[data.len() as u32], 3, data);
    machine.call("set_input", &[context, index, TENSOR])
}

/// Reads an output with a function such as `get_output`.
pub fn read_output(
    machine: &mut dyn Machine,
    function: &str,
    context: u32,
    index: u32,
    max: u32,
) -> Result<Vec<u8>, Outcome> {
    match machine.call(function, &[context, index, BUFFER, max, RESULT]) {
        Outcome::Errno(0) => {
            let length = machine.word(RESULT);
            Ok(machine.read(BUFFER, length))
        }
        other => Err(other),
    }
}

/// Reads an output.
pub fn get_output(machine: &mut dyn Machine, context: u32, index: u32) -> Result<Vec<u8>, Outcome> {
    read_output(machine, "get_output", context, index, 80_000)
}
