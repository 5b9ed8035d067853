//! Which dialect a module speaks, and which profile suits it.
//!
//! 1. The import module `wasi_nn` is WAMR's old dialect.
//! 2. A function that only WasmEdge's dialect has: WasmEdge, and the extended profile.
//! 3. Traces of the library that the program was written on.
//! 4. Nothing of the kind: the current dialect.

use crate::analysis::Nn;
use crate::dialect::{CURRENT, LEGACY_MODULE, OF_2022, OF_2023, WAMR_LEGACY, WASMEDGE, functions};
use crate::evidence::{Crate, Evidence};
use crate::options::profile_name;
use crate::refusal::list;
use llm_wasi_adapter::Profile;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;

/// A dialect and a profile, and the reason for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Name of the dialect.
    pub dialect: String,
    /// The profile.
    #[serde(serialize_with = "serialize_profile")]
    pub profile: Profile,
    /// Why, as a sentence.
    pub reason: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde prescribes the signature"
)]
fn serialize_profile<S: Serializer>(profile: &Profile, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(profile_name(*profile))
}

impl Choice {
    fn new(dialect: &str, profile: Profile, reason: impl Into<String>) -> Choice {
        Choice {
            dialect: dialect.to_string(),
            profile,
            reason: reason.into(),
        }
    }
}

pub(crate) fn detect(nn: &Nn, evidence: &Evidence) -> Choice {
    if nn.module == LEGACY_MODULE {
        let reason = format!("It imports `{}`, WAMR's old module.", nn.module);
        return Choice::new(WAMR_LEGACY, Profile::Portable, reason);
    }
    let own = wasmedge_only(nn);
    if !own.is_empty() {
        let noun = if own.len() == 1 {
            "which is"
        } else {
            "which are"
        };
        let reason = format!("It imports {}, {noun} WasmEdge's.", list(&own));
        return Choice::new(WASMEDGE, Profile::Extended, reason);
    }
    from_evidence(nn, evidence).unwrap_or_else(|| {
        Choice::new(
            CURRENT,
            Profile::Portable,
            "It imports only functions of the specification, and nothing in it tells of an older dialect. Tensors of older \
             ones are told by their size.",
        )
    })
}

/// The functions in use that WasmEdge's dialect has and the specification's has not.
fn wasmedge_only(nn: &Nn) -> Vec<&String> {
    let (wasmedge, current) = (functions(WASMEDGE), functions(CURRENT));
    nn.functions
        .iter()
        .filter(|name| wasmedge.contains_key(*name) && !current.contains_key(*name))
        .collect()
}

fn from_evidence(nn: &Nn, evidence: &Evidence) -> Option<Choice> {
    let mut found: BTreeSet<&str> = evidence.crates.iter().map(dialect_of).collect();
    let mut traces: Vec<String> = evidence
        .crates
        .iter()
        .map(|found| format!("the Rust crate {}", found.text))
        .collect();
    if evidence.assemblyscript {
        found.insert(OF_2022);
        traces.push("AssemblyScript's library".to_string());
    }
    let traces = list(&traces);
    let mut names = found.iter();
    let (first, second) = (names.next()?, names.next());
    if second.is_some() {
        let reason = format!(
            "It holds {traces}, which are of different dialects; --dialect decides if this one is wrong."
        );
        return Some(Choice::new(CURRENT, Profile::Portable, reason));
    }
    let there = functions(first);
    // A library that is inside and not used leaves a trace too.
    let foreign: Vec<&String> = nn
        .functions
        .iter()
        .filter(|name| !there.contains_key(*name))
        .collect();
    if !foreign.is_empty() {
        let reason = format!(
            "It holds {traces}, but imports {}, which that dialect lacks.",
            list(&foreign)
        );
        return Some(Choice::new(CURRENT, Profile::Portable, reason));
    }
    let reason = format!("It holds {traces}.");
    Some(Choice::new(first, Profile::Portable, reason))
}

/// The dialect that a release of a Rust crate speaks.
fn dialect_of(found: &Crate) -> &'static str {
    match found {
        Crate { wasmedge: true, .. } => WASMEDGE,
        Crate { version, .. } if *version < (0, 5) => OF_2022,
        Crate { version, .. } if *version < (0, 6) => OF_2023,
        _ => CURRENT,
    }
}
