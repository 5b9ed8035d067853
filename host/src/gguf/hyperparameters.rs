//! Numbers of a model that have to go together: llama.cpp ends the process where they do not.

use super::{BadGguf, Gguf};

/// The most experts that llama.cpp takes.
const MAX_EXPERTS: u64 = 1024;
/// The ways to scale positions that it knows.
const ROPE_SCALINGS: [&str; 4] = ["none", "linear", "yarn", "longrope"];
/// Types that are made while it computes, or that are for numbers which no weight is: none of them can be
/// multiplied with.
const NO_WEIGHTS: [u32; 7] = [9, 15, 24, 25, 26, 27, 28];

/// Whether a tensor of this name cannot have elements of this type.
pub(super) fn is_no_weight(name: &[u8], ty: u32) -> bool {
    NO_WEIGHTS.contains(&ty) && name.ends_with(b".weight") && !name.ends_with(b"tid2eid.weight")
}

/// Fails for numbers that do not go together.
pub(super) fn check(gguf: &Gguf) -> Result<(), BadGguf> {
    let Some(architecture) = gguf.architecture() else {
        return Ok(());
    };
    let key = |name: &str| format!("{architecture}.{name}");
    // One number, or one for each layer.
    let most = |name: &str| {
        gguf.architecture_number(name)
            .or_else(|| gguf.lists.get(&key(name))?.iter().copied().max())
            .unwrap_or_default()
    };
    let within = |name: &str, number: u64, least: u64, limit: u64| {
        if (least..=limit).contains(&number) {
            return Ok(());
        }
        Err(BadGguf(format!(
            "found {number} as {}, which is from {least} to {limit} in a model with the other numbers of this one: the \
             file is corrupt; fetch it again",
            key(name)
        )))
    };
    let experts = most("expert_count");
    within("expert_count", experts, 0, MAX_EXPERTS)?;
    let least = experts.min(1);
    within(
        "expert_used_count",
        most("expert_used_count"),
        least,
        experts,
    )?;
    let groups = most("expert_group_count");
    within("expert_group_count", groups, 0, experts.saturating_sub(1))?;
    if groups > 1 {
        let used = most("expert_group_used_count");
        within("expert_group_used_count", used, 1, groups - 1)?;
        if experts % groups != 0 {
            return Err(BadGguf(format!(
                "found {experts} experts in {groups} groups, which are not of one size: the file is corrupt; fetch it \
                 again"
            )));
        }
    }
    if let Some(layers) = gguf.architecture_number("block_count") {
        let name = "nextn_predict_layers";
        within(name, most(name), 0, layers)?;
    }
    if let Some(scaling) = gguf.text(&key("rope.scaling.type"))
        && !ROPE_SCALINGS.contains(&scaling)
    {
        return Err(BadGguf(format!(
            "expected one of {} as {}, found `{scaling}`: convert the model again",
            ROPE_SCALINGS.join(", "),
            key("rope.scaling.type")
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    fn checked(numbers: &[(&str, i128)]) -> Result<(), BadGguf> {
        check(&Gguf::of_numbers(numbers))
    }

    #[test]
    fn experts() {
        checked(&[]).unwrap();
        checked(&[("expert_count", 8), ("expert_used_count", 2)]).unwrap();
        let grouped = [
            ("expert_count", 8),
            ("expert_used_count", 2),
            ("expert_group_count", 4),
        ];
        checked(&[&grouped[..], &[("expert_group_used_count", 2)]].concat()).unwrap();
        for wrong in [
            &[("expert_used_count", 2)][..],
            &[("expert_count", 8)],
            &[("expert_count", 8), ("expert_used_count", 9)],
            &[("expert_count", 1 << 20), ("expert_used_count", 2)],
            &[("expert_group_count", 1)],
            &grouped,
            &[&grouped[..], &[("expert_group_used_count", 4)]].concat(),
        ] {
            assert!(checked(wrong).is_err(), "{wrong:?}");
        }
        let mut lists = Gguf::of_numbers(&[("expert_count", 8)]);
        let key = "any.expert_used_count".to_owned();
        lists.lists.insert(key.clone(), vec![2, 8]);
        check(&lists).unwrap();
        lists.lists.insert(key, vec![2, 9]);
        assert!(check(&lists).is_err());
    }

    #[test]
    fn layers_and_positions() {
        checked(&[("block_count", 4), ("nextn_predict_layers", 4)]).unwrap();
        let error = checked(&[("block_count", 4), ("nextn_predict_layers", 5)]).unwrap_err();
        assert!(error.to_string().contains("from 0 to 4"), "{error}");
        let mut gguf = Gguf::of_numbers(&[]);
        let key = "any.rope.scaling.type";
        for (scaling, good) in [("yarn", true), ("", false), ("other", false)] {
            gguf.metadata
                .insert(key.to_owned(), Value::Text(scaling.to_owned()));
            assert_eq!(check(&gguf).is_ok(), good, "{scaling}");
        }
    }

    #[test]
    fn types_of_weights() {
        assert!(is_no_weight(b"blk.0.attn_q.weight", 28));
        assert!(!is_no_weight(b"blk.0.attn_q.weight", 30));
        assert!(!is_no_weight(b"d2t", 27));
    }
}
