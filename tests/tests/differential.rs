//! The same module on Wasmtime's host for core modules and, adapted, on its WIT host: errnos, results
//! and memory are equal after every call, but for what `differences` lists.

use llm_wasi_tests::backend::{MODELS, Model};
use llm_wasi_tests::former::former_type;
use llm_wasi_tests::guest::{Guest, dialect};
use llm_wasi_tests::hazards::hazards;
use llm_wasi_tests::machine::{Adapted, AdaptedProgram, Core, CoreProgram, Machine, Outcome, Way};
use llm_wasi_tests::script::{self, Step};
use llm_wasi_tests::{differences, runner};
use proptest::prop_assert;
use proptest::test_runner::TestCaseError;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use wasmtime_wasi_nn::wit::TensorType;

#[test]
fn generated_calls() {
    let guest = Guest::all(dialect("wasi-nn"));
    let core = CoreProgram::new(&guest.wasm());
    let adapted = AdaptedProgram::new(&Way::portable("wasi-nn").componentize(&guest));
    let seen = RefCell::new(Seen::default());
    runner::check("differential", runner::cases(), &script::spec(), |steps| {
        let mut pair = Pair {
            size: guest.size(),
            core: core.start(),
            ours: adapted.start(),
            graphs: Vec::new(),
            contexts: Vec::new(),
        };
        let mut seen = seen.borrow_mut();
        for step in &steps {
            if !pair.step(step, &mut seen)? {
                break;
            }
        }
        Ok(())
    });
    let seen = seen.into_inner();
    println!("{seen:?}");
    // A test that never gets anywhere would pass as well.
    if runner::cases() < 1024 {
        return;
    }
    for function in script::SPEC {
        assert!(
            seen.equal.contains_key(&(function.0, 0)),
            "{function:?} never worked: {seen:#?}"
        );
    }
    assert!(seen.equal.contains_key(&("get_output", 7)), "{seen:#?}");
    assert!(seen.equal.contains_key(&("get_output", 5)), "{seen:#?}");
    assert!(seen.equal.contains_key(&("compute", 5)), "{seen:#?}");
}

/// How often what happened.
#[derive(Debug, Default)]
struct Seen {
    equal: BTreeMap<(&'static str, u32), usize>,
    different: BTreeMap<&'static str, usize>,
}

/// A context as both sides know it.
#[derive(Clone)]
struct Context {
    model: Model,
    /// Inputs that only the adapted side has; the backend will refuse them.
    refused: BTreeSet<u32>,
    /// Inputs that may differ for another reason.
    loose: BTreeSet<u32>,
    /// Whether the outputs may differ.
    outputs_differ: bool,
}

struct Pair {
    size: u32,
    core: Core,
    ours: Adapted,
    graphs: Vec<Model>,
    contexts: Vec<Context>,
}

impl Pair {
    /// Makes a call on both sides. Whether the case can go on.
    fn step(&mut self, step: &Step, seen: &mut Seen) -> Result<bool, TestCaseError> {
        let (function, arguments) = (step.function, step.arguments.as_slice());
        if function == "get_output" && self.context(arguments[0]).is_some_and(|c| c.outputs_differ)
        {
            return Ok(true);
        }
        for (at, bytes) in &step.writes {
            self.core.write(*at, bytes);
            self.ours.write(*at, bytes);
        }
        let before = self.core.read(0, self.size);
        let hazards = hazards(function, arguments, &before);
        let core = self.core.call(function, arguments);
        let ours = self.ours.call(function, arguments);
        prop_assert!(ours != Outcome::Panic, "{step:?}: our host panicked");

        if core == ours {
            let Outcome::Errno(errno) = core else {
                return Ok(false);
            };
            *seen.equal.entry((function, errno)).or_default() += 1;
            self.note(step, errno, &before);
            self.compare(step)?;
            return Ok(true);
        }
        if function == "compute" && self.compute_may_differ(arguments[0], &core, &ours) {
            *seen.different.entry("refused-input").or_default() += 1;
            return Ok(true);
        }
        let found = differences::DIFFERENCES.iter().find(|difference| {
            difference.compared
                && difference.explains(function, &core, &ours)
                && (!difference.shows_beforehand() || hazards.iter().any(|h| h.id == difference.id))
        });
        prop_assert!(
            found.is_some(),
            "{step:?}: core {core:?}, adapted {ours:?}; hazards {:?}",
            hazards.iter().map(|h| h.id).collect::<Vec<_>>()
        );
        let Some(found) = found else {
            return Ok(false);
        };
        *seen.different.entry(found.id).or_default() += 1;
        match (found.id, &ours) {
            ("refused-input", _) => {
                let ty = self.tensor_type(arguments[2], &before);
                let index = arguments[1];
                let context = self.context(arguments[0]);
                let refused = context.filter(|c| c.model.refuses(index, ty));
                prop_assert!(refused.is_some(), "{step:?}: nothing refuses that");
                if let Some(context) = refused {
                    let former = Self::former(arguments[2], &before);
                    if former.is_some_and(|former| !context.model.refuses(index, former)) {
                        context.refused.remove(&index);
                        context.loose.insert(index);
                    } else {
                        context.refused.insert(index);
                    }
                }
                self.compare(step)?;
                Ok(true)
            }
            // Nothing has happened on either side.
            (_, Outcome::Errno(1..)) => {
                self.compare(step)?;
                Ok(true)
            }
            (_, Outcome::Errno(0)) if function == "set_input" => {
                let index = arguments[1];
                if let Some(context) = self.context(arguments[0]) {
                    context.loose.insert(index);
                }
                Ok(!hazards.iter().any(|h| h.id == "beyond-memory"))
            }
            // The adapted side has done something that the other has not.
            _ => Ok(false),
        }
    }

    fn context(&mut self, handle: u32) -> Option<&mut Context> {
        self.contexts.get_mut(handle as usize)
    }

    /// What the adapted side takes a tensor for if its size is that of a former edition's.
    fn former(record: u32, memory: &[u8]) -> Option<TensorType> {
        let word = |at: u32| {
            let bytes = memory.get(at as usize..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let field = |offset| word(record.checked_add(offset)?);
        let (at, rank, tag, length) = (field(0)?, field(4)?, field(8)?, field(16)?);
        let dimensions: Option<Vec<u32>> = (0..rank)
            .map(|dimension| word(at.checked_add(dimension.checked_mul(4)?)?))
            .collect();
        former_type(tag.to_le_bytes()[0], &dimensions?, length.into())
    }

    fn tensor_type(&self, record: u32, memory: &[u8]) -> TensorType {
        [
            TensorType::Fp16,
            TensorType::Fp32,
            TensorType::Fp64,
            TensorType::U8,
            TensorType::I32,
            TensorType::I64,
        ][usize::from(memory[record as usize + 8])]
    }

    /// What a call that gave the same errno on both sides changed.
    fn note(&mut self, step: &Step, errno: u32, before: &[u8]) {
        let arguments = &step.arguments;
        match (step.function, errno) {
            ("load_by_name", 0) => {
                let at = arguments[0] as usize;
                let name = &before[at..at + arguments[1] as usize];
                let model = MODELS.iter().find(|m| m.0.as_bytes() == name);
                self.graphs.push(model.expect("the host knows this name").1);
            }
            ("load", 0) => {
                let at = arguments[0] as usize;
                let first = u32::from_le_bytes([0, 1, 2, 3].map(|i| before[at + i]));
                let byte = before[first as usize];
                self.graphs.push(MODELS[usize::from(byte) % MODELS.len()].1);
            }
            ("init_execution_context", 0) => self.contexts.push(Context {
                model: self.graphs[arguments[0] as usize],
                refused: BTreeSet::new(),
                loose: BTreeSet::new(),
                outputs_differ: false,
            }),
            ("set_input", 0) => {
                let index = arguments[1];
                let former = Self::former(arguments[2], before);
                if let Some(context) = self.context(arguments[0]) {
                    context.refused.remove(&index);
                    context.loose.remove(&index);
                    if former.is_some() {
                        context.loose.insert(index);
                    }
                }
            }
            ("compute", 0) => {
                if let Some(context) = self.context(arguments[0]) {
                    context.outputs_differ = !context.loose.is_empty();
                }
            }
            _ => {}
        }
    }

    /// Whether inputs that only one side has are why a computation differs.
    fn compute_may_differ(&mut self, handle: u32, core: &Outcome, ours: &Outcome) -> bool {
        let Some(context) = self.context(handle) else {
            return false;
        };
        let errnos = matches!((core, ours), (Outcome::Errno(_), Outcome::Errno(_)));
        let explained = if context.refused.is_empty() {
            !context.loose.is_empty()
        } else {
            *ours == Outcome::Errno(5)
        };
        if errnos && explained {
            context.outputs_differ = true;
        }
        errnos && explained
    }

    fn compare(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let core = self.core.read(0, self.size);
        let ours = self.ours.read(0, self.size);
        if core != ours {
            let at = core
                .iter()
                .zip(&ours)
                .position(|(a, b)| a != b)
                .unwrap_or(0);
            prop_assert!(
                false,
                "{step:?}: memory differs at {at:#x}: core {:02x?}, adapted {:02x?}",
                &core[at..(at + 16).min(core.len())],
                &ours[at..(at + 16).min(ours.len())]
            );
        }
        prop_assert!(
            self.core.counters.contexts() == self.ours.counters.contexts(),
            "{step:?}: other contexts are alive"
        );
        prop_assert!(
            self.core.counters.graphs() == self.ours.counters.graphs(),
            "{step:?}: other graphs are alive"
        );
        Ok(())
    }
}
