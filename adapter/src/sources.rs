// Shared by the build script, which makes the stock adapters, and by the library, which makes others.

/// A dialect's name, its witx file and its mapping.
struct DialectSource {
    name: &'static str,
    witx: &'static str,
    mapping: &'static str,
}

macro_rules! dialects {
    ($($name:literal),* $(,)?) => {
        &[$(DialectSource {
            name: $name,
            witx: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../witx/", $name, ".witx")),
            mapping: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../witx/", $name, ".toml")),
        }),*]
    };
}

/// Every dialect, oldest first.
static DIALECTS: &[DialectSource] = dialects![
    "wasi-nn-2022-10",
    "wasi-nn-2023-08-09",
    "wasi-nn",
    "wasmedge",
    "wamr-legacy",
    "wamr",
];

macro_rules! wit {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/", $name)),
        )
    };
}

const WASI_NN_2024_10_28: (&str, &str) = wit!("wasi-nn-2024-10-28.wit");
const WASI_NN_2024_08_19: (&str, &str) = wit!("wasi-nn-2024-08-19.wit");
const LLM_WASI_NN: (&str, &str) = wit!("llm-wasi-nn.wit");

/// Which release of `wasi:nn` an adapter targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// `wasi:nn@0.2.0-rc-2024-10-28`: Wasmtime 35 and later.
    Rc20241028,
    /// `wasi:nn@0.2.0-rc-2024-08-19`: Wasmtime 25 to 34.
    Rc20240819,
}

impl Target {
    /// Every target, the default first.
    pub const ALL: [Target; 2] = [Target::Rc20241028, Target::Rc20240819];

    /// The WIT packages that an adapter imports. `llm-wasi:nn` builds on the later release alone.
    fn wit(self, profile: Profile) -> Vec<(String, String)> {
        let packages: &[(&str, &str)] = match (self, profile) {
            (Target::Rc20241028, Profile::Portable) => &[WASI_NN_2024_10_28],
            (Target::Rc20241028, Profile::Extended) => &[WASI_NN_2024_10_28, LLM_WASI_NN],
            (Target::Rc20240819, _) => &[WASI_NN_2024_08_19],
        };
        packages
            .iter()
            .map(|(name, text)| ((*name).to_string(), (*text).to_string()))
            .collect()
    }

    /// Whether an adapter of this profile exists for this target.
    fn has(self, profile: Profile) -> bool {
        match (self, profile) {
            (Target::Rc20241028, _) | (_, Profile::Portable) => true,
            (Target::Rc20240819, Profile::Extended) => false,
        }
    }
}

fn make(
    dialect: &DialectSource,
    profile: Profile,
    target: Target,
    input_names: Vec<(u32, String)>,
    zero_max_is_unlimited: bool,
) -> anyhow::Result<llm_wasi_generator::Adapter> {
    let sources = llm_wasi_generator::Sources {
        witx: (format!("{}.witx", dialect.name), dialect.witx.to_string()),
        mapping: (format!("{}.toml", dialect.name), dialect.mapping.to_string()),
        wit: target.wit(profile),
        other_wit: Target::Rc20241028.wit(Profile::Extended),
    };
    let options = llm_wasi_generator::Options {
        profile,
        input_names,
        zero_max_is_unlimited,
    };
    llm_wasi_generator::generate(&sources, &options)
}
