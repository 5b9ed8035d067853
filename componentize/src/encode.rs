//! The component itself.

use crate::analysis::{Analysis, Code, Kind, analyze_binary};
use crate::guard::quietly;
use crate::memory_size::keep_together;
use crate::options::Options;
use crate::plan::{Plan, plan};
use crate::refusal::{Reason, Refusal};
use crate::report::{Report, Used};
use crate::start::defer;
use crate::{input, validate};
use std::borrow::Cow;
use wit_component::ComponentEncoder;

/// A component, and how it came about.
#[derive(Clone, Debug)]
pub struct Componentized {
    /// The component.
    pub bytes: Vec<u8>,
    /// What was done.
    pub report: Report,
}

/// Makes a component of a module, binary or text. A component comes back as it is.
///
/// Function bodies are validated once, as part of the component.
///
/// # Errors
/// Whatever [`analyze`](crate::analyze) and [`plan`] refuse, and what `wit-component` refuses.
pub fn componentize(bytes: &[u8], options: &Options) -> Result<Componentized, Refusal> {
    let module = input::read(bytes)?;
    let analysis = analyze_binary(&module, Code::Later)?;
    let plan = plan(&analysis, options)?;
    if analysis.kind == Kind::Component {
        let bytes = module.into_owned();
        return Ok(done(bytes, analysis, &plan));
    }
    let component = match quietly(|| encode(&module, &plan, options.most_pages)) {
        Ok(Ok(component)) => component,
        Ok(Err(error)) => return Err(refused(&module, &error)),
        Err(panic) => return Err(panicked(&module, &panic)),
    };
    validate::output(&component, &module)?;
    Ok(done(component, analysis, &plan))
}

fn encode(module: &[u8], plan: &Plan, most_pages: Option<u32>) -> anyhow::Result<Vec<u8>> {
    let module = if plan.adapters.is_empty() {
        Cow::Borrowed(module)
    } else {
        match defer(module) {
            Cow::Borrowed(module) => keep_together(module, most_pages),
            Cow::Owned(module) => Cow::Owned(keep_together(&module, most_pages).into_owned()),
        }
    };
    let mut encoder = ComponentEncoder::default();
    // Validation follows, with the features that hosts have: wit-component would take all there are.
    encoder.validate(false).module(&module)?;
    for adapter in &plan.adapters {
        encoder.adapter(&adapter.module, &adapter.bytes)?;
    }
    encoder.encode()
}

fn done(bytes: Vec<u8>, input: Analysis, plan: &Plan) -> Componentized {
    let adapters = plan
        .adapters
        .iter()
        .map(|adapter| Used {
            module: adapter.module.clone(),
            what: adapter.what.clone(),
            bytes: adapter.bytes.len(),
        })
        .collect();
    let report = Report {
        choice: plan.choice.clone(),
        adapters,
        passed_through: input.kind == Kind::Component,
        bytes: bytes.len(),
        input,
    };
    Componentized { bytes, report }
}

fn refused(module: &[u8], error: &anyhow::Error) -> Refusal {
    // A module that is not valid is the better explanation.
    if let Err(refusal) = analyze_binary(module, Code::Validate) {
        return refusal;
    }
    Refusal::new(
        Reason::Encoder,
        format!("wit-component cannot encode it: {error:#}"),
        "a module that fits its own component types and its adapters",
        "check its component types (`wasm-tools component wit`) and the adapters given with --adapt",
    )
}

fn panicked(module: &[u8], message: &str) -> Refusal {
    if let Err(refusal) = analyze_binary(module, Code::Validate) {
        return refusal;
    }
    Refusal::new(
        Reason::EncoderPanicked,
        format!("wit-component panicked on it: {message}"),
        "a module that wit-component can read",
        "build the module again; if it is whole, report this with the module",
    )
}
