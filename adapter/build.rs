//! Makes the stock adapters: every dialect in every profile for every release of `wasi:nn`.

use anyhow::{Context, Result};
use llm_wasi_generator::Profile;
use std::fmt::Write as _;
use std::path::PathBuf;

include!("src/sources.rs");

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../witx");
    println!("cargo::rerun-if-changed=../wit");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let mut table = String::from("&[\n");
    for dialect in DIALECTS {
        for profile in Profile::ALL {
            for target in Target::ALL {
                if !target.has(profile) {
                    continue;
                }
                let adapter = make(dialect, profile, target, Vec::new(), false)?;
                let file = format!("{}.{profile:?}.{target:?}.wasm", dialect.name);
                std::fs::write(out.join(&file), adapter.module)
                    .with_context(|| format!("{file} cannot be written"))?;
                writeln!(
                    table,
                    "    Stock {{ dialect: {:?}, profile: Profile::{profile:?}, target: \
                     Target::{target:?}, module: include_bytes!(concat!(env!(\"OUT_DIR\"), \
                     \"/{file}\")) }},",
                    dialect.name
                )?;
            }
        }
    }
    table.push_str("]\n");
    std::fs::write(out.join("stock.rs"), table)?;
    Ok(())
}
