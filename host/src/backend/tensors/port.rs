//! What a model declares about an input or output, and whether a tensor fits.

use crate::backend::shorten;
use crate::{Error, ErrorCode, Tensor, TensorType};
use std::fmt;

/// How many dimensions a message shows.
const SHOWN: usize = 12;

/// An input or output as the model declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Port {
    pub(in crate::backend) name: String,
    pub(in crate::backend) ty: PortType,
    /// Sizes of the dimensions; `None` if the model leaves their number open.
    pub(in crate::backend) dimensions: Option<Vec<Size>>,
}

/// Type of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) enum PortType {
    Tensor(TensorType),
    /// One that `wasi:nn` has no case for, in the library's words.
    Other(String),
}

/// The sizes that a dimension may have: from `min` to `max`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Size {
    pub(in crate::backend) min: u64,
    pub(in crate::backend) max: Option<u64>,
}

impl Size {
    /// As libraries tell it: what is negative is open.
    pub(in crate::backend) fn new(min: i64, max: i64) -> Self {
        Self {
            min: u64::try_from(min).unwrap_or(0),
            max: u64::try_from(max).ok(),
        }
    }

    fn allows(self, size: u32) -> bool {
        let size = u64::from(size);
        self.min <= size && self.max.is_none_or(|max| size <= max)
    }
}

impl Port {
    /// The type, if `wasi:nn` has it.
    pub(in crate::backend) fn tensor_type(&self) -> Option<TensorType> {
        match self.ty {
            PortType::Tensor(ty) => Some(ty),
            PortType::Other(_) => None,
        }
    }

    /// Whether the first dimension may have any size.
    pub(in crate::backend) fn has_rows(&self) -> bool {
        let first = self.dimensions.as_ref().and_then(|sizes| sizes.first());
        first.is_some_and(|size| size.min <= 1 && size.max.is_none())
    }

    /// The failure for a type that `wasi:nn` does not have. `what` is `input` or `output`.
    pub(in crate::backend) fn unsupported(&self, what: &str, index: usize) -> Error {
        Error::new(
            ErrorCode::UnsupportedOperation,
            format!(
                "{what} {index} `{}`: expected a tensor of f16, f32, f64, bf16, u8, i32 or i64, which is \
                 all that wasi:nn has; the model has {self}",
                shorten(&self.name)
            ),
        )
    }

    /// Whether `tensor` can be input `index`, which is this one.
    pub(in crate::backend) fn check(&self, index: usize, tensor: &Tensor) -> Result<(), Error> {
        let Some(ty) = self.tensor_type() else {
            return Err(self.unsupported("input", index));
        };
        let name = shorten(&self.name);
        let shape = Shape(&tensor.dimensions);
        let fits = self.dimensions.as_ref().is_none_or(|sizes| {
            sizes.len() == tensor.dimensions.len()
                && sizes
                    .iter()
                    .zip(&tensor.dimensions)
                    .all(|(size, found)| size.allows(*found))
        });
        if ty != tensor.ty || !fits {
            return Err(Error::invalid(format!(
                "input {index} `{name}`: expected {self}, found {} {shape}",
                tensor.ty
            )));
        }
        let found = tensor.data.len();
        match byte_size(&tensor.dimensions, ty) {
            Some(expected) if expected == found => Ok(()),
            Some(expected) => Err(Error::invalid(format!(
                "input {index} `{name}`: expected {expected} bytes for {ty} {shape}, found {found}"
            ))),
            None => Err(Error::invalid(format!(
                "input {index} `{name}`: expected dimensions whose product a computer can count, found \
                 {ty} {shape}"
            ))),
        }
    }
}

/// How many bytes a tensor takes, unless that is more than can be counted.
pub(in crate::backend) fn byte_size(dimensions: &[u32], ty: TensorType) -> Option<usize> {
    if dimensions.contains(&0) {
        return Some(0);
    }
    dimensions.iter().try_fold(ty.size(), |size, dimension| {
        size.checked_mul(usize::try_from(*dimension).ok()?)
            // Both libraries count in signed numbers.
            .filter(|size| isize::try_from(*size).is_ok())
    })
}

/// `f32 [?, 3, 224, 224]`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ty {
            PortType::Tensor(ty) => ty.fmt(f)?,
            PortType::Other(ty) => f.write_str(&shorten(ty))?,
        }
        match &self.dimensions {
            Some(sizes) => {
                f.write_str(" ")?;
                list(f, sizes)
            }
            None => Ok(()),
        }
    }
}

/// `?`, `3` or `1..8`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (0, None) => f.write_str("?"),
            (min, None) => write!(f, "{min}.."),
            (min, Some(max)) if min == max => write!(f, "{min}"),
            (min, Some(max)) => write!(f, "{min}..{max}"),
        }
    }
}

/// The dimensions of a tensor, to print.
struct Shape<'a>(&'a [u32]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.0)
    }
}

fn list(f: &mut fmt::Formatter<'_>, sizes: &[impl fmt::Display]) -> fmt::Result {
    f.write_str("[")?;
    for (i, size) in sizes.iter().take(SHOWN).enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(f, "{comma}{size}")?;
    }
    if sizes.len() > SHOWN {
        write!(f, ", … {} in all", sizes.len())?;
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ty: TensorType, dimensions: Option<Vec<Size>>) -> Port {
        Port {
            name: "x".to_owned(),
            ty: PortType::Tensor(ty),
            dimensions,
        }
    }

    fn tensor(ty: TensorType, dimensions: &[u32], bytes: usize) -> Tensor {
        Tensor {
            dimensions: dimensions.to_vec(),
            ty,
            data: vec![0; bytes],
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        let image = port(
            TensorType::F32,
            Some(vec![
                Size::new(-1, -1),
                Size::new(1, 4),
                Size::new(2, -1),
                Size::new(8, 8),
            ]),
        );
        let found = |ty, dimensions: &[u32], bytes| {
            image
                .check(3, &tensor(ty, dimensions, bytes))
                .map_err(|error| error.message)
        };
        let expected = "input 3 `x`: expected f32 [?, 1..4, 2.., 8], found";
        assert_eq!(found(TensorType::F32, &[2, 4, 2, 8], 512), Ok(()));
        assert_eq!(found(TensorType::F32, &[0, 1, 9, 8], 0), Ok(()));
        for (ty, dimensions, text) in [
            (TensorType::I32, vec![2, 4, 2, 8], "i32 [2, 4, 2, 8]"),
            (TensorType::F32, vec![2, 5, 2, 8], "f32 [2, 5, 2, 8]"),
            (TensorType::F32, vec![2, 4, 1, 8], "f32 [2, 4, 1, 8]"),
            (TensorType::F32, vec![2, 4, 2, 7], "f32 [2, 4, 2, 7]"),
            (TensorType::F32, vec![1], "f32 [1]"),
            (TensorType::F32, vec![], "f32 []"),
        ] {
            assert_eq!(
                found(ty, &dimensions, 512),
                Err(format!("{expected} {text}"))
            );
        }
        assert_eq!(
            found(TensorType::F32, &[2, 4, 2, 8], 511),
            Err("input 3 `x`: expected 512 bytes for f32 [2, 4, 2, 8], found 511".to_owned())
        );
        let many = found(TensorType::F32, &[1; 1000], 4).unwrap_err();
        assert!(many.ends_with("1, 1, … 1000 in all]"), "{many}");
    }

    #[test]
    fn sizes_are_counted_without_overflow() {
        let any = port(TensorType::F64, None);
        for dimensions in [vec![u32::MAX; 4], vec![u32::MAX, u32::MAX], vec![2; 64]] {
            assert_eq!(byte_size(&dimensions, TensorType::F64), None);
            let error = any.check(0, &tensor(TensorType::F64, &dimensions, 0));
            assert_eq!(error.unwrap_err().code, ErrorCode::InvalidArgument);
        }
        let zero = [u32::MAX, u32::MAX, u32::MAX, 0];
        assert_eq!(byte_size(&zero, TensorType::F64), Some(0));
        assert_eq!(byte_size(&[], TensorType::F64), Some(8));
        any.check(0, &tensor(TensorType::F64, &[3, 2], 48)).unwrap();
    }

    #[test]
    fn foreign_types_are_named() {
        let port = Port {
            ty: PortType::Other("bool".to_owned()),
            ..port(TensorType::U8, Some(vec![Size::new(-1, -1)]))
        };
        let error = port.check(1, &tensor(TensorType::U8, &[1], 1)).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnsupportedOperation);
        assert!(error.message.contains("input 1 `x`"), "{error}");
        assert!(error.message.ends_with("the model has bool [?]"), "{error}");
    }
}
