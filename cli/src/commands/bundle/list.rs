//! What is in a bundle.

use crate::commands::inspect::json;
use crate::failure::Failure;
use crate::text::{print, size, table};
use llm_wasi_bundle::{Bundle, sign};
use serde_json::json;
use std::fs::File;

const HEADER: [&str; 6] = ["MODEL", "ENCODING", "TARGET", "FILE", "SIZE", "PARTS"];

pub(super) fn list(bundle: &Bundle<File>, as_json: bool) -> Result<(), Failure> {
    let index = bundle.index();
    let key = bundle.signature().and_then(sign::key_id);
    if as_json {
        let text = json(&json!({
            "component": index.component,
            "models": index.models,
            "signed": bundle.signature().is_some(),
            "key": key,
        }))?;
        return print(&text);
    }
    let mut rows = vec![HEADER.map(str::to_string).to_vec()];
    for model in &index.models {
        for file in &model.files {
            rows.push(vec![
                model.name.clone(),
                model.encoding.clone(),
                model.target.clone(),
                file.name.clone(),
                size(file.size),
                file.parts.len().to_string(),
            ]);
        }
    }
    let signature = match (bundle.signature(), key) {
        (None, _) => "none".to_string(),
        (Some(_), Some(key)) => format!("by the key {key}, not checked here"),
        (Some(_), None) => "damaged".to_string(),
    };
    let component = size(index.component.size);
    print(&format!(
        "{}component: {component}\nsignature: {signature}\n",
        table(&rows)
    ))
}
