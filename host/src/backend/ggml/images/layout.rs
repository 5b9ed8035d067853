//! Whether llama.cpp can compute with a projector's file.
//!
//! llama.cpp takes a projector's numbers and the shapes of its tensors as they are, and ends the process
//! where they do not fit together. A guest may write such a file, so they are checked before it sees them:
//!
//! 1. the kind of projector is one whose computation is known here;
//! 2. the metadata has the types that llama.cpp expects, and numbers that such models have;
//! 3. each tensor that is part of the computation has its shape, elements that can be computed with there,
//!    and lies inside of the file.

mod tensors;

use crate::Error;
use crate::backend::shorten;
use crate::gguf::{Gguf, Value};
use std::fmt::Display;
use std::ops::RangeInclusive;
use tensors::Tensors;

/// A kind of projector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Llava,
    Gemma3,
    Idefics3,
    Qwen2Vl,
    Qwen25Vl,
}

/// The kinds, by their names in files.
const KINDS: [(&str, Kind); 5] = [
    ("mlp", Kind::Llava),
    ("gemma3", Kind::Gemma3),
    ("idefics3", Kind::Idefics3),
    ("qwen2vl_merger", Kind::Qwen2Vl),
    ("qwen2.5vl_merger", Kind::Qwen25Vl),
];

const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const FLAG: u32 = 7;
const TEXT: u32 = 8;

/// The types of what llama.cpp reads without a look at the type.
const TYPES: [(&str, u32); 27] = [
    ("general.name", TEXT),
    ("general.description", TEXT),
    ("clip.projector_type", TEXT),
    ("clip.vision.projector_type", TEXT),
    ("clip.vision.mm_patch_merge_type", TEXT),
    ("clip.has_vision_encoder", FLAG),
    ("clip.has_audio_encoder", FLAG),
    ("clip.has_gen_audio_encoder", FLAG),
    ("clip.use_gelu", FLAG),
    ("clip.use_silu", FLAG),
    ("clip.minicpmv_version", I32),
    ("clip.minicpmv_query_num", U32),
    ("clip.vision.embedding_length", U32),
    ("clip.vision.feed_forward_length", U32),
    ("clip.vision.block_count", U32),
    ("clip.vision.projection_dim", U32),
    ("clip.vision.attention.head_count", U32),
    ("clip.vision.attention.head_count_kv", U32),
    ("clip.vision.attention.head_dim", U32),
    ("clip.vision.attention.layer_norm_epsilon", F32),
    ("clip.vision.image_size", U32),
    ("clip.vision.patch_size", U32),
    ("clip.vision.preproc_image_size", U32),
    ("clip.vision.projector.scale_factor", U32),
    ("clip.vision.spatial_merge_size", U32),
    ("clip.vision.n_wa_pattern", U32),
    ("clip.vision.window_size", U32),
];

/// The most patches that an image of a fixed size may be cut into; the largest such models have 4096.
const MAX_PATCHES: u64 = 8192;
/// The most images that one is cut into, on each side.
const MAX_TILES: u64 = 16;
/// The window of Qwen2.5-VL's attention, in pixels, where a file does not say.
const WINDOW: u64 = 112;

/// The numbers that shapes follow from.
struct Numbers {
    /// Elements of a patch's embedding.
    width: u64,
    layers: u64,
    /// The side of a patch, in pixels.
    patch: u64,
    /// The side of an image, in patches.
    side: u64,
    /// How many patches on each side become one.
    merge: u64,
    /// What the file says is the width of the language model.
    projection: u64,
}

/// Fails unless llama.cpp can compute with this file.
pub(super) fn check(file: &Gguf) -> Result<(), Error> {
    check_names(file)?;
    for (key, expected) in TYPES {
        match file.types.get(key) {
            Some(found) if *found != expected => {
                return Err(wrong(key, &"a value of another type"));
            }
            // Of very many texts only the first ones are kept.
            Some(_) if !file.metadata.contains_key(key) => {
                return Err(wrong(key, &"a text that is too long"));
            }
            _ => {}
        }
    }
    let kind = kind(file)?;
    let numbers = Numbers::read(file, kind)?;
    check_preparation(file, kind, numbers.side * numbers.patch)?;
    let tensors = Tensors::new(file)?;
    tensors.check(kind, &numbers)?;
    if kind == Kind::Qwen25Vl {
        // llama.cpp takes one for the other.
        let rows = tensors.rows("mm.2.weight")?;
        if rows != numbers.projection {
            return Err(wrong("clip.vision.projection_dim", &numbers.projection));
        }
    }
    Ok(())
}

/// Fails if llama.cpp, for which a name ends at a null character, would find what is not found here.
fn check_names(file: &Gguf) -> Result<(), Error> {
    /// How many entries a projector has at most; real ones have some dozens.
    const MOST: usize = 1000;
    let names = file.layout.iter().map(|tensor| &tensor.name);
    if names
        .chain(file.types.keys())
        .any(|name| name.contains('\0'))
    {
        return Err(Error::invalid(
            "expected names without null characters in the projector, found one",
        ));
    }
    if file.types.len() > MOST {
        return Err(Error::invalid(format!(
            "expected a projector with at most {MOST} entries of metadata, found more"
        )));
    }
    Ok(())
}

fn kind(file: &Gguf) -> Result<Kind, Error> {
    let flag = |key: &str| matches!(file.metadata.get(key), Some(Value::Flag(true)));
    if !flag("clip.has_vision_encoder") {
        return Err(Error::invalid(
            "expected a projector for images (`clip.has_vision_encoder`), found another kind of file",
        ));
    }
    for key in ["clip.has_audio_encoder", "clip.has_gen_audio_encoder"] {
        if flag(key) {
            return Err(wrong(key, &"a projector for audio as well"));
        }
    }
    let name = file
        .text("clip.projector_type")
        .filter(|name| !name.is_empty())
        .or_else(|| file.text("clip.vision.projector_type"))
        .unwrap_or_default();
    KINDS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind)
        .ok_or_else(|| {
            let known: Vec<_> = KINDS.iter().map(|(name, _)| (*name).to_owned()).collect();
            Error::invalid(format!(
                "expected one of the kinds of projector that this host checks ({}), found `{}`",
                crate::backend::list(&known),
                shorten(name)
            ))
        })
}

impl Numbers {
    fn read(file: &Gguf, kind: Kind) -> Result<Self, Error> {
        let need = |key: &str, range| number(file, key, range, None);
        let width = need("clip.vision.embedding_length", 1..=1 << 14)?;
        let heads = need("clip.vision.attention.head_count", 1..=256)?;
        if width % heads != 0 {
            return Err(wrong("clip.vision.attention.head_count", &heads));
        }
        // What follows from the others in these kinds.
        for (key, value) in [
            ("clip.vision.attention.head_count_kv", heads),
            ("clip.vision.attention.head_dim", width / heads),
        ] {
            number(file, key, value..=value, Some(value))?;
        }
        if kind.is_qwen() && width / heads % 4 != 0 {
            return Err(wrong("clip.vision.attention.head_count", &heads));
        }
        let image = need("clip.vision.image_size", 1..=2048)?;
        let patch = need("clip.vision.patch_size", 1..=128)?;
        let side = image / patch;
        if side == 0 || side * side > MAX_PATCHES {
            return Err(wrong("clip.vision.patch_size", &patch));
        }
        let (key, range, default) = match kind {
            // It merges nothing, and ignores the key.
            Kind::Llava => ("clip.vision.projector.scale_factor", 0..=u64::MAX, 1),
            Kind::Gemma3 => ("clip.vision.projector.scale_factor", 1..=16, 4),
            Kind::Idefics3 => ("clip.vision.projector.scale_factor", 2..=16, 1),
            Kind::Qwen2Vl | Kind::Qwen25Vl => ("clip.vision.spatial_merge_size", 2..=2, 2),
        };
        let merge = number(file, key, range, Some(default))?;
        if matches!(kind, Kind::Gemma3 | Kind::Idefics3) && side % merge != 0 {
            return Err(wrong(key, &merge));
        }
        let epsilon = "clip.vision.attention.layer_norm_epsilon";
        match file.metadata.get(epsilon) {
            Some(Value::Number(found)) if (0.0..=1.0).contains(found) => {}
            found => return Err(wrong(epsilon, &format_args!("{found:?}"))),
        }
        // 0 in files that older converters wrote: it is not read.
        need("clip.vision.feed_forward_length", 0..=1 << 17)?;
        Ok(Self {
            width,
            layers: need("clip.vision.block_count", 1..=128)?,
            patch,
            side,
            merge,
            projection: need("clip.vision.projection_dim", 0..=1 << 17)?,
        })
    }
}

impl Kind {
    fn is_qwen(self) -> bool {
        matches!(self, Self::Qwen2Vl | Self::Qwen25Vl)
    }
}

/// How an image of any size is prepared: into how many of the model's size it is cut.
fn check_preparation(file: &Gguf, kind: Kind, side: u64) -> Result<(), Error> {
    let image = number(file, "clip.vision.image_size", side..=2048, None)?;
    let tiles = |size: u64| size > 0 && size.is_multiple_of(image) && size / image <= MAX_TILES;
    match kind {
        Kind::Llava => {
            let key = "clip.vision.feature_layer";
            if file.arrays.get(key).is_some_and(|count| *count > 0) {
                return Err(wrong(key, &"layers that are stacked"));
            }
            let key = "clip.vision.image_grid_pinpoints";
            let count = file.arrays.get(key).copied().unwrap_or(0);
            let sizes = file.lists.get(key).map_or(&[][..], Vec::as_slice);
            if sizes.len() as u64 != count || !sizes.iter().all(|size| tiles(*size)) {
                return Err(wrong(key, &"sizes that are no multiples of the image's"));
            }
        }
        Kind::Idefics3 => {
            let key = "clip.vision.preproc_image_size";
            number(file, key, 1..=image * MAX_TILES, None)?;
        }
        Kind::Qwen2Vl | Kind::Qwen25Vl => {
            // In how many layers attention reaches beyond its window once. llama.cpp ends the process where
            // there are windows in no layer, or in a kind that has none.
            let key = "clip.vision.n_wa_pattern";
            let pattern = number(file, key, 0..=1024, Some(0))?;
            if pattern == 1 || pattern > 0 && kind == Kind::Qwen2Vl {
                return Err(wrong(key, &pattern));
            }
            let key = "clip.vision.window_size";
            let window = match number(file, key, 0..=4096, Some(0))? {
                0 => WINDOW,
                window => window,
            };
            let patch = number(file, "clip.vision.patch_size", 1..=128, None)?;
            // llama.cpp would cut the image into windows without an end.
            if window / patch / 2 == 0 {
                return Err(wrong(key, &window));
            }
        }
        Kind::Gemma3 => {}
    }
    Ok(())
}

/// The number under a key, which may be missing if there is a default.
fn number(
    file: &Gguf,
    key: &str,
    range: RangeInclusive<u64>,
    default: Option<u64>,
) -> Result<u64, Error> {
    let found = match (file.metadata.get(key), default) {
        (None, Some(default)) => default,
        (None, None) => return Err(wrong(key, &"nothing")),
        (Some(_), _) => file
            .number(key)
            .ok_or_else(|| wrong(key, &"no whole number"))?,
    };
    if !range.contains(&found) {
        return Err(wrong(key, &found));
    }
    Ok(found)
}

/// The failure for metadata that does not go together with the rest.
fn wrong(key: &str, found: &dyn Display) -> Error {
    Error::invalid(format!(
        "expected `{key}` as llama.cpp can compute with it, found {found}: fetch the projector again, or \
         convert it with a current llama.cpp"
    ))
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::testing::{ProjectorKind, TinyProjector};
    use std::io::Cursor;

    fn read(kind: ProjectorKind) -> Gguf {
        let bytes = TinyProjector::new(kind).to_gguf();
        Gguf::read(Cursor::new(&bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn the_tiny_projectors_are_whole() {
        for kind in [
            ProjectorKind::Llava,
            ProjectorKind::Gemma3,
            ProjectorKind::Idefics3,
            ProjectorKind::Qwen2Vl,
            ProjectorKind::Qwen25Vl,
        ] {
            check(&read(kind)).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        }
    }

    #[test]
    fn what_llama_cpp_would_find_under_another_name_is_refused() {
        let refused = |change: fn(&mut Gguf)| {
            let mut file = read(ProjectorKind::Llava);
            change(&mut file);
            check(&file).unwrap_err().message
        };
        let null = "expected names without null characters";
        let message = refused(|file| {
            file.types
                .insert("clip.has_audio_encoder\0".to_owned(), FLAG);
        });
        assert!(message.starts_with(null), "{message}");
        let message = refused(|file| file.layout[0].name.push('\0'));
        assert!(message.starts_with(null), "{message}");
        // As after more texts than are kept.
        let message = refused(|file| {
            file.metadata.remove("clip.projector_type");
            let other = Value::Text("mlp".to_owned());
            let key = "clip.vision.projector_type";
            file.metadata.insert(key.to_owned(), other);
            file.types.insert(key.to_owned(), TEXT);
        });
        assert!(message.contains("`clip.projector_type`"), "{message}");
    }

    #[test]
    fn a_tensor_lies_inside_of_the_file_and_has_its_shape() {
        let refused = |change: fn(&mut Gguf)| {
            let mut file = read(ProjectorKind::Gemma3);
            change(&mut file);
            assert!(check(&file).is_err());
        };
        refused(|file| file.size -= 1);
        refused(|file| file.layout[0].dimensions[0] += 1);
        refused(|file| file.layout[0].dimensions.push(0));
        refused(|file| file.layout[0].ty = 24);
        refused(|file| {
            file.layout.pop();
            file.tensors -= 1;
        });
    }
}
