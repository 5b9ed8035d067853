// Shared by the build script and the library.

/// What an adapted component imports besides WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Profile {
    /// Only `wasi:nn`: runs on every host of it.
    Portable,
    /// Also `llm-wasi:nn`: what WasmEdge's guests rely on and `wasi:nn` cannot say.
    Extended,
}

impl Profile {
    /// Every profile, the default first.
    pub const ALL: [Profile; 2] = [Profile::Portable, Profile::Extended];
}

/// Which release of `wasi:nn` an adapter targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// `wasi:nn@0.2.0-rc-2024-10-28`: Wasmtime 35 and later.
    Rc20241028,
    /// `wasi:nn@0.2.0-rc-2024-08-19`: Wasmtime 25 to 34.
    Rc20240819,
}
