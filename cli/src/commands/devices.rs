//! `llm-wasi devices`

use crate::failure::Failure;
use crate::text::{one_line, print};
use anstyle::Style;
use clap::Args;
use llm_wasi_host::Registry;
use llm_wasi_host::backend::{Backend, Device};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// Show the backends of this build and the devices that each can compute on.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:

    # What can models run on here?
    $ llm-wasi devices

    # Is there a GPU? For a script.
    $ llm-wasi devices --json | jq '[.backends[].devices[]?.kind] | any(. == \"GPU\")'";

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let registry = Registry::with_default_backends().build();
        let text = if self.json {
            let backends: Vec<Value> = registry.backends().map(to_json).collect();
            format!("{:#}\n", json!({ "backends": backends }))
        } else {
            registry.backends().map(to_text).collect()
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn encodings(backend: &dyn Backend) -> Vec<&'static str> {
    backend
        .encodings()
        .iter()
        .map(|encoding| encoding.name())
        .collect()
}

fn to_text(backend: &dyn Backend) -> String {
    let bold = Style::new().bold();
    let mut text = format!(
        "{bold}{}{bold:#} for {}\n",
        backend.name(),
        encodings(backend).join(", ")
    );
    match backend.devices() {
        Ok(devices) => {
            let width = devices.iter().map(|device| device.name.len()).max();
            for device in devices {
                text.push_str(&line(&device, width.unwrap_or(0)));
            }
        }
        Err(error) => {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  not available: {}", one_line(&error.message));
        }
    }
    text
}

fn line(device: &Device, width: usize) -> String {
    let memory = device.memory.map_or_else(String::new, |memory| {
        format!(
            ", {} MiB of {} MiB free",
            memory.free >> 20,
            memory.total >> 20
        )
    });
    format!(
        "  {:width$}  {}: {}{memory}\n",
        device.name, device.kind, device.description
    )
}

fn to_json(backend: &dyn Backend) -> Value {
    let mut object = json!({ "name": backend.name(), "encodings": encodings(backend) });
    match backend.devices() {
        Ok(devices) => {
            object["devices"] = devices
                .iter()
                .map(|device| {
                    json!({
                        "name": device.name,
                        "kind": device.kind.name(),
                        "description": device.description,
                        "memory": device.memory.map(|memory| json!({
                            "free": memory.free,
                            "total": memory.total,
                        })),
                    })
                })
                .collect();
        }
        Err(error) => object["unavailable"] = error.message.into(),
    }
    object
}
