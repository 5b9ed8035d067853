//! Figures: what the adapter costs beside the alternatives.
//!
//! Tables, each with its targets: the time of one inference cycle, the same against the number of live
//! contexts, sizes, the time to componentize, large tensors, a language model beside llama.cpp alone, the
//! engine beside the host alone, start-up and memory of the program, models in processes of their own. Everything that is compared runs in this one
//! process, in turns, because a machine's speed changes from minute to minute; the shortest of many
//! rounds counts, because everything that interferes only adds.

mod bundle;
mod contexts;
mod cycle;
mod device;
mod encode;
mod engine;
mod guests;
#[cfg(target_os = "linux")]
mod isolate;
mod language;
mod load;
mod machine;
mod measure;
mod null;
mod plot;
mod process;
mod sizes;
mod table;
mod tensors;

use anyhow::Result;
use clap::Parser;
use device::Device;
use serde_json::json;
use std::path::PathBuf;
use table::Table;

/// Measures what the adapter costs beside the alternatives, and prints tables.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Fewer rounds and sizes: shows that everything runs, the times are rough
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Sizes of the input in bytes, multiples of 4, instead of the usual ones
    #[arg(long, value_name = "N", value_delimiter = ',')]
    input: Vec<u32>,
    /// Draw the figures under load, and those of large tensors, as SVG into this folder
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// Language models on the first GPU, both llama.cpp alone and programs: the tables `language` and `load`
    #[arg(long, conflicts_with = "plots")]
    gpu: bool,
    /// Only these tables
    #[arg(value_name = "TABLE")]
    only: Vec<Which>,
    /// Only computes with this model, by llama.cpp alone; its memory is measured from outside
    #[arg(long, value_name = "MODEL", hide = true)]
    alone: Option<PathBuf>,
    /// Only serves as a worker process, with a backend without a model or with all
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "null|all", hide = true)]
    worker: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// One cycle of inference
    Cycle,
    /// One cycle against the number of live contexts
    Contexts,
    /// Sizes
    Sizes,
    /// The time to componentize
    Componentize,
    /// Large tensors in and out
    Tensors,
    /// A language model, beside llama.cpp alone; needs LLM_WASI_SMOLLM2
    Language,
    /// Many guests of a model, prefixes, instances; needs LLM_WASI_SMOLLM2
    Load,
    /// The engine, beside the host alone; needs LLM_WASI_SMOLLM2
    Engine,
    /// The start of the program
    Start,
    /// Memory with a language model; needs LLM_WASI_SMOLLM2
    Memory,
    /// Models in processes of their own; tokens need LLM_WASI_SMOLLM2
    #[cfg(target_os = "linux")]
    Isolate,
    /// The start of a bundle; needs LLM_WASI_SMOLLM2
    Bundle,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(model) = &arguments.alone {
        return language::compute_alone(model);
    }
    #[cfg(target_os = "linux")]
    if let Some(backends) = &arguments.worker {
        return isolate::work(backends == "null");
    }
    let device = if arguments.gpu {
        Device::gpu()?
    } else {
        Device::Cpu
    };
    let wanted = |which| match &arguments.only[..] {
        [] => !arguments.gpu || matches!(which, Which::Language | Which::Load),
        only => only.contains(&which),
    };
    let effort = if arguments.quick {
        measure::Effort::QUICK
    } else {
        measure::Effort::FULL
    };
    let machine = machine::describe();
    if !arguments.json {
        println!("{machine}");
    }
    let mut tables = Vec::new();
    let mut done = |table: Table| {
        if !arguments.json {
            println!("\n{table}");
        }
        tables.push(table);
    };
    if wanted(Which::Cycle) {
        for table in cycle::tables(&effort, &arguments.input)? {
            done(table);
        }
    }
    if wanted(Which::Contexts) {
        done(contexts::table(&effort)?);
    }
    if wanted(Which::Sizes) {
        for table in sizes::tables()? {
            done(table);
        }
    }
    if wanted(Which::Componentize) {
        done(encode::table(&effort)?);
    }
    if wanted(Which::Tensors) {
        done(tensors::table(&effort)?);
    }
    if wanted(Which::Start) {
        done(process::start(&effort)?);
    }
    #[cfg(target_os = "linux")]
    if wanted(Which::Isolate) {
        for table in isolate::tables(&effort, language::model().as_deref())? {
            done(table);
        }
    }
    match language::model() {
        Some(model) => {
            if wanted(Which::Language) {
                for table in language::tables(&effort, &model, &device)? {
                    done(table);
                }
            }
            if wanted(Which::Engine) {
                for table in engine::tables(&effort, &model)? {
                    done(table);
                }
            }
            if wanted(Which::Load) {
                let load = load::measure(&effort, &model, &device)?;
                for table in load.tables {
                    done(table);
                }
                if !arguments.gpu {
                    let (table, sizes) = cycle::growth(&effort)?;
                    done(table);
                    if let Some(folder) = &arguments.plots {
                        plot::draw_all(folder, &load.guests, &load.contexts, &sizes)?;
                    }
                }
            }
            if wanted(Which::Memory) {
                done(process::memory(&model)?);
            }
            if wanted(Which::Bundle) {
                done(bundle::table(&effort, &model)?);
            }
        }
        None => eprintln!(
            "left out: language, engine, load, memory and bundle, as LLM_WASI_SMOLLM2 names no model; `make bench` fetches it"
        ),
    }
    if arguments.json {
        let tables: Vec<_> = tables.iter().map(Table::json).collect();
        let report = json!({ "machine": machine, "quick": arguments.quick, "tables": tables });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let (passed, all) = tables.iter().fold((0, 0), |(passed, all), table| {
            (passed + table.passed(), all + table.targets.len())
        });
        println!("\n{passed} of {all} targets pass");
    }
    Ok(())
}
