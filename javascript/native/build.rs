//! Tells the linker that Node defines what the addon imports.

fn main() {
    napi_build::setup();
}
